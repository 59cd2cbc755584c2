"""What a server says when it fails, in the words of the client's own parameters.

Every member of the family has its own shape for it: ``api_middleware`` in AUTOMATIC1111's ``modules/api/api.py``,
``modules/api/middleware.py`` of SD.Next, ``routes_sdapi.cpp`` of stable-diffusion.cpp, and FastAPI's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from imagerouter import (
    GenerationError,
    ImageRouterError,
    MisconfiguredError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderRejectedError,
)
from imagerouter.http import Answer, presentable, status_error
from imagerouter_a1111.api import json_of
from imagerouter_a1111.recipe import Order

_NAMELESS = ("", "Exception", "HTTPException", "RuntimeError", "server_error")
"""Kinds of failure that say nothing which their message doesn't."""
_OWN_STATUS = (401, 403, 408, 502, 503, 504)
"""Statuses that say enough by themselves, whatever the body is."""
_LONGEST = 400
_LONGEST_READ = 4000
"""Characters that are passed on, and that are looked at."""
_ECHO = 24
"""Characters of a prompt from which on it isn't repeated."""

_OUT_OF_MEMORY = re.compile(r"out ?of ?memory", re.IGNORECASE)
_FROZEN = re.compile(r"changing settings is disabled|not possible to set", re.IGNORECASE)
_NO_CHECKPOINT = re.compile(r"could not find checkpoint|\bmodel '.*' not found", re.IGNORECASE)
_SETTING = re.compile(r"'(\w+)'")
_OUR_SETTINGS = frozenset(
    "CLIP_stop_at_last_layers enable_pnginfo forge_additional_modules k_sched_type schedulers_sigma "
    "sd_model_checkpoint sd_vae".split()
)

_BLAMED = (
    (re.compile(r"sampler not found|does not accept (sigmas|timesteps)", re.IGNORECASE), "sampler"),
    (re.compile(r"\bupscaler\b", re.IGNORECASE), "hires.upscaler"),
    (re.compile(r"init image|invalid encoded image", re.IGNORECASE), "images[0]"),
    (re.compile(r"lora\b.*\bpath|lora\.path", re.IGNORECASE), "loras"),
    (re.compile(r"prompt required", re.IGNORECASE), "prompt"),
)
_PARAMETER_OF = {
    "cfg_scale": "cfg_scale",
    "clip_skip": "clip_skip",
    "denoising_strength": "strength",
    "distilled_cfg_scale": "guidance",
    "height": "height",
    "hr_second_pass_steps": "hires.steps",
    "hr_upscaler": "hires.upscaler",
    "init_images": "images[0]",
    "mask": "mask",
    "negative_prompt": "negative_prompt",
    "prompt": "prompt",
    "sampler_name": "sampler",
    "scheduler": "scheduler",
    "seed": "seed",
    "steps": "steps",
    "width": "width",
}
"""Field of the server's request → the parameter it was made of."""


@dataclass(frozen=True)
class _Complaint:
    kind: str = ""
    """Name of the exception, where it is told."""
    words: str = ""
    field: str = ""
    """Of the server's request, if it is the form of one that is wrong."""


def failed(provider: str, answer: Answer, order: Order) -> ImageRouterError:
    """The error for an answer that isn't 2xx."""
    complaint = _without_prompts(_complaint(answer), order)
    words = presentable(f"{complaint.field}: {complaint.words}" if complaint.field else complaint.words, _LONGEST)
    if _OUT_OF_MEMORY.search(f"{complaint.kind} {complaint.words}"):
        return OutOfMemoryError(f"provider `{provider}` has too little memory for this request")
    if answer.status_code in _OWN_STATUS or 300 <= answer.status_code < 400:
        return status_error(answer, provider, words)
    if answer.status_code == 429:
        return status_error(answer, provider)  # its words are addresses
    if (
        answer.status_code in (404, 405)
        and not complaint.kind
        and complaint.words in ("", "Not Found", "Method Not Allowed")
    ):
        return MisconfiguredError(
            f"provider `{provider}` runs without its API: start it with `--api`, or correct its base_url"
        )
    return _about_a_name(provider, complaint, words, order) or _about_the_rest(
        provider, answer, complaint, words, order
    )


