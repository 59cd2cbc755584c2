"""Stable Diffusion 1, 2 and XL, drawn as ComfyUI and A1111 draw them: the same request, the same picture.

diffusers' pipelines can't be made to: they turn guidance off below 1, keep latents in half precision, ask the model
about fractions of training steps, and paint around masks in another way (docs/parity.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow

from imagerouter import Operation
from imagerouter.errors import ContentPolicyError
from imagerouter_diffusers import latents, prompts, schedules
from imagerouter_diffusers.calls import Call, as_pictures
from imagerouter_diffusers.inputs import Array
from imagerouter_diffusers.samplers import Choice
from imagerouter_diffusers.schedules import Table
from imagerouter_diffusers.solvers import Noise, Run, Solver
from imagerouter_diffusers.steps import Steps
from imagerouter_diffusers.strength import Schedule


@dataclass(frozen=True)
class Frame:
    """What a picture is drawn into. Latents are (1, channels, height, width)."""

    source: Any
    """The input picture, or zeros."""
    mask: Any = None
    """1 where to repaint."""
    hints: Any = None
    """Channels that an inpainting model sees besides: the mask, and the picture without what is under it."""


@dataclass(frozen=True)
class Model:
    """The network as samplers want it: noisy latents and their sigma in, clean latents out."""

    unet: Any
    table: Table
    prediction: str
    """``epsilon``, ``v_prediction`` or ``sample``."""
    cfg_scale: float
    texts: Any
    """(images, tokens, features); where there is guidance, those of the negative prompt follow."""
    added: dict[str, Any] | None
    frame: Frame
    mask_noise: Any

    def __call__(self, noisy: Any, sigma: Any) -> Any:
        frame = self.frame
        if frame.mask is None:
            return self._guided(noisy, sigma)
        around = (frame.source + self.mask_noise * sigma) * (1 - frame.mask)
        clean = self._guided(noisy * frame.mask + around, sigma)
        return clean * frame.mask + frame.source * (1 - frame.mask)

    def _guided(self, noisy: Any, sigma: Any) -> Any:
        sides = self.texts.shape[0] // noisy.shape[0]
        cleans = self._clean(noisy.repeat(sides, 1, 1, 1), sigma).chunk(sides)
        if sides == 1:
            return cleans[0]
        wanted, unwanted = cleans
        return unwanted + (wanted - unwanted) * self.cfg_scale

    def _clean(self, noisy: Any, sigma: Any) -> Any:
        import torch

        spread = sigma**2.0 + 1.0
        seen = noisy / spread**0.5
        if self.frame.hints is not None:
            seen = torch.cat([seen, self.frame.hints.expand(seen.shape[0], -1, -1, -1)], dim=1)
        # Filled there, since a number that is copied to a device waits for all that the device still has to do.
        time = torch.full((), self.table.timestep(sigma), device=noisy.device)
        told = {"encoder_hidden_states": self.texts, "added_cond_kwargs": self.added, "return_dict": False}
        output = self.unet(seen.to(self.unet.dtype), time, **told)[0].float()
        if self.prediction == "v_prediction":
            return noisy / spread - output * sigma / spread**0.5
        return output if self.prediction == "sample" else noisy - output * sigma


def draw(call: Call, first: int, count: int, steps: Steps) -> list[Array]:
    """Images ``first`` to ``first + count - 1`` of the request, 0 to 1."""
    import torch

    settings, pipe = call.settings, call.pipe
    solver = settings.choice.row
    assert isinstance(solver, Solver)
    seeds = [call.request.seed_of(first + index) for index in range(count)]
    trained = pipe.scheduler.config
    zero_snr = bool(trained.get("rescale_betas_zero_snr"))
    table = schedules.table(trained["beta_start"], trained["beta_end"], zero_snr=zero_snr)
    sigmas = sigmas_of(settings.choice, settings.schedule, table)
    with torch.inference_mode():
        frame = _frame(call)
        device, shape = frame.source.device, frame.source.shape
        noise = latents.draw_noise(shape, latents.generators(seeds)).to(device)
        added_noise = _noise(solver, shape, seeds, device, sigmas)
        around = latents.FreshNoise(shape, seeds, device)(None, None) if solver.redraws_mask else noise
        model = _model(call, count, table, frame, around)
        start = frame.source + noise * table.start(sigmas[0])
        calls = solver.calls * (len(sigmas) - 1) - (solver.calls - 1)
        clean = _follow(solver.run(start, sigmas.unbind(), added_noise), model, lambda found: steps.took(found, calls))
        return _pictures(pipe, latents.decode(pipe, clean))


def sigmas_of(choice: Choice, planned: Schedule, table: Table) -> Any:
    """The last steps of a schedule that is as much longer as the strength is below 1."""
    import torch

    assert choice.scheduler is not None
    assert isinstance(choice.row, Solver)
    skipped = int(choice.row.skips_last_sigma)
    values = schedules.sigmas(choice.scheduler, planned.steps + skipped, table)
    if skipped:
        values = torch.cat([values[:-2], values[-1:]])
    return values if planned.run == planned.steps else values[-(planned.run + 1) :]


def _noise(solver: Solver, shape: Any, seeds: list[int], device: Any, sigmas: Any) -> Noise:
    if solver.noise == "brownian":
        return latents.BrownianNoise(shape, seeds, device, sigmas)
    return latents.FreshNoise(shape, seeds, device)


def _follow(run: Run, model: Callable[[Any, Any], Any], watch: Callable[[Any], None]) -> Any:
    """Do what a sampler asks for until it is done."""
    try:
        asked = next(run)
        while True:
            clean = model(*asked)
            watch(clean)
            asked = run.send(clean)
    except StopIteration as done:
        return done.value


def _model(call: Call, count: int, table: Table, frame: Frame, mask_noise: Any) -> Model:
    import torch

    settings, unet = call.settings, call.pipe.unet
    found = prompts.encode(
        call.pipe, call.request.prompt, settings.negative_prompt, settings.clip_skip, guided=settings.is_guided
    )

    def sides(*given: Any) -> Any:
        present = [side.expand(count, *side.shape[1:]) for side in given if side is not None]
        return torch.cat(present).to(unet.device, unet.dtype)

    texts, added = sides(found.positive, found.negative), None
    if found.pooled is not None:
        width, height = call.plan.canvas_width, call.plan.canvas_height
        sizes = torch.tensor([[height, width, 0, 0, height, width]], device=unet.device, dtype=unet.dtype)
        added = {
            "text_embeds": sides(found.pooled, found.negative_pooled),
            "time_ids": sizes.expand(texts.shape[0], -1),
        }
    prediction = str(call.pipe.scheduler.config.get("prediction_type", "epsilon"))
    return Model(unet, table, prediction, settings.cfg_scale, texts, added, frame, mask_noise)


def _frame(call: Call) -> Frame:
    import torch

    pipe, plan = call.pipe, call.plan
    device = pipe.unet.device
    if call.image is None:
        factor = pipe.vae_scale_factor
        channels = pipe.vae.config.latent_channels
        shape = (1, channels, plan.canvas_height // factor, plan.canvas_width // factor)
        return Frame(torch.zeros(shape, device=device))
    pixels = latents.pixels_of(pipe, call.image)
    source = latents.encode(pipe, pixels)
    if call.settings.operation is not Operation.INPAINT or call.mask is None:
        return Frame(source)
    white = _grey(call.mask)
    mask = _shrunk(white, source)
    if pipe.unet.config.in_channels == source.shape[1]:
        return Frame(source, mask)
    rest = latents.encode(pipe, pixels * (1 - white.round()))
    return Frame(source, mask, torch.cat([mask.round(), rest], dim=1))


def _grey(mask: Pillow.Image) -> Any:
    import torch

    return torch.from_numpy(np.asarray(mask, dtype=np.float32) / np.float32(255))[None, None]


def _shrunk(white: Any, source: Any) -> Any:
    import torch

    small = torch.nn.functional.interpolate(white, size=tuple(source.shape[2:]), mode="bilinear")
    return small.to(source.device)


def _pictures(pipe: Any, pixels: Any) -> list[Array]:
    if getattr(pipe, "safety_checker", None) is not None:
        _, flagged = pipe.run_safety_checker(pixels, pixels.device, pipe.unet.dtype)
        if any(flagged or ()):
            raise ContentPolicyError("the model's own safety checker refused what it drew")
    return as_pictures(pipe.image_processor.postprocess(pixels, output_type="np"))
