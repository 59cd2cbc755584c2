"""A provider that draws gradients: a whole adapter, in a distribution of its own."""

import asyncio
import io
import random

import PIL.Image
import PIL.ImageOps
from pydantic import Field

import imagerouter as ir

PARAMETERS = {"seed": ir.between(0, 2**32 - 1), "width": ir.between(16, 4096), "height": ir.between(16, 4096)}


class GradientConfig(ir.ProviderConfig):
    brightness: int = Field(default=255, ge=1, le=255, description="Of the lightest colour.")


class GradientProvider(ir.Provider[GradientConfig]):
    Config = GradientConfig

    async def models(self) -> list[ir.Model]:
        return [ir.Model(id="gradient", parameters=PARAMETERS, width=256, height=256)]

    async def status(self) -> ir.Status:
        return ir.Status(ready=True, resident=frozenset({"gradient"}))

    async def generate(self, request: ir.ImageRequest, progress: ir.ProgressSink) -> ir.Images:
        if request.model != "gradient":
            raise ir.ModelNotFoundError(f"provider {self.name!r} has no model {request.model!r}")
        images = []
        for index in range(request.n):
            images.append(await asyncio.to_thread(self.draw, request, index))
            progress(ir.Progress(step=index + 1, steps=request.n))
        return ir.Images(images=tuple(images), ignored=request.parameters - PARAMETERS.keys())

    def draw(self, request: ir.ImageRequest, index: int) -> ir.Image:
        dice = random.Random(f"{request.prompt} {request.seed_of(index)}")
        dark, light = ([dice.randint(0, self.config.brightness) for _ in "rgb"] for _ in range(2))
        shades = PIL.Image.linear_gradient("L").rotate(dice.choice([0, 90, 180, 270]))
        picture = PIL.ImageOps.colorize(shades, tuple(dark), tuple(light))
        file = io.BytesIO()
        picture.resize((request.width or 256, request.height or 256)).save(file, "PNG")
        return ir.Image(data=file.getvalue())
