"""One request, start to finish, on the device's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from PIL import Image as Pillow

from imagerouter import ImageRequest, InvalidParameterError, Progress, ProviderRejectedError
from imagerouter.images import opaque, repaint_mask
from imagerouter_diffusers import canonical, capabilities, devices, failures, inputs, loading, loras, previews, sizes
from imagerouter_diffusers.calls import Call, task_pipe
from imagerouter_diffusers.config import DiffusersConfig
from imagerouter_diffusers.discovery import Library, Source
from imagerouter_diffusers.residency import Resident, Residents
from imagerouter_diffusers.settings import Settings
from imagerouter_diffusers.steps import Steps
from imagerouter_diffusers.traits import Traits

_NOTICEABLE_LOAD = 0.01


@dataclass(eq=False)
class Job:
    """A request, and everything that is known about its model."""

    request: ImageRequest
    source: Source
    traits: Traits
    settings: Settings
    library: Library
    config: DiffusersConfig
    report: Callable[[Progress], None]
    """Safe to call from any thread."""
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise failures.Cancelled


@dataclass(frozen=True)
class Rendered:
    """What came of a job."""

    pictures: list[Pillow.Image]
    load_seconds: float


@dataclass(frozen=True)
class Inputs:
    """The pictures of a request at the asked size, and the sizes to work with."""

    plan: sizes.Plan
    original: Pillow.Image | None = None
    mask: Pillow.Image | None = None


def key_of(source: Source, config: DiffusersConfig) -> str:
    """Two sources with the same key are the same loaded pipeline."""
    how = (source.variant, source.dtype or config.dtype, source.config, source.custom_pipeline)
    return "|".join((source.key, *(str(part) for part in how)))


def render(job: Job, residents: Residents) -> Rendered:
    """Load, draw, cut to size. Raises imagerouter's errors, or `failures.Cancelled`."""
    job.check()
    pictures = prepare(job)
    if pictures.original is not None and job.settings.strength == 0:
        return Rendered([pictures.original] * job.request.n, 0.0)
    with ExitStack() as stack:
        started = time.perf_counter()
        resident = _load(job, residents, stack)
        seconds = time.perf_counter() - started
        job.check()
        try:
            stack.enter_context(loras.applied(resident.pipe, job.request.loras, job.library.loras))
            drawn = _draw(job, resident, residents, pictures)
        except failures.Cancelled:
            raise
        except Exception as error:
            raise failures.translate(error, "the model failed to draw this") from error
    return Rendered(drawn, seconds if seconds > _NOTICEABLE_LOAD else 0.0)


def _load(job: Job, residents: Residents, stack: ExitStack) -> Resident:
    key = key_of(job.source, job.config)
    if key not in residents.keys():  # noqa: SIM118 - not a mapping
        job.report(Progress(stage="load"))

    def load() -> Any:
        return loading.load(job.source, job.traits, job.config, residents.device)

    dtype = devices.dtype(job.source.dtype or job.config.dtype, residents.device)
    try:
        return stack.enter_context(residents.use(key, loading.estimate(job.source, dtype), load))
    except Exception as error:
        raise failures.translate(error, f"model `{job.source.id}` can't be loaded") from error


def prepare(job: Job) -> Inputs:
    """Without a size, an edit keeps the size of its input."""
    request, traits = job.request, job.traits
    if not request.images:
        if request.mask is not None:
            raise InvalidParameterError("a mask needs an input image", param="mask")
        return Inputs(sizes.plan(traits, request.width or traits.width, request.height or traits.height))
    if len(request.images) > 1:
        raise ProviderRejectedError("this model takes one input image", param="images")
    original = opaque(inputs.decode(request.images[0], "images[0]"))
    mask = None
    if request.mask is not None:
        # Pipelines know no half-repainted areas, and a feather begins with none.
        prepared = repaint_mask if _is_drawn_elsewhere(job) else inputs.hard_mask
        mask = prepared(inputs.decode(request.mask, "mask"), original.size)
    width, height = request.width or original.width, request.height or original.height
    return Inputs(
        sizes.plan(traits, width, height),
        inputs.fit(original, width, height),
        inputs.fit(mask, width, height) if mask is not None else None,
    )


def _draw(job: Job, resident: Resident, residents: Residents, pictures: Inputs) -> list[Pillow.Image]:
    """All images of the request; once more with less at a time when memory runs out."""
    plan = pictures.plan
    call = Call(
        request=job.request,
        settings=job.settings,
        plan=plan,
        pipe=task_pipe(resident.pipe, job.settings.operation, _vae(job, resident)),
        image=inputs.onto_canvas(pictures.original, plan) if pictures.original else None,
        mask=inputs.onto_canvas(pictures.mask, plan) if pictures.mask else None,
    )
    at_once = devices.images_at_once(residents.device, plan.canvas_width * plan.canvas_height)
    try:
        return _in_batches(job, call, pictures, at_once if call.can_batch else 1)
    except Exception as error:
        if not failures.is_out_of_memory(error):
            raise
    # Out here the exception is gone, and with it the tensors that its traceback kept alive.
    residents.evict_idle()
    with call.saving_memory():
        return _in_batches(job, call, pictures, 1)


def _vae(job: Job, resident: Resident) -> Any:
    name = job.request.vae
    if name is None or not hasattr(resident.pipe, "vae"):
        return None
    if name not in resident.vaes:
        if name not in job.library.vaes:
            raise ProviderRejectedError(f"there is no VAE `{name}` on this provider", param="vae")
        try:
            resident.vaes[name] = loading.load_vae(resident.pipe, job.library.vaes[name])
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            if failures.is_out_of_memory(error):
                raise
            raise ProviderRejectedError(f"VAE `{name}` doesn't fit this model", param="vae") from error
        resident.measure()
    return resident.vaes[name]


def _is_drawn_elsewhere(job: Job) -> bool:
    """Whether ComfyUI and A1111 draw the same from it: then the edge of a mask has to be theirs, which is hard."""
    return job.settings.is_canonical and bool(job.traits.family)


def _in_batches(job: Job, call: Call, pictures: Inputs, at_once: int) -> list[Pillow.Image]:
    n = job.request.n
    mask = pictures.mask
    if mask is not None and not _is_drawn_elsewhere(job):
        mask = inputs.feathered(mask)
    run = canonical.draw if job.settings.is_canonical else Call.run
    drawn: list[Pillow.Image] = []
    for first in range(0, n, at_once):
        count = min(at_once, n - first)
        steps = _steps(job, None if count == n else first)
        for pixels in run(call, first, count, steps):
            picture = inputs.from_canvas(pixels, pictures.plan)
            if pictures.original is not None and mask is not None:
                picture = inputs.paste_back(picture, pictures.original, mask)
            drawn.append(picture)
    return drawn


def _steps(job: Job, image_index: int | None) -> Steps:
    mapping = capabilities.preview_map(job.source, job.traits) if job.config.previews else None
    run = job.settings.schedule.run
    previewed = job.request.partial_images if mapping is not None else 0
    return Steps(job.check, job.report, run, image_index, previews.wanted_steps(run, previewed), mapping)
