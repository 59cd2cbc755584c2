"""Known fields → typed values: checked, under canonical names, in the types that a request holds.

A client's request and the parameters of the YAML file go through here alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import reduce
from typing import Any

import msgspec

from imagerouter import samplers, types
from imagerouter.config import Limits
from imagerouter.errors import InvalidParameterError
from imagerouter.openai.body import VALID, GenerationBody
from imagerouter.openai.fields import shape, strangers
from imagerouter.parameters import CANONICAL_OF
from imagerouter.suggest import did_you_mean, shortened

PASSED_ON = (
    "negative_prompt steps cfg_scale guidance sampler scheduler strength clip_skip vae loras hires "
    "quality style background width height parity"
).split()
"""Fields that become parameters of the job as they are."""

_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


def convert(known: dict[str, Any], limits: Limits) -> GenerationBody:
    """The body as a struct, each field right in itself."""
    if "prompt" not in known:
        raise InvalidParameterError("Missing required parameter: `prompt`", param="prompt")
    try:
        body = msgspec.convert(known, GenerationBody)
    except msgspec.ValidationError as error:
        raise _explained(str(error), known) from None
    _check(body, limits)
    return body


def _check(body: GenerationBody, limits: Limits) -> None:
    for name, number, most in (
        ("n", body.n, limits.max_n),
        ("steps", body.steps, limits.max_steps),
        ("hires.steps", body.hires.steps if body.hires else None, limits.max_steps),
        ("seed", body.seed, 2**64 - 1),
        ("width", body.width, limits.max_side),
        ("height", body.height, limits.max_side),
    ):
        if number is not None and number > most:
            raise InvalidParameterError(f"`{name}` must be at most {most}, not {shortened(str(number))}", param=name)
    for name, text in (("prompt", body.prompt), ("negative_prompt", body.negative_prompt)):
        if text is not None and len(text) > limits.max_prompt:
            raise InvalidParameterError(f"`{name}` is longer than {limits.max_prompt} characters", param=name)


def _explained(message: str, known: Mapping[str, Any]) -> InvalidParameterError:
    """Msgspec's "Expected `int`, got `str` - at `$.steps`" in the client's terms."""
    match = _PATH.search(message)
    path = match[1] if match else ""
    reason = shortened(_PATH.sub("", message))
    if (valid := VALID.get(path)) is not None:
        value = reduce(lambda inner, key: inner[key], path.split("."), known)
        got = shortened(msgspec.json.encode(value).decode())
        return InvalidParameterError(f"Invalid value for `{path}`: it must be {valid}, not {got}", param=path)
    return InvalidParameterError(f"Invalid value for `{path}`: {reason}", param=path)


def parameters_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Typed fields → what a job's or a target's parameters hold: nothing that says nothing, canonical names."""
    params = {name: value for name, value in fields.items() if value not in (None, ())}
    for name in ("quality", "background"):
        if params.get(name) == "auto":
            del params[name]
    if "loras" in params:
        params["loras"] = tuple(types.Lora(lora.name, lora.weight) for lora in params["loras"])
    if "hires" in params:
        params["hires"] = types.Hires(**msgspec.structs.asdict(params["hires"]))
    if "scheduler" in params:
        params["scheduler"] = samplers.scheduler(params["scheduler"])
    if "sampler" in params:
        # The scheduler inside a label like "DPM++ 2M Karras" counts unless one is given.
        params["sampler"], scheduler = samplers.split(params["sampler"])
        if scheduler is not None:
            params.setdefault("scheduler", scheduler)
    return params


def typed_parameters(written: Mapping[str, Any], limits: Limits) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Canonical parameters as YAML has them → typed values, and the problems: ``[(name, what is wrong)]``."""
    fields: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, value in written.items():
        if (problem := _misplaced(name)) is not None:
            problems.append((name, problem))
            continue
        try:
            shaped = shape(name, value)
            problems += [(stranger, "unknown parameter") for stranger in strangers(name, shaped)]
            fields[name] = getattr(convert({"prompt": "x", name: shaped}, limits), name)
        except InvalidParameterError as error:
            problems.append((error.param or name, error.message))
    return parameters_of(fields), problems


def _misplaced(name: str) -> str | None:
    """Why a parameter of this name can't stand in the file."""
    if name == "seed":
        return "a seed belongs to a request: a fixed one would draw the same picture for ever"
    if name in PASSED_ON:
        return None
    hint = f"; the parameter is called `{CANONICAL_OF[name]}` here" if name in CANONICAL_OF else ""
    return "unknown parameter" + (hint or did_you_mean(name, PASSED_ON))
