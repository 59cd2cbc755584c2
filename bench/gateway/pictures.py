"""Distinct pictures that cost nothing to make, and the prompts that order them.

A prompt says all that an upstream has to know, so it needs neither state nor settings, and whoever wrote the prompt can
tell each byte of the answer. Pictures of one size are windows on the same noise, each a little further on, so that no
two of them agree anywhere and none has to be encoded.
"""

from __future__ import annotations

import random
import re
import struct
import zlib
from dataclasses import dataclass
from functools import cache, cached_property

import pybase64

DISTINCT = 16_384
"""After so many pictures the noise begins again."""
SIDE = 1024
"""Width and height that a picture claims to have, in pixels."""

_ORDER = re.compile(rb"picture (\d+) of (\d+) bytes after (\d+) ms")
_HEADER = struct.pack(">4sIIBBBBB", b"IHDR", SIDE, SIDE, 8, 2, 0, 0, 0)
_SIGNATURE = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + _HEADER + struct.pack(">I", zlib.crc32(_HEADER))
_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
_FRAME = len(_SIGNATURE) + 12 + 4 + len(_END)
"""Bytes of a picture that aren't noise: what goes around the chunk of pixels, and the number at its start."""


@dataclass(frozen=True)
class Picture:
    """A PNG in everything but its pixels, which are noise under a checksum of zero."""

    index: int
    size: int
    """Bytes; those of the base64 are a third more."""
    delay_ms: int = 0
    """How long the upstream takes for it."""

    @classmethod
    def ordered(cls, text: bytes) -> Picture:
        """The picture that a request's body, or a file's name, asks for."""
        found = _ORDER.search(text)
        if found is None:
            raise ValueError("no picture is asked for")
        return cls(*map(int, found.groups()))

    @property
    def prompt(self) -> str:
        return f"picture {self.index} of {self.size} bytes after {self.delay_ms} ms"

    @cached_property
    def raw(self) -> tuple[bytes, memoryview, bytes]:
        """The file in three parts, to be sent one after the other."""
        length = self._noise_length
        head = _SIGNATURE + struct.pack(">I4sI", length + 4 + self._rest, b"IDAT", self.index)
        at = self.index % DISTINCT * 3
        tail = bytes(self._rest) + bytes(4) + _END
        return head, memoryview(_noise(self.size)[0])[at : at + length], tail

    @cached_property
    def base64(self) -> tuple[bytes, memoryview, bytes]:
        """`raw` in base64; the parts can be put together, for all but the last are multiples of three bytes."""
        head, noise, tail = self.raw
        at = self.index % DISTINCT * 4
        window = memoryview(_noise(self.size)[1])[at : at + len(noise) // 3 * 4]
        return pybase64.b64encode(head), window, pybase64.b64encode(tail)

    @property
    def base64_size(self) -> int:
        return (self.size + 2) // 3 * 4

    @property
    def _noise_length(self) -> int:
        return (self.size - _FRAME) // 3 * 3

    @property
    def _rest(self) -> int:
        return self.size - _FRAME - self._noise_length


@cache
def _noise(size: int) -> tuple[bytes, bytes]:
    """Enough for every picture of a size, plain and in base64; the same in every process."""
    raw = random.Random(size).randbytes(size // 3 * 3 + DISTINCT * 3)
    return raw, pybase64.b64encode(raw)
