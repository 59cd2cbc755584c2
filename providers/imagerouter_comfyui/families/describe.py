"""What clients are told about a model with a template."""

from __future__ import annotations

from imagerouter import IMAGE, OBJECT, STRING, Descriptor, Model, Reproducible, between, one_of
from imagerouter.canvas import LARGEST, LEAST
from imagerouter_comfyui import parity
from imagerouter_comfyui.families.kit import Kit
from imagerouter_comfyui.families.settings import EDIT_STRENGTH

_MOST_STEPS = 200
"""The server would take 10000, which nobody means."""


def model(kit: Kit) -> Model:
    kind = "checkpoint" if kit.checkpoint is not None else "diffusion model"
    kind = f"inpainting {kind}" if kit.family.inpaints != "masked" else kind
    return Model(
        id=kit.id,
        operations=kit.operations,
        parameters=parameters(kit),
        width=kit.width,
        height=kit.height,
        size_multiple=kit.traits.multiple,
        description=f"{kit.traits.title} {kind}",
        file_size=kit.file_size,
        parity=_proven(kit),
    )


def _proven(kit: Kit) -> Reproducible | None:
    profile = kit.family.profile if kit.checkpoint is not None and not kit.text_encoders else ""
    return parity.proven(profile, kit.host, vae=kit.vae)


def parameters(kit: Kit) -> dict[str, Descriptor]:
    """Canonical parameter → its limits, for those that have an effect on this model."""
    family, usual = kit.family, kit.traits.usual
    least, most = kit.limits("KSampler", "steps")
    is_guided = usual.cfg_scale is not None
    keeps_source = family.edits == "noise"
    table: list[tuple[str, bool, Descriptor]] = [
        ("negative_prompt", is_guided, STRING),
        ("steps", True, between(max(1, least), min(_MOST_STEPS, most), usual.steps)),
        ("cfg_scale", is_guided, between(*kit.limits("KSampler", "cfg"), usual.cfg_scale)),
        ("guidance", usual.guidance is not None, between(0, 100, usual.guidance)),
        ("seed", True, between(0, 2**32 - 1)),
        ("sampler", True, one_of(kit.samplers, kit.sampler)),
        ("scheduler", bool(kit.schedulers), one_of(kit.schedulers, kit.scheduler)),
        ("strength", keeps_source, between(0, 1, 1.0 if family.inpaints == "only" else EDIT_STRENGTH)),
        ("clip_skip", kit.traits.has_clip_skip, between(1, 12, 1)),
        ("vae", bool(kit.vaes), STRING),  # no list of choices: a name may lack its folder and ending
        ("loras", bool(kit.loras), OBJECT),
        ("hires", kit.has_hires, OBJECT),
        ("partial_images", True, between(0, 3, 0)),
        ("images", True, IMAGE),
        ("mask", True, IMAGE),
        ("width", True, between(LEAST, LARGEST, kit.width)),
        ("height", True, between(LEAST, LARGEST, kit.height)),
    ]
    return {name: descriptor for name, applies, descriptor in table if applies}
