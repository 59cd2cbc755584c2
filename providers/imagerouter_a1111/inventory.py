"""What a server has, and which models that makes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from msgspec import structs

from imagerouter import Extras, names
from imagerouter.families import guess, traits
from imagerouter_a1111 import checkpoints, options, parity
from imagerouter_a1111.api import Api
from imagerouter_a1111.config import A1111Config, A1111Model
from imagerouter_a1111.describe import model
from imagerouter_a1111.detection import Detected
from imagerouter_a1111.prompts import is_writable
from imagerouter_a1111.recipe import Checkpoint, Recipe, Stock

_LISTS = ("samplers", "schedulers", "loras", "upscalers", "latent-upscale-modes", "scripts", "prompt-styles")


async def look(api: Api, detected: Detected) -> Stock:
    """Ask for everything that is listed. Raises classes of `imagerouter.errors` if the checkpoints can't be had."""
    dialect = detected.dialect
    vae_list = {"sd_vae": "sd-vae", "forge_additional_modules": "sd-modules", "": ""}[dialect.vae_setting]
    wanted = [path for path in (*_LISTS, vae_list) if path and _serves(detected, path)]
    defaults = {**dialect.defaults, **detected.defaults}
    models, settings, *lists = await asyncio.gather(
        api.get("sdapi/v1/sd-models"),
        api.get("sdapi/v1/options"),
        # One that fails costs its parameter and no more: one SD.Next has a /schedulers that always answers 500.
        *(api.try_get(f"sdapi/v1/{path}") for path in wanted),
    )
    found = dict(zip(wanted, lists, strict=True))
    return Stock(
        dialect=dialect,
        fields=detected.fields,
        routes=detected.routes,
        settings=defaults | settings if isinstance(settings, dict) else defaults,
        defaults=defaults,
        checkpoints=checkpoints.parse(models),
        samplers=_rows(found.get("samplers")),
        schedulers=_rows(found.get("schedulers")),
        vaes=_names(found.get(vae_list), "model_name"),
        loras=_loras(found.get("loras"), in_tags=dialect.loras == "tags"),
        upscalers=(*_names(found.get("latent-upscale-modes"), "name"), *_names(found.get("upscalers"), "name")),
        scripts=_scripts(found.get("scripts")),
        styles=_styles(found.get("prompt-styles")),
        capabilities=detected.capabilities,
        dtype=parity.dtype_of(dialect.name, detected.flags),
    )


def extras(stock: Stock) -> Extras:
    """What can be named beside the checkpoints."""
    return Extras(
        loras=tuple(names.short(stock.loras.values())),
        upscalers=tuple(names.short(stock.upscalers)),
        vaes=tuple(names.short(stock.vaes)),
    )


def _serves(detected: Detected, path: str) -> bool:
    if detected.routes:
        return f"/sdapi/v1/{path}" in detected.routes
    return path != "prompt-styles" and not (path == "scripts" and detected.dialect.name == "sdcpp")


def _rows(found: Any) -> tuple[Mapping[str, Any], ...]:
    rows = found if isinstance(found, list) else []
    return tuple(row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str))


def _names(found: Any, key: str) -> tuple[str, ...]:
    rows = found if isinstance(found, list) else []
    listed = (row.get(key) for row in rows if isinstance(row, dict))
    return tuple(dict.fromkeys(name for name in listed if isinstance(name, str) and name not in ("", "None")))


def _loras(found: Any, *, in_tags: bool) -> dict[str, str]:
    """Every name → what the server takes. A name stands for the first that has it, and goes before an alias."""
    key = "name" if in_tags else "path"
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    rows = [row for row in rows if not in_tags or is_writable(str(row.get(key)))]
    table: dict[str, str] = {}
    for spelling in ("name", "alias", key):
        for row in rows:
            if isinstance(said := row.get(spelling), str) and isinstance(taken := row.get(key), str) and said:
                table.setdefault(said, taken)
    return table


def _scripts(found: Any) -> frozenset[str]:
    lists = found.values() if isinstance(found, dict) else ()
    return frozenset(name.lower() for each in lists if isinstance(each, list) for name in each if isinstance(name, str))


def _styles(found: Any) -> frozenset[str] | None:
    """Without the rows that merely head the others, with which a job fails."""
    rows = (row for row in _rows(found) if isinstance(row.get("prompt"), str))
    return frozenset(row["name"] for row in rows) if isinstance(found, list) else None


def recipes(stock: Stock, config: A1111Config) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Native id → recipe of every model, and why each other one of the configuration can't be drawn.

    Entries of ``models`` come under their own names, all else under the name of its file.
    """
    found: dict[str, Recipe] = {}
    unusable: dict[str, str] = {}
    taken: set[str] = set()
    for name, entry in config.models.items():
        checkpoint = find(entry.checkpoint or name, stock.checkpoints)
        if checkpoint is None:
            wanted, files = entry.checkpoint or name, [one.file for one in stock.checkpoints]
            unusable[name] = f"the server has no checkpoint `{wanted}`{names.close(wanted, files)}"
        elif reason := _missing(entry, stock):
            unusable[name] = reason
        else:
            taken.add(checkpoint.file)
            found[name] = _recipe(name, checkpoint, entry, stock, config)
    for checkpoint in stock.checkpoints if config.checkpoints else ():
        if checkpoint.file not in taken and checkpoint.file not in config.models:
            found[checkpoint.file] = _recipe(checkpoint.file, checkpoint, A1111Model(), stock, config)
    return found, unusable


def find(wanted: str, listed: Iterable[Checkpoint]) -> Checkpoint | None:
    """The checkpoint that is meant: by any of the server's spellings, else as forgivingly as other files."""
    listed = tuple(listed)
    if (exact := checkpoints.meant(wanted, listed)) is not None:
        return exact
    files = [checkpoint.file for checkpoint in listed]
    # Some of the family list a file without its ending.
    file = names.find(wanted, files) or names.find(wanted.removesuffix(names.base(wanted)) + names.stem(wanted), files)
    return next((checkpoint for checkpoint in listed if checkpoint.file == file), None)


def _missing(entry: A1111Model, stock: Stock) -> str:
    """What an entry names and the server hasn't."""
    for wanted in (*([entry.vae] if entry.vae else []), *entry.modules):
        if names.find(wanted, (*stock.vaes, "Automatic", "None")) is None:
            return f"the server has no `{wanted}`{names.close(wanted, stock.vaes)}"
    if unknown := [key for key in entry.settings if not stock.knows_setting(key)]:
        return f"the server has no setting `{unknown[0]}`{names.close(unknown[0], stock.settings)}"
    if entry.modules and stock.dialect.vae_setting != "forge_additional_modules":
        return f"`modules` are Forge's; {stock.dialect.title} takes them from its own settings"
    return ""


def _recipe(name: str, checkpoint: Checkpoint, entry: A1111Model, stock: Stock, config: A1111Config) -> Recipe:
    stem, folder = names.stem(checkpoint.file), checkpoint.file.rpartition("/")[0]
    family = entry.family or guess([stem, folder]) or "sd15"
    known = traits(family, stem)
    if entry.family is None and guess([stem, folder]) is None:
        known = replace(known, title="Stable Diffusion")
    told = structs.replace(
        model(name, checkpoint, entry, known, stock),
        options=options.taken(stock, config),
        parity=parity.declared(checkpoint, entry, family, stock),
    )
    return Recipe(told, checkpoint, entry, known)
