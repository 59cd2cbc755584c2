"""Taking the workflow, prompt included, out of a finished picture, without decoding a single pixel."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")
_WEBP_TEXT = (b"EXIF", b"XMP ")
_JPEG_TEXT = (0xE1, 0xED, 0xFE)
"""APP1 (EXIF, XMP), APP13 (IPTC) and comments."""


def stripped(data: bytes) -> bytes:
    """The same picture without its texts; what can't be read as PNG, JPEG or WebP comes back as it is."""
    try:
        if data.startswith(_PNG):
            return b"".join(_png(data))
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
            flags = data[position + 8] & ~0b1100  # it has neither EXIF nor XMP any more
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
