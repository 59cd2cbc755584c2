"""Request + model's defaults → the values that are really used, and which parameters had no effect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from imagerouter import ImageRequest, Operation, ProviderRejectedError
from imagerouter_diffusers import capabilities, samplers
from imagerouter_diffusers.discovery import Source
from imagerouter_diffusers.solvers import Solver
from imagerouter_diffusers.strength import Schedule, schedule
from imagerouter_diffusers.traits import Traits


@dataclass(frozen=True)
class Settings:
    """Everything that a pipeline call needs to know, with nothing left open."""

    operation: Operation
    steps: int
    cfg_scale: float
    guidance: float | None
    choice: samplers.Choice
    strength: float
    clip_skip: int
    negative_prompt: str
    takes_plain_steps: bool = False
    """Whether the pipeline itself runs all its steps at every strength."""

    @property
    def is_canonical(self) -> bool:
        """Whether it is drawn as ComfyUI and A1111 do, and not by diffusers' own pipeline."""
        return isinstance(self.choice.row, Solver)

    @property
    def is_guided(self) -> bool:
        return not math.isclose(self.cfg_scale, 1.0)

    @property
    def schedule(self) -> Schedule:
        if self.operation is Operation.GENERATE or self.strength == 0:
            return Schedule(self.steps, 1.0, self.steps)
        if self.takes_plain_steps:
            return Schedule(self.steps, self.strength, self.steps)
        return schedule(self.steps, self.strength)


def settle(request: ImageRequest, source: Source, traits: Traits) -> Settings:
    able = capabilities.signature(traits.pipeline, traits.input_channels, traits.is_canonical)
    usual = capabilities.defaults(source, traits, able)
    operation = request.operation
    # An area to repaint is drawn anew; an edit without a mask keeps the composition.
    default_strength = capabilities.DEFAULT_STRENGTH if operation is Operation.EDIT else 1.0
    choice = samplers.choose(traits, request.sampler, request.scheduler)
    _check_sampler(operation, traits, choice)
    cfg_scale = float(_given(request.cfg_scale, usual.get("cfg_scale", 1.0)))
    return Settings(
        operation=operation,
        steps=request.steps or int(usual["steps"]),
        # diffusers' pipelines know nothing between "no guidance" and 1, so that lower values are 1.
        cfg_scale=cfg_scale if isinstance(choice.row, Solver) else max(1.0, cfg_scale),
        guidance=_given(request.guidance, usual.get("guidance")),
        choice=choice,
        strength=float(_given(request.strength, default_strength)),
        clip_skip=request.clip_skip or 1,
        negative_prompt=request.negative_prompt or "",
        takes_plain_steps=traits.pipeline.startswith("LatentConsistency"),
    )


def _check_sampler(operation: Operation, traits: Traits, choice: samplers.Choice) -> None:
    """Where diffusers runs a sampler, its own pipeline for the operation has to take the model's latents."""
    if isinstance(choice.row, Solver) or not traits.is_canonical:
        return
    if operation not in capabilities.signature(traits.pipeline, traits.input_channels, canonical=False).operations:
        able = ", ".join(name for name, row in samplers.available(traits).items() if isinstance(row, Solver))
        raise ProviderRejectedError(
            f"this model can't {operation} with sampler `{choice.sampler}`, only with {able}", param="sampler"
        )


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def applied(
    request: ImageRequest, settings: Settings, declared: frozenset[str], size: tuple[int, int]
) -> dict[str, Any]:
    """Canonical names and the values that were really used; nothing that this model doesn't have."""
    used = {
        "width": size[0],
        "height": size[1],
        "seed": request.seed,
        "steps": settings.schedule.run if settings.strength else 0,
        "cfg_scale": settings.cfg_scale,
        "guidance": settings.guidance,
        "sampler": settings.choice.sampler,
        "scheduler": settings.choice.scheduler,
        "strength": None if settings.operation is Operation.GENERATE else settings.strength,
        "clip_skip": settings.clip_skip if request.clip_skip else None,
        "negative_prompt": settings.negative_prompt or None if settings.is_guided else None,
        "vae": request.vae,
        "loras": [{"name": lora.name, "weight": lora.weight} for lora in request.loras] or None,
    }
    return {name: value for name, value in used.items() if value is not None and name in declared}


def ignored(request: ImageRequest, settings: Settings, declared: frozenset[str]) -> frozenset[str]:
    """What was set, and changed nothing."""
    without_effect = set()
    if not settings.is_guided:
        without_effect.add("negative_prompt")
    if settings.operation is Operation.GENERATE:
        without_effect.add("strength")
    return request.parameters - (declared - without_effect)
