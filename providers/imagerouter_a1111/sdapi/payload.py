"""Orders as the body of ``/sdapi/v1/txt2img`` and ``/sdapi/v1/img2img``.

Nothing is left to a server's defaults where those differ or are its owner's. Fields that a server hasn't are ignored
by it (``modules/api/models.py``), settings that it hasn't make the request fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagerouter import Parity
from imagerouter.names import slashed, stem
from imagerouter_a1111 import parity
from imagerouter_a1111.checkpoints import spellings
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.dialects import Dialect
from imagerouter_a1111.prompts import with_loras
from imagerouter_a1111.recipe import Checkpoint, Order, SecondPass, Stock

_OURS = frozenset(
    "distilled_cfg_scale force_task_id include_init_images init_images lora mask override_settings "
    "override_settings_restore_afterwards sampler_index scheduler schedulers_sigma sd_model_checkpoint".split()
)
"""Fields that are never taken from `Order.options`, even where nothing is sent in them."""

_WITHOUT_TEXTS = {"enable_pnginfo": False, "image_metadata": False}
"""Settings of AUTOMATIC1111 and of SD.Next that keep prompt and parameters out of the files."""
_SPOILERS = ("return_mask", "return_mask_composite", "use_old_hires_fix_width_height")
"""Settings of an owner that put pictures between the pictures, or draw them in another size."""


_DELIVERY = {"send_images": True, "save_images": False, "do_not_save_samples": True, "do_not_save_grid": True}
"""Pictures come in the answer, and nowhere else."""
_LEAST_STRENGTH = 0.0001
"""With 0 and a mask SD.Next answers without a picture."""


def route(order: Order) -> str:
    return "sdapi/v1/txt2img" if order.picture is None else "sdapi/v1/img2img"


def payload(
    order: Order,
    stock: Stock,
    seeds: range,
    *,
    task_id: str | None,
    overrides: Mapping[str, Any],
    restore: bool,
    config: A1111Config,
) -> dict[str, Any]:
    """The whole body of a request for one image per seed; the seeds follow each other without a gap.

    :param overrides: settings for this job, made from `settings`.
    :param restore: whether the server puts them back afterwards.
    """
    body = {
        **_replaceable(order, stock.dialect, config),
        **parity.fields(order, stock),
        **{key: value for key, value in order.options.items() if key not in _OURS},
        **_drawing(order, stock),
        **_count(seeds, stock, config),
        **(_second_pass(order, stock.dialect) if order.picture is None else _picture(order, stock.dialect)),
        **_DELIVERY,
    }
    if task_id is not None:
        body["force_task_id"] = task_id
    if overrides and stock.dialect.has_settings:
        body |= {"override_settings": dict(overrides), "override_settings_restore_afterwards": restore}
    return body


def _replaceable(order: Order, dialect: Dialect, config: A1111Config) -> dict[str, Any]:
    """What a client's options may say otherwise."""
    body: dict[str, Any] = {"subseed_strength": 0}
    if order.mask is not None:
        # 1 begins with what is under the mask (``modules/processing.py``: ``inpainting_fill``).
        body |= {"mask_blur": config.mask_blur, "inpainting_fill": 1, "inpaint_full_res": False}
    if order.hires is not None and dialect.name in ("forge", "reforge"):
        body["hr_cfg"] = order.cfg_scale  # 1 by default
        if order.guidance is not None:
            body["hr_distilled_cfg"] = order.guidance
    return body


def _drawing(order: Order, stock: Stock) -> dict[str, Any]:
    dialect = stock.dialect
    tagged = dialect.loras == "tags"
    prompt, negative = parity.prompts(order, stock)
    body: dict[str, Any] = {
        "prompt": with_loras(prompt, order.loras) if tagged else prompt,
        "negative_prompt": negative,
        "steps": order.steps,
        **_guidance(order, dialect),
        "width": order.size.canvas_width,
        "height": order.size.canvas_height,
        "sampler_name": order.sampler.label,
        **_scheduler(order, stock, as_field=True),
    }
    if order.loras and not tagged:
        body["lora"] = [{"path": path, "multiplier": weight} for path, weight in order.loras]
    if order.clip_skip is not None and dialect.clip_skip == "field":
        body["clip_skip"] = order.clip_skip
    return body


def _guidance(order: Order, dialect: Dialect) -> dict[str, float]:
    if dialect.name == "sdnext":
        # What diffusers' pipelines call ``guidance_scale`` is a distilled model's own, and ``true_cfg_scale`` the other
        # of those that know both (``modules/processing_diffusers.py``).
        own = order.cfg_scale if order.guidance is None else order.guidance
        return {"cfg_scale": own, "cfg_true": order.cfg_scale}
    if order.guidance is not None and dialect.name == "forge":
        return {"cfg_scale": order.cfg_scale, "distilled_cfg_scale": order.guidance}
    return {"cfg_scale": order.cfg_scale}


def _scheduler(order: Order, stock: Stock, *, as_field: bool) -> dict[str, Any]:
    """The scheduler, if this is where it belongs.

    SD.Next's setting is a field as well, which leaves nothing behind (``modules/processing_class.py``).
    """
    setting = stock.choices.scheduler_setting
    name = setting or "scheduler"
    is_field = setting is None or setting in stock.fields
    if order.sampler.scheduler is None or is_field is not as_field:
        return {}
    is_known = (not stock.fields or name in stock.fields) if as_field else stock.knows_setting(name)
    return {name: order.sampler.scheduler} if is_known else {}


