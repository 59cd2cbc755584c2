"""The adapter in front of a tape: through its public door, or with a graph of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.providers import sink
from tests.providers.comfyui.tapes import TAPES

from imagerouter import ImageRequest, Images, Model, Progress
from imagerouter.testing import Tape
from imagerouter_comfyui import ComfyConfig, ComfyProvider
from imagerouter_comfyui.api import Api
from imagerouter_comfyui.drawing import Easel
from imagerouter_comfyui.graph import Graph, Place
from imagerouter_comfyui.jobs import Jobs
from imagerouter_comfyui.recipe import Built, Sources
from imagerouter_comfyui.residency import Residency
from imagerouter_comfyui.socket import Socket


@asynccontextmanager
async def desk(tape: Tape, **keys: Any) -> AsyncIterator[ComfyProvider]:
    """A provider that is started."""
    provider = ComfyProvider("desk", ComfyConfig(**{"base_url": tape.url} | keys))
    await provider.start()
    try:
        yield provider
    finally:
        await provider.aclose()


@dataclass(frozen=True)
class Recorded:
    """A recipe that gives out one graph, whatever is asked."""

    graph: Graph
    outputs: tuple[str, ...] = ("9",)
    places: dict[Place, str] = field(default_factory=dict)
    model: Model = field(default_factory=lambda: Model(id="recorded"))
    mask_as: Literal["white", "alpha"] = "white"
    files: frozenset[str] = frozenset()

    def build(self, request: ImageRequest, sources: Sources) -> Built:
        return Built(self.graph, self.outputs, self.places)


@asynccontextmanager
async def easel(tape: Tape, **keys: Any) -> AsyncIterator[Easel]:
    """What draws, without the models around it."""
    config, residency = ComfyConfig(base_url=tape.url, **keys), Residency()
    api = Api("desk", config)
    socket = Socket("desk", config)
    jobs = Jobs("desk", config, api, socket)
    drawing = Easel("desk", config, api, jobs, residency)
    await socket.start()
    try:
        yield drawing
    finally:
        for part in (drawing, jobs, socket, api):
            await part.aclose()


class Sink(sink.Sink):
    """With what a tape's answers are compared by."""

    @property
    def counted(self) -> list[tuple[int, int]]:
        """Steps as they were told, without repetitions."""
        return list(dict.fromkeys((seen.step, seen.steps) for seen in self if seen.steps))

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(seen.stage for seen in self))

    @property
    def previews(self) -> list[bytes]:
        return [seen.preview.data for seen in self if seen.preview is not None]


def request(**changes: Any) -> ImageRequest:
    fields = {"model": "tiny_a.ckpt", "prompt": "a red fox", "seed": 7, "steps": 4, "width": 64, "height": 64}
    return ImageRequest(**fields | changes)


def drawing_of(provider: ComfyProvider, sink: Callable[[Progress], None], **changes: Any) -> asyncio.Task[Images]:
    return asyncio.create_task(provider.generate(request(**changes), sink))


def recorded_graphs(name: str, status: int = 200) -> list[Graph]:
    """What was accepted on a tape, or refused, in its order."""
    lines = [json.loads(line) for line in (TAPES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [line for line in lines if (line.get("method"), line.get("path")) == ("POST", "/prompt")]
    return [line["request"]["prompt"] for line in asked if line["status"] == status and "prompt" in line["request"]]


def sent(tape: Tape, method: str, path: str) -> list[Any]:
    """Bodies of the requests that the tape got."""
    return [one.json() if one.body else None for one in tape.requests if (one.method, one.path) == (method, path)]


def submitted(tape: Tape) -> list[dict[str, Any]]:
    return sent(tape, "POST", "/prompt")


async def submitted_by_now(tape: Tape, count: int) -> list[dict[str, Any]]:
    while len(submitted(tape)) < count:
        await asyncio.sleep(0)
    return submitted(tape)


def queued(*jobs: tuple[str, str]) -> dict[str, Any]:
    """The server's answer to what is in its queue: ids and their statuses."""
    found = [
        {"id": job, "status": status, "priority": place, "create_time": 0, "outputs_count": 0}
        for place, (job, status) in enumerate(jobs)
    ]
    return {"jobs": found, "pagination": {"offset": 0, "limit": 1000, "total": len(jobs), "has_more": False}}


def cancelled(tape: Tape) -> list[str]:
    """Ids of the jobs that were asked to be stopped, by `/api/jobs/{id}/cancel`."""
    return [one.path.split("/")[3] for one in tape.requests if one.path.endswith("/cancel")]


def no_global_interrupt(tape: Tape) -> bool:
    """Whether nobody's job but the own ones could have been hit."""
    return all((body or {}).get("prompt_id") for body in sent(tape, "POST", "/interrupt")) and not any(
        (body or {}).get("clear") for body in sent(tape, "POST", "/queue")
    )


def nodes_of(graph: Mapping[str, Any], class_type: str) -> Iterable[dict[str, Any]]:
    return [node["inputs"] for node in graph.values() if node["class_type"] == class_type]
