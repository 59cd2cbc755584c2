"""Request + family → every value that a graph needs, with nothing left open. Refuses what can't be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from imagerouter import ImageRequest, InvalidParameterError, Operation, ProviderRejectedError
from imagerouter.canvas import LARGEST, Size, choose
from imagerouter.names import demand, find
from imagerouter_comfyui.families.controls import Control, controls
from imagerouter_comfyui.families.kit import Kit
from imagerouter_comfyui.recipe import Sources

EDIT_STRENGTH = 0.75
"""An edit without a mask keeps the composition; an area to repaint is drawn anew."""
HIRES_STRENGTH = 0.5
_OWN = {"ddim": "ddim_uniform"}
_NATIVE_AREAS = 4
"""How many of them an input picture that is the start may set."""
LATENT_UPSCALERS = {
    "latent": "bilinear",
    "latent (nearest-exact)": "nearest-exact",
    "latent (nearest)": "nearest-exact",
    "latent (bilinear)": "bilinear",
    "latent (bicubic)": "bicubic",
    "latent (area)": "area",
}
"""A1111's names for enlarging the unfinished picture itself → methods of ``LatentUpscale``."""
PIXEL_UPSCALERS = {
    "lanczos": "lanczos",
    "bicubic": "bicubic",
    "bilinear": "bilinear",
    "nearest": "nearest-exact",
    "nearest-exact": "nearest-exact",
    "area": "area",
}


@dataclass(frozen=True)
class SecondPass:
    """A second sampling at a larger size, from the enlarged result of the first."""

    scale: float
    size: Size
    steps: int
    strength: float
    upscaler: str
    """As the client would say it."""
    latent_method: str | None = None
    pixel_method: str = "lanczos"
    model: str | None = None
    """File of an upscale model."""


class Settings(msgspec.Struct, frozen=True):
    operation: Operation
    prompt: str
    negative_prompt: str
    seed: int
    size: Size
    steps: int
    cfg_scale: float | None
    guidance: float | None
    sampler: str
    scheduler: str | None
    strength: float
    """1.0 where the input picture isn't the start."""
    clip_skip: int
    vae: str | None
    """A file of the server that replaces the model's own."""
    loras: tuple[tuple[str, float], ...]
    """Files and weights."""
    controls: tuple[Control, ...]
    hires: SecondPass | None

    @property
    def is_guided(self) -> bool:
        """At 1 the server leaves the negative prompt out of the computation."""
        return self.cfg_scale is not None and self.cfg_scale != 1


def settle(request: ImageRequest, sources: Sources, kit: Kit) -> Settings:
    usual = kit.traits.usual
    size = _size(request, sources, kit)
    steps = request.steps or usual.steps
    sampler = _one_of("sampler", request.sampler, kit.sampler, kit.samplers)
    return Settings(
        operation=request.operation,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt or "",
        seed=sources.seed,
        size=size,
        steps=steps,
        cfg_scale=None if usual.cfg_scale is None else _or(request.cfg_scale, usual.cfg_scale),
        guidance=None if usual.guidance is None else _or(request.guidance, usual.guidance),
        sampler=sampler,
        scheduler=_scheduler(request, sampler, kit),
        strength=_strength(request, kit),
        clip_skip=(request.clip_skip or 1) if kit.traits.has_clip_skip else 1,
        vae=None if request.vae is None else demand(request.vae, kit.vaes, "vae", "VAE"),
        loras=_loras(request, kit.loras),
        controls=controls(request.options, sources.controls, kit),
        hires=_second_pass(request, size, steps, kit),
    )


def _size(request: ImageRequest, sources: Sources, kit: Kit) -> Size:
    times = _NATIVE_AREAS if kit.family.edits == "noise" else 1
    native = (kit.width, kit.height)
    return choose(request, sources.image_size, native=native, multiple=kit.traits.multiple, times=times)


def _or(given: float | None, usual: float) -> float:
    return usual if given is None else given


def _strength(request: ImageRequest, kit: Kit) -> float:
    if request.operation is Operation.GENERATE or kit.family.edits != "noise":
        return 1.0
    return _or(request.strength, EDIT_STRENGTH if request.operation is Operation.EDIT else 1.0)


def _scheduler(request: ImageRequest, sampler: str, kit: Kit) -> str | None:
    """DDIM comes with one of its own everywhere else."""
    if not kit.schedulers:
        return None
    own = _OWN.get(sampler)
    usual = own if own in kit.schedulers else kit.scheduler
    return _one_of("scheduler", request.scheduler, usual, kit.schedulers)


def _one_of(parameter: str, given: str | None, usual: str, valid: Sequence[str]) -> str:
    if given is None:
        return usual
    if given not in valid:
        raise ProviderRejectedError(f"`{parameter}` must be one of {', '.join(valid)}", param=parameter)
    return given


def _loras(request: ImageRequest, files: Sequence[str]) -> tuple[tuple[str, float], ...]:
    return tuple(
        (demand(lora.name, files, f"loras[{index}].name", "LoRA"), lora.weight)
        for index, lora in enumerate(request.loras)
    )


def _second_pass(request: ImageRequest, size: Size, steps: int, kit: Kit) -> SecondPass | None:
    hires = request.hires
    if hires is None or not kit.has_hires or request.operation is not Operation.GENERATE:
        return None
    larger = size.scaled(hires.scale, kit.traits.multiple)
    if max(larger.canvas_width, larger.canvas_height) > LARGEST:
        raise InvalidParameterError(f"`hires.scale` makes it larger than {LARGEST} pixels", param="hires.scale")
    upscaler = hires.upscaler or "latent"
    plain = upscaler.casefold()
    model = None if plain in LATENT_UPSCALERS or plain in PIXEL_UPSCALERS else _upscale_model(upscaler, kit)
    return SecondPass(
        scale=hires.scale,
        size=larger,
        steps=hires.steps or steps,
        strength=_or(hires.strength, HIRES_STRENGTH),
        upscaler=model or plain,
        latent_method=LATENT_UPSCALERS.get(plain),
        pixel_method=PIXEL_UPSCALERS.get(plain, "lanczos"),
        model=model,
    )


def _upscale_model(wanted: str, kit: Kit) -> str:
    found = find(wanted, kit.upscalers)
    if found is None:
        valid = ", ".join([*LATENT_UPSCALERS, *PIXEL_UPSCALERS, *kit.upscalers])
        raise ProviderRejectedError(f"`hires.upscaler` must be one of {valid}", param="hires.upscaler")
    return found
