"""The shapes that the core and the adapters share: a request, its images, its progress.

``None`` always means "the client did not say"; the adapter then uses the model's own default.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, cast

import msgspec
import pybase64

from imagerouter.parameters import DECLARABLE


class Operation(StrEnum):
    """What a request asks for; decided by which pictures came with it."""

    GENERATE = "generate"
    """Text to image."""
    EDIT = "edit"
    """Image to image: at least one input image, no mask."""
    INPAINT = "inpaint"
    """An input image and a mask: only the masked part is drawn anew."""


class Parity(StrEnum):
    """How much a request cares for drawing the picture that other backends draw from it, too (docs/parity.md)."""

    OFF = "off"
    """The backend's own behaviour."""
    BEST_EFFORT = "best_effort"
    """As the others, as far as that costs nothing and leaves no trace on the backend."""
    STRICT = "strict"
    """As the others, or an error."""


class Tier(StrEnum):
    """How near a picture is to those that other backends draw from the same request, by peak signal-to-noise ratio."""

    EXACT = "exact"
    """60 dB or more: the same to the eye and nearly to the bit."""
    CLOSE = "close"
    """45 dB or more: the same picture, slightly other numbers."""
    NONE = "none"
    """Another picture, or nobody has looked."""


class Lora(msgspec.Struct, frozen=True):
    """A LoRA to apply, by the name under which the provider lists it. ``weight`` 1.0 is full strength."""

    name: str
    weight: float = 1.0


class Hires(msgspec.Struct, frozen=True):
    """A second pass at a larger size (A1111's "hires fix")."""

    scale: float = 2.0
    steps: int | None = None
    strength: float | None = None
    upscaler: str | None = None


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


def sniff_media_type(head: bytes) -> str:
    """The media type that the first 12 or more bytes of a picture prove, or ``application/octet-stream``."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return "application/octet-stream"


_START = 1536
"""Bytes at its beginning that base64 is decoded for, once: several look into a picture's header."""
_END = 4 * 1024
"""Characters of base64 that are decoded at either end of a picture, to see whether it is sound."""


