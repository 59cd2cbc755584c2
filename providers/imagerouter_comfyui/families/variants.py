"""Members of a family that ComfyUI draws in another way: distilled ones, and those made for editing.

They are told by the file's name and header. What they want from any backend is in `imagerouter.families`.
"""

from __future__ import annotations

from dataclasses import replace

from imagerouter.families import Changes, Name, changed, traits
from imagerouter_comfyui.families.family import FAMILIES, Family, Seeing, shifted

_SEEING_ONE = Seeing("TextEncodeQwenImageEdit", ("image",))
_SEEING_THREE = Seeing("TextEncodeQwenImageEditPlus", ("image1", "image2", "image3"))
_EDIT_PATCHES = (*shifted("ModelSamplingAuraFlow", 3.0), ("CFGNorm", "strength", 1.0))

_EDIT = {"patches": _EDIT_PATCHES, "edits": "prompt", "sees": _SEEING_ONE, "has_controlnet": False}
_EDIT_2511 = {
    "patches": (*shifted("ModelSamplingAuraFlow", 3.1), ("CFGNorm", "strength", 1.0)),
    "sees": replace(_SEEING_THREE, reference_method="index_timestep_zero"),
}
_CLASSIC: Changes = (
    (r"inpaint", {"inpaints": "trained", "profile": ""}),
    (r"pix2pix|v[-_ ]?pred", {"profile": ""}),
)

VARIANTS: dict[Name, Changes] = {
    "sd15": _CLASSIC,
    "sdxl": _CLASSIC,
    "sd2": _CLASSIC,
    "flux": ((r"kontext", {"edits": "reference"}), (r"fill|onereward", {"inpaints": "only"})),
    "flux2": ((r"klein", {"encoders": ("qwen3-8b",)}), (r"klein.*4b|4b.*klein", {"encoders": ("qwen3-4b",)})),
    "qwen-image": (
        (r"edit", _EDIT),
        (r"edit.*(25\d\d|plus)", {"sees": _SEEING_THREE}),
        (r"edit.*2511", _EDIT_2511),
    ),
    "hidream": ((r"dev", {"patches": shifted("ModelSamplingSD3", 6.0)}),),
}
"""Changes of `Family`, its traits aside."""


def variant(name: Name, told: str) -> Family:
    """The family as one file wants it.

    :param told: the file's stem, and what its header says about its architecture.
    """
    return replace(FAMILIES[name], traits=traits(name, told), **changed(VARIANTS.get(name, ()), told))
