"""One request: settled, drawn in as many jobs as its seeds need, and finished to what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

from imagerouter import Image, ImageRequest, Images, Progress, ProgressSink
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.orders import settle
from imagerouter_a1111.pictures import finished
from imagerouter_a1111.recipe import Press, Recipe, Stock

_SEEDS = 2**32


class Easel:
    """Draws requests on one server."""

    def __init__(self, name: str, config: A1111Config, press: Press) -> None:
        self._name = name
        self._config = config
        self._press = press

    async def draw(self, request: ImageRequest, recipe: Recipe, stock: Stock, progress: ProgressSink) -> Images:
        order = await settle(request, recipe, stock, self._config, self._name)
        images: list[Image] = []
        load_seconds = 0.0
        for offset, seeds in spans(request.seed, request.n):
            drawn = await self._press.run(order, stock, seeds, _shifted(progress, offset, request.n))
            images += drawn.images
            load_seconds += drawn.load_seconds
        keep = self._config.keep_metadata
        finishing = [finished(image, order, keep_metadata=keep) for image in images]
        done = await asyncio.gather(*finishing) if len(images) > 1 else [await finishing[0]]
        return Images(images=tuple(done), ignored=order.ignored, applied=dict(order.applied), load_seconds=load_seconds)


def spans(seed: int, n: int) -> Iterator[tuple[int, range]]:
    """The seeds of ``n`` images in runs that don't wrap around: the servers would count on beyond 32 bits.

    Comes with the place of each run's first image.
    """
    first = min(n, _SEEDS - seed)
    yield 0, range(seed, seed + first)
    if n > first:
        yield first, range(n - first)


def _shifted(progress: ProgressSink, offset: int, n: int) -> ProgressSink:
    """Of a job that draws some of the images, told as part of the whole."""

    def tell(seen: Progress) -> None:
        index = seen.image_index
        place = offset + index if index is not None else offset if n == 1 else None
        progress(msgspec.structs.replace(seen, image_index=place))

    return tell
