"""What adapters hand over is checked here, once, so that nothing of a defective one reaches a client or its peers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from imagerouter.errors import ProviderResponseError, ProviderUnavailableError
from imagerouter.images import dimensions
from imagerouter.logs import get_logger
from imagerouter.provider import Extras, Model, Status
from imagerouter.types import Image, Images

log = get_logger(__name__)

ANYTHING = (Exception, asyncio.CancelledError, SystemExit)
"""What an adapter may raise: its own cancellations and a library's `sys.exit` are failures like others."""
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")


def is_being_cancelled() -> bool:
    """Whether somebody wants the current task to end, as opposed to an adapter that raised `CancelledError`."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def checked_models(provider: str, models: Any) -> tuple[Model, ...]:
    """The models whose names can be shown and sent; the others are left out and logged."""
    if not isinstance(models, Iterable):
        raise ProviderUnavailableError(f"provider `{provider}` returned no list of models")
    good = []
    for model in models:
        if isinstance(model, Model) and _is_usable(model):
            good.append(model)
        else:
            log.warning("model.unusable", provider=provider, model=ascii(getattr(model, "id", model))[:200])
    return tuple(good)


def _is_usable(model: Model) -> bool:
    has_names = all(_is_name(name) for name in (model.id, model.name or model.id))
    return has_names and isinstance(model.sha256, str) and isinstance(model.file_size, int)


def _is_name(name: Any) -> bool:
    # File names that are no UTF-8 come from the file system with characters that no JSON can carry.
    return isinstance(name, str) and bool(name.strip()) and not any("\ud800" <= c <= "\udfff" for c in name)


def checked_extras(provider: str, extras: Any) -> Extras:
    """Without the names that can't be shown and sent, and each one once."""
    try:
        checked = msgspec.convert(msgspec.structs.asdict(extras), dict[str, tuple[Any, ...]], strict=False)
        return Extras(**{kind: tuple(dict.fromkeys(filter(_is_name, names))) for kind, names in checked.items()})
    except (TypeError, ValueError, AttributeError):
        raise ProviderUnavailableError(f"provider `{provider}` returned no lists of names") from None


def checked_status(provider: str, status: Any) -> Status:
    if not isinstance(status, Status):
        raise ProviderUnavailableError(f"provider `{provider}` returned no status")
    return status


def checked_images(provider: str, images: Any, n: int) -> Images:
    """``images`` if they are ``n`` pictures of a known kind; raises `ProviderResponseError` otherwise."""
    try:
        checked = msgspec.convert(msgspec.structs.asdict(images), Images, strict=False)
    except (TypeError, ValueError, AttributeError):
        raise ProviderResponseError(f"provider `{provider}` returned something that is no images") from None
    if len(checked.images) != n:
        raise ProviderResponseError(f"provider `{provider}` returned {len(checked.images)} images instead of {n}")
    if not all(_is_picture(image) for image in checked.images):
        raise ProviderResponseError(f"provider `{provider}` returned something that is not a picture")
    applied = checked.applied if _is_json(checked.applied) else {}
    return msgspec.structs.replace(checked, applied=applied, load_seconds=max(0.0, checked.load_seconds))


def _is_json(value: Any) -> bool:
    try:
        msgspec.json.encode(value, enc_hook=str)
    except (TypeError, ValueError):
        return False
    return True


def _is_picture(image: Image) -> bool:
    """By its header; and base64, which becomes part of a JSON string, must be nothing else."""
    if image.media_type not in MEDIA_TYPES or dimensions(image) is None:
        return False
    return image.is_sound
