"""Request bytes → `Job` and `Delivery`, or an error that names the parameter and what would be valid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from imagerouter import samplers
from imagerouter.config import Limits
from imagerouter.errors import InvalidParameterError, InvalidRequestError, UnknownParameterError
from imagerouter.jobs import Job, Preferences
from imagerouter.openai.body import FIELDS, INERT, VALID, GenerationBody
from imagerouter.openai.fields import canonical, shape
from imagerouter.openai.inputs import picture
from imagerouter.parameters import CANONICAL_OF
from imagerouter.suggest import did_you_mean

_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_SIZE = re.compile(r"(\d{1,6})\s*[xX]\s*(\d{1,6})")
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*[:/]\s*(\d+(?:\.\d+)?)")
_PASSED_ON = (
    "negative_prompt steps cfg_scale guidance sampler scheduler strength clip_skip vae loras hires "
    "quality style background width height"
).split()


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the client wants its pictures handed over; nothing that a provider would see."""

    stream: bool = False
    progress: bool = False
    as_url: bool = False
    output_format: str | None = None
    compression: int | None = None
    warnings: tuple[str, ...] = ()
    """Keys of the request that mean nothing here."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the images API, understood."""

    job: Job
    delivery: Delivery = field(default_factory=Delivery)


def parse(raw: bytes, limits: Limits) -> Call:
    """Read one JSON body. Raises only subclasses of `InvalidRequestError`."""
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"The body is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidRequestError("The body is nested too deeply") from None
    if not isinstance(fields, dict):
        raise InvalidRequestError("The body must be a JSON object")
    return interpret(fields, limits)


def interpret(fields: Mapping[str, Any], limits: Limits) -> Call:
    """The same from decoded fields, whatever they came from."""
    known, unknown, origin = canonical(fields)
    try:
        return _understand(known, unknown, limits)
    except InvalidParameterError as error:
        name = re.split(r"[.\[]", error.param or "", maxsplit=1)[0]
        if (sent := origin.get(name, name)) != name:
            raise InvalidParameterError(f"{error.message} (sent as `{sent}`)", param=sent) from None
        raise


def _understand(known: dict[str, Any], unknown: list[str], limits: Limits) -> Call:
    body = _convert(known)
    warnings = tuple(name for name in unknown if name not in INERT)
    if body.strict and warnings:
        name = warnings[0]
        raise UnknownParameterError(f"Unknown parameter `{name}`{did_you_mean(name, FIELDS)}", param=name)
    _check_limits(body, limits)
    delivery = Delivery(
        stream=body.stream,
        progress=body.stream_progress,
        as_url=body.response_format == "url",
        output_format="jpeg" if body.output_format == "jpg" else body.output_format,
        compression=body.output_compression,
        warnings=warnings + _unused_preferences(body),
    )
    return Call(_job(body), delivery)


def _convert(known: dict[str, Any]) -> GenerationBody:
    if "prompt" not in known:
        raise InvalidParameterError("Missing required parameter: `prompt`", param="prompt")
    try:
        return msgspec.convert(known, GenerationBody)
    except msgspec.ValidationError as error:
        raise _explained(str(error), known) from None


def _explained(message: str, known: Mapping[str, Any]) -> InvalidParameterError:
    """Msgspec's "Expected `int`, got `str` - at `$.steps`" in the client's terms."""
    match = _PATH.search(message)
    path = match[1] if match else ""
    reason = _PATH.sub("", message)
    name = re.split(r"[.\[]", path, maxsplit=1)[0]
    valid = VALID.get(name) if path == name else None
    got = _short(known.get(name))
    if valid:
        return InvalidParameterError(f"Invalid value for `{path}`: it must be {valid}, not {got}", param=path)
    return InvalidParameterError(f"Invalid value for `{path}`: {reason}", param=path)


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode() if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else f"{text[:57]}…"


