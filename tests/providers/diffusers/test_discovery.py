"""What a scan finds, and under which names."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from imagerouter_diffusers import DiffusersConfig, discovery
from imagerouter_diffusers.discovery import Library, scan
from imagerouter_diffusers.headers import FileKind, kind_of
from imagerouter_diffusers.traits import traits_of

UNET = "model.diffusion_model.input_blocks.0.0.weight"
SD1 = {UNET: [320, 4, 3, 3], "cond_stage_model.transformer.text_model.final_layer_norm.bias": [768]}
SD2_CONTEXT = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
FLUX = "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale"
KINDS: list[tuple[FileKind, dict[str, list[int]]]] = [
    (FileKind.SD1, SD1),
    (FileKind.SD1_INPAINT, SD1 | {UNET: [320, 9, 3, 3]}),
    (FileKind.SD2, {UNET: [320, 4, 3, 3], SD2_CONTEXT: [320, 1024], "cond_stage_model.model.x": [1]}),
    (FileKind.SDXL, {UNET: [320, 4, 3, 3], "conditioner.embedders.1.model.ln_final.bias": [1280]}),
    (FileKind.SDXL_INPAINT, {UNET: [320, 9, 3, 3], "conditioner.embedders.1.model.x": [1]}),
    (FileKind.FLUX, {FLUX: [128], "text_encoders.t5xxl.x": [1]}),
    (FileKind.OTHER, {FLUX: [128]}),
    (FileKind.OTHER, {UNET: [320, 4, 3, 3]}),
    (FileKind.LORA, {"lora_unet_down_blocks_0.lora_down.weight": [4, 320]}),
    (FileKind.LORA, {"unet.down_blocks.0.attn1.to_q.lora_A.weight": [4, 320]}),
    (FileKind.VAE, {"decoder.conv_in.weight": [512, 4, 3, 3]}),
    (FileKind.OTHER, {"anything": [1]}),
]


def safetensors(path: Path, shapes: dict[str, list[int]]) -> Path:
    """A header that promises tensors of these shapes; the weights themselves are left out."""
    header = {name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


def diffusers_folder(path: Path, name: str = "StableDiffusionPipeline") -> Path:
    (path / "unet").mkdir(parents=True)
    (path / "model_index.json").write_text(json.dumps({"_class_name": name, "unet": ["diffusers", "X"]}))
    (path / "unet" / "diffusion_pytorch_model.safetensors").touch()
    return path


def look(**keys: Any) -> Library:
    return scan(DiffusersConfig.model_validate({"builtin": False, "hub_cache": False} | keys))


@pytest.mark.parametrize(("kind", "shapes"), KINDS)
def test_a_file_is_known_by_its_header(tmp_path: Path, kind: FileKind, shapes: dict[str, list[int]]) -> None:
    assert kind_of(safetensors(tmp_path / "x.safetensors", shapes)) == kind


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, struct.pack("<Q", 4) + b"nope"])
def test_a_broken_file_is_no_model_and_no_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert kind_of(path) is FileKind.OTHER


def test_folders_are_searched_all_the_way_down_for_models_and_nothing_else(tmp_path: Path) -> None:
    safetensors(tmp_path / "sub" / "deep" / "dream.safetensors", SD1)
    safetensors(tmp_path / "style.safetensors", {"a.lora_A.weight": [4, 4]})
    diffusers_folder(tmp_path / "sub" / "sketch-1.5")
    (tmp_path / "old.ckpt").touch()
    assert set(look(folders=str(tmp_path)).models) == {"dream", "sketch-1.5"}


def test_two_files_of_one_name_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    safetensors(tmp_path / "a" / "dream.safetensors", SD1)
    safetensors(tmp_path / "b" / "dream.safetensors", SD1 | {"more": [1]})
    assert set(look(folders=[str(tmp_path)]).models) == {"dream", "b/dream"}


def test_one_file_under_two_names_is_one_model(tmp_path: Path) -> None:
    real = safetensors(tmp_path / "a" / "dream.safetensors", SD1)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "copy.safetensors").symlink_to(real)
    assert set(look(folders=[str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path)]).models) == {"dream"}


def test_folders_that_link_to_each_other_are_searched_once(tmp_path: Path) -> None:
    safetensors(tmp_path / "a" / "dream.safetensors", SD1)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert set(look(folders=[str(tmp_path)]).models) == {"dream"}


@pytest.mark.parametrize("text", [None, "a: [unclosed", "just text"])
def test_a_path_file_that_can_not_be_read_is_a_problem_and_no_crash(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "paths.yaml").write_text(text)
    assert "extra_model_paths" in look(extra_model_paths=str(tmp_path / "paths.yaml")).problems[0]


def test_a_configured_name_wins_over_the_files_own(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "dream.safetensors", SD1)
    found = look(folders=[str(tmp_path)], models={"mine": str(path)}).models
    assert set(found) == {"mine"}


def test_pickles_are_refused_until_they_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    path.touch()
    refused = look(folders=[str(tmp_path)], models={"old": str(path)})
    assert not refused.models
    assert "allow_pickle" in refused.problems[0]
    allowed = look(folders=[str(tmp_path)], allow_pickle=True)
    assert set(allowed.models) == {"old"}


def test_what_is_configured_and_not_there_is_said_without_a_path(tmp_path: Path) -> None:
    models = {"gone": str(tmp_path / "gone"), "hub": "someone/something"}
    problems = look(models=models).problems
    assert len(problems) == 2
    assert str(tmp_path) not in "".join(problems)
    assert "allow_download" in problems[1]
    assert set(look(models=models, allow_download=True).models) == {"hub"}


def test_the_hub_cache_offers_whole_pipelines_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "hub_cache", lambda: tmp_path)
    for repo, commit in (("org--whole", "abc"), ("org--configs", "def")):
        (tmp_path / f"models--{repo}" / "refs").mkdir(parents=True)
        (tmp_path / f"models--{repo}" / "refs" / "main").write_text(commit)
        diffusers_folder(tmp_path / f"models--{repo}" / "snapshots" / commit)
    (tmp_path / "models--org--configs/snapshots/def/unet/diffusion_pytorch_model.safetensors").unlink()
    assert set(look(hub_cache=True).models) == {"org/whole"}
    by_name = look(models={"mine": "org/whole"}, hub_cache=True).models
    assert set(by_name) == {"mine"}
    assert by_name["mine"].path == tmp_path / "models--org--whole" / "snapshots" / "abc"


def test_comfyuis_folders_are_shared(tmp_path: Path) -> None:
    safetensors(tmp_path / "ckpt" / "dream.safetensors", SD1)
    safetensors(tmp_path / "lora" / "sub" / "ink.safetensors", {"a.lora_A.weight": [4, 4]})
    safetensors(tmp_path / "vae" / "soft.safetensors", {"decoder.conv_in.weight": [4]})
    (tmp_path / "paths.yaml").write_text("comfy:\n  checkpoints: ckpt\n  loras: lora\n  vae: vae\n")
    library = look(extra_model_paths=str(tmp_path / "paths.yaml"))
    assert (set(library.models), set(library.loras), set(library.vaes)) == ({"dream"}, {"ink"}, {"soft"})


def test_a_single_file_is_described_without_being_loaded(tmp_path: Path) -> None:
    safetensors(tmp_path / "big.safetensors", {UNET: [320, 4, 3, 3], "conditioner.embedders.1.model.x": [1]})
    traits = traits_of(look(folders=[str(tmp_path)]).models["big"])
    assert traits is not None
    assert (traits.pipeline, traits.width, traits.multiple) == ("StableDiffusionXLPipeline", 1024, 8)


def test_a_folder_tells_its_native_size(folder: Path) -> None:
    found = look(folders=[str(folder)]).models
    traits = {name: traits_of(source) for name, source in found.items()}
    assert traits["sd1"] is not None
    assert (traits["sd1"].width, traits["sd1"].multiple, traits["sd1"].scheduler) == (64, 8, "PNDMScheduler")
    assert traits["flux"] is not None
    assert traits["flux"].is_flow
    assert traits["flux"].multiple == 16


def test_a_hash_is_told_where_somebody_else_has_computed_it(tmp_path: Path) -> None:
    digest = "ab" * 32
    beside, cached, plain = (tmp_path / f"{name}.safetensors" for name in ("beside", "cached", "plain"))
    for path in (beside, tmp_path / digest, plain):
        path.write_bytes(b"x")
    (tmp_path / "beside.safetensors.sha256").write_text(f"{digest.upper()}  beside.safetensors\n")
    cached.symlink_to(tmp_path / digest)
    assert [discovery.told_hash(path) for path in (beside, cached, plain)] == [digest, digest, ""]
