"""``provider.options``: further fields of the server's own request, from people who know it.

What imagerouter writes itself, what would break a promise of its own, and what makes the server fetch or open
something, isn't taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from math import isfinite
from typing import Any

from imagerouter import InvalidParameterError, ProviderRejectedError
from imagerouter.canvas import LARGEST
from imagerouter.names import close, demand, instead
from imagerouter_a1111 import overrides, prompts, sdcpp
from imagerouter_a1111.checkpoints import meant
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.recipe import Recipe, Stock

_INSTEAD = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "n_iter": "n",
    "batch_size": "n",
    "steps": "steps",
    "cfg_scale": "cfg_scale",
    "cfg_true": "cfg_scale",
    "distilled_cfg_scale": "guidance",
    "width": "width",
    "height": "height",
    "sampler_name": "sampler",
    "sampler_index": "sampler",
    "scheduler": "scheduler",
    "schedulers_sigma": "scheduler",
    "k_sched_type": "scheduler",
    "denoising_strength": "strength",
    "clip_skip": "clip_skip",
    "init_images": "images",
    "firstpass_image": "images",
    "init_control": "images",
    "mask": "mask",
    "latent_mask": "mask",
    "lora": "loras",
    "network_data": "loras",
    "sd_model_checkpoint": "model",
    "samples_format": "output_format",
    "jpeg_quality": "output_compression",
    "enable_hr": "hires",
    "hr_scale": "hires.scale",
    "hr_resize_x": "hires.scale",
    "hr_resize_y": "hires.scale",
    "hr_upscaler": "hires.upscaler",
    "hr_second_pass_steps": "hires.steps",
    "hr_steps": "hires.steps",
    "hr_denoising_strength": "hires.strength",
    "firstphase_width": "hires.scale",
    "firstphase_height": "hires.scale",
    "mask_blur_x": "provider.options.mask_blur",
    "mask_blur_y": "provider.options.mask_blur",
}
"""Field → the parameter that says the same."""

_INSTEAD_IN: dict[tuple[str, ...], str] = {
    ("sample_params", "sample_steps"): "steps",
    ("sample_params", "sample_method"): "sampler",
    ("sample_params", "scheduler"): "scheduler",
    ("sample_params", "custom_sigmas"): "steps` and `scheduler",
    ("sample_params", "guidance", "txt_cfg"): "cfg_scale",
    ("sample_params", "guidance", "distilled_guidance"): "guidance",
    **{("hires", name): "hires" for name in ("enabled", "scale", "target_width", "target_height")},
    ("hires", "steps"): "hires.steps",
    ("hires", "custom_sigmas"): "hires.steps",
    ("hires", "denoising_strength"): "hires.strength",
    ("hires", "upscaler"): "hires.upscaler",
}
"""The same of what stable-diffusion.cpp's own requests nest."""

