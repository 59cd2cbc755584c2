"""What clients ask for when they start: models, samplers, and so on, as far as the fleet has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from imagerouter.dialects.a1111 import prompts
from imagerouter.dialects.a1111.infotext import sampler_label, scheduler_label
from imagerouter.provider import Extras
from imagerouter.routing.catalogue import PublicModel
from imagerouter.samplers import SAMPLERS, SCHEDULERS

LATENT_MODES = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)
UPSCALERS = ("None", "Lanczos", "Nearest")
"""Those that need no model."""


def sd_models(models: Iterable[PublicModel]) -> list[dict[str, Any]]:
    """Every public model. Which file is behind it is each target's own affair, so there is no hash."""
    return [
        {
            "title": model.name,
            "model_name": model.name,
            "hash": None,
            "sha256": None,
            "filename": model.name,
            "config": None,
        }
        for model in models
    ]


def samplers(models: Iterable[PublicModel]) -> list[dict[str, Any]]:
    """Those that any model honours, in the order of the common table."""
    return [
        {"name": sampler_label(name), "aliases": [name, *SAMPLERS.get(name, ())[1:]], "options": {}}
        for name in _offered("sampler", models, SAMPLERS)
    ]


def schedulers(models: Iterable[PublicModel]) -> list[dict[str, Any]]:
    """Those that any model honours, after the one that leaves the choice to the sampler."""
    names = ("automatic", *_offered("scheduler", models, SCHEDULERS))
    return [
        {
            "name": name,
            "label": "Automatic" if name == "automatic" else scheduler_label(name),
            "aliases": None,
            "default_rho": -1.0,
            "need_inner_model": False,
        }
        for name in names
    ]


def sd_vae(extras: Extras) -> list[dict[str, Any]]:
    return [{"model_name": name, "filename": name} for name in extras.vaes]


def loras(extras: Extras) -> list[dict[str, Any]]:
    """Those that can be written as a tag. Where their files are, and what stands in them, is the backends' affair."""
    names = (name for name in extras.loras if prompts.can_hold(name))
    return [{"name": name, "alias": name, "path": name, "metadata": {}} for name in names]


def upscalers(extras: Extras) -> list[dict[str, Any]]:
    """``scale`` is what the real server tells of those that it knows nothing of (``modules/upscaler.py``)."""
    plain = [(name, None) for name in UPSCALERS]
    known = {name.casefold() for name in (*UPSCALERS, *LATENT_MODES)}
    models = [(name, name) for name in extras.upscalers if name.casefold() not in known]
    nothing = {"model_path": None, "model_url": None}
    return [{"name": name, "model_name": model, **nothing, "scale": 4.0} for name, model in (*plain, *models)]


def latent_modes() -> list[dict[str, Any]]:
    return [{"name": name} for name in LATENT_MODES]


def _offered(parameter: str, models: Iterable[PublicModel], table: Mapping[str, Any]) -> list[str]:
    """The values that any target takes, those of the table first and in its order."""
    found = dict.fromkeys(_values(parameter, models))
    return [*(name for name in table if name in found), *(name for name in found if name not in table)]


def _values(parameter: str, models: Iterable[PublicModel]) -> Iterator[str]:
    for model in models:
        for target in model.targets:
            descriptor = target.model.parameters.get(parameter)
            yield from (descriptor.values or ()) if descriptor is not None else ()
