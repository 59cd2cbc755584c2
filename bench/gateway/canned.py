"""A provider that costs nothing: it hands out pictures that it made at the start."""

import os
from functools import lru_cache

import pybase64
from pydantic import Field

from imagerouter import Image, ImageRequest, Images, Model, ProgressSink, Provider, ProviderConfig

PICTURES = 24
"""Distinct pictures, so that a mixed-up answer shows."""


class CannedConfig(ProviderConfig):
    size: int = Field(default=1_125_000, description="Bytes of one picture.")
    base64: bool = Field(default=True, description="Deliver base64, as A1111 does, or raw bytes, as ComfyUI does.")


@lru_cache
def picture(index: int, size: int) -> bytes:
    """Not a picture inside, but a PNG to whoever reads only its header."""
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (1024).to_bytes(4, "big") * 2
    return head + index.to_bytes(4, "big") + os.urandom(size - len(head) - 4)


class Canned(Provider[CannedConfig]):
    Config = CannedConfig

    async def start(self) -> None:
        raw = [picture(index, self.config.size) for index in range(PICTURES)]
        self._raw = raw
        self._b64 = [pybase64.b64encode(data) for data in raw]

    async def models(self) -> list[Model]:
        return [Model(id="canned")]

    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:  # noqa: ARG002
        index = request.seed % PICTURES
        image = Image(b64=self._b64[index]) if self.config.base64 else Image(data=self._raw[index])
        return Images(images=(image,))
