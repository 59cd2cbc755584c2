"""Bindings that the operator has chosen: in the configuration file, or by ``@`` markers in the titles of nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagerouter.names import close
from imagerouter.parameters import ALIASES, CANONICAL_OF, DECLARABLE
from imagerouter_comfyui.bind.pictures import file_input
from imagerouter_comfyui.bind.survey import Survey, written
from imagerouter_comfyui.bind.targets import Source, Target
from imagerouter_comfyui.config import Binding, ComfyModel
from imagerouter_comfyui.graph import Graph, Place, title
from imagerouter_comfyui.nodes import Input

OUTPUT = "output"
HIRES = ("hires.scale", "hires.steps", "hires.strength", "hires.upscaler")
CANONICAL = frozenset({*DECLARABLE, *HIRES, "prompt"}) - {"hires", "loras"}
"""Names of parameters that can be written into an input."""

_NOT_INPUTS = {
    "loras": "`loras` are put behind the model loader; they take no binding",
    "hires": "`hires` is bound by its parts: " + ", ".join(HIRES),
    "size": "`size` is bound as `width` and `height`",
    "n": "`n` takes no binding: n images are n jobs",
    "model": "`model` takes no binding: it is the workflow itself",
}
_NUMBERS = frozenset(
    "steps cfg_scale guidance seed strength clip_skip width height partial_images "
    "hires.scale hires.steps hires.strength".split()
)
_MARKER = re.compile(r"(?<!\w)@([A-Za-z_]+)(\d*)(?::([\w.]+))?")
_SHORT = {"negative": "negative_prompt", "image": "images", "cfg": "cfg_scale", "lora": "loras"}
_OBVIOUS: dict[str, tuple[str, ...]] = {
    "seed": ("seed", "noise_seed"),
    "cfg_scale": ("cfg",),
    "sampler": ("sampler_name",),
    "strength": ("denoise", "strength"),
    "vae": ("vae_name",),
    "clip_skip": ("stop_at_clip_layer",),
    "hires.scale": ("scale_by",),
}
_VALUE = "value"
"""What the only input of a primitive node is called."""

Chosen = dict[str, list[Target]]


def refusal(parameter: str) -> str | None:
    """Why this word can't be the key of a binding."""
    if parameter in CANONICAL:
        return None
    if parameter in _NOT_INPUTS:
        return _NOT_INPUTS[parameter]
    if (canonical := CANONICAL_OF.get(parameter)) is not None:
        return f"`{parameter}` is called `{canonical}` here"
    return f"`{parameter}` takes no binding: the server sees to it itself" if parameter in ALIASES else None


def misplaced_outputs(graph: Graph, spec: ComfyModel) -> Iterator[str]:
    return (no_output(graph, node) for node in spec.outputs if node not in graph)


def no_output(graph: Graph, node: str) -> str:
    return f"`outputs`: there is no node `{node}`{close(node, graph)}"


def misplaced_bindings(graph: Graph, spec: ComfyModel) -> Iterator[str]:
    """What is wrong with the configured bindings as far as the workflow alone can tell."""
    for parameter, rules in spec.bindings.items():
        if (reason := refusal(parameter)) is not None:
            yield f"`bindings`: {reason}"
            continue
        for rule in rules:
            node, _, name = rule.to.partition(".")
            if node not in graph:
                yield f"`bindings.{parameter}`: there is no node `{node}`{close(node, graph)}"
            elif name not in graph[node]["inputs"]:
                yield f"`bindings.{parameter}`: {_lacks(graph, node, name, graph[node]['inputs'])}"


def _lacks(graph: Graph, node: str, name: str, known: object) -> str:
    names = [str(one) for one in known] if isinstance(known, dict) else []
    better = close(name, names) or (f"; it has {', '.join(names)}" if names else "")
    return f"node {node} ({graph[node]['class_type']}) has no input `{name}`{better}"


def configured(survey: Survey, spec: ComfyModel, problems: list[str]) -> Chosen:
    found: Chosen = {}
    for parameter, rules in spec.bindings.items():
        if (reason := refusal(parameter)) is not None:
            problems.append(f"`bindings`: {reason}")
            continue
        for rule in rules:
            node, _, name = rule.to.partition(".")
            target = _target(survey, parameter, (node, name), "file", rule)
            if isinstance(target, str):
                problems.append(f"`bindings.{parameter}`: {target}")
            else:
                found.setdefault(parameter, []).append(target)
    return found


