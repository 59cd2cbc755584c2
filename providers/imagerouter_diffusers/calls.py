"""One call of a diffusers pipeline: its arguments, and its result as pixels."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image as Pillow

from imagerouter import GenerationError, ImageRequest, Operation
from imagerouter.errors import ContentPolicyError
from imagerouter_diffusers import latents, prompts, samplers
from imagerouter_diffusers.capabilities import task_class
from imagerouter_diffusers.inputs import Array
from imagerouter_diffusers.settings import Settings
from imagerouter_diffusers.sizes import Plan
from imagerouter_diffusers.steps import Steps


@dataclass(frozen=True)
class Call:
    """What all batches of one request have in common."""

    request: ImageRequest
    settings: Settings
    plan: Plan
    pipe: Any
    """Shares its modules with the resident pipeline, but has a scheduler of its own."""
    image: Pillow.Image | None
    mask: Pillow.Image | None
    """Both already on the canvas."""

    @cached_property
    def takes(self) -> frozenset[str]:
        return frozenset(inspect.signature(type(self.pipe).__call__).parameters)

    @property
    def can_batch(self) -> bool:
        """An inpainting pipeline draws noise for all images of a batch from the first one's generator."""
        if self.settings.is_canonical:
            return True
        return "num_images_per_prompt" in self.takes and self.settings.operation is not Operation.INPAINT

    def run(self, first: int, count: int, steps: Steps) -> list[Array]:
        """By the pipeline itself: images ``first`` to ``first + count - 1`` of the request, 0 to 1."""
        if "prompt" not in self.takes:
            raise GenerationError("this model takes no prompt, so it can't be driven here")
        schedule = self.settings.schedule
        own = self.pipe.scheduler
        self.pipe.scheduler = samplers.build(self.settings.choice, own, schedule.steps)
        steps.attach(self.pipe.scheduler, has_callback="callback_on_step_end" in self.takes)
        try:
            result = self.pipe(**self._arguments(first, count, steps))
        finally:
            self.pipe.scheduler = own
        return _pixels(result)

    def _arguments(self, first: int, count: int, steps: Steps) -> dict[str, Any]:
        settings, schedule = self.settings, self.settings.schedule
        generators = latents.generators([self.request.seed_of(first + index) for index in range(count)])
        arguments = {
            "width": self.plan.canvas_width,
            "height": self.plan.canvas_height,
            "num_inference_steps": schedule.steps,
            "strength": schedule.strength,
            "num_images_per_prompt": count,
            "generator": generators if count > 1 or self.can_batch else generators[0],
            "output_type": "np",
            "callback_on_step_end": steps,
            **self._guidance(),
            **self._prompt(),
            **self._pictures(count, generators),
        }
        if settings.operation is Operation.GENERATE:
            del arguments["strength"]
        return {name: value for name, value in arguments.items() if name in self.takes}

    def _guidance(self) -> dict[str, Any]:
        if "true_cfg_scale" not in self.takes:
            return {"guidance_scale": self.settings.cfg_scale}
        distilled = {} if self.settings.guidance is None else {"guidance_scale": self.settings.guidance}
        return {"true_cfg_scale": self.settings.cfg_scale, **distilled}

    def _prompt(self) -> dict[str, Any]:
        settings = self.settings
        if prompts.can_encode(self.pipe) and "prompt_embeds" in self.takes:
            return prompts.encode(
                self.pipe,
                self.request.prompt,
                settings.negative_prompt,
                self.request.clip_skip,
                guided=settings.is_guided,
            ).arguments()
        negative = {"negative_prompt": settings.negative_prompt} if settings.is_guided else {}
        return {"prompt": self.request.prompt, **negative}

    def _pictures(self, count: int, generators: list[Any]) -> dict[str, Any]:
        if self.image is None:
            return {"latents": self._noise(generators)} if self._draws_own_noise else {}
        if self.mask is not None:
            return {"image": self.image, "mask_image": self.mask}
        return {"image": self._latents(self.image, count) if self._can_encode_image else self.image}

    @property
    def _draws_own_noise(self) -> bool:
        return type(self.pipe).__name__ in ("StableDiffusionPipeline", "StableDiffusionXLPipeline")

    @property
    def _can_encode_image(self) -> bool:
        return (
            type(self.pipe).__name__ in ("StableDiffusionImg2ImgPipeline", "StableDiffusionXLImg2ImgPipeline")
            and type(self.pipe.vae).__name__ == "AutoencoderKL"
            and self.pipe.vae.config.latent_channels == 4
        )

    def _noise(self, generators: list[Any]) -> Any:
        factor = self.pipe.vae_scale_factor
        shape = (
            1,
            self.pipe.unet.config.in_channels,
            self.plan.canvas_height // factor,
            self.plan.canvas_width // factor,
        )
        return latents.draw_noise(shape, generators).to(self.pipe.unet.device, self.pipe.unet.dtype)

    def _latents(self, picture: Pillow.Image, count: int) -> Any:
        import torch

        with torch.inference_mode():
            found = latents.encode(self.pipe, latents.pixels_of(self.pipe, picture))
        return found.clone().to(self.pipe.vae.dtype).repeat(count, 1, 1, 1)

    @contextmanager
    def saving_memory(self) -> Iterator[None]:
        """Slower, but with less memory at once."""
        parts = [(self.pipe, "attention_slicing"), (self.pipe.vae, "slicing"), (self.pipe.vae, "tiling")]
        able = [(part, what) for part, what in parts if hasattr(part, f"enable_{what}")]
        for part, what in able:
            getattr(part, f"enable_{what}")()
        try:
            yield
        finally:
            for part, what in able:
                getattr(part, f"disable_{what}")()


def task_pipe(resident: Any, operation: Operation, vae: Any) -> Any:
    """The pipeline class for an operation, around the same modules."""
    from diffusers.pipelines import auto_pipeline as auto

    makers = {
        Operation.GENERATE: auto.AutoPipelineForText2Image,
        Operation.EDIT: auto.AutoPipelineForImage2Image,
        Operation.INPAINT: auto.AutoPipelineForInpainting,
    }
    if task_class(operation, type(resident).__name__) is None:
        pipe = copy.copy(resident)
        if vae is not None:
            pipe.vae = vae
    else:
        pipe = makers[operation].from_pipe(resident, **({} if vae is None else {"vae": vae}))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _pixels(result: Any) -> list[Array]:
    flagged = getattr(result, "nsfw_content_detected", None) or []
    if any(flagged):
        raise ContentPolicyError("the model's own safety checker refused what it drew")
    return as_pictures(result.images if hasattr(result, "images") else result[0])


def as_pictures(pictures: Any) -> list[Array]:
    """Whatever a model gives out → arrays, 0 to 1."""
    arrays = [_as_array(picture) for picture in pictures]
    if not all(np.isfinite(array).all() for array in arrays):
        raise GenerationError("the model computed invalid numbers; try `dtype: float32` for it")
    return arrays


def _as_array(picture: Any) -> Array:
    if isinstance(picture, Pillow.Image):
        return np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)
    return np.asarray(picture, dtype=np.float32)
