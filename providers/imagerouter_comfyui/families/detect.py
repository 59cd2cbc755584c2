"""Which family a model file belongs to: what its header says, else its name, else the folder that it is in.

Headers follow the ModelSpec standard (``modelspec.architecture``), or are those of the common trainers
(``ss_base_model_version``). Most files have neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from imagerouter_comfyui.families.family import Name
from imagerouter_comfyui.names import slashed, stem

_VIDEO = (
    r"wan(video|vace|2|(?=[-_. ]?(2|video|vace)))|ltxv?|ltx[-_]video|hunyuan[-_]?video|svd|stable[-_]video|mochi|cosmos"
    r"|cogvideox?|animatediff|skyreels|framepack|i2v|t2v|v2v|s2v|ti2v|flf2v"
)
_WITHOUT_TEMPLATE = (
    r"lumina|netayume|pixart|aura[-_]?flow|pony[-_ ]?v?7|kandinsky|hunyuan[-_]?(image|dit)|kolors|stable[-_]cascade"
    r"|stage[-_][abc]|omnigen2?|longcat|ovis|krea[-_]?2|ideogram|pixeldit|newbie|ernie|anima[-_](base|preview)"
    r"|qwen.*layered|hidream[-_]?(e1|o1)|chroma.*radiance|flux.*(depth|canny)|512-depth.*|.*pix2pix"
)
_UNDRAWABLE: tuple[tuple[str, str], ...] = (
    (_VIDEO, "it draws videos"),
    (r"ace[-_]step|stable[-_]audio", "it makes sound"),
    (r"hunyuan[-_]?3d.*|zero123|sv3d.*|trellis", "it makes shapes in space"),
    (r"refiner", "it only refines another model's pictures; give it a workflow"),
    (r"control[-_]?net|control[-_]?lora|ip[-_]?adapter|redux|t2i[-_]?adapter", "it only steers another model"),
    (r"upscaler?|esrgan", "it only enlarges pictures"),
    (_WITHOUT_TEMPLATE, "no template draws this kind; give it a workflow"),
)
"""Words in a name → why such a file isn't offered. Asked first, since "qwen_image_layered" is no "qwen_image"."""

PATTERNS: tuple[tuple[Name, str], ...] = (
    ("flux2", r"flux[-_. ]?2(?!\d)|(?<![a-z])klein"),
    ("chroma", r"(?<![a-z])chroma(?![a-z])"),
    ("z-image", r"(?<![a-z])z[-_ ]?image"),
    ("hidream", r"hidream"),
    ("qwen-image", r"qwen[-_ ]?image"),
    ("flux", r"flux"),
    ("sd3", r"(?<![a-z])sd[-_ ]?3|stable[-_]?diffusion[-_]v?3"),
    (
        "sdxl",
        r"sd[-_]?xl|xl(?![a-z])|xl[-_ ]?(v?\d|turbo|lightning)|pony|illustrious|noob[-_ ]?ai|noobai|animagine"
        r"|stable[-_]?diffusion[-_]xl",
    ),
    ("sd2", r"(?<![a-z])sd[-_ ]?2|(?<![a-z])sd[-_]turbo|v2[-_.]?[01][-_](768|512|base)|stable[-_]?diffusion[-_]v?2"),
    ("sd15", r"(?<![a-z])sd[-_ ]?v?1[-_.]?[45]?(?!\d)|v1[-_.][45]|stable[-_]?diffusion[-_]v?1"),
)
"""Family → pattern of a file's name, of its folder, or of what its header says; the first that fits."""

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
    reason = next((reason for words, reason in _UNDRAWABLE if _says(words, f"{file} {told[0]}")), None)
    if reason is not None:
        return Found(None, reason)
    folder = slashed(name).rpartition("/")[0]
    family = _first([*told, file, folder])
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


def _first(texts: Iterable[str]) -> Name | None:
    for text in texts:
        for family, pattern in PATTERNS:
            if text and _matches(pattern, text):
                return family
    return None


def _says(words: str, text: str) -> bool:
    """As words of their own: an "uncanny" checkpoint has nothing to do with ControlNet's "canny"."""
    return _matches(rf"(?<![a-z])({words})(?![a-z])", text)


def _matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None
