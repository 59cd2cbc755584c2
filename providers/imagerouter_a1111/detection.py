"""Which member of the family a server is, told by what it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagerouter import ProviderUnavailableError
from imagerouter_a1111.api import Api
from imagerouter_a1111.config import A1111Config, DialectName
from imagerouter_a1111.dialects import DIALECTS, Dialect

_TINY = {"samples_format", "sd_model_checkpoint"}
"""All the settings of stable-diffusion.cpp's server (``routes_sdapi.cpp``), and of KoboldCpp."""
_REFORGE_FLAGS = {"pin_shared_memory", "cuda_malloc", "cuda_stream"}
"""Command-line flags that reForge has from Forge, and AUTOMATIC1111 has not."""


@dataclass(frozen=True)
class Detected:
    """What a server is, for as long as it runs. ``fields``, ``routes``, ``capabilities``: as in `recipe.Stock`."""

    dialect: Dialect
    fields: frozenset[str] = frozenset()
    routes: frozenset[str] = frozenset()
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of settings, where the server tells them; they go before those of the dialect."""
    flags: Mapping[str, Any] = field(default_factory=dict)
    """``/sdapi/v1/cmd-flags``: how the server was started."""


async def detect(name: str, api: Api, config: A1111Config) -> Detected:
    """Ask the server. Raises `ProviderUnavailableError` if it isn't one of the family, or isn't ready yet."""
    settings = await api.get("sdapi/v1/options", missing=False)  # none is what a fresh Forge has set
    if not isinstance(settings, dict):
        raise ProviderUnavailableError(
            f"provider `{name}` serves no /sdapi/v1: it is still starting, or was started without `--api`"
        )
    if config.dialect == "sdcpp" or (config.dialect == "auto" and set(settings) == _TINY):
        return await _tiny(name, api, config)
    described, flags = await asyncio.gather(api.try_get("openapi.json", {}), api.try_get("sdapi/v1/cmd-flags", {}))
    flags = flags if isinstance(flags, dict) else {}
    routes = _routes(described)
    chosen = await _named(api, described, routes, flags) if config.dialect == "auto" else config.dialect
    return Detected(DIALECTS[chosen], _fields(described), routes, defaults=await _defaults(api, routes), flags=flags)


async def _tiny(name: str, api: Api, config: A1111Config) -> Detected:
    capabilities = await api.try_get("sdcpp/v1/capabilities", {})
    if config.dialect == "auto" and not capabilities:
        raise ProviderUnavailableError(f"provider `{name}` is of a kind that isn't known; set its `dialect`")
    return Detected(DIALECTS["sdcpp"], capabilities=capabilities if isinstance(capabilities, dict) else {})


async def _named(api: Api, described: Any, routes: frozenset[str], flags: Mapping[str, Any]) -> DialectName:
    has_version = "/sdapi/v1/version" in routes or not routes
    version = await api.try_get("sdapi/v1/version", {}) if has_version else None
    info = described.get("info") if isinstance(described, dict) else None
    title = info.get("title") if isinstance(info, dict) else None
    if title == "SD.Next" or (isinstance(version, dict) and version.get("app") == "sd.next"):
        return "sdnext"
    if "/sdapi/v1/sd-modules" in routes:
        return "forge"
    return "reforge" if set(flags) & _REFORGE_FLAGS else "a1111"


async def _defaults(api: Api, routes: frozenset[str]) -> dict[str, Any]:
    """Of settings that the server doesn't list as long as they are at their defaults (SD.Next)."""
    if "/sdapi/v1/options-info" not in routes:
        return {}
    described = await api.try_get("sdapi/v1/options-info", {})
    options = described.get("options") if isinstance(described, dict) else None
    rows = options.items() if isinstance(options, dict) else ()
    return {name: row["default"] for name, row in rows if isinstance(row, dict) and "default" in row}


def _routes(described: Any) -> frozenset[str]:
    paths = described.get("paths") if isinstance(described, dict) else None
    return frozenset(paths) if isinstance(paths, dict) else frozenset()


def _fields(described: Any) -> frozenset[str]:
    """Names of the fields that txt2img and img2img take, by the server's own description."""
    found: set[str] = set()
    for route in ("/sdapi/v1/txt2img", "/sdapi/v1/img2img"):
        try:
            body = described["paths"][route]["post"]["requestBody"]["content"]["application/json"]["schema"]
            schema = described["components"]["schemas"][body["$ref"].rpartition("/")[2]]
            found |= set(schema["properties"])
        except (KeyError, TypeError, AttributeError):
            continue
    return frozenset(found)
