"""The request of a picture, written into its file, so that the same picture can be drawn again.

JSON under canonical names, without a pixel being encoded anew:

- PNG: an iTXt chunk with the keyword ``imagerouter``, UTF-8, not compressed.
- JPEG, WebP, AVIF: ``{"imagerouter": …}`` in EXIF's UserComment, in ASCII with ``\\u`` escapes: of the two character
  codes that readers of EXIF agree on, the other (UTF-16) doesn't say which of its bytes comes first.

Input pictures, API keys, headers, addresses and ``provider.options`` are never in it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from imagerouter.metadata import stripped
from imagerouter.types import Image

if TYPE_CHECKING:
    from imagerouter.jobs import Outcome

FIELDS = (
    "prompt negative_prompt model size seed steps cfg_scale guidance sampler scheduler strength clip_skip vae loras "
    "hires quality style background"
).split()
"""The parameters of a request that are embedded; ``operation`` (not for text to image) and how the file was written
(``output_format``, ``output_compression``) stand beside them."""

KEY = "imagerouter"
LONGEST = 2**24
"""Bytes of JSON that are read at most."""

_PNG = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33
"""Where IHDR ends, which every PNG begins with."""
_ITXT = KEY.encode() + b"\0\0\0\0\0"
"""The keyword and its end, not compressed, by no method, in no language, not translated."""
_ASCII = b"ASCII\0\0\0"
_EXIF = b"Exif\0\0"
_TIFF = struct.Struct(">2sHI HHHIII HHHIII")
"""The header, a directory with the place of EXIF's, and that with the place of the comment."""
_TIFF_START = b"MM\0*\0\0\0\x08\0\x01\x87\x69"
_EXIF_DIRECTORY, _USER_COMMENT = 0x8769, 0x9286
_SEGMENT = 65_527
"""Bytes that a JPEG segment has room for, beside its length and `_EXIF`."""
_VP8X = struct.Struct("<4sIB3xHBHB")
_ALPHA, _HAS_EXIF = 0b1_0000, 0b1000
"""Flags in the first byte of VP8X."""


def request_of(outcome: Outcome, index: int) -> dict[str, Any]:
    """The request that draws image ``index`` (from 0) of ``outcome`` alone, as it was honoured, in plain JSON."""
    from imagerouter.jobs import operation_of

    job = outcome.job
    said = {name: value for name, value in job.on(outcome.target).params.items() if name not in outcome.ignored}
    used = {"prompt": job.prompt, **said, **outcome.applied, "model": outcome.model, "seed": outcome.seed_of(index)}
    used["size"] = _size(said, outcome.applied)
    kept = {name: used[name] for name in FIELDS if used.get(name) not in (None, (), [])}
    if (operation := operation_of(job)) != "generate":
        kept["operation"] = operation
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(kept, enc_hook=lambda _: None))
    return plain


def _size(said: Mapping[str, Any], applied: Mapping[str, Any]) -> str | None:
    """Of the first pass: adapters tell the size of the finished picture, which would grow once more."""
    try:
        scale = msgspec.to_builtins(applied.get("hires") or {}).get("scale", 1)
        sides = [said.get(side) or round(applied[side] / scale) for side in ("width", "height")]
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):  # whatever an adapter told
        return None
    return f"{sides[0]}x{sides[1]}"


def embedded(image: Image, request: Mapping[str, Any]) -> Image:
    """``image`` with ``request`` in its file, instead of all other texts; the pixels are the same bytes as before.

    Copies the file, so it is for a thread. An AVIF gets `exif_of` when it is written: its parts are found by their
    places in the file, which must not move. Raises `ValueError` for what isn't a PNG, JPEG or WebP.
    """
    data = stripped(image.data)
    try:
        if data[12:16] == b"IHDR" and data.startswith(_PNG):
            written = _into_png(data, request)
        elif data.startswith(b"\xff\xd8\xff"):
            written = _into_jpeg(data, request)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            written = _into_webp(data, request)
        else:
            raise ValueError("neither PNG, JPEG nor WebP")
    except struct.error:
        raise ValueError("the file is cut short") from None
    return Image(data=written, media_type=image.media_type)


def exif_of(request: Mapping[str, Any]) -> bytes:
    """An EXIF block with nothing but ``request``, as Pillow takes it: ``Exif``, two zeros, a TIFF structure."""
    comment = _ASCII + json.dumps({KEY: request}).encode("ascii")
    place = (1, _EXIF_DIRECTORY, 4, 1, 26, 0)
    entry = (1, _USER_COMMENT, 7, len(comment), _TIFF.size, 0)
    return _EXIF + _TIFF.pack(b"MM", 42, 8, *place, *entry) + comment


