"""The lists that clients ask for when they start; those of things that a fleet hasn't are empty."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post

from imagerouter.app.body import read_fields
from imagerouter.dialects.a1111 import lists, pnginfo
from imagerouter.engine import Engine
from imagerouter.errors import InvalidParameterError
from imagerouter.images import in_worker
from imagerouter.openai.inputs import picture
from imagerouter.provider import Extras
from imagerouter.routing.catalogue import PublicModel


def _models(request: Request[Any, Any, Any]) -> tuple[PublicModel, ...]:
    engine: Engine = request.app.state.engine
    return engine.catalogue.models


def _extras(request: Request[Any, Any, Any]) -> Extras:
    engine: Engine = request.app.state.engine
    return engine.fleet.extras


@get("/sd-models")
async def sd_models(request: Request[Any, Any, Any]) -> list[dict[str, Any]]:
    return lists.sd_models(_models(request))


@get("/samplers")
async def samplers(request: Request[Any, Any, Any]) -> list[dict[str, Any]]:
    return lists.samplers(_models(request))


@get("/schedulers")
async def schedulers(request: Request[Any, Any, Any]) -> list[dict[str, Any]]:
    return lists.schedulers(_models(request))


@get("/sd-vae")
async def sd_vae(request: Request[Any, Any, Any]) -> list[dict[str, Any]]:
    return lists.sd_vae(_extras(request))


@get("/loras")
async def loras(request: Request[Any, Any, Any]) -> list[dict[str, Any]]:
    return lists.loras(_extras(request))


@get("/upscalers")
async def upscalers(request: Request[Any, Any, Any]) -> list[dict[str, Any]]:
    return lists.upscalers(_extras(request))


@get("/latent-upscale-modes")
async def latent_modes() -> list[dict[str, Any]]:
    return lists.latent_modes()


@get(["/hypernetworks", "/face-restorers", "/realesrgan-models", "/prompt-styles", "/script-info", "/extensions"])
async def nothing() -> list[Any]:
    return []


@get("/embeddings")
async def embeddings() -> dict[str, Any]:
    return {"loaded": {}, "skipped": {}}


@get("/scripts")
async def scripts() -> dict[str, Any]:
    return {"txt2img": [], "img2img": []}


@get("/cmd-flags")
async def cmd_flags() -> dict[str, Any]:
    return {"api": True}


@get("/memory")
async def memory() -> dict[str, Any]:
    """That of the backends is theirs."""
    return {"ram": {"error": "unavailable"}, "cuda": {"error": "unavailable"}}


@post(["/refresh-checkpoints", "/refresh-loras", "/refresh-vae"], status_code=200)
async def refresh(request: Request[Any, Any, Any]) -> None:
    """Ask all providers for their models again."""
    engine: Engine = request.app.state.engine
    await engine.fleet.look_again()


@post(["/unload-checkpoint", "/reload-checkpoint"], status_code=200)
async def keep_checkpoint() -> dict[str, Any]:
    """What is loaded where is decided by what is to be drawn."""
    return {}


@post("/png-info", status_code=200)
async def png_info(request: Request[Any, Any, Any]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    sent, _ = await read_fields(request, engine.config.limits)
    text = sent.get("image")
    if not isinstance(text, str) or not text.strip():
        raise InvalidParameterError("`image` must be a picture as base64 or data URL", param="image")
    return await in_worker(lambda: pnginfo.read(picture(text, "image")))
