"""The automatic rule: what each parameter is written into, found by walking from the picture upstream.

Values are written into the input that uses them, even where it is linked: whatever computes it in the workflow is
overridden. Following links back to a literal instead would miss most values that are computed or shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from imagerouter_comfyui.bind import conditioning, sampling, sizes
from imagerouter_comfyui.bind.chain import Chain
from imagerouter_comfyui.bind.inserts import Inserts, inserts
from imagerouter_comfyui.bind.pictures import Pictures, starts_from_image
from imagerouter_comfyui.bind.survey import Survey
from imagerouter_comfyui.bind.targets import Target
from imagerouter_comfyui.graph import Place

_NO_SAMPLER = "no sampler leads to the output"


@dataclass
class Found:
    targets: dict[str, list[Target]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Parameters that can't be bound, with why."""
    inserts: Inserts = field(default_factory=Inserts)

    def note(self, parameter: str, targets: Iterable[Target], reason: str) -> None:
        if targets := list(targets):
            self.targets[parameter] = targets
        else:
            self.reasons[parameter] = reason


def automatic(survey: Survey, chain: Chain) -> Found:
    found = Found()
    nodes = [node for output in chain.outputs for node in survey.feeding(output)]
    found.note("seed", sampling.seeds(survey, dict.fromkeys(nodes)), "no node that makes noise leads to the output")
    _texts(survey, chain, found)
    for parameter, (_, reason) in sampling.FINDERS.items():
        targets = sampling.targets(survey, chain, parameter)
        found.note(parameter, targets, reason if chain.samplers else _NO_SAMPLER)
    for axis in sizes.AXES:
        found.note(axis, sizes.targets(survey, chain, axis), "no node decides the size: it is the input image's")
    if starts_from_image(survey, chain):
        found.note("strength", sampling.strength(survey, chain), "the base sampler has no `denoise`")
    else:
        found.note("strength", (), "the base sampler starts from noise, not from a picture")
    _loaders(survey, chain, found)
    return found


def _texts(survey: Survey, chain: Chain, found: Found) -> None:
    """Of every sampler of the chain: a refiner with encoders of its own is to draw the same thing."""
    samplers = list(dict.fromkeys([*chain.bases, *chain.samplers]))
    positive = [conditioning.texts(survey, sampler, "positive") for sampler in samplers]
    negative = [conditioning.texts(survey, sampler, "negative") for sampler in samplers]
    if not samplers:
        positive, negative = _without_sampler(survey, chain)
    prompt = dict.fromkeys(place for texts in positive for place in texts.places)
    shared = any(place in prompt for texts in negative for place in texts.places)
    against = dict.fromkeys(place for texts in negative for place in texts.places if place not in prompt)
    reason = next((texts.reason for texts in positive if texts.reason), _NO_SAMPLER)
    found.note("prompt", _at(survey, prompt), reason)
    reason = next((texts.reason for texts in negative if texts.reason), _NO_SAMPLER)
    found.note("negative_prompt", _at(survey, against), "it shares its text with the prompt" if shared else reason)


def _without_sampler(survey: Survey, chain: Chain) -> tuple[list[conditioning.Texts], list[conditioning.Texts]]:
    """Nodes that call another service draw from the text themselves."""
    for node in chain.path:
        if places := survey.texts(node):
            against = tuple(survey.texts(node, negative=True))
            return [conditioning.Texts(tuple(places))], [conditioning.Texts(against)]
    return [], []


def _loaders(survey: Survey, chain: Chain, found: Found) -> None:
    encoders = [target.place[0] for target in found.targets.get("prompt", ())]
    found.inserts = into = inserts(survey, chain, encoders)
    skips = _first(survey, encoders[:1], "CLIP", "stop_at_clip_layer")
    targets = [Target(place, "automatic", survey.input(place), factor=-1.0) for place in skips]
    if targets or into.clip is None:
        found.note("clip_skip", targets, "the text encoder doesn't come from a checkpoint")
    users = [node for node in chain.path if survey.sources(node, {"VAE"})][:1]
    own = _at(survey, _first(survey, users, "VAE", "vae_name"))
    if own or into.vae is None:
        found.note("vae", own, "no VAE is used on the way to the output")
    if into.model is None:
        reason = "the server has no LoRAs" if chain.samplers else _NO_SAMPLER
        found.note("loras", (), reason)


def _first(survey: Survey, nodes: list[str], kind: str, name: str) -> list[Place]:
    walk = survey.walk(nodes, kind)
    return [(node, name) for node in walk if name in survey.class_of(node).inputs][:1]


def _at(survey: Survey, places: Iterable[Place]) -> list[Target]:
    return [Target(place, "automatic", survey.input(place)) for place in places]


def note_pictures(pictures: Pictures, found: Found) -> None:
    found.note("images", pictures.images, "no node loads a picture")
    found.note("mask", pictures.mask, "no node loads a mask, and no picture's alpha is used")