def outputs_by_title(graph: Graph) -> list[str]:
    return [node for node in graph if any(word == OUTPUT for word, _, _ in _markers(graph, node))]


def titled(whole: Survey, survey: Survey, problems: list[str]) -> Chosen:
    """Bindings by title, `@image` before `@image2`.

    :param whole: the workflow with the nodes that no output needs; a marker on one of those is a mistake.
    """
    found: list[tuple[str, int, Target]] = []
    for node in whole.graph:
        for word, number, name in _markers(whole.graph, node):
            for parameter, places in _marked(whole, node, word, name, problems):
                for place in places:
                    target = _target(survey, parameter, place, "title", None)
                    if isinstance(target, str):
                        problems.append(f"`@{word}` in the title of node {node}: {target}")
                    else:
                        found.append((parameter, number, target))
    chosen: Chosen = {}
    for parameter, _, target in sorted(found, key=lambda item: item[1]):
        chosen.setdefault(parameter, []).append(target)
    return chosen


def _markers(graph: Graph, node: str) -> Iterator[tuple[str, int, str]]:
    """The word, its number (``@image2``) and the input that it names."""
    for word, number, name in _MARKER.findall(title(graph[node])):
        yield word.lower(), int(number or 1), name


def _marked(survey: Survey, node: str, word: str, name: str, problems: list[str]) -> Iterator[tuple[str, list[Place]]]:
    """What one marker binds: (parameter, places); ``@size`` is two."""
    said = f"`@{word}` in the title of node {survey.label(node)}"
    if word == OUTPUT:
        return
    if word == "size" and not name:
        for axis in ("width", "height"):
            yield axis, [(node, axis)]
        return
    parameter = _SHORT.get(word, word)
    if (reason := refusal(parameter)) is not None:
        problems.append(f"{said}: {reason}")
    elif name:
        yield parameter, [(node, name)]
    elif parameter in CANONICAL:
        places = _obvious(survey, node, parameter)
        if not places:
            problems.append(f"{said}: no input of it is meant for that; name one, as in `@{word}:value`")
        yield parameter, places
    elif better := close(word, [*_SHORT, *CANONICAL, OUTPUT, "size"]):
        problems.append(f"{said} is no parameter{better}")


def _obvious(survey: Survey, node: str, parameter: str) -> list[Place]:
    inputs = survey.class_of(node).inputs
    if parameter in ("prompt", "negative_prompt"):
        places = survey.texts(node, negative=parameter == "negative_prompt")
    elif parameter in ("images", "mask"):
        name = file_input(survey, node) or ("image" if "image" in inputs else None)
        places = [(node, name)] if name else []
    else:
        names = (*_OBVIOUS.get(parameter, ()), parameter)
        places = [(node, name) for name in names if name in inputs][:1]
    return places or ([(node, _VALUE)] if _VALUE in inputs else [])


def _target(survey: Survey, parameter: str, place: Place, source: Source, rule: Binding | None) -> Target | str:
    """The target, or what is wrong with it."""
    node, name = place
    if node not in survey.graph:
        return f"there is no node `{node}` on the way to the output{close(node, survey.graph)}"
    known = survey.class_of(node).inputs
    given = known.get(name)
    if given is None:
        parent = known.get(name.rpartition(".")[0])
        if parent is None or not parent.type.startswith("COMFY_DYNAMICCOMBO"):
            return _lacks(survey.graph, node, name, dict(known))
        return Target(place, source, None, rule)
    if (reason := _unfit(parameter, given, rule)) is not None:
        return f"`{written(place)}` {reason}"
    factor = -1.0 if name == "stop_at_clip_layer" else 1.0
    return Target(place, source, given, rule, factor)


def _unfit(parameter: str, given: Input, rule: Binding | None) -> str | None:
    """Why an input of this type can't take this parameter."""
    if not given.is_widget:
        return f"takes a link ({given.type}), not a value"
    mapped = rule is not None and bool(rule.map)
    if parameter not in CANONICAL or mapped:
        return None
    if parameter in _NUMBERS:
        return None if given.type in ("INT", "FLOAT") else f"is {given.type}, and `{parameter}` is a number"
    if parameter in ("prompt", "negative_prompt"):
        return None if given.type == "STRING" else f"is {given.type}, and `{parameter}` is text"
    if parameter in ("images", "mask"):
        return (
            None if given.type in ("COMBO", "STRING") else f"is {given.type}, and `{parameter}` is the name of a file"
        )
    return None if given.type in ("COMBO", "STRING") else f"is {given.type}, and `{parameter}` is a word"
