"""Tags in prompts, ``<lora:name:weight>``, which load networks (``modules/extra_networks.py``)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imagerouter.suggest import shortened

_TAG = re.compile(r"<(\w{1,40}):([^<>]{1,500})>")
"""Bounded, so that a prompt of nothing but ``<`` takes no time."""
LONGEST = 1_000_000
"""Characters; what is longer is no prompt, and refused anyway."""
_KINDS = ("lora", "lyco")


@dataclass(frozen=True, slots=True)
class Read:
    """A prompt without its tags."""

    prompt: str
    loras: tuple[tuple[str, float], ...] = ()
    """Names and weights."""
    ignored: tuple[str, ...] = ()
    """Tags, or the parts of them, that can't be honoured."""


def read(prompt: str, field: str = "prompt") -> Read:
    """LoRAs out of the tags; those of other networks are taken out of the prompt, too, since they are no words.

    :param field: how it is called where something in it can't be honoured.
    """
    if len(prompt) > LONGEST:
        return Read(prompt)
    loras: list[tuple[str, float]] = []
    ignored: list[str] = []

    def take(match: re.Match[str]) -> str:
        kind, (name, *arguments) = match[1].casefold(), match[2].split(":")
        if kind not in _KINDS or not name.strip():
            ignored.append(f"{field}: {shortened(match[0])}")
            return ""
        weight, is_whole = _weight(arguments)
        loras.append((name.strip(), weight))
        if not is_whole:
            ignored.append(f"{field}: {shortened(match[0])}, of which only the name and the weight {weight:g} count")
        return ""

    text = _TAG.sub(take, prompt)
    return Read(text.strip() if text != prompt else prompt, tuple(loras), tuple(ignored))


def can_hold(name: str) -> bool:
    """Whether a LoRA can be called so in a tag."""
    return read(f"<lora:{name}:1>").loras == ((name, 1.0),)


def stripped(prompt: str, field: str) -> Read:
    """The prompt without its tags, of which none counts: the real server loads networks for ``prompt`` alone."""
    found = read(prompt, field)
    dropped = tuple(f"{field}: <lora:{shortened(name)}>" for name, _ in found.loras)
    return Read(found.prompt, ignored=(*dropped, *found.ignored))


def _weight(arguments: list[str]) -> tuple[float, bool]:
    """The weight for the image model, and whether that is all that the tag says.

    ``extensions-builtin/Lora/extra_networks_lora.py``: the first number is for the text encoder and for the rest
    unless ``unet=``, or a second number, says otherwise.
    """
    positional = [argument for argument in arguments if "=" not in argument]
    named = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    first = named.get("te", positional[0] if positional else "1")
    own = named.get("unet", positional[1] if len(positional) > 1 else first)
    weight = _number(own)
    is_whole = own == first and not named.keys() - {"te", "unet"} and len(positional) < 3
    return (1.0, False) if weight is None else (weight, is_whole)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*[+-]?(\d{1,9}(\.\d{0,20})?|\.\d{1,20})\s*", text) else None
