"""A single checkpoint file in the original layout, with and without a configuration of its kind, all offline."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from imagerouter import GenerationError, ImageRequest
from imagerouter_diffusers import DiffusersConfig, DiffusersProvider, discovery
from imagerouter_diffusers.headers import FileKind, kind_of

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET = [
    (r"^time_embedding\.linear_1", "time_embed.0"),
    (r"^time_embedding\.linear_2", "time_embed.2"),
    (r"^conv_in", "input_blocks.0.0"),
    (r"^conv_norm_out", "out.0"),
    (r"^conv_out", "out.2"),
    (r"^down_blocks\.0\.resnets\.0", "input_blocks.1.0"),
    (r"^down_blocks\.0\.attentions\.0", "input_blocks.1.1"),
    (r"^down_blocks\.0\.downsamplers\.0\.conv", "input_blocks.2.0.op"),
    (r"^down_blocks\.1\.resnets\.0", "input_blocks.3.0"),
    (r"^mid_block\.resnets\.0", "middle_block.0"),
    (r"^mid_block\.attentions\.0", "middle_block.1"),
    (r"^mid_block\.resnets\.1", "middle_block.2"),
    (r"^up_blocks\.0\.resnets\.(\d)", r"output_blocks.\1.0"),
    (r"^up_blocks\.0\.upsamplers\.0\.conv", "output_blocks.1.1.conv"),
    (r"^up_blocks\.1\.resnets\.0", "output_blocks.2.0"),
    (r"^up_blocks\.1\.attentions\.0", "output_blocks.2.1"),
    (r"^up_blocks\.1\.resnets\.1", "output_blocks.3.0"),
    (r"^up_blocks\.1\.attentions\.1", "output_blocks.3.1"),
]
VAE = [
    (r"encoder\.down_blocks\.(\d)\.resnets", r"encoder.down.\1.block"),
    (r"encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample"),
    (r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.up.{3 - int(m[1])}.upsample"),
    (r"decoder\.up_blocks\.(\d)\.resnets", lambda m: f"decoder.up.{3 - int(m[1])}.block"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_q", "mid.attn_1.q"),
    (r"mid_block\.attentions\.0\.to_k", "mid.attn_1.k"),
    (r"mid_block\.attentions\.0\.to_v", "mid.attn_1.v"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
]


def original_layout(folder: Path) -> dict[str, Any]:
    """The weights of the tiny sd1 under the names that a checkpoint file has."""
    weights: dict[str, Any] = {}
    for name, tensor in load_file(folder / "unet" / "diffusion_pytorch_model.safetensors").items():
        renamed = name
        for pattern, replacement in UNET:
            renamed = re.sub(pattern, replacement, renamed)
        if re.search(r"resnets", name):
            renamed = re.sub("|".join(RESNET), lambda match: RESNET[match[0]], renamed)
        weights[f"model.diffusion_model.{renamed}"] = tensor
    for name, tensor in load_file(folder / "vae" / "diffusion_pytorch_model.safetensors").items():
        renamed = name
        for pattern, replacement in VAE:
            renamed = re.sub(pattern, replacement, renamed)
        weights[f"first_stage_model.{renamed}"] = tensor
    for name, tensor in load_file(folder / "text_encoder" / "model.safetensors").items():
        weights[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    return {name: tensor.contiguous() for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def checkpoint(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("single") / "dream.safetensors"
    save_file(original_layout(folder / "sd1"), path)
    return path


async def draw(provider: DiffusersProvider, model: str) -> bytes:
    request = ImageRequest(model=model, prompt="a (red:1.2) circle", seed=3, steps=2, width=64, height=64)
    return (await provider.generate(request, lambda progress: None)).images[0].data


@pytest.fixture
def opened() -> Iterator[Any]:
    made: list[DiffusersProvider] = []

    async def open_provider(**keys: Any) -> DiffusersProvider:
        config = DiffusersConfig.model_validate({"device": "cpu", "hub_cache": False, "builtin": False} | keys)
        made.append(DiffusersProvider("local", config))
        await made[-1].start()
        return made[-1]

    yield open_provider
    for provider in made:
        asyncio.run(provider.aclose())


async def test_a_checkpoint_file_draws_what_its_diffusers_folder_draws(
    checkpoint: Path, folder: Path, opened: Any
) -> None:
    assert kind_of(checkpoint) is FileKind.SD1
    models = {
        "file": {"source": str(checkpoint), "config": str(folder / "sd1")},
        "folder": str(folder / "sd1"),
    }
    provider = await opened(models=models)
    assert await draw(provider, "file") == await draw(provider, "folder")


def size_of(path: Path) -> int:
    return path.stat().st_size


async def test_the_size_of_a_file_is_told_where_the_name_is_its_own(
    checkpoint: Path, folder: Path, opened: Any
) -> None:
    found = await opened(folders=[str(checkpoint.parent)])
    assert {model.id: model.file_size for model in await found.models()} == {"dream": size_of(checkpoint)}
    chosen = await opened(models={"mine": str(checkpoint), "dream": str(folder / "sd1")}, builtin=True)
    told = {model.id: (model.file_size, model.is_demo) for model in await chosen.models()}
    assert told == {"builtin": (0, True), "mine": (0, False), "dream": (0, False)}


async def test_the_configuration_is_taken_from_the_hub_cache_where_it_is_there(
    checkpoint: Path, folder: Path, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "hub_cache", lambda: tmp_path)
    root = tmp_path / "models--stable-diffusion-v1-5--stable-diffusion-v1-5"
    (root / "snapshots").mkdir(parents=True)
    (root / "snapshots" / "abc").symlink_to(folder / "sd1")
    provider = await opened(folders=[str(checkpoint.parent)])
    assert await draw(provider, "dream")


async def test_without_a_configuration_it_is_said_what_to_do(
    checkpoint: Path, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "hub_cache", lambda: tmp_path)
    shutil.copy(checkpoint, tmp_path / "other.safetensors")
    provider = await opened(folders=[str(tmp_path)])
    with pytest.raises(GenerationError, match="allow_download") as raised:
        await draw(provider, "other")
    assert str(tmp_path) not in raised.value.message


async def test_a_vae_of_the_original_layout_is_converted(folder: Path, opened: Any, tmp_path: Path) -> None:
    weights = original_layout(folder / "sd1").items()
    prefix = "first_stage_model."
    vae = {name.removeprefix(prefix): tensor for name, tensor in weights if name.startswith(prefix)}
    save_file(vae, tmp_path / "same.safetensors")
    provider = await opened(folders=[str(folder)], vaes=[str(tmp_path)])
    request = ImageRequest(model="sd1", prompt="x", seed=3, steps=2, width=64, height=64)
    other = ImageRequest(model="sd1", prompt="x", seed=3, steps=2, width=64, height=64, vae="same")
    drawn = [await provider.generate(each, lambda progress: None) for each in (request, other)]
    assert drawn[0].images[0].data == drawn[1].images[0].data
    assert drawn[1].applied["vae"] == "same"


async def test_a_checkpoint_that_predicts_velocity_is_driven_so(folder: Path, opened: Any, tmp_path: Path) -> None:
    weights = original_layout(folder / "sd1")
    save_file(weights | {"v_pred": torch.zeros(1)}, tmp_path / "v.safetensors")
    provider = await opened(models={"v": {"source": str(tmp_path / "v.safetensors"), "config": str(folder / "sd1")}})
    await draw(provider, "v")
    resident = list(provider._worker.residents._loaded.values())[-1]
    assert resident.pipe.scheduler.config.prediction_type == "v_prediction"


async def test_a_configuration_folder_that_is_none_is_named_as_the_cause(checkpoint: Path, opened: Any) -> None:
    provider = await opened(models={"x": {"source": str(checkpoint), "config": str(checkpoint.parent)}})
    with pytest.raises(GenerationError, match="the folder named by `config`"):
        await draw(provider, "x")
