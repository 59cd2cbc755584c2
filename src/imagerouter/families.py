"""What is known of model families, whatever draws them: how they are told apart, and what they want.

Starting values are those of the models' own cards and of the workflows that ComfyUI comes with (package
``comfyui-workflow-templates``); every one of them can be set in a request or in a model's defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

Name = Literal[
    "sd15",
    "sd2",
    "sdxl",
    "sd3",
    "flux",
    "flux2",
    "qwen-image",
    "chroma",
    "z-image",
    "hidream",
]


@dataclass(frozen=True)
class Usual:
    """What is used where the client says nothing. ``None``: the family has no such thing, and it isn't declared."""

    steps: int
    cfg_scale: float | None
    guidance: float | None = None
    sampler: str = "euler"
    scheduler: str = "simple"


@dataclass(frozen=True)
class Traits:
    """One family, or those of its members that want to be drawn in another way."""

    title: str
    side: int
    """Native width and height in pixels."""
    usual: Usual
    multiple: int = 16
    """What sides of a canvas are divisible by."""
    has_clip_skip: bool = False


_SD = Usual(steps=25, cfg_scale=7.0, sampler="dpmpp_2m", scheduler="karras")

TRAITS: dict[Name, Traits] = {
    "sd15": Traits("Stable Diffusion 1.5", 512, _SD, 8, has_clip_skip=True),
    "sd2": Traits("Stable Diffusion 2", 768, _SD, 8, has_clip_skip=True),
    "sdxl": Traits("SDXL", 1024, _SD, 8, has_clip_skip=True),
    "sd3": Traits("Stable Diffusion 3", 1024, Usual(steps=28, cfg_scale=4.5, scheduler="sgm_uniform")),
    "flux": Traits("Flux.1", 1024, Usual(steps=20, cfg_scale=None, guidance=3.5)),
    "flux2": Traits("Flux.2", 1024, Usual(steps=20, cfg_scale=None, guidance=4.0)),
    "qwen-image": Traits("Qwen-Image", 1328, Usual(steps=20, cfg_scale=4.0)),
    "chroma": Traits("Chroma", 1024, Usual(steps=26, cfg_scale=3.5, scheduler="beta")),
    "z-image": Traits("Z-Image", 1024, Usual(steps=25, cfg_scale=4.0, sampler="res_multistep")),
    "hidream": Traits("HiDream-I1", 1024, Usual(steps=50, cfg_scale=5.0, sampler="uni_pc")),
}

Changes = tuple[tuple[str, dict[str, Any]], ...]
"""Patterns of what is known of a file, and what is different there. All that fit are applied, in their order."""

_CLASSIC: Changes = (
    (r"lightning|hyper|dmd2?(?![a-z])", {"usual": Usual(steps=8, cfg_scale=1.5, scheduler="sgm_uniform")}),
    (r"turbo", {"usual": Usual(steps=4, cfg_scale=1.0, sampler="euler_ancestral", scheduler="normal")}),
    (r"lcm", {"usual": Usual(steps=6, cfg_scale=1.5, sampler="lcm", scheduler="sgm_uniform")}),
)
_KONTEXT = {"title": "Flux.1 Kontext", "usual": Usual(steps=20, cfg_scale=None, guidance=2.5)}
_FILL = {"title": "Flux.1 Fill", "usual": Usual(steps=20, cfg_scale=None, guidance=30.0, scheduler="normal")}
_KLEIN = {"title": "Flux.2 Klein", "usual": Usual(steps=4, cfg_scale=None)}
_QWEN_EDIT = {"title": "Qwen-Image-Edit", "side": 1024, "usual": Usual(steps=20, cfg_scale=2.5)}

