"""A scene is a caption and a list of flat things; painting it needs no anti-aliasing tricks but size."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .palette import COLOURS, Floats, Rgb, jitter
from .shapes import Outline

Picture = NDArray[np.uint8]
PATCH_SPREAD = 20  # how far each byte of a patch may be from its background's


@dataclass(frozen=True)
class Backdrop:
    """What is behind everything, fading from one colour at the top to another at the bottom."""

    above: Rgb
    below: Rgb

    @property
    def is_plain(self) -> bool:
        """Whether it is one colour."""
        return self.above == self.below


@dataclass(frozen=True)
class Thing:
    outline: Outline
    colour: Rgb
    stroke: float = 0.0
    """The width of a line along the edge, in pixels; 0 fills the whole."""


@dataclass
class Scene:
    """Coordinates are pixels of a `width` x `height` picture whatever size it is painted at."""

    caption: str
    width: int
    height: int
    backdrop: Backdrop
    things: list[Thing] = field(default_factory=list)

    def paint(self, scale: int = 1) -> Image.Image:
        """The picture, `scale` times as large; edges are hard, so reduce it to smooth them."""
        image = self._backdrop(scale)
        draw = ImageDraw.Draw(image)
        for thing in self.things:
            points = _flat(thing.outline.points, scale)
            if thing.stroke:
                _trace(draw, thing, scale)
                continue
            if thing.outline.hole is None:
                draw.polygon(points, fill=thing.colour)
                continue
            mask = Image.new("1", image.size)
            cutter = ImageDraw.Draw(mask)
            cutter.polygon(points, fill=1)
            cutter.polygon(_flat(thing.outline.hole, scale), fill=0)
            image.paste(thing.colour, mask=mask)
        return image

    def _backdrop(self, scale: int) -> Image.Image:
        above, below = self.backdrop.above, self.backdrop.below
        size = (self.width * scale, self.height * scale)
        if self.backdrop.is_plain:
            return Image.new("RGB", size, above)
        fade = np.linspace(0, 1, size[1])[:, None, None]
        column = (np.array(above) * (1 - fade) + np.array(below) * fade).astype(np.uint8)
        return Image.fromarray(column).resize(size, Image.Resampling.NEAREST)

    def smooth(self) -> Image.Image:
        """The picture as a person should see it, with soft edges."""
        return self.paint(2).reduce(2)

    def eighth(self) -> Picture:
        """The 8x8 box means, which is all the latents need: a quarter of the work of `smooth`."""
        return np.asarray(self.paint(1).reduce(8))

    def recoloured(self, random: Random) -> Scene:
        """The same things in other colours, and now and then another background: what an edit begins with."""
        seen: dict[Rgb, Rgb] = {}
        for thing in self.things:
            seen.setdefault(thing.colour, random.choice(list(COLOURS.values())))
        things = [replace(thing, colour=seen[thing.colour]) for thing in self.things]
        paper = random.choice(list(COLOURS.values()))
        backdrop = Backdrop(paper, paper) if random.random() < 0.3 else self.backdrop
        return replace(self, backdrop=backdrop, things=things)

    def patched(self, random: Random) -> Scene:
        """A plain scene with an area inside, behind all things, in a tone that its background nearly has."""
        left, top = (random.uniform(0.04, 0.35) * side for side in (self.width, self.height))
        right, bottom = (random.uniform(0.65, 0.96) * side for side in (self.width, self.height))
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
        patch = Thing(Outline(corners), jitter(self.backdrop.above, random, PATCH_SPREAD))
        return replace(self, things=[patch, *self.things])


def _trace(draw: ImageDraw.ImageDraw, thing: Thing, scale: int) -> None:
    for points in (thing.outline.points, thing.outline.hole):
        if points is not None:
            flat = _flat(points, scale)
            # Once around and one side further, or the first corner would stay open.
            draw.line(flat + flat[:4], fill=thing.colour, width=round(thing.stroke * scale), joint="curve")


def _flat(points: Floats, scale: int) -> list[float]:
    # Pillow fills pixel centres, which lie half a pixel off the outline's own grid.
    flat: list[float] = (points * scale - 0.5).ravel().tolist()
    return flat
