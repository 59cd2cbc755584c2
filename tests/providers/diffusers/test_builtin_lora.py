"""The LoRA among the examples, on the model that it was trained for: shapes become outlines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from imagerouter import ImageRequest, Lora
from imagerouter_diffusers import DiffusersConfig, DiffusersProvider

LORAS = Path(__file__).parents[3] / "examples" / "loras"
RED = np.array([220, 40, 40])


@pytest.fixture(scope="module")
def provider() -> Iterator[DiffusersProvider]:
    provider = DiffusersProvider("local", DiffusersConfig(device="cpu", hub_cache=False, loras=[str(LORAS)]))
    asyncio.run(provider.start())
    yield provider
    asyncio.run(provider.aclose())


async def red(provider: DiffusersProvider, *loras: Lora) -> tuple[Any, float]:
    """Where a red square on white is red, and how much of the picture that is."""
    request = ImageRequest(model="builtin", prompt="a red square on white", seed=3, steps=8, loras=loras)
    (image,) = (await provider.generate(request, lambda progress: None)).images
    pixels = np.asarray(Pillow.open(BytesIO(image.data)).convert("RGB")).astype(int)
    where = np.abs(pixels - RED).sum(axis=-1) < 150
    return where, float(where.mean())


async def test_the_example_lora_empties_shapes_by_its_weight_and_is_gone_afterwards(
    provider: DiffusersProvider,
) -> None:
    assert (await provider.extras()).loras == ("outline",)
    full, area = await red(provider)
    assert full[108:148, 108:148].mean() > 0.9
    none, _ = await red(provider, Lora("outline", 0.0))
    assert (none == full).all()
    outline, line = await red(provider, Lora("outline", 1.0))
    assert outline[108:148, 108:148].mean() < 0.2
    assert 0.15 * area < line < 0.85 * area
    again, _ = await red(provider)
    assert (again == full).all()
