"""What a request to stable-diffusion.cpp asks for, in whichever of its two APIs it came, and what that draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import PIL.Image
from tests.providers.a1111 import fake_pictures as pictures
from tests.providers.a1111.fake_dialects import LISTS

if TYPE_CHECKING:
    from tests.providers.a1111.fake_server import A1111Server

ALIASES = {
    "euler a": "euler_a", "k_euler_a": "euler_a", "k_euler": "euler", "k_heun": "heun", "k_dpm_2": "dpm2",
    "ddim": "ddim_trailing", "dpm++ 2m": "dpm++2m", "k_dpmpp_2m": "dpm++2m", "dpm++ 2m sde": "dpm++2m_sde",
    "k_dpmpp_2m_sde": "dpm++2m_sde", "res multistep": "res_multistep", "res 2s": "res_2s",
}  # fmt: skip
"""What ``/sdapi`` takes besides its own names, in any case; what it doesn't know it leaves at the model's default."""


def loras(server: A1111Server) -> list[dict[str, str]]:
    return [{"name": name.rpartition("/")[2], "path": f"{name}.safetensors"} for name in server.loras]


FORMATS = ("png", "jpeg", "webp")
UPSCALERS = ("None", "Lanczos", "Nearest", *LISTS["latent_modes"])


class Brief:
    """What both APIs ask for, in one shape. Raises `Refusal`."""

    def __init__(self, server: A1111Server, body: Mapping[str, Any], *, native: bool, route: str) -> None:
        self.server, self.body, self.native = server, body, native
        defaults = LISTS["sdcpp_defaults"]
        steps = body.get("sample_params") or {} if native else body
        self.width, self.height = int(body.get("width") or 512), int(body.get("height") or 512)
        self.seed = int(body.get("seed", defaults["seed"] if native else -1))
        self.count = max(1, int(body.get("batch_count" if native else "batch_size", 1)))
        self.steps = int(steps.get("sample_steps" if native else "steps", 20))
        guidance = steps.get("guidance") or {}
        self.cfg = float(guidance.get("txt_cfg", 7.0) if native else body.get("cfg_scale", 7.0))
        self.distilled = float(guidance.get("distilled_guidance", 3.5))
        self.sampler = _sampler(str(steps.get("sample_method" if native else "sampler_name", "")))
        self.scheduler = str(steps.get("scheduler", ""))
        if self.scheduler not in LISTS["sdcpp_schedulers"]:
            self.scheduler = ""
        self.init = self._picture(body.get("init_image")) if native else None
        self.mask = self._picture(body.get("mask_image" if native else "mask"))
        if route == "img2img":
            self.init = self._picture(next(iter(body.get("init_images") or ()), None))
        strength = body.get("strength") if native else body.get("denoising_strength")
        self.strength = min(1.0, float(defaults["strength"] if strength is None else strength))
        self.hires = self._hires(native, route)
        if native and body.get("output_format", "png") not in FORMATS:
            raise Refusal(f"invalid output_format, must be one of [{', '.join(FORMATS)}]")
        if self.hires is not None and self.hires["upscaler"] not in UPSCALERS:
            raise Refusal("invalid generation parameters" if native else "invalid params")
        self.loras = self._loras(native)
        if self.seed < 0:
            self.seed = server.draw_seed()

    def _picture(self, text: Any) -> PIL.Image.Image | None:
        """What can't be read is left out without a word by ``/sdapi``, and refused by the other API."""
        found = pictures.decode(text) if isinstance(text, str) and text else None
        if found is None and text and self.native:
            raise Refusal("invalid generation parameters")
        return found

    def _hires(self, native: bool, route: str) -> dict[str, Any] | None:
        if native:
            hires = dict(LISTS["sdcpp_defaults"]["hires"]) | (self.body.get("hires") or {})
            return hires if hires["enabled"] else None
        if not self.body.get("enable_hr") or route == "img2img":
            return None
        names: dict[str, tuple[str, Any]] = {
            "scale": ("hr_scale", 2.0),
            "target_width": ("hr_resize_x", 0),
            "target_height": ("hr_resize_y", 0),
        }
        names |= {"steps": ("hr_steps", 0), "denoising_strength": ("denoising_strength", 0.7)}
        names |= {"upscaler": ("hr_upscaler", "Latent")}
        return {name: self.body.get(field, default) for name, (field, default) in names.items()}

    def _loras(self, native: bool) -> dict[str, float]:
        """By path: tags in the prompt are never read. ``/sdapi`` knows none before somebody has asked for a list."""
        known, found = {row["path"] for row in loras(self.server)}, dict[str, float]()
        for entry in self.body.get("lora") or ():
            path = entry.get("path", "")
            if path not in known or not (native or self.server.loras_listed):
                raise Refusal("invalid generation parameters" if native else f"invalid lora path: {path}")
            found[path] = found.get(path, 0.0) + float(entry.get("multiplier", 1.0))
        return found

    @property
    def size(self) -> pictures.Size:
        """Rounded up; a second pass has the last word."""
        width, height = self.width, self.height
        if self.hires is not None:
            scale = float(self.hires["scale"])
            width = int(self.hires["target_width"] or width * scale)
            height = int(self.hires["target_height"] or height * scale)
        return -(-width // 64) * 64, -(-height // 64) * 64

    @property
    def passes(self) -> list[int]:
        first = self.steps if self.init is None else max(1, int(self.steps * self.strength))
        return [first] if self.hires is None else [first, int(self.hires["steps"] or self.steps)]

    def draw(self) -> list[PIL.Image.Image]:
        what = {"model": self.server.checkpoints[0].file, "prompt": self.body.get("prompt"), "steps": self.steps}
        what |= {"negative_prompt": self.body.get("negative_prompt", ""), "cfg": self.cfg, "guidance": self.distilled}
        what |= {"sampler": self.sampler, "scheduler": self.scheduler, "loras": self.loras, "hires": self.hires}
        what |= {"clip_skip": max(0, int(self.body.get("clip_skip", -1))), "strength": self.init and self.strength}
        drawn = [pictures.paint(what | {"seed": self.seed + index}, self.size) for index in range(self.count)]
        if self.init is None:
            return drawn
        return [pictures.kept_roughly(picture, self.init, self.mask, self.strength) for picture in drawn]

    def text(self, seed: int) -> str:
        negative = f"Negative prompt: {self.body['negative_prompt']}\n" if self.body.get("negative_prompt") else ""
        parts = f"Steps: {self.steps}, CFG scale: {self.cfg:.6f}, Guidance: {self.distilled:.6f}, Eta: inf"
        parts += f", Seed: {seed}, Size: {self.width}x{self.height}, Model: {self.server.checkpoints[0].file}"
        sampler = f"{self.sampler} {self.scheduler}".strip()
        return f"{self.body.get('prompt', '')}\n{negative}{parts}, RNG: cuda, Sampler: {sampler}, Version: {VERSION}"


VERSION = "stable-diffusion.cpp"


class Refusal(Exception):
    """400, with this text."""


def _sampler(name: str) -> str:
    if name in LISTS["sdcpp_samplers"]:
        return name
    return ALIASES.get(name.lower(), name.lower() if name.lower() in LISTS["sdcpp_samplers"] else "euler_a")
