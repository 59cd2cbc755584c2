"""Parameters as the line of text that this family writes into files and answers (``modules/infotext_utils.py``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imagerouter import __version__
from imagerouter.samplers import SAMPLERS, SCHEDULERS

VERSION = f"imagerouter {__version__}"
_LABELS = {
    "Steps": "steps",
    "Sampler": "sampler",
    "Schedule type": "scheduler",
    "CFG scale": "cfg_scale",
    "Distilled CFG Scale": "guidance",
    "Seed": "seed",
    "Size": "size",
    "Model": "model",
    "Clip skip": "clip_skip",
    "VAE": "vae",
}
"""Label → canonical parameter, in the order of the real server."""
_PAIR = re.compile(r'\s*(\w[\w \-/]{0,60}):\s*("(?:\\.|[^"\\]){0,2000}"|[^,]{0,2000})(?:,|$)')
_LONGEST = 200_000


def sampler_label(name: str) -> str:
    return SAMPLERS.get(name, (name,))[0]


def scheduler_label(name: str) -> str:
    # The table's first label of `normal` is "Automatic", which leaves the choice to the sampler.
    return "Normal" if name == "normal" else SCHEDULERS.get(name, (name,))[0]


def further(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the real server calls extra: the second pass, by its labels."""
    hires = values.get("hires")
    told = hires if isinstance(hires, Mapping) else {}
    labels = {"Hires upscale": "scale", "Hires steps": "steps", "Hires upscaler": "upscaler"}
    found = {label: told.get(name) for label, name in labels.items()}
    found["Denoising strength"] = told.get("strength", values.get("strength"))
    return {label: value for label, value in found.items() if value is not None}


def written(prompt: str, negative_prompt: str, values: Mapping[str, Any]) -> str:
    """:param values: canonical parameters; ``size`` as ``512x512``. What is ``None`` is left out."""
    named = {label: values.get(name) for label, name in _LABELS.items()}
    if named["Sampler"] is not None:
        named["Sampler"] = sampler_label(str(named["Sampler"]))
    if named["Schedule type"] is not None:
        named["Schedule type"] = scheduler_label(str(named["Schedule type"]))
    said = {label: value for label, value in named.items() if value is not None}
    pairs = {**said, **further(values), "Version": VERSION}
    lines = [prompt, f"Negative prompt: {negative_prompt}" if negative_prompt else ""]
    lines.append(", ".join(f"{label}: {_quoted(value)}" for label, value in pairs.items()))
    return "\n".join(line for line in lines if line)


def _quoted(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f'"{text}"' if set(text) & set(',:\n"') else text


def parsed(text: str) -> dict[str, Any]:
    """The text's parameters by their labels, as ``/sdapi/v1/png-info`` answers them; empty for any other text."""
    head, _, last = text[:_LONGEST].rpartition("\n")
    pairs = {match[1].strip(): match[2].strip().strip('"') for match in _PAIR.finditer(last)}
    if "Steps" not in pairs and "Seed" not in pairs:
        return {}
    prompt, _, negative = head.partition("Negative prompt:")
    if size := re.fullmatch(r"(\d{1,6})x(\d{1,6})", pairs.get("Size", "")):
        del pairs["Size"]
        pairs |= {"Size-1": size[1], "Size-2": size[2]}
    return {"Prompt": prompt.strip(), "Negative prompt": negative.strip(), **pairs}
