"""The bodies of ``/sdapi/v1/txt2img`` and ``/sdapi/v1/img2img``, with the defaults that are told in the answer.

A number may be written as a text, as pydantic reads it, and ``null`` is the default. Where the canonical request has
a field, absent (``None``) means what it means there, the model's own, even where the real server has a number: its
50 steps at 512x512 suit few models of a fleet.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from imagerouter.errors import InvalidParameterError, InvalidRequestError
from imagerouter.suggest import shortened

_Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Count = Annotated[int, Meta(ge=1, le=10_000)]
_Seed = Annotated[int, Meta(ge=-1, le=2**63 - 1)]


class Drawing(msgspec.Struct, kw_only=True):
    """What both have in common."""

    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] | None = None
    seed: _Seed = -1
    subseed: _Seed = -1
    subseed_strength: float = 0
    seed_resize_from_h: _Int = -1
    seed_resize_from_w: _Int = -1
    sampler_name: str | None = None
    scheduler: str | None = None
    batch_size: _Count = 1
    n_iter: _Count = 1
    steps: _Int | None = None
    cfg_scale: float | None = None
    distilled_cfg_scale: float | None = None
    width: _Int | None = None
    height: _Int | None = None
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    eta: float | None = None
    denoising_strength: float | None = None
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool = False
    firstpass_image: str | None = None
    comments: Any = None
    force_task_id: str | None = None
    sampler_index: str = "Euler"
    script_name: str | None = None
    script_args: list[Any] = []
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: dict[str, Any] = {}
    infotext: str | None = None
    clip_skip: _Int | None = None
    """SD.Next's, and stable-diffusion.cpp's."""
    sd_model_checkpoint: str | None = None
    """SD.Next's."""

    @property
    def n(self) -> int:
        """Pictures: what is drawn at once, so many times."""
        return self.batch_size * self.n_iter


class Txt2Img(Drawing, kw_only=True):
    enable_hr: bool = False
    firstphase_width: _Int = 0
    firstphase_height: _Int = 0
    hr_scale: float = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: _Int = 0
    hr_resize_x: _Int = 0
    hr_resize_y: _Int = 0
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    hr_cfg: float | None = None
    hr_distilled_cfg: float | None = None


class Img2Img(Drawing, kw_only=True):
    init_images: list[str] | None = None
    denoising_strength: float | None = 0.75
    resize_mode: _Int = 0
    image_cfg_scale: float | None = None
    mask: str | None = None
    mask_blur_x: _Int = 4
    mask_blur_y: _Int = 4
    mask_blur: _Int | None = None
    mask_round: bool = True
    inpainting_fill: _Int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: _Int = 0
    inpainting_mask_invert: _Int = 0
    initial_noise_multiplier: float | None = None
    latent_mask: str | None = None
    include_init_images: bool = False


FORKS = frozenset("clip_skip distilled_cfg_scale hr_cfg hr_distilled_cfg sd_model_checkpoint".split())
"""Fields that only relatives of the real server have; told in an answer only to those who sent them."""

D = TypeVar("D", bound=Drawing)

_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
_MISFIT = re.compile(r"Expected `(\w+)(?: \| null)?`(.*?)(?:, got `.*`)?")
_KINDS = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "array": "a list",
    "object": "an object",
}
_LEFT_EMPTY = frozenset({"seed", "subseed"})
"""Numbers that clients send as an empty text to say nothing."""


@dataclass(frozen=True, slots=True)
class Body(Generic[D]):
    """A body as it was understood."""

    request: D
    sent: frozenset[str]
    """Names of the fields that it says something about."""
    unknown: tuple[str, ...] = ()
    """Names of others, which mean nothing here."""


def understood(fields: Mapping[str, Any], kind: type[D]) -> Body[D]:
    """Raises `InvalidParameterError`, whose ``param`` is the field's name."""
    said = {
        name: value for name, value in fields.items() if value is not None and not (value == "" and name in _LEFT_EMPTY)
    }
    sent = said.keys() & {*kind.__struct_fields__}
    try:
        request = msgspec.convert({name: _plain(said[name]) for name in sent}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None
    except RecursionError:
        raise InvalidRequestError("The body is nested too deeply") from None
    for name in sent:
        value = getattr(request, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidParameterError(f"Invalid value for `{name}`: it must be a finite number", param=name)
    return Body(request, frozenset(sent), tuple(name for name in said if name not in sent))


def _plain(value: Any) -> Any:
    """``true`` where a number belongs is 1, and ``4.0`` is 4, as in Python."""
    if isinstance(value, bool):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _explained(message: str) -> InvalidParameterError:
    match = _PLACE.search(message)
    place = shortened(match[1] if match else "")
    reason = _PLACE.sub("", message)
    if misfit := _MISFIT.fullmatch(reason):
        reason = f"it must be {_KINDS.get(misfit[1], misfit[1])}{misfit[2]}"
    return InvalidParameterError(f"Invalid value for `{place}`: {shortened(reason)}", param=place)
