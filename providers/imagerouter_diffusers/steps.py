"""What happens between two steps: stop if cancelled, report progress, make a preview."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from imagerouter import Image, Progress
from imagerouter_diffusers import previews


@dataclass
class Steps:
    """The callback of one pipeline call."""

    check: Callable[[], None]
    """Raises when the job is cancelled."""
    report: Callable[[Progress], None]
    steps: int
    image_index: int | None
    wanted: frozenset[int]
    """Steps after which a preview is made."""
    preview_map: previews.Map | None
    _clean: dict[str, Any] = field(default_factory=dict)
    _seen: int = 0

    def attach(self, scheduler: Any, *, has_callback: bool) -> None:
        """Follow the scheduler where the pipeline itself tells too little."""
        step = scheduler.step
        if has_callback and not self.wanted:
            return

        def watched(model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
            if self.wanted:
                self._clean["latents"] = previews.clean(scheduler, model_output, timestep, sample)
            result = step(model_output, timestep, sample, *args, **kwargs)
            if not has_callback:
                self._done(self._seen, len(scheduler.timesteps))
                self._seen += 1
            return result

        # The pipelines look at step's signature to learn what it takes.
        watched.__signature__ = inspect.signature(step)  # type: ignore[attr-defined]
        scheduler.step = watched

    def took(self, clean: Any, calls: int) -> None:
        """After one of ``calls`` looks of the model, which saw these clean latents."""
        self._clean["latents"] = clean
        self._done(self._seen, calls)
        self._seen += 1

    def __call__(self, pipe: Any, index: int, _timestep: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
        self._done(index, getattr(pipe, "_num_timesteps", None) or self.steps)
        return {}

    def _done(self, index: int, calls: int) -> None:
        self.check()
        # Samplers of second order call the model twice a step.
        step = min(self.steps, -(-(index + 1) * self.steps // calls))
        self.report(Progress(step=step, steps=self.steps, image_index=self.image_index, preview=self._preview(step)))

    def _preview(self, step: int) -> Image | None:
        latents = self._clean.get("latents")
        if step not in self.wanted or latents is None or self.preview_map is None:
            return None
        self.wanted -= {step}
        return previews.draw(latents, self.preview_map)
