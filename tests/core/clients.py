"""A provider in memory that can be looked at from any thread, though a client has made it."""

import threading
from collections.abc import Callable
from io import BytesIO
from typing import Any, ClassVar

from PIL import Image as Pillow

from imagerouter.testing import FakeProvider

KIND = f"{__name__}:Watched"


class Watched(FakeProvider):
    made: ClassVar[list["Watched"]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen = threading.Condition()
        self.made.append(self)

    def _notify(self) -> None:
        super()._notify()
        with self._seen:
            self._seen.notify_all()

    async def aclose(self) -> None:
        await super().aclose()
        self._notify()

    def see(self, condition: Callable[[], bool]) -> None:
        """Block this thread until the condition holds."""
        with self._seen:
            assert self._seen.wait_for(condition, timeout=60)


def watched(**keys: Any) -> dict[str, Any]:
    """A configuration with one such provider, whose instances are in `Watched.made` from now on."""
    Watched.made.clear()
    return {"providers": {"desk": {"type": KIND, **keys}}}


def png(colour: str = "red", size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    out = BytesIO()
    Pillow.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()
