"""Servers and orders to make requests of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from imagerouter import ImageRequest, Model
from imagerouter.canvas import fitted
from imagerouter.families import traits
from imagerouter.http import Answer
from imagerouter_a1111.config import A1111Model, DialectName
from imagerouter_a1111.dialects import DIALECTS
from imagerouter_a1111.recipe import Checkpoint, Order, Recipe, Sampler, Stock

INK = Checkpoint("ink.safetensors [6da5305858]", "ink", "ink.safetensors", "6da5305858", "6da5305858" + "0" * 54)
"""Loaded at least once."""
SUB = Checkpoint("sub/oil.safetensors", "sub_oil", "sub/oil.safetensors")
"""Never loaded, in a folder."""
FOLDER = Checkpoint("Diffusers/tiny/sdA [fedcba9876]", "Diffusers/tiny/sdA", "Diffusers/tiny/sdA", "fedcba9876")
"""As SD.Next lists a model of several files."""

_WEBUI_SETTINGS = {
    "CLIP_stop_at_last_layers": 1,
    "enable_pnginfo": True,
    "eta_noise_seed_delta": 0,
    "return_mask": False,
    "return_mask_composite": False,
    "sd_model_checkpoint": SUB.title,
    "sd_vae": "Automatic",
}
SETTINGS: Mapping[DialectName, Mapping[str, Any]] = {
    "a1111": {**_WEBUI_SETTINGS, "k_sched_type": "Automatic"},
    "reforge": _WEBUI_SETTINGS,
    "forge": {**_WEBUI_SETTINGS, "forge_additional_modules": []},
    "sdnext": {"sd_model_checkpoint": FOLDER.title, "clip_skip": 1},
    "sdcpp": {"samples_format": "png", "sd_model_checkpoint": "ink"},
}
_WEBUI_FIELDS = frozenset({"prompt", "sampler_name", "force_task_id", "enable_hr"})
FIELDS: Mapping[DialectName, frozenset[str]] = {
    "a1111": _WEBUI_FIELDS,
    "reforge": _WEBUI_FIELDS | {"scheduler", "hr_cfg"},
    "forge": _WEBUI_FIELDS | {"scheduler", "distilled_cfg_scale"},
    "sdnext": frozenset({"prompt", "sampler_name", "schedulers_sigma", "clip_skip", "hr_force"}),
    "sdcpp": frozenset(),
}


def stock(dialect: DialectName = "a1111", **changed: Any) -> Stock:
    """A server of this kind as it comes."""
    usual: dict[str, Any] = {
        "dialect": DIALECTS[dialect],
        "fields": FIELDS[dialect],
        "routes": frozenset(),
        "settings": SETTINGS[dialect],
        "checkpoints": (FOLDER,) if dialect == "sdnext" else (INK, SUB),
    }
    return Stock(**usual | changed)


def recipe(checkpoint: Checkpoint = INK, **entry: Any) -> Recipe:
    return Recipe(Model(id=checkpoint.file), checkpoint, A1111Model(**entry), traits("sd15", checkpoint.name))


def order(request: Mapping[str, Any] | None = None, *, of: Recipe | None = None, **settled: Any) -> Order:
    """An order of one small picture of a fox.

    :param request: what the client has said besides.
    :param settled: what has been made of it.
    """
    usual: dict[str, Any] = {
        "request": ImageRequest(**{"model": "ink", "prompt": "a fox", "seed": 7, **(request or {})}),
        "recipe": of or recipe(),
        "size": fitted(500, 512, 8),
        "steps": 20,
        "cfg_scale": 7.0,
        "guidance": None,
        "sampler": Sampler("Euler a"),
        "strength": None,
        "clip_skip": None,
        "vae": None,
        "loras": (),
        "hires": None,
    }
    return Order(**usual | settled)


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    """An answer with this body: as it is if it is bytes, else as JSON."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Answer(status, content, httpx.Headers(headers))
