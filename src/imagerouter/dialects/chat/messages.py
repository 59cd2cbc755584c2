"""Messages → what is to be drawn, and the pictures to draw it on, each with its place for error messages.

The parts of a content are those of OpenAI's chat completions and of its Responses (``input_text``, ``input_image``);
``images`` beside the content is OpenRouter's, and Ollama's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from imagerouter.dialects.chat import markdown
from imagerouter.errors import InvalidParameterError
from imagerouter.suggest import shortened

TEXTS = ("text", "input_text", "output_text")
PICTURES = ("image_url", "input_image", "image")
_PART = "an object of type `text` with a `text`, or of type `image_url` with an `image_url`"
_PICTURE = "an object `{image_url: {url}}` with a data URL, an address or base64"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the last message of the user's asks for."""

    prompt: str
    place: str
    """Where it stands: ``messages[2].content``."""
    pictures: dict[str, str]
    """Base64, data URL or address → where it stands: ``messages[0].content[1]``."""


@dataclass(slots=True)
class _Said:
    """What one message holds."""

    texts: list[str] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)

    def add(self, text: str, place: str) -> None:
        plain, pictures = markdown.split(text)
        self.texts.append(plain)
        for address in pictures:
            self.pictures.setdefault(address, place)


def turn(messages: Any) -> Turn:
    """The turn that is asked for. Its pictures are its own, else those of the nearest message before it with any.

    Raises `InvalidParameterError`.
    """
    listed = list(_checked(messages))
    last = max((index for index, message in enumerate(listed) if message["role"] == "user"), default=None)
    if last is None:
        raise _wrong("messages", "holds no message of the role `user`; the text of the last one is what is drawn")
    place = f"messages[{last}]"
    said = _said(listed[last], place, is_asked=True)
    prompt = "\n".join(text for text in said.texts if text)
    if not prompt:
        raise _wrong(f"{place}.content", "holds no text; it has to say what to draw")
    earlier = (_said(listed[index], f"messages[{index}]").pictures for index in range(last - 1, -1, -1))
    return Turn(prompt, f"{place}.content", said.pictures or next(filter(None, earlier), {}))


def _checked(messages: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "must be a list of at least one message")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _wrong(f"messages[{index}]", "must be an object with a `role` and a `content`")
        yield message


def _said(message: dict[str, Any], place: str, *, is_asked: bool = False) -> _Said:
    """:param is_asked: whether it is the message that is to be drawn: of others, what is no picture doesn't matter."""
    said, content = _Said(), message.get("content")
    if isinstance(content, str):
        said.add(content, f"{place}.content")
    elif isinstance(content, list):
        for index, part in enumerate(content):
            _part(part, f"{place}.content[{index}]", said, is_asked)
    elif content is not None:
        raise _wrong(f"{place}.content", "must be a text or a list of parts")
    images = message.get("images")
    if images is not None and not isinstance(images, list):
        raise _wrong(f"{place}.images", "must be a list of pictures")
    for index, image in enumerate(images or ()):
        said.pictures.setdefault(_address(image, f"{place}.images[{index}]"), f"{place}.images[{index}]")
    return said


def _part(part: Any, place: str, said: _Said, is_asked: bool) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in TEXTS and isinstance(part.get("text"), str):
        said.add(part["text"], place)
    elif kind in PICTURES:
        said.pictures.setdefault(_address(part, place), place)
    elif is_asked or not isinstance(kind, str):
        got = f", not of type `{shortened(kind)}`" if isinstance(kind, str) and kind not in TEXTS else ""
        raise _wrong(place, f"must be {_PART}{got}")


def _address(item: Any, place: str) -> str:
    """``{"image_url": {"url": …}}`` in its spellings → the address itself."""
    while isinstance(item, dict):
        if item.get("file_id") is not None:
            raise _wrong(place, "can't be a `file_id`, as no files are uploaded here; send the picture as a data URL")
        item = next((item[key] for key in ("image_url", "url", "image") if item.get(key) is not None), None)
    if not isinstance(item, str) or not item:
        raise _wrong(place, f"must be {_PICTURE}")
    return item


def _wrong(param: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(f"`{param}` {reason}", param=param)
