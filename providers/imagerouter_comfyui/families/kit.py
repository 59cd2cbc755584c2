"""One model with everything that the server has for it: what a template is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from imagerouter import Operation
from imagerouter.families import Traits
from imagerouter_comfyui.families.family import Family
from imagerouter_comfyui.nodes import NodeClasses
from imagerouter_comfyui.parity import Host


@dataclass(frozen=True)
class Kit:
    """Files as the server spells them, and the family that says how to use them."""

    id: str
    family: Family
    width: int
    height: int
    classes: NodeClasses = field(repr=False)
    checkpoint: str | None = None
    """Exactly one of this and ``diffusion_model`` is given."""
    diffusion_model: str | None = None
    text_encoders: tuple[str, ...] = ()
    vae: str | None = None
    weight_dtype: str = "default"
    loras: tuple[str, ...] = ()
    vaes: tuple[str, ...] = ()
    controlnets: tuple[str, ...] = ()
    upscalers: tuple[str, ...] = ()
    host: Host = field(default_factory=Host)
    file_size: int = 0
    """Bytes; 0 where they say nothing about which model it is."""

    @property
    def file(self) -> str:
        return self.checkpoint or self.diffusion_model or ""

    @property
    def traits(self) -> Traits:
        return self.family.traits

    @cached_property
    def samplers(self) -> tuple[str, ...]:
        return self._options("KSampler", "sampler_name")

    @cached_property
    def schedulers(self) -> tuple[str, ...]:
        return self._options("KSampler", "scheduler") if self.family.sigmas == "model" else ()

    @property
    def sampler(self) -> str:
        """The family's usual one, or on a server too old for it the first that it has."""
        return _preferred(self.traits.usual.sampler, self.samplers)

    @property
    def scheduler(self) -> str:
        return _preferred(self.traits.usual.scheduler, self.schedulers)

    @property
    def operations(self) -> frozenset[Operation]:
        if self.family.inpaints == "only":
            return frozenset({Operation.INPAINT})
        needs_picture = self.family.edits == "prompt"
        return frozenset({Operation.EDIT, Operation.INPAINT} if needs_picture else Operation)

    @property
    def has_hires(self) -> bool:
        return self.family.sigmas == "model" and Operation.GENERATE in self.operations

    def limits(self, class_type: str, name: str) -> tuple[float, float]:
        """The least and the largest number that an input takes."""
        found = self.classes[class_type].inputs[name]
        return found.min or 0, 10_000 if found.max is None else found.max

    def _options(self, class_type: str, name: str) -> tuple[str, ...]:
        return self.classes[class_type].inputs[name].options or ()


def _preferred(usual: str, options: tuple[str, ...]) -> str:
    return usual if usual in options or not options else options[0]
