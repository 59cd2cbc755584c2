"""A request of this API as the fields of one of the images API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagerouter.dialects.a1111 import prompts
from imagerouter.dialects.a1111.body import Body, Drawing, Img2Img, Txt2Img
from imagerouter.dialects.a1111.options import HIRES_PROMPTS, SETTINGS, options_of
from imagerouter.dialects.a1111.settings import DEFAULTS, FORMATS, MODEL, checked
from imagerouter.errors import InvalidParameterError

SIDE = 512
"""Of a picture, where only the other side is given."""
UNSAID_SCHEDULERS = ("", "automatic", "use same scheduler")
"""Leave the choice to the sampler."""
UNSAID_VAES = ("", "automatic", "none")
"""The one that belongs to the model."""
_IDLE: Mapping[str, tuple[Any, ...]] = {
    "disable_extra_networks": (False,),
    "firstpass_image": ("",),
    "firstphase_width": (0,),
    "firstphase_height": (0,),
    "infotext": ("",),
    "latent_mask": ("",),
    "mask_round": (True,),
    "resize_mode": (0, 1),  # 0, which stretches, is what clients send who say nothing; 1 is what is done
    "save_images": (False,),
    "script_name": ("",),
}
"""Fields that change something on the real server and nothing here, with the values that ask for nothing."""


@dataclass(frozen=True, slots=True)
class Translated:
    """What the images API understands of a request."""

    fields: dict[str, Any]
    ignored: tuple[str, ...] = field(default=())
    """What was asked for and can't be had, whoever serves it."""


def translated(body: Body[Any], settings: Mapping[str, Any]) -> Translated:
    """:param settings: the sender's own; the request's ``override_settings`` go before them.

    Raises `InvalidParameterError` with the field's own name as ``param``.
    """
    request: Drawing = body.request
    read, negative = prompts.read(request.prompt), prompts.stripped(request.negative_prompt, "negative_prompt")
    fields = {
        "prompt": read.prompt,
        "negative_prompt": negative.prompt or None,
        "n": request.n,
        "seed": request.seed,
        "steps": request.steps,
        "cfg_scale": request.cfg_scale,
        "guidance": request.distilled_cfg_scale,
        "sampler": request.sampler_name or (request.sampler_index if "sampler_index" in body.sent else None),
        "scheduler": _unless(request.scheduler, UNSAID_SCHEDULERS),
        "loras": None if request.disable_extra_networks else _loras(read),
        # Whoever speaks this dialect expects the pictures of a server that does.
        "parity": "off",
        **_size(request),
        **_settings({**settings, **_said_beside(request), **_overrides(request)}),
    }
    if isinstance(request, Txt2Img) and request.enable_hr:
        fields["hires"] = _hires(request, fields)
    if isinstance(request, Img2Img):
        fields |= _pictures(request)
    if further := options_of(body):
        fields["provider"] = {"options": {"a1111": further}}
    said = {name: value for name, value in fields.items() if value is not None}
    return Translated(said, (*read.ignored, *negative.ignored, *_idle(body)))


def _loras(read: prompts.Read) -> list[dict[str, Any]] | None:
    return [{"name": name, "weight": weight} for name, weight in read.loras] or None


def _unless(value: str | None, nothing: tuple[str, ...]) -> str | None:
    return None if value is None or value.strip().casefold() in nothing else value


def _overrides(request: Drawing) -> dict[str, Any]:
    """Those that have a parameter, checked."""
    sent = request.override_settings or {}
    try:
        return {name: checked(name, sent[name]) for name in (MODEL, *DEFAULTS) if sent.get(name) is not None}
    except InvalidParameterError as error:
        param = f"override_settings.{error.param}"
        raise InvalidParameterError(error.message.replace(f"`{error.param}`", f"`{param}`", 1), param=param) from None


