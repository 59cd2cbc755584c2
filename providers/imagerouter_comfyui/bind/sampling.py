"""What steers the samplers: steps, guidance, noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from imagerouter_comfyui.bind import conditioning
from imagerouter_comfyui.bind.chain import Chain
from imagerouter_comfyui.bind.survey import Survey
from imagerouter_comfyui.bind.targets import Target
from imagerouter_comfyui.graph import Place

Find = Callable[[Survey, str], list[Place]]

_NOISE = ("seed", "noise_seed")
_PARTS = ("start_at_step", "end_at_step", "step")
"""Inputs that count steps of the whole."""


def on_sampler(name: str, kind: str) -> Find:
    """Inputs of this name on the sampler itself, else on what gives it its ``kind``."""

    def find(survey: Survey, sampler: str) -> list[Place]:
        nodes = survey.walk([sampler], kind)
        return [(node, name) for node in nodes if _is_origin(survey, node, kind) and _has(survey, node, name)][:1]

    return find


def cfg(survey: Survey, sampler: str) -> list[Place]:
    node = conditioning.guide(survey, sampler)
    return [(node, "cfg")] if survey.has_number(node, "cfg") else []


def guidance(survey: Survey, sampler: str) -> list[Place]:
    return conditioning.with_input(survey, sampler, "guidance")[:1]


FINDERS: dict[str, tuple[Find, str]] = {
    "steps": (on_sampler("steps", "SIGMAS"), "neither the sampler nor its schedule counts steps"),
    "cfg_scale": (cfg, "what guides the sampler has no `cfg`, or several"),
    "guidance": (guidance, "no `guidance` on the way of the positive conditioning"),
    "sampler": (on_sampler("sampler_name", "SAMPLER"), "the sampler is a node of its own kind"),
    "scheduler": (on_sampler("scheduler", "SIGMAS"), "the schedule is a node of its own kind"),
}
"""Parameter → how to find it on one sampler, and what to say if there is none."""


def targets(survey: Survey, chain: Chain, parameter: str) -> list[Target]:
    """The base sampler's input, and the same one of later samplers that have the same value in the workflow.

    Later samplers with another value, such as the few steps of a second pass, were set on purpose.
    """
    find = FINDERS[parameter][0]
    order = dict.fromkeys([*chain.bases, *chain.samplers])
    places = list(dict.fromkeys(place for sampler in order for place in find(survey, sampler)))
    if not places:
        return []
    alike = [place for place in places if survey.value(place) == survey.value(places[0])]
    return [Target(place, "automatic", survey.input(place)) for place in alike]


def strength(survey: Survey, chain: Chain) -> list[Target]:
    """Of the base alone: a later sampler's denoising belongs to its pass."""
    find = on_sampler("denoise", "SIGMAS")
    places = dict.fromkeys(place for base in chain.bases for place in find(survey, base))
    return [Target(place, "automatic", survey.input(place)) for place in places]


def seeds(survey: Survey, nodes: Iterable[str]) -> list[Target]:
    """The noise of every sampler, hints' included: no picture may come out of the server's cache."""
    found: list[Place] = []
    for node in nodes:
        given = survey.class_of(node)
        takes = {known.type for known in given.inputs.values()}
        draws = "MODEL" in takes or ("IMAGE" in given.outputs and survey.texts(node))
        if survey.is_sampler(node) or "NOISE" in given.outputs or draws:
            found += [(node, name) for name in _NOISE if survey.has_number(node, name)]
    return [Target(place, "automatic", survey.input(place)) for place in found]


def parts(survey: Survey, steps: Iterable[Target]) -> list[Target]:
    """Steps at which one sampler takes over from another; they keep their share of the whole."""
    steps = list(steps)
    whole = survey.value(steps[0].place) if steps else None
    if not isinstance(whole, int) or whole < 1:
        return []
    found = []
    for node in survey.graph:
        for name in _PARTS:
            if not survey.has_number(node, name) or not ({"LATENT", "SIGMAS"} & {*survey.class_of(node).outputs}):
                continue
            at = survey.value((node, name))
            if isinstance(at, int) and 0 < at <= whole:
                place = (node, name)
                found.append(Target(place, "automatic", survey.input(place), factor=at / whole, derived=True))
    return found


def _is_origin(survey: Survey, node: str, kind: str) -> bool:
    return kind not in survey.class_of(node).outputs or not survey.sources(node, {kind})


def _has(survey: Survey, node: str, name: str) -> bool:
    known = survey.class_of(node).inputs.get(name)
    return known is not None and known.is_widget
