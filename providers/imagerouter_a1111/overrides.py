"""``override_settings`` from clients: names that the owner allows, and values that the server can live with.

A server takes any value for a setting: also one that makes this job fail, and those of others as long as it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from imagerouter import InvalidParameterError, ProviderRejectedError
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.dialects import DIALECTS
from imagerouter_a1111.recipe import Stock

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "comma_padding_backtrack": (0, 74),
    "eta_ancestral": (0, 1),
    "eta_ddim": (0, 1),
    "eta_noise_seed_delta": (0, 2**32 - 1),
    "img2img_extra_noise": (0, 10),
    "initial_noise_multiplier": (0, 10),
    "s_min_uncond": (0, 15),
    "token_merging_ratio": (0, 1),
    "token_merging_ratio_hr": (0, 1),
    "token_merging_ratio_img2img": (0, 1),
}
"""The sliders of ``modules/shared_options.py``, some a little longer."""
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "emphasis": ("None", "Ignore", "Original", "No norm"),  # modules/sd_emphasis.py
    "randn_source": ("GPU", "CPU", "NV"),
}
_USUAL: Mapping[str, Any] = {
    **DIALECTS["a1111"].defaults,
    "emphasis": "Original",
    "enable_quantization": False,
    "sgm_noise_multiplier": False,
}
"""Of which type a setting is where the server doesn't list it."""
_INT32 = (-(2**31), 2**31 - 1)
_LONGEST = 200
_SHOWN = 40


def check(value: Any, param: str, stock: Stock, config: A1111Config, instead: Mapping[str, str]) -> None:
    """Raises `ProviderRejectedError` and `InvalidParameterError`.

    :param instead: settings that have a parameter → which.
    """
    if not isinstance(value, dict):
        raise InvalidParameterError(f"`{param}` must be an object", param=param)
    for name, setting in value.items():
        if name in instead:
            raise ProviderRejectedError(f"`{param}`: use `{instead[name]}`", param=param)
        if name not in config.client_settings:
            allowed = _among(config.client_settings)
            message = f"`{param}`: the setting `{name[:_SHOWN]}` isn't allowed here{allowed}"
            raise ProviderRejectedError(message, param=param)
        # SD.Next lists only what its owner has changed, and ignores what it doesn't know.
        if stock.dialect.name != "sdnext" and not stock.knows_setting(name):
            raise ProviderRejectedError(f"`{param}`: the server has no setting `{name[:_SHOWN]}`", param=param)
        if wrong := _wrong(name, setting, stock):
            raise InvalidParameterError(f"`{param}.{name}` must be {wrong}", param=f"{param}.{name}")


def _among(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"; allowed are {listed}" if listed else ""


def _wrong(name: str, value: Any, stock: Stock) -> str:
    """What it would have to be; empty where it is."""
    if name in _CHOICES:
        return "" if value in _CHOICES[name] else f"one of {', '.join(_CHOICES[name])}"
    # What was changed by a job may have another type than what it is by default.
    known = stock.defaults.get(name, _USUAL.get(name, stock.settings.get(name)))
    if isinstance(known, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(known, int | float):
        return _wrong_number(name, value, whole=isinstance(known, int))
    if isinstance(known, list | dict):
        return "" if isinstance(value, type(known)) else "a list" if isinstance(known, list) else "an object"
    if isinstance(known, str):
        return "" if isinstance(value, str) and len(value) <= _LONGEST else f"a text of {_LONGEST} characters at most"
    return _wrong_unknown(name, value)


def _wrong_number(name: str, value: Any, *, whole: bool) -> str:
    least, most = _BOUNDS.get(name, _INT32)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and isinstance(value, float):
        is_number = isfinite(value) and not whole
    if is_number and (name in _BOUNDS or isinstance(value, int)):
        is_number = least <= value <= most
    if is_number:
        return ""
    between = f" between {least} and {most}" if whole or name in _BOUNDS else ""
    return f"{'a whole number' if whole else 'a number'}{between}"


def _wrong_unknown(name: str, value: Any) -> str:
    """Of a setting that the server hasn't given a type: it is null, or SD.Next doesn't list it."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int | float):
        return _wrong_number(name, value, whole=False)
    return "" if isinstance(value, str) and len(value) <= _LONGEST else "a number, true or false, or a short text"
