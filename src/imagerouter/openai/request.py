"""Request bytes → `Job` and `Delivery`, or an error that names the parameter and what would be valid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from imagerouter.config import Limits
from imagerouter.errors import InvalidParameterError, InvalidRequestError, UnknownParameterError
from imagerouter.jobs import Job, Preferences
from imagerouter.openai.body import IDLE, INERT, KEYS, GenerationBody, Sorting
from imagerouter.openai.fields import canonical
from imagerouter.openai.inputs import picture
from imagerouter.openai.sizes import ratio_of, size_of
from imagerouter.openai.values import PASSED_ON, convert, parameters_of
from imagerouter.suggest import did_you_mean, shortened

MOST_WARNINGS = 50
"""Keys without a meaning that a reply lists; each picture of a stream carries the list again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the client wants its pictures handed over; nothing that a provider would see."""

    stream: bool = False
    progress: bool = False
    as_url: bool = False
    output_format: str | None = None
    compression: int | None = None
    warnings: tuple[str, ...] = ()
    """Keys of the request that have no effect, whoever serves it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the images API, understood."""

    job: Job
    delivery: Delivery = field(default_factory=Delivery)


def parse(raw: bytes, limits: Limits, *, prompt: str | None = None) -> Call:
    """Read one JSON body. Raises only subclasses of `InvalidRequestError`.

    :param prompt: what a body without one gets; by default it has to have one.
    """
    try:
        return interpret(_decoded(raw), limits, prompt=prompt)
    except RecursionError:
        # Comparing and quoting values takes more of the stack than decoding them did.
        raise InvalidRequestError("The body is nested too deeply") from None


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(raw)
    except msgspec.ValidationError:
        raise _out_of_range(raw) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error)
        if re.search(rb"\\u[dD][89a-fA-F]", raw) and any(word in reason for word in ("truncated", "escape", "pair")):
            reason = "a `\\ud800` to `\\udfff` stands for half a character and needs its other half"
        raise InvalidRequestError(f"The body is not valid JSON: {reason}") from None
    if not isinstance(fields, dict):
        raise InvalidRequestError("The body must be a JSON object")
    return fields


def _out_of_range(raw: bytes) -> InvalidRequestError:
    """Msgspec refuses numbers that no 64-bit float holds, and does not say where."""
    for name, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items():
        try:
            msgspec.json.decode(value)
        except msgspec.ValidationError:
            param = shortened(name)
            return InvalidParameterError(f"`{param}`: a number in it is out of range", param=param)
    return InvalidRequestError("The body holds a number that is out of range")


def interpret(fields: Mapping[str, Any], limits: Limits, *, prompt: str | None = None) -> Call:
    """The same from decoded fields, whatever they came from."""
    known, unknown, origin = canonical(fields)
    if prompt is not None:
        known.setdefault("prompt", prompt)
    try:
        return _understand(known, unknown, limits)
    except InvalidParameterError as error:
        name = re.split(r"[.\[]", error.param or "", maxsplit=1)[0]
        if (sent := origin.get(name, name)) != name:
            raise InvalidParameterError(f"{error.message} (sent as `{sent}`)", param=sent) from None
        raise


def _understand(known: dict[str, Any], unknown: list[str], limits: Limits) -> Call:
    body = convert(known, limits)
    unknown = [name for name in unknown if name not in INERT]
    idle = _without_effect(body, known)
    if body.strict and (unknown or idle):
        raise _too_strict(unknown, idle)
    listed = [shortened(name) for name in unknown[:MOST_WARNINGS]]
    more = [f"… and {len(unknown) - MOST_WARNINGS} more"] if len(unknown) > MOST_WARNINGS else []
    delivery = Delivery(
        stream=body.stream,
        progress=body.stream_progress,
        as_url=body.response_format == "url",
        output_format="jpeg" if body.output_format == "jpg" else body.output_format,
        compression=body.output_compression,
        warnings=(*listed, *more, *idle),
    )
    return Call(_job(body, limits), delivery)


def _too_strict(unknown: list[str], idle: list[str]) -> UnknownParameterError:
    if not unknown:
        return UnknownParameterError(f"`{idle[0]}` has no effect here, and the request is strict", param=idle[0])
    name = shortened(unknown[0])
    return UnknownParameterError(f"Unknown parameter `{name}`{did_you_mean(unknown[0], KEYS)}", param=name)


def _without_effect(body: GenerationBody, known: dict[str, Any]) -> list[str]:
    """Known parameters that are accepted and not acted on in this request."""
    idle = [name for name in IDLE if _at(name, known) is not None]
    if body.output_compression is not None and body.output_format in (None, "png"):
        idle.append("output_compression")
    return idle


def _at(name: str, value: Any) -> Any:
    """What ``provider.sort.by`` holds, or ``None``."""
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _preferences(body: GenerationBody) -> Preferences:
    sent = body.provider or Preferences()
    return msgspec.structs.replace(sent, sort=sent.sort.by) if isinstance(sent.sort, Sorting) else sent


def _job(body: GenerationBody, limits: Limits) -> Job:
    params = parameters_of({name: getattr(body, name) for name in PASSED_ON})
    size = size_of(body, limits)
    ratio = ratio_of(body, size)
    if size is not None:
        params.update(width=size[0], height=size[1])
    if body.mask is not None and not body.images:
        raise InvalidParameterError("`mask` needs an input picture in `images`", param="mask")
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
        aspect_ratio=None if size else ratio,
        partial_images=body.partial_images,
        strict=body.strict,
        preferences=_preferences(body),
        priority=body.priority,
        queue_timeout=body.queue_timeout,
        **seed,
    )