def _about_a_name(provider: str, complaint: _Complaint, words: str, order: Order) -> ImageRouterError | None:
    """The error if the server lacks a checkpoint, or a setting can't be changed."""
    if _NO_CHECKPOINT.search(complaint.words):
        for option in ("refiner_checkpoint", "hr_checkpoint_name"):
            if (named := order.options.get(option)) and str(named) in complaint.words:
                return _rejected(provider, words, f"provider.options.{option}")
        return ModelNotFoundError(f"provider `{provider}` has no model `{order.request.model}` any more", param="model")
    if _FROZEN.search(complaint.words):
        return MisconfiguredError(f"provider `{provider}` doesn't let its settings be changed: {words}")
    found = _SETTING.fullmatch(complaint.words) if complaint.kind == "KeyError" else None
    return _no_setting(provider, found[1], order) if found is not None else None


def _no_setting(provider: str, name: str, order: Order) -> ImageRouterError | None:
    if name in order.options.get("override_settings", {}):
        return _rejected(provider, f"there is no setting `{name}`", "provider.options.override_settings")
    if name in _OUR_SETTINGS or name in order.recipe.entry.settings:
        return MisconfiguredError(f"provider `{provider}` has no setting `{name}`, which this model is drawn with")
    return None


def _about_the_rest(provider: str, answer: Answer, complaint: _Complaint, words: str, order: Order) -> ImageRouterError:
    param = _blamed(complaint, order)
    if answer.status_code < 500 or param is not None:
        return _rejected(provider, words or f"HTTP {answer.status_code}", param)
    is_told = complaint.kind in (*_NAMELESS, complaint.words)
    kind = "" if is_told else f" ({presentable(complaint.kind, 60)})"
    return GenerationError(f"provider `{provider}` failed to draw it: {words or f'HTTP {answer.status_code}'}{kind}")


def _rejected(provider: str, words: str, param: str | None) -> ImageRouterError:
    about = f"`{param}`: " if param is not None else ""
    return ProviderRejectedError(f"{about}provider `{provider}` rejected it: {words}", param=param)


def _blamed(complaint: _Complaint, order: Order) -> str | None:
    """The client's own parameter that a complaint is about."""
    if complaint.field in order.options:
        return f"provider.options.{complaint.field}"
    if "script" in complaint.words.lower():
        return _script(complaint.words, order)
    named = (parameter for pattern, parameter in _BLAMED if pattern.search(complaint.words))
    param = _PARAMETER_OF.get(complaint.field) or next(named, None)
    if param == "strength" and order.hires is not None:
        param = "hires.strength"
    is_clients = param is not None and (param == "prompt" or re.split(r"[.\[]", param)[0] in order.request.parameters)
    return param if is_clients else None


def _script(words: str, order: Order) -> str | None:
    lowered = words.lower()
    always = order.options.get("alwayson_scripts") or {}
    if any(str(name).lower() in lowered for name in always) or (always and "always" in lowered):
        return "provider.options.alwayson_scripts"
    return "provider.options.script_name" if order.options.get("script_name") else None


def _without_prompts(complaint: _Complaint, order: Order) -> _Complaint:
    """A prompt that is repeated says nothing about what went wrong, and may be of any length."""
    words = complaint.words
    for written in (order.request.prompt, order.request.negative_prompt):
        if written and len(written) >= _ECHO:
            words = words.replace(written, "…")
    return replace(complaint, words=words[:_LONGEST_READ])


def _complaint(answer: Answer) -> _Complaint:
    found = json_of(answer)
    if isinstance(found, str):
        return _Complaint(words=found)
    if not isinstance(found, dict):
        text = answer.content.decode(errors="replace").strip()
        return _Complaint(words="" if text.startswith("<") or found is not None else text)
    kind, detail = found.get("error"), found.get("detail")
    kind = kind if isinstance(kind, str) else ""
    said = next((text for key in ("errors", "message") if (text := _text(found.get(key)))), "")
    if said:
        return _Complaint(kind, re.sub(rf"^{answer.status_code}: ", "", said))
    if isinstance(detail, list):
        return _invalid(detail)
    if isinstance(detail, dict):
        return _Complaint(kind, _text(detail.get("msg")))
    return _Complaint(kind, _text(detail) or kind)


def _invalid(detail: list[Any]) -> _Complaint:
    """FastAPI's list of what doesn't fit; the first is told, without the value that came."""
    first = detail[0] if detail and isinstance(detail[0], dict) else {}
    place = first.get("loc")
    names = [name for name in place[1:] if isinstance(name, str)] if isinstance(place, list) else []
    return _Complaint("RequestValidationError", _text(first.get("msg")), names[0] if names else "")


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
