"""Tests against real backends. Each one is skipped unless an environment variable names its server.

    IMAGEROUTER_LIVE_COMFYUI=http://127.0.0.1:8188            a ComfyUI with at least one SD1.5 checkpoint and one LoRA
    IMAGEROUTER_LIVE_COMFYUI_MODEL=tiny_a                     which checkpoint; by default the first one
    IMAGEROUTER_LIVE_COMFYUI_KILL='kill -9 $(cat comfy.pid)'  a shell command that kills it
    IMAGEROUTER_LIVE_COMFYUI_START='./start.sh'               and one that starts it again and returns once it answers

Pictures are drawn at 64x64 in one or two steps: it is the wire that is tested, and the models may be random.
"""

import asyncio
import os
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from imagerouter.app.server import listening
from imagerouter.loader import load_text

QUICK = {"prompt": "a red fox", "seed": 4711, "steps": 2, "size": "64x64", "cfg_scale": 5}


class Live:
    """imagerouter in front of the live ComfyUI, with clients of both."""

    def __init__(self, http: httpx.AsyncClient, comfy: httpx.AsyncClient, engine: Any, model: str) -> None:
        self.http, self.comfy, self.engine, self.model = http, comfy, engine, model
        self.sdk = AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="any", max_retries=0, timeout=600)

    async def ask(self, **body: Any) -> httpx.Response:
        return await self.http.post("/v1/images/generations", json={"model": self.model, **QUICK, **body})

    async def draw(self, **body: Any) -> dict[str, Any]:
        answer = await self.ask(**body)
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()

    async def pictures(self, **body: Any) -> list[bytes]:
        return [b64decode(item["b64_json"]) for item in (await self.draw(**body))["data"]]

    async def queue(self) -> tuple[list[Any], list[Any]]:
        found = (await self.comfy.get("/queue")).json()
        return found["queue_running"], found["queue_pending"]

    async def until_idle(self) -> None:
        while any(await self.queue()):
            await asyncio.sleep(0.05)

    async def until_running(self) -> None:
        while not (await self.queue())[0]:
            await asyncio.sleep(0.02)


@pytest.fixture
def live_url() -> str:
    url = os.environ.get("IMAGEROUTER_LIVE_COMFYUI")
    if not url:
        pytest.skip("IMAGEROUTER_LIVE_COMFYUI names no server")
    return url


@pytest.fixture
async def launch(live_url: str) -> AsyncIterator[Any]:
    """``await launch(keys="…", models="…")``: a server with more keys for the provider, or with models, as YAML."""
    async with AsyncExitStack() as stack:

        async def _launch(keys: str = "", models: str = "{}") -> Live:
            text = f"providers:\n  desk: {{type: comfyui, base_url: '{live_url}', {keys}}}\nmodels: {models}\n"
            server = await stack.enter_async_context(listening(load_text(text + "server: {port: 0}\n")))
            await server.engine.fleet.settled()
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=600))
            comfy = await stack.enter_async_context(httpx.AsyncClient(base_url=live_url, timeout=60))
            names = server.engine.catalogue.names()
            assert names, server.engine.fleet.members["desk"].detail
            model = os.environ.get("IMAGEROUTER_LIVE_COMFYUI_MODEL", names[0])
            live = Live(http, comfy, server.engine, model)
            stack.push_async_callback(live.sdk.close)
            return live

        yield _launch


@pytest.fixture
async def live(launch: Any) -> Live:
    return await launch()