_OURS = frozenset(
    "comments disable_extra_networks do_not_save_grid do_not_save_samples enable_batch_seeds enhance_prompt extra "
    "force_task_id grading_lut_file grid_format grid_save hr_additional_modules hr_force hr_resize_context "
    "hr_resize_mode image_metadata include_init_images include_mask infotext inpainting_mask_invert keep_incomplete "
    "mask_apply_overlay mask_for_overlay overlay_images override_settings_restore_afterwards paste_to return_grid "
    "samples_save save_images save_images_before_color_correction save_images_before_detailer "
    "save_images_before_highres_fix save_images_before_refiner send_images sequential_seed skip_processing vae_type "
    "xyz".split()
)
"""What decides how pictures come, what stays of them on the server's disk, which seed each has, and whether pictures
or prompts leave the server (SD.Next's remote VAE, and its prompt enhancer)."""
_SIZING = re.compile(r"(width|height|resize_context|resize_mode|resize_name|scale_by|selected_scale_tab)(_\w+)?")
"""Fields for scaling, which pictures of the canvas's size need not; SD.Next has them for before and after, too."""
_SCRIPTS = ("script_name", "script_args")
_NAMING = ("hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "refiner_checkpoint")
_ADDRESS = re.compile(
    r"[\s\x00-\x20]*+([a-z][a-z0-9+.-]*+://|file=|upload:|[a-z]:[\\/]|\\\\|/(?!9j/))",
    re.IGNORECASE,
)
"""What begins like an address, or like a path from a disk's root; ``/9j/`` is a JPEG in base64."""
_FILE = re.compile(r"\.(avif|bmp|gif|jfif|jpe?g|jp2|jxl|pdf|png|ppm|psd|tga|tiff?|webp)\s*", re.IGNORECASE)
"""How the name of a picture ends."""
_LONGEST_PATH = 4096
_MOST_VALUES = 10_000
"""And names of them, at any depth; each is looked at."""
_SHOWN = 40
_WHOLE = range(-(2**63), 2**64)
"""What a server can count with; NumPy, PyTorch and C++ raise beyond it, or turn it into something else."""
_MOST = {"mask_blur": 64, "seed_resize_from_h": LARGEST, "seed_resize_from_w": LARGEST}
"""Pixels. A server makes noise of any size that somebody says, whether it has memory for it or not."""


def taken(stock: Stock, config: A1111Config) -> frozenset[str]:
    """Fields that clients may set, as far as the server tells which ones it has."""
    words = _fields(stock) - _INSTEAD.keys() - _OURS - ({*_SCRIPTS} if not config.allow_scripts else set())
    words -= {"override_settings"} if not stock.dialect.has_settings else set()
    return frozenset(word for word in words if not _SIZING.fullmatch(word))


def checked(options: Mapping[str, Any], stock: Stock, config: A1111Config, recipe: Recipe) -> dict[str, Any]:
    """Fields for the request, with the server's spelling of what names something that it has.

    Raises `ProviderRejectedError` and `InvalidParameterError`, with ``provider.options.`` before the field.
    """
    found: dict[str, Any] = {}
    values = list(islice(_values(options), _MOST_VALUES + 1))
    if len(values) > _MOST_VALUES:
        message = f"`provider.options` can't hold more than {_MOST_VALUES} values"
        raise InvalidParameterError(message, param="provider.options")
    for text in values:
        if isinstance(text, str):
            prompts.check_unicode(text, "provider.options")
    _check_nested(options)
    for word, value in options.items():
        param = f"provider.options.{word[:_SHOWN]}"
        _check_word(word, param, stock, config, recipe)
        found[word] = _value(word, value, param, stock, config)
        for item in _values(value):
            if isinstance(item, str):
                _check_text(item, param, stock, config)
            else:
                _check_number(item, param)
    return found


def _check_number(item: Any, param: str) -> None:
    is_beyond = item not in _WHOLE if isinstance(item, int) else isinstance(item, float) and not isfinite(item)
    if is_beyond:
        raise InvalidParameterError(f"`{param}` can't hold numbers beyond 64 bits, or that aren't finite", param=param)


def _check_text(text: str, param: str, stock: Stock, config: A1111Config) -> None:
    if _is_place(text):
        raise ProviderRejectedError(f"`{param}` can't hold the address of a file or page", param=param)
    prompts.check(text, param, stock, config)  # which any of them may be: those of scripts load networks, too


def _is_place(text: str) -> bool:
    """Whether a server, or a script of its, could open it: ControlNet takes a file's path for a picture."""
    if _ADDRESS.match(text):
        return True
    return len(text) < _LONGEST_PATH and _FILE.fullmatch(text, max(text.rfind("."), 0)) is not None


_OF_MASKS = ("mask_blur", "inpainting_fill", "inpaint_full_res", "inpaint_full_res_padding")
"""Clients of this API send them with every mask: a server without them draws without them."""


def _check_word(word: str, param: str, stock: Stock, config: A1111Config, recipe: Recipe) -> None:
    if word in _INSTEAD:
        raise ProviderRejectedError(f"`{param}` is set by imagerouter; use `{_INSTEAD[word]}`", param=param)
    if word in _OURS or _SIZING.fullmatch(word):
        raise ProviderRejectedError(f"`{param}` is set by imagerouter", param=param)
    if word in _SCRIPTS and not config.allow_scripts:
        raise ProviderRejectedError(f"`{param}`: scripts aren't allowed here", param=param)
    fields = _fields(stock)
    is_unknown = fields and word not in fields and word not in _OF_MASKS
    if is_unknown or (word == "override_settings" and not stock.dialect.has_settings):
        message = f"`{word[:_SHOWN]}` is no option of `{recipe.model.id}`{close(word, sorted(taken(stock, config)))}"
        raise ProviderRejectedError(message, param=param)


def _fields(stock: Stock) -> frozenset[str]:
    """Empty where the server doesn't tell."""
    return sdcpp.FIELDS if stock.dialect.name == "sdcpp" and stock.capabilities else stock.fields


def _check_nested(options: Mapping[str, Any]) -> None:
    for path, parameter in _INSTEAD_IN.items():
        found: Any = options
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            param = f"provider.options.{'.'.join(path)}"
            raise ProviderRejectedError(f"`{param}` is set by imagerouter; use `{parameter}`", param=param)


def _value(word: str, value: Any, param: str, stock: Stock, config: A1111Config) -> Any:
    if word == "alwayson_scripts":
        _check_scripts(value, param, stock)
    elif word == "override_settings":
        overrides.check(value, param, stock, config, _INSTEAD)
    elif word == "styles":
        _check_styles(value, param, stock)
    elif word in _MOST:
        _check_pixels(value, param, _MOST[word])
    elif word in _NAMING and isinstance(value, str) and value not in ("", "None"):
        return _named(word, value, param, stock)
    return value


def _named(word: str, value: str, param: str, stock: Stock) -> str:
    """What a field names, as the server spells it: it replaces an unknown name, or fails."""
    if word == "hr_sampler_name":
        return demand(value, _names(stock.samplers, "name"), param)
    if word == "hr_scheduler":
        return demand(value, _names(stock.schedulers, "label"), param)
    if (found := meant(value, stock.checkpoints)) is None:
        file = demand(value, [checkpoint.file for checkpoint in stock.checkpoints], param)
        found = next(checkpoint for checkpoint in stock.checkpoints if checkpoint.file == file)
    return found.title


def _names(rows: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    return [row[key] for row in rows if isinstance(row.get(key), str)]


def _check_pixels(value: Any, param: str, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidParameterError(f"`{param}` must be a whole number between 0 and {most}", param=param)


def _check_scripts(value: Any, param: str, stock: Stock) -> None:
    if not isinstance(value, dict) or not all(isinstance(script, dict) for script in value.values()):
        raise InvalidParameterError(f"`{param}` must be an object of objects, one per script", param=param)
    for name in value:
        if stock.scripts and name.lower() not in stock.scripts:
            there = ", ".join(sorted(stock.scripts))
            message = f"`{param}`: the server has no script `{name[:_SHOWN]}`; it has {there}"
            raise ProviderRejectedError(message, param=param)


def _check_styles(value: Any, param: str, stock: Stock) -> None:
    """The server leaves out one that it doesn't know, without a word."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidParameterError(f"`{param}` must be a list of names", param=param)
    for name in value if stock.styles is not None else ():
        if name not in (stock.styles or ()):
            message = f"`{param}`: the server has no style `{name[:_SHOWN]}`{instead(name, sorted(stock.styles or ()))}"
            raise ProviderRejectedError(message, param=param)


def _values(value: Any) -> Iterator[Any]:
    """All that is in it, at any depth: names of fields too, but no objects and lists themselves."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += [*item, *item.values()]
        elif isinstance(item, list):
            left += item
        else:
            yield item
