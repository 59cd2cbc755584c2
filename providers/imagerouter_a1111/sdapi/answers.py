"""Answers of ``/sdapi/v1/txt2img`` and ``/sdapi/v1/img2img``: pictures, and what they were drawn with.

Base64 is passed on as it came, never decoded. ``info`` is JSON inside a string, differs with every server, and may be
empty or no JSON at all (``modules/processing.py``: ``Processed.js``; ``routes_sdapi.cpp``).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from imagerouter import Image, ProviderResponseError, extraction
from imagerouter.http import Answer
from imagerouter.names import slashed, stem
from imagerouter_a1111.recipe import Checkpoint

_FIRST, _FOLLOWING = re.compile(rb'"images"\s*:\s*\[\s*"'), re.compile(rb'"\s*,\s*"')
_MODEL = re.compile(r"(?:^|, )Model: ([^,]+)")
_LEFT_OUT = str.maketrans("", "", ",:")


class NoPictureError(ProviderResponseError):
    """Success, and not one picture: SD.Next's answer while it has no checkpoint loaded."""


class Told(msgspec.Struct, frozen=True):
    """What a server answered."""

    images: tuple[Image, ...]
    """In the order of their seeds, without the grid that may come before them."""
    checkpoint: str
    """Name of the checkpoint in the server's own spelling; empty where it isn't told."""
    hash: str
    """The first digits of its SHA-256; empty where it isn't told."""
    seeds: tuple[int, ...]
    """Of all the images that were asked for, drawn or not; empty where they aren't told."""


class _Body(msgspec.Struct):
    images: list[Any] | None = None
    info: Any = None

    @property
    def encoded(self) -> list[str]:
        return [_text(image) for image in self.images or ()]


def read(answer: Answer, *, count: int, provider: str) -> Told:
    """The first ``count`` pictures of a successful answer.

    Raises `NoPictureError` if there is none and `ProviderResponseError` if there are fewer, or if it can't be read.
    """
    try:
        body, pictures = extraction.read(answer.content, _Body, _FIRST, _FOLLOWING)
    except msgspec.MsgspecError as error:
        raise ProviderResponseError(f"provider `{provider}` sent an answer that can't be understood") from error
    info = _info(body.info)
    first = info.get("index_of_first_image")
    start = first if isinstance(first, int) and first > 0 else 0
    images = tuple(_proven(image, provider) for image in pictures[start : start + count] if image.encoded)
    if not images:
        raise NoPictureError(f"provider `{provider}` returned no picture")
    if len(images) < count:
        raise ProviderResponseError(f"provider `{provider}` returned {len(images)} images instead of {count}")
    return Told(images, _checkpoint(info), _text(info.get("sd_model_hash")), _seeds(info))


def _info(text: Any) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text) if isinstance(text, str) else text
    except msgspec.MsgspecError:
        return {}
    return found if isinstance(found, dict) else {}


def _proven(image: Image, provider: str) -> Image:
    if not image.media_type.startswith("image/"):
        raise ProviderResponseError(f"provider `{provider}` returned something that is not a PNG, JPEG or WebP picture")
    return image


def _checkpoint(info: dict[str, Any]) -> str:
    if name := _text(info.get("sd_model_name")):
        return name
    texts = info.get("infotexts")
    # The prompt comes first in it, and may say anything.
    last = _text(texts[0]).rpartition("\n")[2] if isinstance(texts, list) and texts else ""
    found = _MODEL.search(last)
    return found[1].strip() if found else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _seeds(info: dict[str, Any]) -> tuple[int, ...]:
    seeds = info.get("all_seeds")
    return tuple(seed for seed in seeds if isinstance(seed, int)) if isinstance(seeds, list) else ()


def is_checkpoint(told: Told, checkpoint: Checkpoint) -> bool | None:
    """Whether a picture was drawn with this checkpoint; ``None`` if the server doesn't say.

    The hash decides where both have one. Names are compared without folder, ending and hash.
    """
    hashes = [hash_.casefold() for hash_ in (checkpoint.hash, checkpoint.sha256) if hash_]
    if told.hash and hashes:
        said = told.hash.casefold()
        return any(said.startswith(known) or known.startswith(said) for known in hashes)
    if not told.checkpoint:
        return None
    said = _plain(told.checkpoint)
    return any(said == _plain(name) or said == _plain(stem(name)) for name in (checkpoint.name, checkpoint.file))


def _plain(name: str) -> str:
    """``sub/file.safetensors`` as ``model_name`` has it: ``sub_file``."""
    parts = slashed(name).split("/")
    # SD.Next leaves out what would end the name (``modules/processing_info.py``).
    return "_".join((*parts[:-1], stem(name))).translate(_LEFT_OUT).casefold()