def batch(count: int, config: A1111Config, stock: Stock) -> int:
    """How many of ``count`` images are drawn at once; always a divisor of it."""
    if stock.dialect.several == "batch_size":
        return count
    return max(size for size in range(1, min(count, config.batch_size) + 1) if count % size == 0)


def _count(seeds: range, stock: Stock, config: A1111Config) -> dict[str, int]:
    """One seed more for each next image is what every server counts by itself."""
    at_once = batch(len(seeds), config, stock)
    return {"seed": seeds[0], "batch_size": at_once, "n_iter": len(seeds) // at_once}


def _picture(order: Order, dialect: Dialect) -> dict[str, Any]:
    strength = order.strength
    if dialect.name == "sdnext" and strength is not None:
        strength = max(_LEAST_STRENGTH, strength)
    body: dict[str, Any] = {
        "init_images": [order.picture],
        "include_init_images": False,
        "resize_mode": 0,
        "denoising_strength": strength,
    }
    return body if order.mask is None else {**body, "mask": order.mask, "inpainting_mask_invert": 0}


def _second_pass(order: Order, dialect: Dialect) -> dict[str, Any]:
    if order.hires is None:
        return {"enable_hr": False}
    hires = order.hires
    return {
        "enable_hr": True,
        "hr_resize_x": hires.width,
        "hr_resize_y": hires.height,
        "hr_upscaler": hires.upscaler,
        dialect.hires_steps: hires.steps,
        "denoising_strength": hires.strength,
        **_peculiar(hires, dialect),
    }


def _peculiar(hires: SecondPass, dialect: Dialect) -> dict[str, Any]:
    """Without what a second pass isn't drawn at all."""
    if dialect.name == "sdnext":
        # By default it neither scales nor draws again (``modules/processing_diffusers.py``: ``process_hires``).
        return {"hr_force": True, "hr_resize_mode": 1, "hr_denoising_strength": hires.strength}
    if dialect.name == "forge":
        # Without modules it fails with a `TypeError`: ``'Use same choices' not in None``.
        return {"hr_additional_modules": ["Use same choices"]}
    return {}


def settings(order: Order, stock: Stock, config: A1111Config) -> dict[str, Any]:
    """The server's own settings that an order needs to be drawn right, as far as the server knows them.

    A model's ``settings`` go before those of `parity` and the owner's, a client's before those, and what has a
    parameter before them all.
    """
    found: dict[str, Any] = {
        **{name: False for name in _SPOILERS if stock.settings.get(name)},
        **({} if config.keep_metadata else _WITHOUT_TEXTS),
        **({} if _restores(stock.dialect, config) else {"samples_format": "png"}),
        **parity.settings(order, stock),
        **order.recipe.entry.settings,
        **order.options.get("override_settings", {}),
        **_scheduler(order, stock, as_field=False),
        **_fallback(order),
        **_modules(order, stock.dialect),
        "sd_model_checkpoint": spelling(order.recipe.checkpoint, stock),
    }
    if order.clip_skip is not None and stock.dialect.clip_skip == "setting":
        found["CLIP_stop_at_last_layers"] = order.clip_skip
    return {name: value for name, value in found.items() if _knows(stock, name)}


def _knows(stock: Stock, name: str) -> bool:
    dialect = stock.dialect
    # Forge and SD.Next list only what has ever been changed (``opts.data``); these they have all the same.
    return dialect.has_settings and (stock.knows_setting(name) or name in ("sd_model_checkpoint", dialect.vae_setting))


def _modules(order: Order, dialect: Dialect) -> dict[str, Any]:
    if dialect.vae_setting == "forge_additional_modules":
        wanted = [*order.recipe.entry.modules, *([order.vae] if order.vae is not None else [])]
        # None at all are the owner's choice: a checkpoint without text encoders needs those that he has set.
        return {"forge_additional_modules": list(dict.fromkeys(wanted))} if wanted else {}
    if order.vae is None or not dialect.vae_setting:
        return {}
    # Else one that its owner has given to this checkpoint in its metadata goes first (``modules/sd_vae.py``).
    return {dialect.vae_setting: order.vae, "sd_vae_overrides_per_model_preferences": True}


def _fallback(order: Order) -> dict[str, bool]:
    """Whether SD.Next may draw with the model's own sampler where the other doesn't suit it.

    Not if the client has chosen one, or wants no other picture. Flow models want theirs under its usual name, which is
    a fallback, too.
    """
    is_chosen = order.request.parity is Parity.STRICT or bool({"sampler", "scheduler"} & order.request.parameters)
    return {"schedulers_fallback": not is_chosen or order.recipe.traits.usual.scheduler != "karras"}


def _restores(dialect: Dialect, config: A1111Config) -> bool:
    """Whether settings go back before the pictures are encoded, which makes their format the owner's."""
    return dialect.restores == "lazily" and config.keep_settings


def spelling(checkpoint: Checkpoint, stock: Stock) -> str:
    """How a checkpoint is asked for, so that no other can be meant.

    As the settings have it now, if they do: Forge and SD.Next load it again when the letters differ
    (``set_config`` in Forge's ``modules/sysinfo.py``).
    """
    current = stock.settings.get("sd_model_checkpoint")
    # With the hash of a file that was replaced it is no name any more.
    if isinstance(current, str):
        named = [one for one in stock.checkpoints if slashed(current) in spellings(one)]
        if named == [checkpoint]:
            return current
    # A file's bare name stands for it, too, in whatever folder it is (``modules/sd_models.py``: ``CheckpointInfo``).
    others = [one for one in stock.checkpoints if one != checkpoint]
    is_shared = any(checkpoint.name in (*spellings(one), stem(one.file)) for one in others)
    return checkpoint.title if is_shared else checkpoint.name
