"""What a job comes to: how many steps, which pictures, and what is told of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import PIL.Image
from tests.providers.a1111 import fake_pictures as pictures
from tests.providers.a1111.fake_dialects import LISTS, Failure
from tests.providers.a1111.fake_info import info_of, infotext
from tests.providers.a1111.fake_samplers import AUTOMATIC, resolve

if TYPE_CHECKING:
    from tests.providers.a1111.fake_jobs import Job
    from tests.providers.a1111.fake_server import A1111Server

TAG = re.compile(r"<(\w+):([^>]+)>")

DRAWING_FIELDS = (
    "negative_prompt", "steps", "cfg_scale", "eta", "s_churn", "s_tmax", "s_tmin", "s_noise", "s_min_uncond",
    "tiling", "restore_faces", "styles", "seed_resize_from_h", "seed_resize_from_w", "clip_skip", "subseed_strength",
    "refiner_checkpoint", "refiner_switch_at", "script_name", "script_args", "alwayson_scripts", "distilled_cfg_scale",
    "image_cfg_scale", "guidance_scale", "guidance_rescale", "cfg_end", "cfg_true", "vae_type", "detailer_enabled",
    "initial_noise_multiplier",
)  # fmt: skip
"""Fields that draw, apart from those that need a look."""

DRAWING_SETTINGS = (
    "CLIP_stop_at_last_layers", "comma_padding_backtrack", "emphasis", "enable_quantization", "eta_ancestral",
    "eta_ddim", "eta_noise_seed_delta", "img2img_extra_noise", "img2img_fix_steps", "initial_noise_multiplier",
    "randn_source", "s_churn", "s_min_uncond", "s_noise", "sgm_noise_multiplier", "token_merging_ratio", "tiling",
    "token_merging_ratio_hr", "token_merging_ratio_img2img", "schedulers_sigma", "prompt_attention", "sigma_max",
)  # fmt: skip


@dataclass
class Plan:
    """A job with its settings in force and its checkpoint loaded. ``what`` is all that its pictures depend on."""

    server: A1111Server
    job: Job
    what: dict[str, Any]
    sampler: tuple[str, str]
    size: pictures.Size
    final: pictures.Size
    """After the second pass."""
    passes: tuple[int, ...]
    """Steps of each pass."""
    seeds: list[int]
    extra: dict[str, Any] = field(default_factory=dict)
    """``extra_generation_params``."""

    def batch(self, index: int, cut_at: int | None) -> list[PIL.Image.Image]:
        """The pictures of one iteration; of one that ended early, after ``cut_at`` steps, what was there by then."""
        count = int(self.job.params["batch_size"])
        ended = {} if cut_at is None else {"cut": cut_at}
        seeds = self.seeds[index * count : (index + 1) * count]
        return [self._picture(self.what | ended | {"seed": seed}) for seed in seeds]

    def _picture(self, what: dict[str, Any]) -> PIL.Image.Image:
        drawn = pictures.paint(what, self.final)
        params = self.job.params
        if self.job.route != "img2img":
            return drawn
        init = pictures.decode(next(iter(params["init_images"]), ""))
        if init is None:
            return drawn  # SD.Next makes do without
        if self.server.quirks.name == "sdnext" and not params["resize_mode"]:
            drawn = drawn.resize(init.size)  # what was asked for counts for nothing
        mask = pictures.decode(params["mask"]) if params.get("mask") else None
        if mask is not None:
            blur = params["mask_blur"] if params["mask_blur"] is not None else params.get("mask_blur_x", 0)
            mask = pictures.mask_of(mask, bool(params["inpainting_mask_invert"]), blur)
        return pictures.edited(drawn, init, mask, params)

    def results(
        self, drawn: list[PIL.Image.Image], stamp: str
    ) -> tuple[list[PIL.Image.Image], list[str | None], dict[str, Any]]:
        """Pictures, the text that each of their files keeps, and ``info``. A sheet of all comes first, if saved."""
        texts = [infotext(self, seed) for seed in self.seeds[: max(1, len(drawn))]]
        first = 0
        if self.job.params.get("save_images") and len(drawn) > 1 and self.server.settings.get("return_grid", True):
            drawn, texts, first = [pictures.grid(drawn), *drawn], [texts[0], *texts], 1
        keeps = self.server.settings.get("enable_pnginfo", True)
        kept = [text if keeps else None for text in texts[: len(drawn)]]
        return drawn, kept, info_of(self, texts, first, stamp)


def plan(server: A1111Server, job: Job) -> Plan:
    """Raises `Failure` where a server's own code falls over."""
    params = job.params
    _check(server, job)
    sampler = resolve(server.quirks, params.get("sampler_name") or params["sampler_index"], params.get("scheduler"))
    size = (_whole(params["width"]), _whole(params["height"]))
    seed = server.draw_seed() if params["seed"] in (None, -1) else int(params["seed"])
    count = int(params["n_iter"]) * int(params["batch_size"])
    step = 0 if params.get("subseed_strength") else 1
    known = {} if server.quirks.name == "sdnext" or sampler[1] in ("", AUTOMATIC) else {"Schedule type": sampler[1]}
    todo = Plan(
        server, job, _what(server, job, sampler), sampler, size, size, (int(params["steps"]),),
        [seed + step * index for index in range(count)],
        known,
    )  # fmt: skip
    if params.get("enable_hr") and job.route == "txt2img":
        _second_pass(todo)
    if job.route == "img2img":
        _from_picture(todo)
    return todo


