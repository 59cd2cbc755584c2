"""The recipe of a model that needs no workflow: its graph is put together from the request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from imagerouter import ImageRequest, Model, Operation, ProviderRejectedError
from imagerouter_comfyui.families import conditioning, describe, loading, pictures, sampling
from imagerouter_comfyui.families.kit import Kit
from imagerouter_comfyui.families.scene import Scene
from imagerouter_comfyui.families.settings import Settings, settle
from imagerouter_comfyui.recipe import Built, Recipe, Sources


@dataclass(frozen=True)
class Template(Recipe):
    """One model. The graph's pieces are added in the order in which the server runs them."""

    kit: Kit

    @cached_property
    def model(self) -> Model:
        return describe.model(self.kit)

    @property
    def mask_as(self) -> Literal["white", "alpha"]:
        return "white"

    @cached_property
    def files(self) -> frozenset[str]:
        kit = self.kit
        return frozenset((kit.file, *kit.text_encoders, *([kit.vae] if kit.vae else [])))

    @cached_property
    def options(self) -> frozenset[str]:
        return frozenset({"controlnet"} if self.kit.family.has_controlnet else ())

    def build(self, request: ImageRequest, sources: Sources) -> Built:
        kit = self.kit
        if len(request.images) > (most := kit.family.most_pictures):
            message = f"{kit.traits.title} takes {most} input image{'s' if most > 1 else ''} at most"
            raise ProviderRejectedError(message, param=f"images[{most}]")
        scene = Scene(kit=kit, settings=settle(request, sources, kit), sources=sources)
        parts = loading.load(scene)
        told = conditioning.tell(scene, parts)
        begin = pictures.start(scene, parts, told)
        drawn = sampling.draw(scene, parts, begin)
        picture = pictures.finish(scene, drawn, begin.original)
        scene.add("save", "SaveImage", images=picture, filename_prefix=sources.prefix)
        declared = frozenset(self.model.parameters)
        return Built(
            graph=scene.graph,
            outputs=("save",),
            places=scene.places,
            applied=_applied(request, scene.settings, declared),
            ignored=request.parameters - (declared - _without_effect(scene.settings)),
        )


def _applied(request: ImageRequest, settings: Settings, declared: frozenset[str]) -> dict[str, Any]:
    """Canonical names and the values that are really used; nothing that this model doesn't have."""
    second, without = settings.hires, _without_effect(settings)
    size = settings.size if second is None else second.size
    used = {
        "width": size.width,
        "height": size.height,
        "seed": request.seed,
        "steps": settings.steps,
        "cfg_scale": settings.cfg_scale,
        "guidance": settings.guidance,
        "sampler": settings.sampler,
        "scheduler": settings.scheduler,
        "strength": settings.strength,
        "clip_skip": settings.clip_skip if request.clip_skip else None,
        "negative_prompt": settings.negative_prompt or None,
        "vae": settings.vae,
        "loras": [{"name": name, "weight": weight} for name, weight in settings.loras] or None,
        "hires": None
        if second is None
        else {
            "scale": second.scale,
            "steps": second.steps,
            "strength": second.strength,
            "upscaler": second.upscaler,
        },
    }
    return {name: value for name, value in used.items() if value is not None and name in declared - without}


def _without_effect(settings: Settings) -> frozenset[str]:
    """Parameters that the model honours, but not in this request."""
    without = set()
    if not settings.is_guided:
        without.add("negative_prompt")
    if settings.operation is Operation.GENERATE:
        without.add("strength")
    else:
        without.add("hires")
    return frozenset(without)
