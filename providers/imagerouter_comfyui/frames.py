"""Binary websocket messages (ComfyUI's ``protocol.py``: ``BinaryEventTypes``)."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

_PREVIEW = 1
_PREVIEW_WITH_METADATA = 4


class Frame(msgspec.Struct, frozen=True):
    """A picture from a running job: a preview of a sampler, or the result of ``SaveImageWebsocket``."""

    data: bytes
    prompt_id: str | None = None
    """``None`` from servers before July 2025, which don't say whose it is."""
    node: str | None = None


class _Metadata(msgspec.Struct):
    prompt_id: str | None = None
    node_id: str | None = None


def parse(message: bytes) -> Frame | None:
    """A picture, or ``None`` for everything else, and for what can't be read."""
    try:
        (event,) = struct.unpack_from(">I", message)
        if event == _PREVIEW:
            return Frame(message[8:])  # after the event comes the picture's type, which its own bytes tell as well
        if event != _PREVIEW_WITH_METADATA:
            return None
        (length,) = struct.unpack_from(">I", message, 4)
        metadata: Any = msgspec.json.decode(message[8 : 8 + length], type=_Metadata)
    except (struct.error, msgspec.MsgspecError):
        return None
    return Frame(message[8 + length :], metadata.prompt_id, metadata.node_id)
