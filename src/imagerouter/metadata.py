"""Taking the texts, prompt and workflow, out of a finished picture, without decoding a single pixel."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator

from imagerouter.types import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")
_WEBP_TEXT = (b"EXIF", b"XMP ")
_JPEG_TEXT = (0xE1, 0xED, 0xFE)
"""APP1 (EXIF, XMP), APP13 (IPTC) and comments."""
_WEBP_TEXT_FLAGS = 0b1100
"""EXIF and XMP, in the first byte of VP8X."""
_HEADS = (1024, 65536)
"""Bytes that are looked at to tell whether there are texts: nearly always the first of them are enough."""


async def without_texts(image: Image) -> Image:
    """The same object where `has_texts` finds none, else a stripped one, in base64 if it came in base64.

    Raises `ValueError` if it has to decode what isn't base64.
    """
    return await asyncio.to_thread(_without_texts, image) if has_texts(image) else image


def _without_texts(image: Image) -> Image:
    bare = Image(data=stripped(image.data), media_type=image.media_type)
    return Image(b64=bare.b64, media_type=bare.media_type) if image.is_encoded else bare


def has_texts(image: Image) -> bool:
    """Whether `stripped` would find texts, told from the first 64 KiB, so that base64 needn't be decoded for it.

    ``True`` also where that is too little to tell. Text chunks behind the pixels of a PNG aren't seen: the format
    allows them, but no backend writes them there. What is neither PNG, JPEG nor WebP has none.
    """
    for size in _HEADS:
        try:
            return _shows_texts(image.head(size))
        except (struct.error, IndexError):  # it goes on behind the head
            continue
    return True


def _shows_texts(head: bytes) -> bool:
    if head.startswith(_PNG):
        return _png_has_texts(head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return head[12:16] == b"VP8X" and bool(head[20] & _WEBP_TEXT_FLAGS)
    return head.startswith(b"\xff\xd8") and _jpeg_has_texts(head)


def _png_has_texts(head: bytes) -> bool:
    position = len(_PNG)
    while (name := head[position + 4 : position + 8]) not in (b"IDAT", b"IEND"):
        if name in _PNG_TEXT:
            return True
        (length,) = struct.unpack_from(">I", head, position)
        position += 12 + length
    return False


def _jpeg_has_texts(head: bytes) -> bool:
    position = 2
    while head[position] == 0xFF and (marker := head[position + 1]) != 0xDA:
        if marker in _JPEG_TEXT:
            return True
        if marker == 0xFF:  # a filling byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", head, position + 2)
        position += 2 + length
    return False


def stripped(data: bytes) -> bytes:
    """The same picture without its texts; what can't be read as PNG, JPEG or WebP comes back as it is."""
    try:
        if data.startswith(_PNG):
            pieces = [*_png(data)]
            return data if len(pieces) == 1 else b"".join(pieces)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"\xff\xd8"):
            return b"".join(_jpeg(data))
    except (struct.error, IndexError):  # it is cut short
        pass
    return data


def _png(data: bytes) -> Iterator[bytes | memoryview]:
    view, position = memoryview(data), len(_PNG)
    kept = 0
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        if data[position + 4 : position + 8] in _PNG_TEXT:
            yield view[kept:position]
            kept = end
        position = end
    yield view[kept:]


def _webp(data: bytes) -> bytes:
    chunks, position = [], 12
    while position + 8 <= len(data):
        name = data[position : position + 4]
        (length,) = struct.unpack_from("<I", data, position + 4)
        end = position + 8 + length + length % 2
        if name == b"VP8X":
            flags = data[position + 8] & ~_WEBP_TEXT_FLAGS  # it has neither EXIF nor XMP any more
            chunks.append(data[position : position + 8] + bytes([flags]) + data[position + 9 : end])
        elif name not in _WEBP_TEXT:
            chunks.append(data[position:end])
        position = end
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg(data: bytes) -> Iterator[bytes]:
    yield data[:2]
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        if data[position + 1] == 0xFF:  # a filling byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + length
        if data[position + 1] not in _JPEG_TEXT:
            yield data[position:end]
        position = end
    yield data[position:]
