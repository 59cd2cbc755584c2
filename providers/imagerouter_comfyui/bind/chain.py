"""From the picture back to the first noise: which nodes draw it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagerouter_comfyui.bind import conditioning
from imagerouter_comfyui.bind.survey import Survey
from imagerouter_comfyui.graph import Graph

SAVERS = ("SaveImage", "SaveImageAdvanced", "SaveImageWebsocket")
_PREVIEWS = ("PreviewImage",)
_NO_PICTURE = ("Animated", "Video", "WEBM", "DataSet", "Compare", "3D")


@dataclass(frozen=True)
class Chain:
    """The samplers that a picture passes through, not those that draw only hints for them."""

    outputs: tuple[str, ...]
    path: tuple[str, ...]
    """Nodes that the picture passes through as pixels or latent, nearest the output first."""
    samplers: tuple[str, ...]
    """Those of the path that sample what the prompt says, nearest the output first."""
    bases: tuple[str, ...]
    """Samplers that no other one feeds: they start from noise or from the input image."""


def chain(survey: Survey, outputs: tuple[str, ...]) -> Chain:
    path = survey.walk(outputs, "IMAGE", "LATENT")
    every = [node for node in path if survey.is_sampler(node)]
    # One without any text draws a hint, such as a depth map, that the first latent is made of.
    samplers = [node for node in every if conditioning.texts(survey, node, "positive").places] or every
    bases = [node for node in samplers if not {*_before(survey, node)} & {*samplers}]
    return Chain(outputs, tuple(path), tuple(samplers), tuple(bases))


def _before(survey: Survey, node: str) -> list[str]:
    return survey.walk([node], "IMAGE", "LATENT")[1:]


def outputs(survey: Survey) -> list[str]:
    """Nodes that save a picture, the one that most work goes into first; those that show one if none saves any."""
    graph = survey.graph
    for names in (SAVERS, _other_savers(survey), _PREVIEWS):
        if found := [node for node in graph if graph[node]["class_type"] in names]:
            return sorted(found, key=lambda node: _work(survey, node), reverse=True)
    return []


def _other_savers(survey: Survey) -> frozenset[str]:
    return frozenset(
        name
        for name in {node["class_type"] for node in survey.graph.values()}
        if (known := survey.classes.get(name)) is not None
        and known.is_output
        and name not in _PREVIEWS
        and any(given.type == "IMAGE" for given in known.inputs.values())
        and not any(part in name for part in _NO_PICTURE)
    )


def _work(survey: Survey, node: str) -> tuple[int, int]:
    before = survey.feeding(node)
    return sum(survey.is_sampler(other) for other in before), len(before)


def pruned(graph: Graph, survey: Survey, outputs: Iterable[str]) -> Graph:
    """Only what the outputs need: previews and other people's files are none of a request's business."""
    needed = {node for output in outputs for node in (output, *survey.feeding(output))}
    return {node: graph[node] for node in graph if node in needed}