def _whole(side: int) -> int:
    return max(8, int(side) // 8 * 8)


def _check(server: A1111Server, job: Job) -> None:
    params, is_next = job.params, server.quirks.name == "sdnext"
    if params["steps"] == 0 and not is_next:
        raise Failure("ZeroDivisionError", "integer division or modulo by zero")
    if params["steps"] < 0 and not is_next:
        raise Failure("RuntimeError", "number of steps must be non-negative")
    if not params["batch_size"] or not params["n_iter"]:
        raise Failure("IndexError", "list index out of range")
    for field_name in ("refiner_checkpoint", "hr_checkpoint_name"):
        wanted = params.get(field_name)
        if wanted and server.find(wanted) is None:
            raise Failure("Exception", f"Could not find checkpoint with name {wanted}")
    if job.route == "img2img" and not params["init_images"] and not is_next:
        message = "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [0]"
        raise Failure("RuntimeError", message)


def _what(server: A1111Server, job: Job, sampler: tuple[str, str]) -> dict[str, Any]:
    prompt, loras = str(job.params["prompt"]), dict[str, float]()
    for kind, rest in TAG.findall(prompt):
        name, _, weight = rest.partition(":")
        if kind == "lora" and name in server.loras:
            loras[name] = loras.get(name, 0.0) + float(weight.partition(":")[0] or 1)
    assert server.resident is not None
    what: dict[str, Any] = {
        "model": server.resident.file,
        "prompt": TAG.sub("", prompt).strip(),
        "sampler": sampler,
        "loras": loras,
    }
    what |= {"vae": server.vae, "modules": server.modules}
    what |= {name: job.params[name] for name in DRAWING_FIELDS if name in job.params}
    if job.params.get("subseed_strength"):
        what["subseed"] = job.params["subseed"]
    return what | {"settings": {name: server.settings.get(name) for name in DRAWING_SETTINGS}}


def _second_pass(todo: Plan) -> None:
    """``calculate_target_resolution``, and what goes wrong before it."""
    server, params = todo.server, todo.job.params
    is_next = server.quirks.name == "sdnext"
    strength, upscaler = params.get("hr_denoising_strength") or params["denoising_strength"], params["hr_upscaler"]
    if not is_next and upscaler is not None and upscaler not in server.upscalers + LISTS["latent_modes"]:
        raise Failure("Exception", f"could not find upscaler named {upscaler}")
    if strength is None:
        raise Failure("TypeError", "'>' not supported between instances of 'NoneType' and 'int'")
    (width, height), x, y = (int(params["width"]), int(params["height"])), params["hr_resize_x"], params["hr_resize_y"]
    if not x and not y:
        target = (int(width * params["hr_scale"]), int(height * params["hr_scale"]))
        todo.extra["Hires upscale"] = params["hr_scale"]
    else:
        target = (x or y * width // height, y or x * height // width)
        todo.extra["Hires resize"] = f"{x}x{y}"
    steps = params["hr_second_pass_steps"] or params["steps"]
    todo.extra |= {"Denoising strength": strength, "Hires prompt": None, "Hires negative prompt": None}
    todo.extra |= {"Hires schedule type": None, "Hires upscaler": upscaler}
    if params["hr_second_pass_steps"]:
        todo.extra["Hires steps"] = steps
    if is_next and not params["hr_resize_mode"]:
        target = todo.size  # SD.Next enlarges nothing unless it is told how
    todo.final = (_whole(target[0]), _whole(target[1]))
    todo.passes = (*todo.passes, int(steps))
    todo.what["hires"] = [target, strength, steps, upscaler, params.get("hr_prompt"), params.get("hr_sampler_name")]


def _of_mask(params: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a mask."""
    blur = params["mask_blur"] if params["mask_blur"] is not None else params.get("mask_blur_x")
    told = {"Mask mode": "Inpaint not masked"} if params["inpainting_mask_invert"] else {}
    told |= {"Mask blur": blur} if blur else {}
    if params["inpaint_full_res"]:
        told |= {"Inpaint area": "Only masked", "Masked area padding": params["inpaint_full_res_padding"]}
    contents = {0: "fill", 2: "latent noise", 3: "latent nothing"}
    filled = contents.get(params["inpainting_fill"])
    return told | ({"Masked content": filled} if filled else {})


def _from_picture(todo: Plan) -> None:
    params = todo.job.params
    strength = float(params["denoising_strength"])
    todo.extra["Denoising strength"] = strength
    if params.get("mask"):
        todo.extra |= _of_mask(params)
    fixed = todo.server.settings.get("img2img_fix_steps")
    todo.passes = (int(params["steps"]) if fixed else int(min(strength, 0.999) * params["steps"]) + 1,)
    todo.what["strength"] = strength
    names = ("resize_mode", "inpainting_fill", "inpaint_full_res", "inpaint_full_res_padding", "inpainting_mask_invert")
    todo.what["edit"] = json.dumps([params[name] for name in names] if params.get("mask") else params["resize_mode"])
