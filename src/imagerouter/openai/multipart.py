"""A body of ``multipart/form-data`` (RFC 7578): its texts as fields, its pictures as they are."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from imagerouter.config import Limits
from imagerouter.errors import InvalidRequestError, RequestTooLargeError
from imagerouter.openai.form import fields_of, is_known, split, takes_pictures, wrong
from imagerouter.parameters import CANONICAL_OF
from imagerouter.suggest import shortened
from imagerouter.types import Image

MOST_PARTS = 256
TEXT_BYTES = 65_536
"""What every text may have, also where ``limits.max_prompt`` allows less."""

_CHARSETS = frozenset("utf-8 utf8 us-ascii ascii iso-8859-1 latin1 windows-1252".split())
_ENCODINGS = frozenset("7bit 8bit binary base64".split())


@dataclass(frozen=True, slots=True)
class Form:
    """What a form says."""

    fields: dict[str, Any]
    """As a JSON body would hold them; in place of a file stands its key in ``pictures``."""
    pictures: dict[str, Image]
    """``upload:0``, ``upload:1``, … in order of arrival; none is empty, but nothing else has been checked."""
    images_as: str = "images"
    """What the client calls its input pictures: errors should be about that name."""


async def read_form(chunks: AsyncIterable[bytes], content_type: str, limits: Limits) -> Form:
    """The form in a body, read piece by piece: each file is held once, and the body never.

    What a part is depends on its name and not on its media type: a picture where a field takes pictures, or where
    nobody knows the field and it has a filename; else a text. A picture may be a text, too: base64 or an address.

    :param content_type: the header, which names the boundary.
    :raises RequestTooLargeError: as soon as there is more than ``limits.max_body``; the rest isn't asked for.
    :raises InvalidParameterError: naming the field.
    :raises InvalidRequestError: this is no form, or a broken one.
    """
    parts = _Parts(limits)
    received = 0
    try:
        parser = PushMultipartParser(_boundary(content_type))
        async for chunk in chunks:
            received += len(chunk)
            if received > limits.max_body:
                raise RequestTooLargeError(f"The body is larger than {limits.max_body} bytes (`limits.max_body`)")
            if chunk:  # an empty one would mean the end
                for event in parser.parse(chunk):
                    parts.take(event)
    except MultipartError as error:
        raise _unreadable(error.args[0]) from None
    _finish(parser, parts)
    names = (split(name)[0] for name, _ in parts.texts)
    images_as = next((name for name in names if CANONICAL_OF.get(name) == "images"), "images")
    return Form(fields_of(parts.texts), parts.pictures, images_as)


def _boundary(content_type: str) -> str:
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        raise InvalidRequestError(f"A form (`multipart/form-data`) is expected, and this body is `{shortened(kind)}`")
    if not options.get("boundary"):
        raise _unreadable("the `content-type` header has no `boundary`; let the HTTP client write that header")
    return str(options["boundary"])


def _finish(parser: Any, parts: _Parts) -> None:
    try:
        parser.close()
    except MultipartError:
        if parts.count:
            raise _unreadable("it ends before its last boundary") from None
        raise _unreadable("the `boundary` that the `content-type` header names isn't in it") from None


def _unreadable(reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"The form can't be read: {reason}")


@dataclass(slots=True)
class _Part:
    name: str
    """With its brackets."""
    param: str
    """Without them."""
    takes_picture: bool
    is_file: bool
    charset: str
    encoding: str
    most: int
    content: BytesIO = field(default_factory=BytesIO)
    """Gives its bytes away without copying them, however many pieces they came in."""


class _Parts:
    """Collects what the parser reports: the headers of a part, its content in pieces, ``None`` at its end."""

    def __init__(self, limits: Limits) -> None:
        self.texts: list[tuple[str, str]] = []
        self.pictures: dict[str, Image] = {}
        self.count = 0
        self._limits = limits
        self._part: _Part | None = None

    def take(self, event: Any) -> None:
        if isinstance(event, MultipartSegment):
            self._part = self._begun(event)
            return
        assert self._part is not None
        if event is None:
            self.texts.append((self._part.name, self._ended(self._part)))
            self._part = None
        elif self._part.content.tell() + len(event) > self._part.most:
            raise wrong(self._part.param, f"is longer than {self._part.most} bytes, the most for a text in a form")
        else:
            self._part.content.write(event)

    def _begun(self, segment: Any) -> _Part:
        self.count += 1
        if self.count > MOST_PARTS:
            raise InvalidRequestError(f"The form has more than {MOST_PARTS} parts")
        if not segment.name:
            raise _unreadable("a part of it has no name")
        name, _ = split(segment.name)
        # `filename*` belongs to e-mail, and some clients send nothing else.
        is_file = bool(segment.filename) or "filename*=" in segment.header("Content-Disposition").lower()
        takes_picture = takes_pictures(name) or (is_file and not is_known(name))
        return _Part(
            name=segment.name,
            param=name,
            takes_picture=takes_picture,
            is_file=is_file,
            charset=(segment.charset or "utf-8").lower(),
            encoding=segment.header("Content-Transfer-Encoding", "binary").strip().lower(),
            most=self._limits.max_body if takes_picture else max(4 * self._limits.max_prompt, TEXT_BYTES),
        )

    def _ended(self, part: _Part) -> str:
        content = part.content.getvalue()
        if part.encoding not in _ENCODINGS or (part.encoding == "base64" and not part.takes_picture):
            raise wrong(part.param, f"has a `content-transfer-encoding` that isn't read: `{shortened(part.encoding)}`")
        # Some clients send pictures without a filename, and base64 is as good as a text.
        if not part.takes_picture or part.encoding == "base64" or not (part.is_file or not content.isascii()):
            return _text(part, content)
        if not content:
            raise wrong(part.param, "is an empty file")
        key = f"upload:{len(self.pictures)}"
        self.pictures[key] = Image(data=content)
        return key


def _text(part: _Part, content: bytes) -> str:
    if part.charset not in _CHARSETS:
        raise wrong(part.param, f"is in `{shortened(part.charset)}`; send it in UTF-8")
    try:
        return content.decode(part.charset)
    except UnicodeDecodeError:
        raise wrong(part.param, f"holds bytes that are no {part.charset.upper()}") from None
