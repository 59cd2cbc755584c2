"""A provider that misbehaves in one way, named by ``mode``."""

import asyncio
from typing import Any

from imagerouter.provider import Extras, Model
from imagerouter.testing.fake import FakeConfig, FakeProvider
from imagerouter.types import Image, Images


class DefectiveConfig(FakeConfig):
    mode: str


def picture(data: bytes) -> Images:
    return Images(images=(Image(data=data),))


ANSWERS: dict[str, Any] = {
    "nothing": lambda good: None,
    "a list": lambda good: list(good.images),
    "too few": lambda good: Images(images=()),
    "text for pictures": lambda good: Images(images=("abc",)),  # type: ignore[arg-type]
    "empty bytes": lambda good: picture(b""),
    "no picture": lambda good: picture(b"not a picture"),
    "a torn header": lambda good: picture(b"\x89PNG\r\n\x1a\n"),
    "a bomb": lambda good: picture(
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
        b"\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    ),
    "base64 that ends our JSON": lambda good: Images(images=(Image(b64=good.images[0].b64 + b'","x":"'),)),
    "no load time": lambda good: Images(images=good.images, load_seconds=None),  # type: ignore[arg-type]
}


class Defective(FakeProvider):
    Config = DefectiveConfig

    @property
    def mode(self) -> str:
        return self.config.mode  # type: ignore[attr-defined]

    async def start(self) -> None:
        if self.mode == "hangs at the start":
            await asyncio.Event().wait()
        if self.mode == "is cancelled at the start":
            raise asyncio.CancelledError
        if self.mode == "exits at the start":
            raise SystemExit
        await super().start()

    async def models(self) -> list[Model]:
        unnamable = {"has nameless models": None, "has models of no encoding": "caf\udce9", "has empty names": ""}
        if self.mode in unnamable:
            return [Model(id=unnamable[self.mode])]  # type: ignore[arg-type]
        return await super().models()

    async def extras(self) -> Any:
        if self.mode == "hangs at its extras":
            await asyncio.Event().wait()
        if self.mode == "has extras of no encoding":
            return Extras(loras=("caf\udce9", "", None))  # type: ignore[arg-type]
        return None if self.mode == "has no extras" else await super().extras()

    async def status(self) -> Any:
        return None if self.mode == "has no status" else await super().status()

    async def generate(self, request: Any, progress: Any) -> Any:
        if self.mode == "is cancelled by itself":
            raise asyncio.CancelledError
        if self.mode == "exits":
            raise SystemExit
        try:
            good = await super().generate(request, progress)
        except asyncio.CancelledError:
            if self.mode == "makes a failure of a cancellation":
                raise ValueError("interrupted") from None
            raise
        return ANSWERS[self.mode](good) if self.mode in ANSWERS else good