def _into_png(data: bytes, request: Mapping[str, Any]) -> bytes:
    body = b"iTXt" + _ITXT + json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", crc32(body))
    return data[:_HEADER_END] + chunk + data[_HEADER_END:]


def _into_jpeg(data: bytes, request: Mapping[str, Any]) -> bytes:
    """In several segments where one is too short, as part 3 of Adobe's XMP specification has it and Pillow reads it."""
    tiff = exif_of(request)[len(_EXIF) :]
    parts = (_EXIF + tiff[start : start + _SEGMENT] for start in range(0, len(tiff), _SEGMENT))
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in parts)
    place = 2
    if data[2:4] == b"\xff\xe0":  # JFIF wants to be the first
        place += 2 + struct.unpack_from(">H", data, 4)[0]
    return data[:place] + segments + data[place:]


def _into_webp(data: bytes, request: Mapping[str, Any]) -> bytes:
    chunks = data[12:]
    if not chunks.startswith(b"VP8X"):
        chunks = _extended_header(data) + chunks
    chunks = chunks[:8] + bytes([chunks[8] | _HAS_EXIF]) + chunks[9:]
    tiff = exif_of(request)[len(_EXIF) :]
    body = b"WEBP" + chunks + b"EXIF" + struct.pack("<I", len(tiff)) + tiff + b"\0" * (len(tiff) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _extended_header(data: bytes) -> bytes:
    """VP8X, without which a file has no place for EXIF (RFC 9649, 2.7), from what the pixels' own header says."""
    from imagerouter.images import dimensions

    size = dimensions(Image(data=data))
    if size is None:
        raise ValueError("neither PNG, JPEG nor WebP")
    width, height = size[0] - 1, size[1] - 1
    has_alpha = data[12:16] == b"VP8L" and data[24] & 0b1_0000
    flags = _ALPHA if has_alpha else 0
    return _VP8X.pack(b"VP8X", 10, flags, width & 0xFFFF, width >> 16, height & 0xFFFF, height >> 16)


def read(data: bytes) -> dict[str, Any] | None:
    """The request that `embedded` wrote into this file, or ``None``; raises nothing, whatever the file holds."""
    try:
        if data.startswith(_PNG):
            return _request(_from_png(data))
        comment = _user_comment(_tiff_of(data))
        found = _request(comment.removeprefix(_ASCII) if comment.startswith(_ASCII) else b"")
        return _is_object(found.get(KEY)) if found else None
    except (struct.error, LookupError):
        return None


def _request(text: bytes) -> dict[str, Any] | None:
    try:
        return _is_object(json.loads(text.decode("utf-8", "surrogatepass")) if len(text) <= LONGEST else None)
    except (ValueError, RecursionError):
        return None


def _is_object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _from_png(data: bytes) -> bytes:
    position = len(_PNG)
    while (name := data[position + 4 : position + 8]) != b"IEND":
        (length,) = struct.unpack_from(">I", data, position)
        if name == b"iTXt" and data.startswith(_ITXT, position + 8):
            return data[position + 8 + len(_ITXT) : position + 8 + length]
        position += 12 + length
    return b""


def _tiff_of(data: bytes) -> bytes:
    """The structure that holds the EXIF of a file."""
    if data.startswith(b"\xff\xd8"):
        return b"".join(_jpeg_parts(data))
    position = 12
    while data[:4] == b"RIFF" and position < len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        if data[position : position + 4] == b"EXIF":
            return data[position + 8 : position + 8 + length].removeprefix(_EXIF)
        position += 8 + length + length % 2
    # AVIF keeps EXIF as it got it, at a place that a dozen nested boxes tell; its beginning is always the same.
    start = data.find(_TIFF_START) if data[4:8] == b"ftyp" else -1
    return data[start : start + LONGEST] if start >= 0 else b""


def _jpeg_parts(data: bytes) -> Iterator[bytes]:
    position = 2
    while data[position] == 0xFF and (marker := data[position + 1]) != 0xDA:
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker == 0xE1 and data.startswith(_EXIF, position + 4):
            yield data[position + 4 + len(_EXIF) : position + 2 + length]
        position += 2 + length


def _user_comment(tiff: bytes) -> bytes:
    # Nothing but the one entry is read: there may be 65,535, each of which claims the whole file as its value.
    order = {b"II": "<", b"MM": ">"}[tiff[:2]]
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    _, directory = _entry(tiff, order, first, _EXIF_DIRECTORY)
    length, place = _entry(tiff, order, directory, _USER_COMMENT)
    return tiff[place : place + length]


def _entry(tiff: bytes, order: str, directory: int, wanted: int) -> tuple[int, int]:
    """Count and value of an entry. Raises `LookupError` where there is none."""
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for position in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, _, length, value = struct.unpack_from(order + "HHII", tiff, position)
        if tag == wanted:
            return length, value
    raise LookupError(wanted)
