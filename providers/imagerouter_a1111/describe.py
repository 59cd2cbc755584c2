"""What clients are told about a checkpoint."""

from __future__ import annotations

from imagerouter import IMAGE, OBJECT, STRING, Descriptor, Model, Operation, between, names, one_of
from imagerouter.canvas import LARGEST
from imagerouter.families import Traits
from imagerouter_a1111.checkpoints import sha256_of
from imagerouter_a1111.config import A1111Model
from imagerouter_a1111.orders import EDIT_STRENGTH
from imagerouter_a1111.recipe import Checkpoint, Stock

_SMALLEST = 64
"""Below it the networks have no picture left at their lowest level."""


def model(name: str, checkpoint: Checkpoint, entry: A1111Model, traits: Traits, stock: Stock) -> Model:
    width, height = entry.width or traits.side, entry.height or traits.side
    return Model(
        id=name,
        operations=frozenset(Operation),
        parameters=_parameters(width, height, traits, stock),
        width=width,
        height=height,
        size_multiple=max(traits.multiple, stock.dialect.multiple),
        description=f"{traits.title} checkpoint on {stock.dialect.title}",
        # A name that a person chose may well stand for different files on different servers.
        sha256=sha256_of(checkpoint) if names.stem(name) == names.stem(checkpoint.file) else "",
    )


def _parameters(width: int, height: int, traits: Traits, stock: Stock) -> dict[str, Descriptor]:
    """Canonical parameter → its limits, for those that have an effect on this model."""
    usual, samplers = traits.usual, stock.choices
    is_guided = usual.cfg_scale is not None
    has_guidance = stock.dialect.name in ("forge", "sdcpp", "sdnext") and usual.guidance is not None
    table: list[tuple[str, bool, Descriptor]] = [
        ("negative_prompt", is_guided, STRING),
        ("steps", True, between(1, stock.dialect.most_steps, usual.steps)),
        ("cfg_scale", is_guided, between(0, 100, usual.cfg_scale)),
        ("guidance", has_guidance, between(0, 100, usual.guidance)),
        ("seed", True, between(0, 2**32 - 1)),
        ("sampler", bool(samplers.samplers), _chosen(samplers.samplers, usual.sampler)),
        ("scheduler", bool(samplers.schedulers), _chosen(samplers.schedulers, usual.scheduler)),
        ("strength", True, between(0, 1, EDIT_STRENGTH)),
        ("clip_skip", traits.has_clip_skip, between(1, 12)),
        ("vae", bool(stock.vaes), STRING),  # no list of choices: a name may lack its ending
        ("loras", bool(stock.loras), OBJECT),
        ("hires", bool(stock.upscalers), OBJECT),
        ("partial_images", stock.dialect.name != "sdcpp", between(0, 3, 0)),
        ("images", True, IMAGE),
        ("mask", True, IMAGE),
        ("width", True, between(_SMALLEST, LARGEST, width)),
        ("height", True, between(_SMALLEST, LARGEST, height)),
    ]
    return {name: descriptor for name, applies, descriptor in table if applies}


def _chosen(names: tuple[str, ...], usual: str) -> Descriptor:
    return one_of(names, usual if usual in names else None)
