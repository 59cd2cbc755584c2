"""Orders as the body of ``/sdcpp/v1/img_gen``.

What the body doesn't say is as the server was started. Names that it doesn't know, and values of another type than it
expects, are passed over without a word (``SDGenerationParams::from_json_str`` in ``examples/common/common.cpp``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagerouter_a1111.recipe import Order, SecondPass

FIELDS = frozenset(
    "auto_resize_ref_image cache_mode cache_option control_image control_strength hires increase_ref_index "
    "ip_adapter_image ip_adapter_strength ref_images sample_params scm_mask scm_policy_dynamic "
    "vae_tiling_params".split()
)
"""What `Order.options` may hold. Of ``sample_params`` and ``hires`` only what no parameter says counts (``eta``,
``flow_shift``, ``guidance.slg`` …); ``qwen_image_layers`` is missing since it makes several pictures of one, and
``ad_model`` since it opens a file."""

LEAST_STRENGTH = 0.0001
"""Of a second pass; ``validate`` refuses 0, and ``resolve_hires`` draws with no less than this."""


def payload(order: Order, seeds: range, *, keep_metadata: bool) -> dict[str, Any]:
    """The whole body of a job that draws one image per seed; image ``b`` of a job has its ``seed`` + ``b``."""
    said = {name: value for name, value in order.options.items() if name in FIELDS}
    return _over(said, _drawing(order, seeds) | _picture(order) | {"embed_image_metadata": keep_metadata})


def _drawing(order: Order, seeds: range) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt": order.request.prompt,
        "negative_prompt": order.request.negative_prompt or "",
        "seed": seeds[0],
        "batch_count": len(seeds),
        "width": order.size.canvas_width,
        "height": order.size.canvas_height,
        "sample_params": _sampling(order),
        "lora": [{"path": path, "multiplier": weight} for path, weight in order.loras],
        "hires": _second_pass(order.hires),
        "output_format": "png",
    }
    return body if order.clip_skip is None else {**body, "clip_skip": order.clip_skip}


def _sampling(order: Order) -> dict[str, Any]:
    guidance = {"txt_cfg": order.cfg_scale}
    if order.guidance is not None:
        guidance["distilled_guidance"] = order.guidance
    found = {"sample_steps": order.steps, "sample_method": order.sampler.label, "guidance": guidance}
    return found if order.sampler.scheduler is None else {**found, "scheduler": order.sampler.scheduler}


def _second_pass(hires: SecondPass | None) -> dict[str, Any]:
    if hires is None:
        return {"enabled": False}
    return {
        "enabled": True,
        "upscaler": hires.upscaler,
        "target_width": hires.width,
        "target_height": hires.height,
        "steps": hires.steps,
        "denoising_strength": max(LEAST_STRENGTH, hires.strength),
    }


def _picture(order: Order) -> dict[str, Any]:
    if order.picture is None:
        return {}
    body = {"init_image": order.picture, "strength": order.strength}
    return body if order.mask is None else {**body, "mask_image": order.mask}


def _over(said: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Ours in front of what is said, field by field of what is nested."""
    both = {
        name: _over(said[name], value) if isinstance(value, dict) and isinstance(said.get(name), dict) else value
        for name, value in ours.items()
    }
    return {**said, **both}
