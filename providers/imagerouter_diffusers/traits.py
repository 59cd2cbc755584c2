"""What a model is, read from its configuration files alone, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagerouter_diffusers.discovery import BUILTIN_FOLDER, INDEX, Source, read_json
from imagerouter_diffusers.headers import FileKind, kind_of
from imagerouter_diffusers.schedules import BETA_SCHEDULE, BETAS

_SCHEDULER = "scheduler/scheduler_config.json"
_SD = ("StableDiffusionPipeline", "StableDiffusionInpaintPipeline")
_SDXL = ("StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline")
_SD2_FEATURES = 1024
"""Of its text encoder's hidden states."""
_SD1_SCHEDULER = {
    **BETAS,
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "timestep_spacing": "leading",
}


@dataclass(frozen=True)
class Traits:
    """The facts that decide what a model can do and how it must be driven."""

    pipeline: str
    """Class name, as in ``model_index.json``."""
    scheduler: str = ""
    scheduler_config: dict[str, Any] | None = None
    width: int = 1024
    height: int = 1024
    multiple: int = 16
    """Sizes that the model itself can draw are multiples of it."""
    max_scale: float = 4.0
    """Largest area it draws well, as a multiple of its native one; beyond, the picture is resized."""
    min_scale: float = 0.0
    """Smallest such area, for models that lose their subject on small canvases."""
    input_channels: int = 4
    is_canonical: bool = False
    """Whether our own samplers drive it, in place of diffusers' pipelines."""
    family: str = ""
    """``sd1``, ``sd2`` or ``sdxl`` for what ComfyUI and A1111 draw, too, and is drawn as they do."""
    repo: str | None = None
    """Hub repository that holds the configuration of a single checkpoint file of this kind."""

    @property
    def is_flow(self) -> bool:
        return self.scheduler.startswith("FlowMatch")


def _sd(family: str, pipeline: str, size: int, repo: str, channels: int = 4, **scheduler: Any) -> Traits:
    return Traits(
        pipeline=pipeline,
        scheduler="PNDMScheduler",
        scheduler_config=_SD1_SCHEDULER | scheduler,
        width=size,
        height=size,
        multiple=8,
        input_channels=channels,
        is_canonical=True,
        family=family,
        repo=repo,
    )


FILE_TRAITS: dict[FileKind, Traits] = {
    FileKind.SD1: _sd("sd1", "StableDiffusionPipeline", 512, "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    FileKind.SD1_INPAINT: _sd(
        "sd1", "StableDiffusionInpaintPipeline", 512, "stable-diffusion-v1-5/stable-diffusion-inpainting", 9
    ),
    FileKind.SD2: _sd(
        "sd2", "StableDiffusionPipeline", 768, "stabilityai/stable-diffusion-2-1", prediction_type="v_prediction"
    ),
    FileKind.SDXL: _sd("sdxl", "StableDiffusionXLPipeline", 1024, "stabilityai/stable-diffusion-xl-base-1.0"),
    FileKind.SDXL_INPAINT: _sd(
        "sdxl", "StableDiffusionXLInpaintPipeline", 1024, "diffusers/stable-diffusion-xl-1.0-inpainting-0.1", 9
    ),
    FileKind.SD3: Traits(
        "StableDiffusion3Pipeline",
        "FlowMatchEulerDiscreteScheduler",
        repo="stabilityai/stable-diffusion-3-medium-diffusers",
        input_channels=16,
    ),
    FileKind.FLUX: Traits(
        "FluxPipeline",
        "FlowMatchEulerDiscreteScheduler",
        repo="black-forest-labs/FLUX.1-dev",
        input_channels=16,
    ),
}


def traits_of(source: Source) -> Traits | None:
    """``None`` for something that turns out to be no pipeline."""
    if source.path is None:
        return Traits("")
    if source.is_file:
        kind = kind_of(source.path) if source.path.suffix != ".ckpt" else FileKind.SD1
        given = folder_traits(Path(source.config).expanduser()) if source.config else None
        return given or FILE_TRAITS.get(kind)
    traits = folder_traits(source.path)
    if traits is not None and source.custom_pipeline is not None:
        return replace(traits, is_canonical=False, family="")
    if traits is not None and source.path == BUILTIN_FOLDER:
        # Trained on canvases of this one area: elsewhere it loses or doubles its subject.
        return replace(traits, multiple=32, max_scale=1.05, min_scale=0.85)
    return traits


def folder_traits(folder: Path) -> Traits | None:
    index = read_json(folder / INDEX)
    name = index.get("_class_name")
    if isinstance(name, list):
        name = name[-1]
    if not isinstance(name, str):
        return None
    scheduler = index.get("scheduler")
    unet = read_json(folder / "unet" / "config.json")
    denoiser = unet or read_json(folder / "transformer" / "config.json")
    factor = _vae_factor(folder)
    width, height = _native(denoiser, factor)
    schedule = dict(read_json(folder / _SCHEDULER))
    is_canonical = _is_canonical(name, index, schedule)
    return Traits(
        pipeline=name,
        scheduler=str(scheduler[-1]) if isinstance(scheduler, list) else "",
        scheduler_config=schedule,
        width=width,
        height=height,
        multiple=factor if unet else factor * 2,
        input_channels=_int(denoiser.get("in_channels"), 4),
        is_canonical=is_canonical,
        family=_family(name, unet, schedule) if is_canonical else "",
    )


def _is_canonical(pipeline: str, index: dict[str, Any], schedule: dict[str, Any]) -> bool:
    """By class, by the kind of noise table, and by the text encoder, which has to be CLIP."""
    encoder = index.get("text_encoder")
    is_clip = isinstance(encoder, list) and str(encoder[-1]).startswith("CLIPText")
    is_usual = schedule.get("beta_schedule") == BETA_SCHEDULE and schedule.get("num_train_timesteps", 1000) == 1000
    is_told = {"beta_start", "beta_end"} <= schedule.keys() and not schedule.get("trained_betas")
    return is_clip and is_usual and is_told and pipeline in _SD + _SDXL


def _family(pipeline: str, unet: dict[str, Any], schedule: dict[str, Any]) -> str:
    """Other programs take the sigmas for granted."""
    if any(schedule[name] != value for name, value in BETAS.items()):
        return ""
    if pipeline in _SDXL:
        return "sdxl"
    return "sd2" if unet.get("cross_attention_dim") == _SD2_FEATURES else "sd1"


def _vae_factor(folder: Path) -> int:
    vae = read_json(folder / "vae" / "config.json")
    channels = vae.get("block_out_channels") or vae.get("encoder_block_out_channels")
    return 2 ** (len(channels) - 1) if isinstance(channels, list) else 8


def _native(denoiser: dict[str, Any], factor: int) -> tuple[int, int]:
    size = denoiser.get("sample_size")
    if isinstance(size, list) and len(size) == 2:
        return _int(size[1], 64) * factor, _int(size[0], 64) * factor
    side = size * factor if isinstance(size, int) else 1024
    return side, side


def _int(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default
