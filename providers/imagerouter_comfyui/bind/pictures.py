"""Which pictures a workflow takes, which of them it needs, and where its mask comes from."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Literal

from imagerouter import Operation
from imagerouter_comfyui.bind.chain import Chain
from imagerouter_comfyui.bind.survey import Survey
from imagerouter_comfyui.bind.targets import Target
from imagerouter_comfyui.graph import Place, links

_PIXELS, _ALPHA = 0, 1
_HINTS = ("CONTROL_NET", "CLIP_VISION", "STYLE_MODEL", "IPADAPTER", "MODEL_PATCH", "INSIGHTFACE", "PHOTOMAKER")
"""Types of inputs of nodes that take a picture as a hint: the workflow's own will do."""


@dataclass(frozen=True)
class Pictures:
    images: tuple[Target, ...] = ()
    """In the order of the request's images."""
    mask: tuple[Target, ...] = ()
    mask_as: Literal["white", "alpha"] = "white"
    needed: int = 0
    """So many images have to come with a request."""
    spare: dict[int, frozenset[Place]] = field(default_factory=dict)
    """Number of an image → the optional inputs that are left out when it doesn't come."""

    @property
    def operations(self) -> frozenset[Operation]:
        if self.mask:
            return frozenset({Operation.INPAINT})
        if self.needed:
            return frozenset({Operation.EDIT})
        return frozenset({Operation.GENERATE, Operation.EDIT} if self.images else {Operation.GENERATE})


def pictures(survey: Survey, chain: Chain, images: list[Target], masks: list[Target]) -> Pictures:
    """Which pictures go where.

    :param images: where the operator wants them; none stands for all nodes that load a picture.
    :param masks: likewise.
    """
    masks = masks or [_target(survey, node) for node in survey.graph if _loads(survey, node) == "MASK"]
    masks = masks or [_target(survey, node) for node in _loaders(survey, chain) if _uses(survey, node, _ALPHA)]
    nodes = [target.place[0] for target in masks]
    is_alpha = bool(nodes) and all(_loads(survey, node) == "IMAGE" and _uses(survey, node, _ALPHA) for node in nodes)
    # A picture may carry the mask in its alpha and still be the picture.
    taken = {node for node in nodes if not (is_alpha and _uses(survey, node, _PIXELS))}
    order = dict.fromkeys([*(nodes if is_alpha else ()), *_loaders(survey, chain)])
    found = images or [_target(survey, node) for node in order if node not in taken]
    spare = _spare(survey, chain, found)
    needed = max(_needed(survey, chain, found, spare), int(is_alpha))
    return Pictures(tuple(found), tuple(masks), "alpha" if is_alpha else "white", needed, spare)


def _needed(survey: Survey, chain: Chain, images: list[Target], spare: Container[int]) -> int:
    """The first picture if it is more than a hint, and others that neither the server has nor the graph can miss."""
    core = set(_core(survey, chain))
    numbers = [
        number
        for number, target in enumerate(images, 1)
        if (number == 1 and target.place[0] in core) or (_is_missing(survey, target.place) and number not in spare)
    ]
    return max(numbers, default=0)


def _spare(survey: Survey, chain: Chain, images: list[Target]) -> dict[int, frozenset[Place]]:
    """Pictures behind the first that the server doesn't have, where the graph works without them."""
    found = {}
    for number, target in enumerate(images[1:], 2):
        if _is_missing(survey, target.place) and (cut := _without(survey, chain, target.place[0])) is not None:
            found[number] = cut
    return found


def _without(survey: Survey, chain: Chain, node: str) -> frozenset[Place] | None:
    """The optional inputs to leave out so that no output needs the node; ``None`` if one can't do without."""
    gone, cut = [node], set()
    for lost in gone:
        for other in survey.graph:
            for name, source, _ in links(survey.graph, other):
                given = survey.input((other, name))
                if source == lost and given is not None and not given.required:
                    cut.add((other, name))
                elif source == lost and other not in gone:
                    gone.append(other)
    return None if {*gone} & {*chain.outputs} else frozenset(cut)


def starts_from_image(survey: Survey, chain: Chain) -> bool:
    """Whether the first latent is made of a picture that was loaded."""
    nodes = survey.walk(chain.bases, "LATENT", "IMAGE")
    return any(_loads(survey, node) == "IMAGE" for node in nodes)


def file_input(survey: Survey, node: str) -> str | None:
    """The input of a node that names an uploaded picture."""
    known = survey.class_of(node)
    return next((name for name, given in known.inputs.items() if given.settings.get("image_upload")), None)


def _loads(survey: Survey, node: str) -> str | None:
    """``IMAGE`` or ``MASK``: what a node makes of an uploaded picture first."""
    outputs = survey.class_of(node).outputs
    return outputs[0] if outputs and file_input(survey, node) is not None else None


def _loaders(survey: Survey, chain: Chain) -> list[str]:
    """Nodes that load a picture: what is drawn over, then references, then hints."""
    return [
        node
        for node in dict.fromkeys([*_core(survey, chain), *survey.graph])
        if _loads(survey, node) == "IMAGE" and (_uses(survey, node, _PIXELS) or _uses(survey, node, _ALPHA))
    ]


def _core(survey: Survey, chain: Chain) -> list[str]:
    """Loaders whose picture is drawn over or edited, and is more than a hint; those of the first latent first."""
    latent = survey.walk(chain.outputs, "IMAGE", "LATENT")
    found = list(dict.fromkeys([*latent, *_beyond(survey, chain.outputs)]))
    return [node for node in found if _loads(survey, node) == "IMAGE"]


def _beyond(survey: Survey, outputs: tuple[str, ...]) -> list[str]:
    found = list(outputs)
    for node in found:
        takes_hint = any(given.type.startswith(_HINTS) for given in survey.class_of(node).inputs.values())
        for _, source, _, kind in survey.links(node):
            if source not in found and not (takes_hint and kind in ("IMAGE", "MASK")):
                found.append(source)
    return found


def _uses(survey: Survey, node: str, slot: int) -> bool:
    return any(found[1:3] == (node, slot) for other in survey.graph for found in survey.links(other))


def _is_missing(survey: Survey, place: Place) -> bool:
    known, value = survey.input(place), survey.value(place)
    return known is not None and known.options is not None and value not in known.options


def _target(survey: Survey, node: str) -> Target:
    name = file_input(survey, node) or "image"
    return Target((node, name), "automatic", survey.input((node, name)))
