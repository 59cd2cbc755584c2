"""What an adapter's author tests with; shipped in the wheel, because adapters live outside of it too.

`FakeProvider` needs no pytest, hence the late import of `ProviderContract`, which does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imagerouter.testing.drawing import decode, make_image
from imagerouter.testing.fake import Call, FakeConfig, FakeProvider
from imagerouter.testing.tape import Dialect, Tape
from imagerouter.testing.wire import Request, Response, Socket, WireServer

if TYPE_CHECKING:
    from imagerouter.testing.contract import ProviderContract

__all__ = [
    "Call",
    "Dialect",
    "FakeConfig",
    "FakeProvider",
    "ProviderContract",
    "Request",
    "Response",
    "Socket",
    "Tape",
    "WireServer",
    "decode",
    "make_image",
]


def __getattr__(name: str) -> Any:
    if name != "ProviderContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("imagerouter.testing.contract").ProviderContract
