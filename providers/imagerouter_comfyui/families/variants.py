"""Members of a family that want to be drawn in another way: distilled ones, and those made for editing.

They are told by the file's name and header. The values are starting points from the models' cards and from ComfyUI's
own workflows; every one of them can be set in a request or in a model's defaults.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from imagerouter_comfyui.families.family import FAMILIES, Family, Name, Seeing, Usual, shifted

_FAST = {"usual": Usual(steps=8, cfg_scale=1.5, scheduler="sgm_uniform")}
_LCM = {"usual": Usual(steps=6, cfg_scale=1.5, sampler="lcm", scheduler="sgm_uniform")}
_TURBO = {"usual": Usual(steps=4, cfg_scale=1.0, sampler="euler_ancestral", scheduler="normal")}
_CLASSIC = (
    (r"inpaint", {"inpaints": "trained"}),
    (r"lightning|hyper|dmd2?(?![a-z])", _FAST),
    (r"turbo", _TURBO),
    (r"lcm", _LCM),
)

_SEEING_ONE = Seeing("TextEncodeQwenImageEdit", ("image",))
_SEEING_THREE = Seeing("TextEncodeQwenImageEditPlus", ("image1", "image2", "image3"))
_EDIT_PATCHES = (*shifted("ModelSamplingAuraFlow", 3.0), ("CFGNorm", "strength", 1.0))

VARIANTS: dict[Name, tuple[tuple[str, dict[str, Any]], ...]] = {
    "sd15": _CLASSIC,
    "sdxl": (*_CLASSIC, (r"(^| )sd_?xl_turbo", {"side": 512})),
    "sd2": (*_CLASSIC, (r"512|base|turbo|inpaint", {"side": 512})),
    "sd3": ((r"turbo", {"usual": Usual(steps=4, cfg_scale=1.0, scheduler="sgm_uniform")}),),
    "flux": (
        (r"schnell", {"usual": Usual(steps=4, cfg_scale=None)}),
        (
            r"kontext",
            {
                "title": "Flux.1 Kontext",
                "usual": Usual(steps=20, cfg_scale=None, guidance=2.5),
                "edits": "reference",
            },
        ),
        (
            r"fill|onereward",
            {
                "title": "Flux.1 Fill",
                "usual": Usual(steps=20, cfg_scale=None, guidance=30.0, scheduler="normal"),
                "inpaints": "only",
            },
        ),
    ),
    "flux2": (
        (
            r"klein",
            {"title": "Flux.2 Klein", "usual": Usual(steps=4, cfg_scale=None), "encoders": ("qwen3-8b",)},
        ),
        (r"klein.*4b|4b.*klein", {"encoders": ("qwen3-4b",)}),
        (r"klein.*base|base.*klein", {"usual": Usual(steps=20, cfg_scale=5.0)}),
    ),
    "qwen-image": (
        (r"2512", {"usual": Usual(steps=50, cfg_scale=4.0)}),
        (
            r"edit",
            {
                "title": "Qwen-Image-Edit",
                "side": 1024,
                "usual": Usual(steps=20, cfg_scale=2.5),
                "patches": _EDIT_PATCHES,
                "edits": "prompt",
                "sees": _SEEING_ONE,
                "has_controlnet": False,
            },
        ),
        (r"edit.*(25\d\d|plus)", {"usual": Usual(steps=20, cfg_scale=4.0), "sees": _SEEING_THREE}),
        (
            r"edit.*2511",
            {
                "usual": Usual(steps=40, cfg_scale=3.0),
                "patches": (*shifted("ModelSamplingAuraFlow", 3.1), ("CFGNorm", "strength", 1.0)),
                "sees": replace(_SEEING_THREE, reference_method="index_timestep_zero"),
            },
        ),
    ),
    "z-image": ((r"turbo", {"usual": Usual(steps=8, cfg_scale=None, sampler="res_multistep")}),),
    "hidream": (
        (
            r"dev",
            {
                "usual": Usual(steps=28, cfg_scale=None, sampler="lcm", scheduler="normal"),
                "patches": shifted("ModelSamplingSD3", 6.0),
            },
        ),
        (r"fast", {"usual": Usual(steps=16, cfg_scale=None, sampler="lcm", scheduler="normal")}),
    ),
}
"""Family → pattern of what is known of a file and what is different there. All that fit are applied, in their order."""


def variant(name: Name, told: str) -> Family:
    """The family as one file wants it.

    :param told: the file's stem, and what its header says about its architecture.
    """
    family = FAMILIES[name]
    for pattern, changes in VARIANTS.get(name, ()):
        if re.search(pattern, told, re.IGNORECASE):
            family = replace(family, **changes)
    return family