def check_parameters(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Problems with canonical parameters written in YAML: ``[(name, what is wrong)]``."""
    problems = []
    for name, value in params.items():
        if name == "seed":
            problems.append((name, "a seed belongs to a request: a fixed one would draw the same picture for ever"))
            continue
        if name not in _PASSED_ON:
            hint = f"; the parameter is called `{CANONICAL_OF[name]}` here" if name in CANONICAL_OF else ""
            problems.append((name, "unknown parameter" + (hint or did_you_mean(name, _PASSED_ON))))
            continue
        try:
            _convert({"prompt": "x", name: shape(name, value)})
        except InvalidParameterError as error:
            problems.append((error.param or name, error.message))
    return problems


def _check_limits(body: GenerationBody, limits: Limits) -> None:
    _at_most("n", body.n, limits.max_n)
    _at_most("steps", body.steps, limits.max_steps)
    _at_most("seed", body.seed, 2**64 - 1)
    for name in ("prompt", "negative_prompt"):
        if len(getattr(body, name) or "") > limits.max_prompt:
            raise InvalidParameterError(f"`{name}` is longer than {limits.max_prompt} characters", param=name)
    if body.mask is not None and not body.images:
        raise InvalidParameterError("`mask` needs an input picture in `images`", param="mask")
    param = "size" if body.size else "width"
    width, height = _size(body)
    if (width is None) != (height is None):
        missing = "height" if height is None else "width"
        raise InvalidParameterError(f"`width` and `height` go together; `{missing}` is missing", param=missing)
    if width and height:
        if min(width, height) < 16:
            raise InvalidParameterError(f"`{param}`: both sides must be at least 16 pixels", param=param)
        if max(width, height) > limits.max_side or width * height > limits.max_pixels:
            raise InvalidParameterError(
                f"`{param}`: {width}x{height} is too large; at most {limits.max_side} pixels a side and "
                f"{limits.max_pixels} pixels in all",
                param=param,
            )


def _at_most(name: str, value: int | None, limit: int) -> None:
    if value is not None and value > limit:
        raise InvalidParameterError(f"`{name}` must be at most {limit}, not {value}", param=name)


def _size(body: GenerationBody) -> tuple[int | None, int | None]:
    if body.size is None or body.size.strip().casefold() == "auto":
        return body.width, body.height
    match = _SIZE.fullmatch(body.size.strip())
    if match is None:
        raise InvalidParameterError(
            f"Invalid value for `size`: it must be {VALID['size']}, not {_short(body.size)}", param="size"
        )
    width, height = int(match[1]), int(match[2])
    if (body.width or width) != width or (body.height or height) != height:
        raise InvalidParameterError("`size` contradicts `width` and `height`", param="size")
    return width, height


def _ratio(body: GenerationBody) -> float | None:
    if body.aspect_ratio is None or body.aspect_ratio.strip().casefold() == "auto":
        return None
    match = _RATIO.fullmatch(body.aspect_ratio.strip())
    ratio = float(match[1]) / float(match[2]) if match and float(match[2]) else 0.0
    if not 1 / 16 <= ratio <= 16:
        raise InvalidParameterError(
            f"Invalid value for `aspect_ratio`: it must be {VALID['aspect_ratio']}, between 1:16 and 16:1",
            param="aspect_ratio",
        )
    return ratio


def _job(body: GenerationBody) -> Job:
    params = {name: value for name in _PASSED_ON if (value := getattr(body, name)) not in (None, ())}
    for name in ("quality", "background"):
        if params.get(name) == "auto":
            del params[name]
    _name_sampler(params)
    width, height = _size(body)
    if width and height:
        params.update(width=width, height=height)
    if body.images:
        params["images"] = tuple(picture(text, f"images[{i}]") for i, text in enumerate(body.images))
    if body.mask is not None:
        params["mask"] = picture(body.mask, "mask")
    if body.seed is not None and body.seed >= 0:
        # Backends seed a 32-bit generator: larger seeds draw the picture of their low 32 bits.
        params["seed"] = body.seed % 2**32
    seed = {"seed": params["seed"]} if "seed" in params else {}
    return Job(
        prompt=body.prompt,
        params=params,
        model=body.model,
        models=body.models or (),
        n=body.n,
        aspect_ratio=None if width else _ratio(body),
        partial_images=body.partial_images,
        strict=body.strict,
        preferences=body.provider or Preferences(),
        **seed,
    )


def _name_sampler(params: dict[str, Any]) -> None:
    """Canonical names; the scheduler inside a label like "DPM++ 2M Karras" counts unless one is given."""
    if "scheduler" in params:
        params["scheduler"] = samplers.scheduler(params["scheduler"])
    if "sampler" in params:
        params["sampler"], scheduler = samplers.split(params["sampler"])
        if scheduler is not None:
            params.setdefault("scheduler", scheduler)


def _unused_preferences(body: GenerationBody) -> tuple[str, ...]:
    """Routing preferences of OpenRouter's that are accepted and not acted on."""
    names = ("sort", "max_price", "preferred_max_latency", "preferred_min_throughput")
    return tuple(f"provider.{name}" for name in names if getattr(body.provider, name, None) is not None)