VARIANTS: dict[Name, Changes] = {
    "sd15": _CLASSIC,
    "sdxl": (*_CLASSIC, (r"(^| )sd_?xl_turbo", {"side": 512})),
    "sd2": (*_CLASSIC, (r"512|base|turbo|inpaint", {"side": 512})),
    "sd3": ((r"turbo", {"usual": Usual(steps=4, cfg_scale=1.0, scheduler="sgm_uniform")}),),
    "flux": (
        (r"schnell", {"usual": Usual(steps=4, cfg_scale=None)}),
        (r"kontext", _KONTEXT),
        (r"fill|onereward", _FILL),
    ),
    "flux2": ((r"klein", _KLEIN), (r"klein.*base|base.*klein", {"usual": Usual(steps=20, cfg_scale=5.0)})),
    "qwen-image": (
        (r"2512", {"usual": Usual(steps=50, cfg_scale=4.0)}),
        (r"edit", _QWEN_EDIT),
        (r"edit.*(25\d\d|plus)", {"usual": Usual(steps=20, cfg_scale=4.0)}),
        (r"edit.*2511", {"usual": Usual(steps=40, cfg_scale=3.0)}),
    ),
    "z-image": ((r"turbo", {"usual": Usual(steps=8, cfg_scale=None, sampler="res_multistep")}),),
    "hidream": (
        (r"dev", {"usual": Usual(steps=28, cfg_scale=None, sampler="lcm", scheduler="normal")}),
        (r"fast", {"usual": Usual(steps=16, cfg_scale=None, sampler="lcm", scheduler="normal")}),
    ),
}
"""Changes of `Traits` in members of a family: distilled ones, and those made for editing."""


def traits(name: Name, told: str) -> Traits:
    """The family as one model wants it.

    :param told: all that is known of the model: its file's stem, and what a header says about its architecture.
    """
    return replace(TRAITS[name], **changed(VARIANTS.get(name, ()), told))


def changed(variants: Changes, told: str) -> dict[str, Any]:
    """All changes whose pattern is found in ``told``, the later ones over the earlier ones."""
    found: dict[str, Any] = {}
    for pattern, changes in variants:
        if _matches(pattern, told):
            found |= changes
    return found


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


def guess(texts: Iterable[str]) -> Name | None:
    """The family that the first of ``texts`` names which names any; give the most reliable text first."""
    for text in texts:
        for family, pattern in PATTERNS:
            if _matches(pattern, text):
                return family
    return None


_VIDEO = (
    r"wan(video|vace|2|(?=[-_. ]?(2|video|vace)))|ltxv?|ltx[-_]video|hunyuan[-_]?video|svd|stable[-_]video|mochi|cosmos"
    r"|cogvideox?|animatediff|skyreels|framepack|i2v|t2v|v2v|s2v|ti2v|flf2v"
)
Words = tuple[tuple[str, str], ...]
"""Patterns of words in a name → why such a model isn't offered."""

UNDRAWABLE: Words = (
    (_VIDEO, "it draws videos"),
    (r"ace[-_]step|stable[-_]audio", "it makes sound"),
    (r"hunyuan[-_]?3d.*|zero123|sv3d.*|trellis", "it makes shapes in space"),
    (r"control[-_]?net|control[-_]?lora|ip[-_]?adapter|redux|t2i[-_]?adapter", "it only steers another model"),
    (r"upscaler?|esrgan", "it only enlarges pictures"),
)
"""What draws no pictures anywhere."""


def undrawable(text: str, more: Words = ()) -> str | None:
    """Why a model of this name isn't offered; ``None`` if nothing speaks against it.

    To be asked before `guess`, which takes an "svd_xl" for one of "sdxl".

    :param more: what the asking adapter can't draw either.
    """
    return next((reason for words, reason in (*UNDRAWABLE, *more) if _says(words, text)), None)


def _says(words: str, text: str) -> bool:
    """As words of their own: an "uncanny" checkpoint has nothing to do with ControlNet's "canny"."""
    return _matches(rf"(?<![a-z])({words})(?![a-z])", text)


def _matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None
