"""Tiny pipelines with random weights, made once per session; nothing here touches a network."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

# More threads than free cores make small models many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from imagerouter import Image, ImageRequest, Images, Progress  # noqa: E402
from imagerouter_diffusers import DiffusersConfig, DiffusersProvider  # noqa: E402

TOKENS = 77
VP = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:(diffusers|numpy)"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something tried to open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    entries = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {entry: index for index, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=TOKENS)


def text_encoder(cls: Any, width: int = 16) -> Any:
    from transformers import CLIPTextConfig

    config = CLIPTextConfig(
        vocab_size=len(tokenizer()),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=width,
        bos_token_id=len(tokenizer()) - 2,
        eos_token_id=len(tokenizer()) - 1,
    )
    return cls(config)


def vae(channels: int = 4) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=64,
        shift_factor=0.0,
    )


def unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    shape = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "cross_attention_dim": 16,
    }
    return UNet2DConditionModel(**(shape | options))


def sd1(channels: int = 4) -> Any:
    from diffusers import PNDMScheduler, StableDiffusionInpaintPipeline, StableDiffusionPipeline
    from transformers import CLIPTextModel

    cls = StableDiffusionInpaintPipeline if channels == 9 else StableDiffusionPipeline
    return cls(
        vae=vae(),
        text_encoder=text_encoder(CLIPTextModel),
        tokenizer=tokenizer(),
        unet=unet(in_channels=channels),
        scheduler=PNDMScheduler(**VP, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def lcm() -> Any:
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler
    from transformers import CLIPTextModel

    return LatentConsistencyModelPipeline(
        vae=vae(),
        text_encoder=text_encoder(CLIPTextModel),
        tokenizer=tokenizer(),
        unet=unet(time_cond_proj_dim=8),
        scheduler=LCMScheduler(**VP),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=text_encoder(CLIPTextModel),
        tokenizer=tokenizer(),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, 24),
        tokenizer_2=tokenizer(),
        unet=unet(
            cross_attention_dim=40,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24 + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(**VP, timestep_spacing="leading"),
    )


def flux() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel, T5Config, T5EncoderModel

    sizes = {"num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 32, "d_model": 16}
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae(),
        text_encoder=text_encoder(CLIPTextModel),
        tokenizer=tokenizer(),
        text_encoder_2=T5EncoderModel(T5Config(vocab_size=len(tokenizer()), **sizes)),
        tokenizer_2=tokenizer(),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Diffusers folders: sd1, sdxl, flux, lcm, and sd1-fill with a UNet for inpainting."""
    root = tmp_path_factory.mktemp("models")
    makers: dict[str, Callable[[], Any]] = {
        "sd1": sd1, "sdxl": sdxl, "flux": flux, "lcm": lcm, "sd1-fill": lambda: sd1(9)
    }  # fmt: skip
    for name, make in makers.items():
        torch.manual_seed(7)
        make().save_pretrained(root / name)
    return root


def kohya(generator: Any) -> dict[str, Any]:
    """A LoRA for UNet and text encoder, named as the usual training scripts name them."""
    parts = {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": 8}
    for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
        parts[f"lora_te_text_model_encoder_layers_0_self_attn_{projection}"] = 16
    weights = {}
    for name, width in parts.items():
        weights[f"{name}.lora_down.weight"] = torch.randn(2, width, generator=generator) * 3
        weights[f"{name}.lora_up.weight"] = torch.randn(width, 2, generator=generator) * 3
        weights[f"{name}.alpha"] = torch.tensor(2.0)
    return weights


@pytest.fixture(scope="session")
def loras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One LoRA for the tiny sd1's UNet, and one that fits nothing."""
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("loras")
    target = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    generator = torch.Generator().manual_seed(1)
    weights = {
        f"{target}.lora_A.weight": torch.randn(2, 8, generator=generator) * 3,
        f"{target}.lora_B.weight": torch.randn(8, 2, generator=generator) * 3,
    }
    (root / "style").mkdir()
    save_file(weights, root / "style" / "ink.safetensors")
    save_file(kohya(generator), root / "kohya.safetensors")
    save_file({"something.else": torch.zeros(2)}, root / "odd.safetensors")
    return root


@pytest.fixture(scope="session")
def vaes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same VAE twice: as a diffusers folder and as a single file."""
    root = tmp_path_factory.mktemp("vaes")
    torch.manual_seed(99)
    vae().save_pretrained(root / "soft")
    (root / "soft-file.safetensors").write_bytes((root / "soft" / "diffusion_pytorch_model.safetensors").read_bytes())
    return root


@pytest.fixture(scope="session")
def config(folder: Path, loras: Path, vaes: Path) -> DiffusersConfig:
    return DiffusersConfig(
        device="cpu", concurrency=2, folders=[str(folder)], loras=[str(loras)], vaes=[str(vaes)], hub_cache=False
    )


@pytest.fixture(scope="session")
def local(config: DiffusersConfig) -> Iterator[DiffusersProvider]:
    """Started once; it holds on to no event loop, so that every test can use it on its own."""
    provider = DiffusersProvider("local", config)
    asyncio.run(provider.start())
    yield provider
    asyncio.run(provider.aclose())


class Studio:
    """Asks the provider for pictures, with few steps unless a test says otherwise."""

    def __init__(self, provider: DiffusersProvider) -> None:
        self.provider = provider
        self.progress: list[Progress] = []

    def request(self, model: str, **fields: Any) -> ImageRequest:
        usual = {"prompt": "a red circle", "seed": 11, "steps": 2, "cfg_scale": 2.0}
        return ImageRequest(model=model, **(usual | fields))

    async def draw(self, model: str, **fields: Any) -> Images:
        return await self.provider.generate(self.request(model, **fields), self.progress.append)

    async def pixels(self, model: str, **fields: Any) -> np.ndarray[Any, Any]:
        return pixels((await self.draw(model, **fields)).images[0])


@pytest.fixture
def studio(local: DiffusersProvider) -> Studio:
    return Studio(local)


def pixels(image: Image) -> np.ndarray[Any, Any]:
    with Pillow.open(BytesIO(image.data)) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def png(picture: Pillow.Image) -> Image:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return Image(data=buffer.getvalue())


@pytest.fixture
def scene() -> Image:
    """A picture with something in every corner, 64 by 64."""
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    return png(
        Pillow.fromarray(
            np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], 64), np.full((64, 64), 90, np.uint8)], -1)
        )
    )
