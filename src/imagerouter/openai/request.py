"""Request bytes → `Job` and `Delivery`, or an error that names the parameter and what would be valid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

import msgspec

from imagerouter.config import Limits
from imagerouter.errors import ImageRouterError, InvalidParameterError, InvalidRequestError, UnknownParameterError
from imagerouter.images import check_format
from imagerouter.jobs import Job, Origin, Preferences
from imagerouter.openai.body import IDLE, INERT, KEYS, GenerationBody, Sorting
from imagerouter.openai.fields import WRAPPERS, canonical
from imagerouter.openai.inputs import is_address, picture
from imagerouter.openai.sizes import shape_of
from imagerouter.openai.values import PASSED_ON, convert, parameters_of
from imagerouter.parameters import ALIASES
from imagerouter.suggest import did_you_mean, shortened
from imagerouter.types import Image

NO_PROMPT = "-"
"""Stands for the prompt where there needn't be one."""
MOST_WARNINGS = 50
"""Keys without a meaning that a reply lists; each picture of a stream carries the list again."""


_MAY_HOLD_PICTURES = {"images", "mask", *ALIASES["images"], *ALIASES["mask"], *WRAPPERS}
"""Keys of a body."""
NOBODY = Origin()
NONE_PREFERRED = Preferences()
VARIATION_STRENGTH = 0.6
"""How far a variation goes from its picture, where the client doesn't say."""


class Door(StrEnum):
    """Which route a request came in by: the name that its events begin with."""

    GENERATION = "image_generation"
    EDIT = "image_edit"
    VARIATION = "image_variation"


class Delivery(msgspec.Struct, frozen=True):
    """How the client wants its pictures handed over; nothing that a provider would see."""

    door: Door = Door.GENERATION
    stream: bool = False
    progress: bool = False
    as_url: bool = False
    output_format: str | None = None
    compression: int | None = None
    embed: bool | None = None
    """Whether the files are to tell their request; ``None`` leaves that to the configuration."""
    warnings: tuple[str, ...] = ()
    """Keys of the request that have no effect, whoever serves it."""


class Call(msgspec.Struct, frozen=True):
    """A request of the images API, understood."""

    job: Job
    delivery: Delivery = Delivery()
    mask_channel: Literal["alpha", "white"] | None = None
    """What the mask says with; ``None`` leaves that to the mask."""
    names: Mapping[str, str] = {}
    """Of parameters that the client has called otherwise: canonical name → sent name."""


def decode(raw: bytes) -> dict[str, Any]:
    """The fields of a JSON body. Raises only subclasses of `InvalidRequestError`."""
    try:
        fields = msgspec.json.decode(raw)
    except msgspec.ValidationError:
        raise _out_of_range(raw) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error)
        if re.search(rb"\\u[dD][89a-fA-F]", raw) and any(word in reason for word in ("truncated", "escape", "pair")):
            reason = "a `\\ud800` to `\\udfff` stands for half a character and needs its other half"
        raise InvalidRequestError(f"The body is not valid JSON: {reason}") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(fields, dict):
        raise InvalidRequestError("The body must be a JSON object")
    return fields


def _too_deep() -> InvalidRequestError:
    return InvalidRequestError("The body is nested too deeply")


def _out_of_range(raw: bytes) -> InvalidRequestError:
    """Msgspec refuses numbers that no 64-bit float holds, and does not say where."""
    for name, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items():
        try:
            msgspec.json.decode(value)
        except msgspec.ValidationError:
            param = shortened(name)
            return InvalidParameterError(f"`{param}`: a number in it is out of range", param=param)
    return InvalidRequestError("The body holds a number that is out of range")


def addresses(fields: Mapping[str, Any]) -> dict[str, str]:
    """The pictures that have to be fetched: parameter → address."""
    if not fields.keys() & _MAY_HOLD_PICTURES:
        return {}
    try:
        known, _, _ = canonical(fields)
    except RecursionError:
        raise _too_deep() from None
    listed = known.get("images")
    found = {f"images[{index}]": text for index, text in enumerate(listed if isinstance(listed, list) else [])}
    found["mask"] = known.get("mask")
    return {param: text for param, text in found.items() if isinstance(text, str) and is_address(text)}


