"""One request: sent in as many parts as its seeds need, followed to its end, its pictures finished."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import httpx
import msgspec

from imagerouter import Image, ImageRequest, Images, Progress, ProgressSink, ProviderResponseError
from imagerouter.http import Answer, map_http_errors
from imagerouter.images import dimensions
from imagerouter_openai.answers import NOTHING, Event, PictureList, Report, proven, read
from imagerouter_openai.api import Api
from imagerouter_openai.config import OpenAIConfig
from imagerouter_openai.events import Events
from imagerouter_openai.failures import refused, told
from imagerouter_openai.offers import Offer
from imagerouter_openai.orders import Order, settle
from imagerouter_openai.pictures import finished

_STREAM = "text/event-stream"


class Easel:
    """Draws requests on one server."""

    def __init__(self, name: str, config: OpenAIConfig, api: Api) -> None:
        self._name = name
        self._config = config
        self._api = api

    async def draw(self, request: ImageRequest, offer: Offer, progress: ProgressSink) -> Images:
        order = await settle(request, offer, self._config)
        images: list[Image] = []
        report = NOTHING
        load_ms = 0.0
        for part in order.parts():
            drawn, report = await self._part(order, part, progress)
            images += drawn
            load_ms += report.load_ms
        is_edit = order.form is not None
        done = await finished(images, order.size, is_edit=is_edit)
        size = dict(zip(("width", "height"), dimensions(done[0]) or (), strict=False))
        return Images(
            images=tuple(done),
            ignored=order.ignored | (request.parameters & set(report.ignored) if report.ignored else set()),
            applied={**order.applied, **report.used, **size},
            load_seconds=load_ms / 1000,
        )

    async def _part(self, order: Order, part: range, progress: ProgressSink) -> tuple[list[Image], Report]:
        body = order.body(part)
        if order.is_plain:
            answer = await self._api.post(order.path, body)
            images, report = await self._listed(answer, answer.content, order)
        else:
            async with self._api.stream(order.path, body, order.form) as response:
                if response.is_success and response.headers.get("content-type", "").startswith(_STREAM):
                    images, report = await _Stream(self._name, self._api, order, part, progress).follow(response)
                else:
                    images, report = await self._listed(response, await self._api.body(response), order)
        if len(images) != len(part):
            found = f"{len(images)} pictures instead of {len(part)}" if images else "no picture"
            raise ProviderResponseError(f"provider `{self._name}` sent {found}")
        return images, report

    async def _listed(self, response: Answer | httpx.Response, body: bytes, order: Order) -> tuple[list[Image], Report]:
        if not response.is_success:
            raise refused(self._name, response, body, order.names)
        with map_http_errors(self._name):
            answer, pictures = read(body, PictureList)
        if answer.error is not None:
            raise told(self._name, answer.error, order.names)
        images: list[Image] = []
        rest = iter(pictures)
        for item in answer.data or ():
            if item.b64_json is not None:
                images.append(proven(next(rest), self._name))
            elif item.url is not None:
                images.append(await self._api.fetch(item.url))
        return images, answer.imagerouter


class _Stream:
    """An answer that comes event by event."""

    def __init__(self, name: str, api: Api, order: Order, part: range, progress: ProgressSink) -> None:
        self._name = name
        self._api = api
        self._order = order
        self._part = part
        self._tell = progress
        self._last = Progress()
        self._images: dict[int, Image] = {}
        self._report = NOTHING

    async def follow(self, response: httpx.Response) -> tuple[list[Image], Report]:
        events = Events()
        with map_http_errors(self._name):
            async for piece in response.aiter_bytes():
                for data in events.feed(piece):
                    await self._event(*read(data, Event))
                    await asyncio.sleep(0)  # many small ones may have come at once
        if self._last.step < self._last.steps:
            self._say(step=self._last.steps, preview=None)
        return [self._images[index] for index in sorted(self._images)], self._report

    async def _event(self, event: Event, pictures: list[Image]) -> None:
        if event.error is not None:
            raise told(self._name, event.error, self._order.names)
        match event.type.rpartition(".")[2]:
            case "completed":
                found = proven(pictures[0], self._name) if pictures else await self._api.fetch(event.url or "")
                index = len(self._images) if event.image_index is None else event.image_index
                self._images[index] = found
                self._report = event.imagerouter
            case "partial_image" if pictures:
                self._preview(event, proven(pictures[0], self._name))
            case "progress" | "queued":
                self._say(
                    stage=event.stage or "queue",
                    step=event.step,
                    steps=event.steps,
                    image_index=self._place(event.image_index),
                    queue_position=event.queue_position,
                    preview=None,
                )

    def _preview(self, event: Event, image: Image) -> None:
        """Tell it as part of the way: the core spreads previews over the steps, of which nothing is said here."""
        parts = self._order.request.partial_images + 1
        steps = self._last.steps or parts
        step = math.ceil(steps * min(event.partial_image_index + 1, parts) / parts)
        index = self._place(event.image_index)
        self._say(stage="render", step=max(self._last.step, step), steps=steps, image_index=index, preview=image)

    def _say(self, **changes: Any) -> None:
        self._last = msgspec.structs.replace(self._last, **changes)
        self._tell(self._last)

    def _place(self, index: int | None) -> int | None:
        """Of an image of this part among all of the request."""
        return None if index is None else self._part.start + index