def _said_beside(request: Drawing) -> dict[str, Any]:
    """Settings that relatives have as fields."""
    beside = {"CLIP_stop_at_last_layers": request.clip_skip, MODEL: request.sd_model_checkpoint}
    return {name: value for name, value in beside.items() if value is not None}


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    output_format = FORMATS[settings.get("samples_format", "png").casefold().strip(".")]
    quality = settings.get("jpeg_quality", DEFAULTS["jpeg_quality"])
    return {
        "model": settings.get(MODEL) or None,
        "vae": _unless(settings.get("sd_vae"), UNSAID_VAES),
        # 0 skips nothing, like 1 and like no word about it.
        "clip_skip": settings.get("CLIP_stop_at_last_layers") or None,
        # Clients take what they get for PNG.
        "output_format": output_format,
        "output_compression": quality if output_format == "jpeg" else None,
    }


def _size(request: Drawing) -> dict[str, int | None]:
    width, height = request.width, request.height
    if width is None and height is None:
        return {}
    return {"width": SIDE if width is None else width, "height": SIDE if height is None else height}


def _hires(request: Txt2Img, fields: dict[str, Any]) -> dict[str, Any]:
    scale = request.hr_scale
    if request.hr_resize_x > 0 or request.hr_resize_y > 0:
        # The size that it grows to says how much only together with the one that it has.
        fields.setdefault("width", SIDE)
        fields.setdefault("height", SIDE)
        scale = max(request.hr_resize_x / max(fields["width"], 1), request.hr_resize_y / max(fields["height"], 1))
    upscaler = request.hr_upscaler
    return {
        "scale": scale,
        "steps": request.hr_second_pass_steps or None,
        "strength": request.denoising_strength,
        # Without one the real server enlarges by Lanczos's method (``modules/images.py``: ``resize_image``).
        "upscaler": "Lanczos" if upscaler == "None" else upscaler or None,
    }


def _pictures(request: Img2Img) -> dict[str, Any]:
    if not request.init_images:
        message = "Init image not found: `init_images` must hold a picture as base64 or data URL"
        raise InvalidParameterError(message, param="init_images")
    if 1 < len(request.init_images) <= request.batch_size:
        # The real server begins each picture of the batch with another one, and refuses more than the batch has.
        message = (
            "`init_images`: send the pictures of a batch one by one; to have all of them in each picture, as "
            "references, ask for more with `n_iter` and leave `batch_size` at 1"
        )
        raise InvalidParameterError(message, param="init_images")
    found: dict[str, Any] = {"images": request.init_images, "strength": request.denoising_strength}
    return {**found, "mask": request.mask, "mask_channel": "white"} if request.mask else found


def _idle(body: Body[Any]) -> list[str]:
    """What was asked for and has no effect, by name."""
    names = [name for name in _IDLE if name in body.sent and getattr(body.request, name) not in _IDLE[name]]
    request = body.request
    if isinstance(request, Txt2Img) and request.enable_hr and request.hr_resize_x and request.hr_resize_y:
        names.append("hr_resize_y" if _is_other_shape(request) else "")
    names += _hires_tags(request)
    overrides = request.override_settings or {}
    names += [f"override_settings.{name}" for name in overrides if name not in (MODEL, *DEFAULTS, *SETTINGS)]
    return [name for name in (*names, *body.unknown) if name]


def _hires_tags(request: Drawing) -> list[str]:
    """Tags in prompts of a second pass, unless the first one's say the same."""
    found: list[str] = []
    if isinstance(request, Txt2Img) and request.enable_hr:
        for name, own in HIRES_PROMPTS.items():
            text = getattr(request, name)
            found += prompts.stripped(text, name).ignored if text != getattr(request, own) else ()
    return found


def _is_other_shape(request: Txt2Img) -> bool:
    """Whether the second pass would have to cut something off."""
    width, height = request.width or SIDE, request.height or SIDE
    return abs(request.hr_resize_x * height - request.hr_resize_y * width) > max(width, height)
