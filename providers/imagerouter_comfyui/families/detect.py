"""Which family a model file belongs to: what its header says, else its name, else the folder that it is in.

Headers follow the ModelSpec standard (``modelspec.architecture``), or are those of the common trainers
(``ss_base_model_version``). Most files have neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagerouter.families import Name, Words, guess, undrawable
from imagerouter.names import slashed, stem

_WITHOUT_TEMPLATE = (
    r"lumina|netayume|pixart|aura[-_]?flow|pony[-_ ]?v?7|kandinsky|hunyuan[-_]?(image|dit)|kolors|stable[-_]cascade"
    r"|stage[-_][abc]|omnigen2?|longcat|ovis|krea[-_]?2|ideogram|pixeldit|newbie|ernie|anima[-_](base|preview)"
    r"|qwen.*layered|hidream[-_]?(e1|o1)|chroma.*radiance|flux.*(depth|canny)|512-depth.*|.*pix2pix"
)
_NOT_HERE: Words = (
    (r"refiner", "it only refines another model's pictures; give it a workflow"),
    (_WITHOUT_TEMPLATE, "no template draws this kind; give it a workflow"),
)
"""Asked before the family, since "qwen_image_layered" is no "qwen_image"."""

HEADER_KEYS = ("modelspec.architecture", "modelspec.resolution", "ss_base_model_version")
"""What is read of a file's header, which may hold a trainer's whole diary."""

_ADAPTER = re.compile(r"/(lora|textual-inversion|control-net|controlnet)$")


@dataclass(frozen=True)
class Found:
    """A family, or why there is none."""

    family: Name | None
    reason: str = ""
    is_guess: bool = False


def detect(name: str, metadata: Mapping[str, Any], *, is_checkpoint: bool) -> Found:
    """A checkpoint that nothing is known of is taken for one of the classic family, which most of them are."""
    told = [str(metadata.get(key, "")) for key in ("modelspec.architecture", "ss_base_model_version")]
    if _ADAPTER.search(told[0]):
        return Found(None, "it only changes another model; its place is among the LoRAs")
    file = stem(name)
    reason = undrawable(f"{file} {told[0]}", _NOT_HERE)
    if reason is not None:
        return Found(None, reason)
    folder = slashed(name).rpartition("/")[0]
    family = guess([*told, file, folder])
    if family is None and not is_checkpoint:
        return Found(None, "its name doesn't say what it is; set its `family`")
    return Found(family or "sd15", is_guess=family is None)


def native_size(metadata: Mapping[str, Any]) -> tuple[int, int] | None:
    """``modelspec.resolution``, such as ``1024x1024``, where it says something sensible."""
    found = re.fullmatch(r"(\d{3,4})x(\d{3,4})", str(metadata.get("modelspec.resolution", "")).strip())
    if found is None:
        return None
    width, height = int(found[1]), int(found[2])
    return (width, height) if all(256 <= side <= 2048 and side % 16 == 0 for side in (width, height)) else None
