"""``/sdapi/v1/options``: the settings that mean something here, and which of them a sender has changed.

The real server has some four hundred, for everybody; here each sender has its own, and only those that a request's
``override_settings`` could name as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imagerouter.errors import InvalidParameterError
from imagerouter.suggest import shortened

MODEL = "sd_model_checkpoint"
DEFAULTS: Mapping[str, Any] = {
    "sd_vae": "Automatic",
    "CLIP_stop_at_last_layers": 1,
    "samples_format": "png",
    "jpeg_quality": 80,
}
"""``modules/shared_options.py``; beside these there is the checkpoint."""
FORMATS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp", "avif": "avif"}
"""``samples_format`` → ``output_format``."""
_LONGEST = 512
_HASH = re.compile(r"(.+) \[[0-9a-fA-F]{8,64}\]")


def changed(settings: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """A sender's settings after it has sent these; names without a meaning here, and ``null``, change nothing.

    Clients send everything back that they got, so what is as by default says nothing.

    Raises `InvalidParameterError`.
    """
    found = dict(settings)
    for name, value in sent.items():
        if name not in DEFAULTS and name != MODEL:
            continue
        if value is None or value == DEFAULTS.get(name):
            found.pop(name, None)
        else:
            found[name] = checked(name, value)
    return found


def checked(name: str, value: Any) -> Any:
    """Raises `InvalidParameterError` for a value that the setting can't have."""
    if name in ("CLIP_stop_at_last_layers", "jpeg_quality"):
        least, most = (0, 12) if name.startswith("CLIP") else (0, 100)
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 4 else value
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
            raise _misfit(name, f"an integer from {least} to {most}")
        return int(number)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise _misfit(name, f"a text of at most {_LONGEST} characters")
    if name == "samples_format" and value.casefold().strip(".") not in FORMATS:
        raise _misfit(name, f"one of {', '.join(FORMATS)}, not `{shortened(value)}`")
    return value


def _misfit(name: str, valid: str) -> InvalidParameterError:
    return InvalidParameterError(f"Invalid value for `{name}`: it must be {valid}", param=name)


def told(settings: Mapping[str, Any], default_model: str | None) -> dict[str, Any]:
    """What ``GET /sdapi/v1/options`` answers."""
    return {MODEL: default_model, "sd_checkpoint_hash": None, **DEFAULTS, **settings}


def unhashed(name: str) -> str:
    """``file.safetensors [31e35c80fc]``, a title of the real server, without its hash."""
    match = _HASH.fullmatch(name)
    return match[1] if match else name
