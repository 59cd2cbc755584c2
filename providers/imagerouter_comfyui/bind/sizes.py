"""Where width and height are decided, and what follows them."""

from __future__ import annotations

from collections.abc import Iterator

from imagerouter_comfyui.bind.chain import Chain
from imagerouter_comfyui.bind.survey import Survey
from imagerouter_comfyui.bind.targets import Target
from imagerouter_comfyui.graph import Place

AXES = ("width", "height")
_SCALERS = ("ImageScale", "EmptyImage")
_RESIZERS = ("ImageScale", "LatentUpscale")
_PLAIN = frozenset({"VAEDecode", "VAEDecodeTiled"})
"""Nodes that leave the size as it is."""
_CONDITIONING_SIZES = ("", "target_")


def origins(survey: Survey, chain: Chain) -> list[str]:
    """Nodes that say how large the first latent is: an empty one, else the picture that it is made of."""
    if not chain.bases:
        return [node for node in chain.path if _is_sized(survey, node) and survey.texts(node)][:1]
    starts = [source for base in chain.bases for source in survey.sources(base, {"LATENT"})]
    nodes = survey.walk(starts, "LATENT")
    latents = [node for node in nodes if _is_sized(survey, node) and "LATENT" in survey.class_of(node).outputs]
    if empty := [node for node in latents if not survey.sources(node, {"LATENT"})]:
        return empty
    pixels = survey.walk(starts, "LATENT", "IMAGE")
    return [node for node in pixels if survey.graph[node]["class_type"] in _SCALERS and _is_sized(survey, node)][:1]


def targets(survey: Survey, chain: Chain, axis: str) -> list[Target]:
    """Inputs that take this axis, the deciding ones first."""
    sources = origins(survey, chain)
    if not sources:
        return []
    own = [(node, axis) for node in sources]
    base = survey.value(own[0])
    found = [Target(place, "automatic", survey.input(place)) for place in own]
    found += [
        Target(place, "automatic", survey.input(place), derived=True)
        for place in _companions(survey, chain, axis, base)
        if place not in own
    ]
    return found + list(_resized(survey, chain, axis, base, sources))


def _companions(survey: Survey, chain: Chain, axis: str, base: object) -> Iterator[Place]:
    """Sizes that models, schedules and conditioning are told besides."""
    nodes = dict.fromkeys(node for sampler in chain.samplers for node in survey.feeding(sampler))
    for node in nodes:
        outputs = survey.class_of(node).outputs
        if not _is_sized(survey, node):
            continue
        if "MODEL" in outputs or "SIGMAS" in outputs:
            yield node, axis
        elif outputs == ("CONDITIONING",):
            for prefix in _CONDITIONING_SIZES:
                place = (node, prefix + axis)
                # Others were set on purpose: a larger "original" size is a known trick.
                if survey.has_number(node, place[1]) and survey.value(place) in (base, None):
                    yield place


def _resized(survey: Survey, chain: Chain, axis: str, base: object, sources: list[str]) -> Iterator[Target]:
    """Later sizes in pixels keep their ratio to the first."""
    behind = _behind(survey, chain)
    for node in chain.path:
        place = (node, axis)
        if node in sources or survey.graph[node]["class_type"] not in _RESIZERS or node not in behind:
            continue
        if isinstance(size := survey.value(place), int) and isinstance(base, int) and size and base:
            yield Target(place, "automatic", survey.input(place), factor=size / base, derived=True)


def _behind(survey: Survey, chain: Chain) -> set[str]:
    """The base samplers, and what their pictures go through."""
    users: dict[str, list[str]] = {}
    for node in survey.graph:
        for source in survey.sources(node, ("IMAGE", "LATENT")):
            users.setdefault(source, []).append(node)
    found = list(chain.bases)
    seen = set(found)
    for node in found:
        new = [user for user in users.get(node, ()) if user not in seen]
        seen.update(new)
        found += new
    return seen


def _is_sized(survey: Survey, node: str) -> bool:
    return survey.has_number(node, *AXES)


def is_final(survey: Survey, chain: Chain) -> bool:
    """Whether nothing behind the first latent changes the size: what is drawn too large can be cut off."""
    if not (sources := origins(survey, chain)):
        return False
    before = {node for source in sources for node in survey.walk([source], "IMAGE", "LATENT")}
    between = [node for node in chain.path if node not in before and node not in chain.outputs]
    return all(node in chain.samplers or survey.graph[node]["class_type"] in _PLAIN for node in between)
