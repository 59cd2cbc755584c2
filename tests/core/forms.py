"""Bodies of forms, made by hand or by the clients' own encoders, and how tests read them."""

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pybase64
import pytest

from imagerouter.config import Limits
from imagerouter.errors import InvalidRequestError
from imagerouter.openai.multipart import Form, read_form

PNG = pybase64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
HAND_MADE = "multipart/form-data; boundary=limit"


async def read(body: bytes, content_type: str = HAND_MADE, *, cuts: Iterable[int] = (), **limits: int) -> Form:
    """The form in ``body``, which arrives in pieces that end at ``cuts``."""

    async def pieces() -> AsyncIterator[bytes]:
        ends = sorted(cut % (len(body) + 1) for cut in cuts)
        for start, end in zip([0, *ends], [*ends, len(body)], strict=True):
            yield body[start:end]

    return await read_form(pieces(), content_type, Limits(**limits))


async def fields(*parts: bytes) -> dict[str, Any]:
    return (await read(form(*parts))).fields


async def refusal(body: bytes, content_type: str = HAND_MADE) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        await read(body, content_type)
    return caught.value


def part(name: str, content: bytes | str, *headers: str, filename: str | None = None) -> bytes:
    """One part as it is sent, without the boundary before it."""
    named = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    head = "".join(f"{line}\r\n" for line in (f"Content-Disposition: {named}", *headers))
    return head.encode() + b"\r\n" + (content if isinstance(content, bytes) else content.encode())


def form(*parts: bytes, boundary: str = "limit") -> bytes:
    limit = b"--" + boundary.encode()
    return b"".join(limit + b"\r\n" + each + b"\r\n" for each in parts) + limit + b"--\r\n"


class Captured:
    """What a real client sent, its picture replaced by `PNG`, which is as long."""

    def __init__(self, line: str) -> None:
        told = json.loads(line)
        self.client: str = told["client"]
        self.path: str = told["path"]
        self.content_type: str = told["content-type"]
        self.length: int = told["content-length"]
        self.body = form(
            *(
                "".join(f"{name}: {value}\r\n" for name, value in each["headers"].items()).encode()
                + b"\r\n"
                + (PNG if "picture" in each else each["text"].encode())
                for each in told["parts"]
            ),
            boundary=self.content_type.partition("boundary=")[2],
        )


_TAPE = Path(__file__).parents[1] / "tapes" / "clients" / "forms.jsonl"
CAPTURED = {sent.client: sent for sent in map(Captured, _TAPE.read_text(encoding="utf-8").splitlines())}
