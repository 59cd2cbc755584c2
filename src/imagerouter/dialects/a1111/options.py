"""What only servers of this family understand goes to them as ``provider.options.a1111``; all others leave it out.

Only what an adapter of that name takes with its default configuration, and only where it says something: clients
write many fields with the value that they have anyway. What is drawn under a mask is said every time, since the
adapter's defaults aren't the real server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagerouter.dialects.a1111 import prompts
from imagerouter.dialects.a1111.body import Body, Drawing, Img2Img, Txt2Img

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "eta": (),  # of some samplers 1 is the default, of others 0
    "s_min_uncond": (0,),
    "s_churn": (0,),
    "s_tmax": (0,),
    "s_tmin": (0,),
    "s_noise": (1,),
    "seed_resize_from_h": (0, -1),
    "seed_resize_from_w": (0, -1),
    "restore_faces": (False,),
    "tiling": (False,),
    "styles": ([],),
    "refiner_checkpoint": ("", "None"),
    "alwayson_scripts": ({},),
}
"""Field → values that change nothing."""
_OF_HIRES: Mapping[str, tuple[Any, ...]] = {
    "hr_checkpoint_name": ("", "None", "Use same checkpoint"),
    "hr_sampler_name": ("", "None", "Use same sampler"),
    "hr_scheduler": ("", "Automatic", "automatic", "Use same scheduler"),
    "hr_prompt": ("",),
    "hr_negative_prompt": ("",),
    "hr_cfg": (1,),
    "hr_distilled_cfg": (3.5,),
}
HIRES_PROMPTS: Mapping[str, str] = {"hr_prompt": "prompt", "hr_negative_prompt": "negative_prompt"}
"""Prompts of the second pass → the field that says it without them."""
MOST_BLUR = 64
"""Pixels; more is no edge any more, and the adapter's own bound."""
_OF_PICTURES: Mapping[str, tuple[Any, ...]] = {"image_cfg_scale": (1.5,), "initial_noise_multiplier": (1,)}

SETTINGS = frozenset(
    "comma_padding_backtrack emphasis eta_ancestral eta_ddim eta_noise_seed_delta img2img_extra_noise "
    "img2img_fix_steps randn_source sgm_noise_multiplier token_merging_ratio token_merging_ratio_hr "
    "token_merging_ratio_img2img".split()
)
"""Settings that change a picture and that no parameter stands for."""


def options_of(body: Body[Any]) -> dict[str, Any]:
    """The further fields for a server of this family."""
    request: Drawing = body.request
    found = _said(body, _NEUTRAL)
    if request.subseed_strength:
        found |= {"subseed": request.subseed, "subseed_strength": request.subseed_strength}
    if "refiner_checkpoint" in found and request.refiner_switch_at is not None:
        found["refiner_switch_at"] = request.refiner_switch_at
    if isinstance(request, Txt2Img) and request.enable_hr:
        found |= _said(body, _OF_HIRES)
        found |= _hires_prompts(found, request)
    if isinstance(request, Img2Img):
        found |= _said(body, _OF_PICTURES)
        if request.mask:
            found |= _under_mask(request)
    settings = {name: value for name, value in (request.override_settings or {}).items() if name in SETTINGS}
    found = {name: value for name, value in found.items() if value is not None}
    return {**found, "override_settings": settings} if settings else found


def _said(body: Body[Any], neutral: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    values = {name: getattr(body.request, name) for name in neutral if name in body.sent}
    return {name: value for name, value in values.items() if value not in neutral[name]}


def _hires_prompts(found: Mapping[str, Any], request: Txt2Img) -> dict[str, str | None]:
    """Those of the second pass that differ from the first one's; no tags, which the adapter refuses."""
    return {
        name: None if found[name] == getattr(request, own) else prompts.stripped(found[name], name).prompt
        for name, own in HIRES_PROMPTS.items()
        if name in found
    }


def _under_mask(request: Img2Img) -> dict[str, Any]:
    """What the mask's area begins with, how sharp its edge is, and whether only that area is drawn."""
    blur = max(request.mask_blur_x, request.mask_blur_y) if request.mask_blur is None else request.mask_blur
    return {
        "mask_blur": max(0, min(blur, MOST_BLUR)),
        "inpainting_fill": request.inpainting_fill,
        "inpaint_full_res": request.inpaint_full_res,
        "inpaint_full_res_padding": max(0, request.inpaint_full_res_padding),
    }