class Image:
    """One picture, as raw file bytes OR as base64 text, converted only when the other form is asked for.

    A1111 and OpenAI-like backends deliver base64 and clients want base64: such a picture passes through
    without ever being decoded. Only its beginning is read, to learn the media type.
    """

    __slots__ = ("_data", "_encoded", "_is_sound", "_start", "media_type")

    def __init__(
        self, *, data: bytes | None = None, b64: bytes | memoryview | None = None, media_type: str | None = None
    ) -> None:
        """Give exactly one of ``data`` (the file's bytes) and ``b64`` (standard base64, no line breaks)."""
        if (data is None) == (b64 is None):
            raise TypeError("an Image takes either data or b64")
        self._data = data
        self._encoded = b64
        self._is_sound = True if b64 is None else None
        self._start: bytes | None = None
        self.media_type = media_type or sniff_media_type(self.head(12))

    def head(self, size: int) -> bytes:
        """The file's first ``size`` bytes or a few less; of base64 it decodes no more than that."""
        if self._data is not None:
            return self._data[:size]
        if self._start is None:
            self._start = self._decoded(_START)
        return (self._start if size <= len(self._start) else self._decoded(size))[:size]

    def _decoded(self, size: int) -> bytes:
        try:
            return pybase64.b64decode((self._encoded or b"")[: -(-size // 3) * 4])
        except ValueError:
            return b""

    @property
    def is_encoded(self) -> bool:
        """Whether the base64 form is there already."""
        return self._encoded is not None

    @property
    def is_sound(self) -> bool:
        """Whether the base64 that it came as, if it did, is nothing else. Looked at once.

        Of a large file that begins and ends as its format wants it, only the ends are decoded. What spoils base64, such
        as line breaks, escapes or another alphabet, does so all along, and what cuts it short spoils the end. Left
        unseen is a wrong character in the middle of what is otherwise right, down to its length: where a backend
        errs like that, it may as well be by another letter, which is base64 too.
        """
        if self._is_sound is None:
            self._is_sound = _is_base64(self._encoded, self.media_type)
        return self._is_sound

    @property
    def data(self) -> bytes:
        """The file's bytes; decodes at the first call if only base64 is there."""
        if self._data is None:
            assert self._encoded is not None
            self._data = pybase64.b64decode(self._encoded)
        return self._data

    @property
    def b64(self) -> bytes:
        """`encoded` as bytes of its own."""
        if not isinstance(self.encoded, bytes):
            self._encoded = bytes(self.encoded)
        return cast(bytes, self._encoded)

    @property
    def encoded(self) -> bytes | memoryview:
        """Standard base64 of the file, to be written out: as it came, maybe inside of a backend's whole answer.

        Encodes once, at the first call, if only raw bytes are there.
        """
        if self._encoded is None:
            assert self._data is not None
            self._encoded = pybase64.b64encode(self._data)
        return self._encoded

    def __repr__(self) -> str:
        held = f"data={len(self._data)}" if self._data is not None else f"b64={len(self._encoded or b'')}"
        return f"Image({self.media_type}, {held} bytes)"


def _is_base64(text: Any, media_type: str) -> bool:
    if not isinstance(text, bytes | memoryview):
        return False
    try:
        if not _is_whole(text, media_type):
            # Takes half the time of looking for what would end a JSON string.
            pybase64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        return False
    return True


def _is_whole(text: bytes | memoryview, media_type: str) -> bool:
    """Whether a large file's ends prove it; ``False`` where there is more to look at. Raises `ValueError`."""
    size = len(text)
    if size % 4 or size <= 2 * _END:
        return False
    head = pybase64.b64decode(text[:_END], validate=True)
    tail = pybase64.b64decode(text[-_END:], validate=True)
    match media_type:
        case "image/png":
            return tail.endswith(b"IEND\xaeB`\x82")
        case "image/jpeg":
            return tail.endswith(b"\xff\xd9")
        case "image/webp":
            return int.from_bytes(head[4:8], "little") + 8 == (size - _END) // 4 * 3 + len(tail)
    return False


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The canonical request: the one shape that every dialect is translated into and every adapter reads.

    Sizes are pixels, ``seed`` is a uint32 that the core has drawn if the client gave none, and image ``i``
    of ``n`` has ``seed + i`` (modulo 2**32). ``model`` is the target's native name, as `Provider.models`
    reported it.
    """

    model: str
    prompt: str
    seed: int
    n: int = 1
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    guidance: float | None = None
    """Distilled guidance (Flux and its like), which is not classifier-free guidance."""
    sampler: str | None = None
    scheduler: str | None = None
    strength: float | None = None
    """How far an input image may change: 0 returns it, 1 ignores it."""
    clip_skip: int | None = None
    """A1111's counting: 1 is the last layer of the text encoder, 2 the one before."""
    vae: str | None = None
    loras: tuple[Lora, ...] = ()
    hires: Hires | None = None
    images: tuple[Image, ...] = ()
    mask: Image | None = None
    """A grey PNG of the first picture's size: 255 where to repaint, 0 elsewhere."""
    background: str | None = None
    quality: str | None = None
    style: str | None = None
    parity: Parity = Parity.BEST_EFFORT
    partial_images: int = 0
    """How many previews the client wants to see on the way (0 to 3)."""
    options: dict[str, Any] = {}
    """The client's ``provider.options`` for this provider or its type, untouched."""

    @property
    def operation(self) -> Operation:
        if self.mask is not None:
            return Operation.INPAINT
        return Operation.EDIT if self.images else Operation.GENERATE

    @property
    def parameters(self) -> frozenset[str]:
        """Names of the parameters a provider may or may not honour that are set in this request."""
        said = msgspec.structs.asdict(self)
        said["partial_images"] = self.partial_images or None
        return frozenset({name for name in DECLARABLE if said[name] is not None and said[name] != ()})

    def seed_of(self, index: int) -> int:
        """The seed of image ``index`` (from 0)."""
        return (self.seed + index) % 2**32


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One sign of life of a running request. Newest wins; any of them may be dropped."""

    step: int = 0
    steps: int = 0
    """0 while unknown."""
    image_index: int | None = None
    """The image that this is about; ``None`` when all ``n`` are drawn at once."""
    queue_position: int | None = None
    """Jobs ahead of this one, where it is known."""
    stage: str = "render"
    """``queue``, ``load`` or ``render``."""
    preview: Image | None = None
    eta: float | None = None
    """Expected seconds until the last image is there. The core sets it; adapters needn't."""

    @property
    def fraction(self) -> float:
        """Done part of the current image or batch, 0.0 to 1.0."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0


ProgressSink = Callable[[Progress], None]
"""What an adapter calls with each `Progress`; it returns at once, never raises, and is called on the event loop."""


def unheard(_: Progress) -> None:
    """The `ProgressSink` of a request that nobody follows: what is told there may as well not be made up."""


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider made of a request."""

    images: tuple[Image, ...]
    """Exactly ``request.n`` of them, in order of their seeds."""
    ignored: frozenset[str] = frozenset()
    """Canonical parameters that were set in the request and had no effect."""
    applied: dict[str, Any] = {}
    """Canonical parameters as they were really used, the model's own defaults included."""
    notes: tuple[str, ...] = ()
    """Sentences for the client about what was understood in another way than it was written."""
    load_seconds: float = 0.0
    """Time spent on loading the model before the first step; 0 when it was resident."""