def interpret(
    fields: Mapping[str, Any],
    limits: Limits,
    *,
    origin: Origin | None = None,
    door: Door = Door.GENERATION,
    pictures: Mapping[str, Image] | None = None,
    prompt: str | None = None,
    names: Mapping[str, str] | None = None,
) -> Call:
    """The call that a body's fields make. Raises only subclasses of `InvalidRequestError`.

    :param origin: who sends it.
    :param pictures: those that came as files of a form, by the keys that stand for them, or that were fetched, by
        their addresses.
    :param prompt: what a body without one gets; by default it has to have one.
    :param names: what a dialect calls a parameter, or one of several pictures: ``images[0]``.
    """
    names = names or {}
    try:
        known, unknown, renamed = canonical(fields)
        names = {**renamed, **names}
        if prompt is not None:
            known.setdefault("prompt", prompt)
        body = _checked(known, limits, door)
        delivery = _delivery(body, known, unknown, door)
        return Call(_job(body, known, limits, pictures or {}, origin or NOBODY), delivery, body.mask_channel, names)
    except RecursionError:
        # Comparing and quoting values takes more of the stack than decoding them did.
        raise _too_deep() from None
    except InvalidParameterError as error:
        raise as_sent(error, names) from None


def as_sent(error: ImageRouterError, names: Mapping[str, str]) -> ImageRouterError:
    """The same error, about the name by which the client called the parameter."""
    whole = error.param or ""
    sent = names.get(whole) or names.get(re.split(r"[.\[]", whole, maxsplit=1)[0])
    if sent is not None:
        error.param, error.message = sent, f"{error.message} (sent as `{sent}`)"
    return error


def _checked(known: dict[str, Any], limits: Limits, door: Door) -> GenerationBody:
    if door is not Door.GENERATION and not known.get("images"):
        raise InvalidParameterError("Missing required parameter: `image`", param="image")
    if door is Door.VARIATION:
        known.setdefault("strength", VARIATION_STRENGTH)
        body = convert({"prompt": NO_PROMPT, **known}, limits)
        body.prompt = known.get("prompt", "")
    else:
        body = convert(known, limits)
    check_format(body.output_format, body.background)
    return body


def _delivery(body: GenerationBody, known: dict[str, Any], unknown: list[str], door: Door) -> Delivery:
    idle = _without_effect(body, known)
    if unknown:
        unknown = [name for name in unknown if name not in INERT]
    if body.strict and (unknown or idle):
        raise _too_strict(unknown, idle)
    return Delivery(
        door=door,
        stream=body.stream,
        progress=body.stream_progress,
        as_url=body.response_format == "url",
        output_format="jpeg" if body.output_format == "jpg" else body.output_format,
        compression=body.output_compression,
        embed=None if body.metadata is None else body.metadata == "embed",
        warnings=(*_listed(unknown), *idle),
    )


def _listed(unknown: list[str]) -> list[str]:
    listed = [shortened(name) for name in unknown[:MOST_WARNINGS]]
    return listed if len(unknown) <= MOST_WARNINGS else [*listed, f"… and {len(unknown) - MOST_WARNINGS} more"]


def _too_strict(unknown: list[str], idle: list[str]) -> UnknownParameterError:
    if not unknown:
        return UnknownParameterError(f"`{idle[0]}` has no effect here, and the request is strict", param=idle[0])
    name = shortened(unknown[0])
    return UnknownParameterError(f"Unknown parameter `{name}`{did_you_mean(unknown[0], KEYS)}", param=name)


def _without_effect(body: GenerationBody, known: dict[str, Any]) -> list[str]:
    """Known parameters that are accepted and not acted on in this request."""
    idle = [name for name in IDLE if _at(name, known) is not None] if "provider" in known else []
    if body.output_compression is not None and body.output_format in (None, "png"):
        idle.append("output_compression")
    if body.mask_channel is not None and body.mask is None:
        idle.append("mask_channel")
    if body.stream and body.response_format == "url":
        idle.append("response_format")
    return idle


def _at(name: str, value: Any) -> Any:
    """What ``provider.sort.by`` holds, or ``None``."""
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _preferences(body: GenerationBody) -> Preferences:
    sent = body.provider or NONE_PREFERRED
    return msgspec.structs.replace(sent, sort=sent.sort.by) if isinstance(sent.sort, Sorting) else sent


def _pictures(body: GenerationBody, pictures: Mapping[str, Image]) -> dict[str, Any]:
    if not body.images:
        if body.mask is not None:
            raise InvalidParameterError("`mask` needs an input picture in `images`", param="mask")
        return {}
    images = tuple(picture(text, f"images[{i}]", pictures) for i, text in enumerate(body.images))
    if body.mask is None:
        return {"images": images}
    return {"images": images, "mask": images[0] if body.mask == "image" else picture(body.mask, "mask", pictures)}


def _job(
    body: GenerationBody, known: Mapping[str, Any], limits: Limits, pictures: Mapping[str, Image], origin: Origin
) -> Job:
    params = parameters_of({name: getattr(body, name) for name in PASSED_ON if name in known})
    if body.images or body.mask:
        params |= _pictures(body, pictures)
    size, ratio = shape_of(body, limits, params["images"][0] if body.images else None)
    if size is not None:
        params["width"], params["height"] = size
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
        origin=origin,
        **seed,
    )
