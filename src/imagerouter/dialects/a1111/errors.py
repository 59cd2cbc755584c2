"""Failures in the shape of this API: ``{error, detail, body, errors}``.

Where a field is at fault, the status is 422 and ``detail`` a list of ``{loc, msg, type}``, as FastAPI has it. The
sentence for people is in ``errors`` every time, where the real server has it for what goes wrong inside.
"""

from __future__ import annotations

import re
from typing import Any

from imagerouter.errors import ImageRouterError, InvalidParameterError, InvalidRequestError, UnknownParameterError

NAMES = {
    "n": "batch_size*n_iter",
    "guidance": "distilled_cfg_scale",
    "sampler": "sampler_name",
    "strength": "denoising_strength",
    "hires": "enable_hr",
    "hires.scale": "hr_scale",
    "hires.steps": "hr_second_pass_steps",
    "hires.strength": "denoising_strength",
    "hires.upscaler": "hr_upscaler",
    "images": "init_images",
    "loras": "prompt",
    "model": "override_settings.sd_model_checkpoint",
    "vae": "override_settings.sd_vae",
    "clip_skip": "override_settings.CLIP_stop_at_last_layers",
    "output_format": "override_settings.samples_format",
    "output_compression": "override_settings.jpeg_quality",
}
"""Parameter → the field that says it here."""
_OPTION = re.compile(r"provider\.options\.(?:a1111\.)?")


def as_sent(error: ImageRouterError) -> ImageRouterError:
    """The same error, about the field that the client has sent."""
    param = _OPTION.sub("", error.param or "")
    field = NAMES.get(param) or NAMES.get(re.split(r"[.\[]", param, maxsplit=1)[0])
    error.message = _OPTION.sub("", error.message)
    error.param = param or None
    if field is not None and field != param:
        error.param, error.message = field, f"{error.message} (sent as `{field}`)"
    return error


def status(error: ImageRouterError) -> int:
    is_field = isinstance(error, InvalidParameterError | UnknownParameterError) or type(error) is InvalidRequestError
    return 422 if is_field and error.status == 400 else error.status


def body(error: ImageRouterError) -> dict[str, Any]:
    # A backend's words may hold what no JSON can.
    message = error.message.encode(errors="replace").decode()
    detail: Any = message
    if status(error) == 422:
        place = ["body", *re.findall(r"[^.\[\]]+", error.param or "")]
        detail = [{"loc": place, "msg": message, "type": f"value_error.{error.code or 'jsondecode'}"}]
    return {"error": type(error).__name__, "detail": detail, "body": "", "errors": message}
