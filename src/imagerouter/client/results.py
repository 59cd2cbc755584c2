"""What a client gets: the pictures of a request with the report of how they came about, and events on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias, overload

import msgspec

from imagerouter.client.pictures import Picture
from imagerouter.jobs import Outcome
from imagerouter.openai import Call, response
from imagerouter.streaming import Preview, Step


@dataclass(frozen=True)
class Result(Sequence[Picture]):
    """The pictures of a request, in the order of their seeds: ``result[0]`` is the first."""

    pictures: tuple[Picture, ...]
    report: dict[str, Any] = field(repr=False)
    """The object ``imagerouter`` of a server's answer: times in milliseconds, attempts, ``applied`` parameters."""
    cost: float = 0.0
    """US dollars, by the prices of the configuration."""

    @classmethod
    def of(cls, outcome: Outcome, call: Call) -> Self:
        # Over HTTP a link would be made; here is the picture itself.
        undone = ["response_format"] if call.delivery.as_url else []
        told = response.report(outcome, call.delivery, undone)
        report = msgspec.json.decode(response.encode(told))
        pictures = (Picture(image, outcome.seed_of(index)) for index, image in enumerate(outcome.images))
        return cls(tuple(pictures), report, outcome.cost)

    @property
    def model(self) -> str:
        """The public name of the model."""
        return str(self.report["model"])

    @property
    def provider(self) -> str:
        """The name of the provider that has drawn them."""
        return str(self.report["provider"])

    @property
    def applied(self) -> dict[str, Any]:
        """Parameters as they were really used, the model's defaults included."""
        return dict(self.report["applied"])

    @property
    def ignored(self) -> tuple[str, ...]:
        """Parameters that had no effect."""
        return tuple(self.report["ignored"])

    def __len__(self) -> int:
        return len(self.pictures)

    @overload
    def __getitem__(self, index: int) -> Picture: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Picture, ...]: ...

    def __getitem__(self, index: int | slice) -> Picture | tuple[Picture, ...]:
        return self.pictures[index]

    def __iter__(self) -> Iterator[Picture]:
        return iter(self.pictures)


@dataclass(frozen=True, slots=True)
class PartialImageEvent:
    """A preview."""

    picture: Picture
    image_index: int
    """Of which image, from 0."""
    partial_image_index: int
    """Which of its previews, from 0."""


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """A sign of life."""

    provider: str | None
    """``None`` while the request waits for one."""
    stage: str
    """``queue``, ``load`` or ``render``."""
    step: int
    steps: int
    """0 while unknown."""
    image_index: int | None
    """From 0; ``None`` when all images are drawn at once."""
    queue_position: int | None
    """Jobs ahead of this one, where it is known."""
    eta: float | None
    """Expected seconds until everything is there, where that can be told."""


@dataclass(frozen=True, slots=True)
class CompletedEvent:
    """A finished picture."""

    picture: Picture
    image_index: int
    """From 0."""
    result: Result
    """All of them; the same object in each of these events."""


Event: TypeAlias = PartialImageEvent | ProgressEvent | CompletedEvent


def events_of(item: Preview | Step | Outcome, call: Call) -> Iterator[Event]:
    match item:
        case Preview(progress, number):
            assert progress.preview is not None
            index = progress.image_index or 0
            yield PartialImageEvent(Picture(progress.preview, call.job.seed_of(index)), index, number)
        case Step(provider, told):
            rest = (told.image_index, told.queue_position, told.eta)
            yield ProgressEvent(provider, told.stage, told.step, told.steps, *rest)
        case Outcome():
            result = Result.of(item, call)
            yield from (CompletedEvent(picture, index, result) for index, picture in enumerate(result))
