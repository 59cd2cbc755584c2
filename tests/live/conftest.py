"""Tests against real backends. Each one is skipped unless an environment variable names its server.

    IMAGEROUTER_LIVE_COMFYUI=http://127.0.0.1:8188            a ComfyUI with at least one SD1.5 checkpoint and one LoRA
    IMAGEROUTER_LIVE_COMFYUI_MODEL=tiny_a                     which checkpoint; by default the first one
    IMAGEROUTER_LIVE_COMFYUI_KILL='kill -9 $(cat comfy.pid)'  a shell command that kills it
    IMAGEROUTER_LIVE_COMFYUI_START='./start.sh'               and one that starts it again and returns once it answers

    IMAGEROUTER_LIVE_A1111=http://127.0.0.1:7860              a server of AUTOMATIC1111's family, or several: `URL,URL`
    IMAGEROUTER_LIVE_A1111_MODEL, …_KILL, …_START             as above; the commands find the server's $PORT
    IMAGEROUTER_LIVE_A1111_OUTPUTS='/srv/$PORT/outputs'       the folder that it saves pictures to, if it is here

Pictures are drawn at 64x64 in a few steps: it is the wire that is tested, and the models may be random.
"""

import asyncio
import os
import string
import subprocess
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from imagerouter import Image, ImageRouterError
from imagerouter.app.server import listening
from imagerouter.config.loader import load_text
from imagerouter.testing import decode
from imagerouter_a1111.api import Api
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.detection import detect

QUICK = {"prompt": "a red fox", "seed": 4711, "steps": 2, "size": "64x64", "cfg_scale": 5}


class Live:
    """imagerouter in front of a live backend, with clients of both."""

    type = ""
    """Of the provider."""
    variable = ""
    """Of the environment, which names the server."""
    pause = 0.02
    """Seconds between two looks at it."""

    def __init__(self, http: httpx.AsyncClient, backend: httpx.AsyncClient, engine: Any, model: str) -> None:
        self.http, self.backend, self.engine, self.model = http, backend, engine, model
        self.sdk = AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="any", max_retries=0, timeout=600)

    @classmethod
    @asynccontextmanager
    async def serving(cls, url: str, keys: str, models: str) -> AsyncIterator[Any]:
        text = f"providers:\n  desk: {{type: {cls.type}, base_url: '{url}', {keys}}}\nmodels: {models}\n"
        async with (
            httpx.AsyncClient(base_url=url, timeout=120) as backend,
            listening(load_text(text + "server: {port: 0}\n")) as server,
            httpx.AsyncClient(base_url=server.url, timeout=600) as http,
        ):
            await server.engine.fleet.settled()
            names = server.engine.catalogue.names()
            assert names, server.engine.fleet.members["desk"].detail
            wanted = os.environ.get(f"{cls.variable}_MODEL", "")
            live = cls(http, backend, server.engine, wanted if wanted in names else names[0])
            async with live.sdk:
                yield live

    async def ask(self, **body: Any) -> httpx.Response:
        return await self.http.post("/v1/images/generations", json={"model": self.model, **QUICK, **body})

    async def draw(self, **body: Any) -> dict[str, Any]:
        answer = await self.ask(**body)
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()

    async def pictures(self, **body: Any) -> list[bytes]:
        return [b64decode(item["b64_json"]) for item in (await self.draw(**body))["data"]]

    async def is_busy(self) -> bool:
        raise NotImplementedError

    async def until_idle(self) -> None:
        while await self.is_busy():
            await asyncio.sleep(self.pause)

    async def until_running(self) -> None:
        while not await self.is_busy():
            await asyncio.sleep(self.pause)

    def command(self, what: str) -> str:
        """One of the shell commands about the server; skips the test where it isn't set."""
        command = os.environ.get(f"{self.variable}_{what}")
        if not command:
            pytest.skip(f"{self.variable}_{what} is not set")
        return command

    async def run(self, command: str) -> None:
        environment = {**os.environ, "PORT": str(self.backend.base_url.port)}
        await asyncio.to_thread(subprocess.run, command, shell=True, check=True, env=environment)


class LiveComfy(Live):
    type, variable = "comfyui", "IMAGEROUTER_LIVE_COMFYUI"

    @property
    def comfy(self) -> httpx.AsyncClient:
        return self.backend

    async def is_busy(self) -> bool:
        return any(await self.queue())

    async def until_running(self) -> None:
        while not (await self.queue())[0]:
            await asyncio.sleep(self.pause)

    async def queue(self) -> tuple[list[Any], list[Any]]:
        found = (await self.comfy.get("/queue")).json()
        return found["queue_running"], found["queue_pending"]


class LiveWebUI(Live):
    type, variable = "a1111", "IMAGEROUTER_LIVE_A1111"
    pause = 0.3  # SD.Next answers five times a second at most

    async def offered(self) -> dict[str, dict[str, Any]]:
        """Model → what it is said to be and to honour."""
        return {model["id"]: model for model in (await self.http.get("/v1/models")).json()["data"]}

    async def needs(self, *parameters: str) -> None:
        """Skip the test where the provider doesn't honour them."""
        honoured = (await self.offered())[self.model]["supported_parameters"]
        if missing := [name for name in parameters if name not in honoured]:
            pytest.skip(f"no model here has `{missing[0]}`")

    async def listed(self, *paths: str, key: str = "name") -> list[str]:
        """What the server itself lists, under the first path that it has."""
        for path in paths:
            answer = await self.backend.get(f"/sdapi/v1/{path}")
            if answer.is_success:
                return [row[key] for row in answer.json()]
        return []

    async def scripts(self) -> list[str]:
        """Names of those that may go along with any job."""
        answer = await self.backend.get("/sdapi/v1/script-info")
        rows = answer.json() if answer.is_success else []
        return [row["name"] for row in rows if row["is_alwayson"]]

    async def settings(self) -> dict[str, Any]:
        return (await self.backend.get("/sdapi/v1/options")).json()

    async def loaded(self) -> str:
        """The file of the checkpoint whose weights are loaded, as the server has it."""
        answer = await self.backend.get("/sdapi/v1/checkpoint")
        if answer.is_success:
            return answer.json()["title"].partition(" [")[0]
        loaded = (await self.settings())["sd_checkpoint_hash"]
        rows = (await self.backend.get("/sdapi/v1/sd-models")).json()
        return next(row["title"].partition(" [")[0] for row in rows if loaded and row["sha256"] == loaded)

    async def progress(self) -> dict[str, Any]:
        """Empty where the server doesn't tell."""
        answer = await self.backend.get("/sdapi/v1/progress", params={"skip_current_image": "true"})
        assert answer.status_code in (200, 404), answer.text
        return answer.json()["state"] if answer.is_success else {}

    async def tells_progress(self) -> None:
        if not await self.progress():
            pytest.skip("the server doesn't tell what it is doing")

    async def is_busy(self) -> bool:
        state = await self.progress()
        return bool(state.get("job")) or bool(state.get("job_count"))

    async def names_jobs(self) -> bool:
        """Whether the server knows a job by an id that its client gives it."""
        described = await self.backend.get("/openapi.json")
        fields = described.json()["components"]["schemas"]["StableDiffusionProcessingTxt2Img"]["properties"]
        return "force_task_id" in fields

    async def until_idle(self) -> None:
        looks = 0
        while looks < 3:  # SD.Next looks idle between two images of a job
            looks = 0 if await self.is_busy() else looks + 1
            await asyncio.sleep(self.pause)

    async def until_running(self) -> None:
        if await self.progress():
            await super().until_running()
        else:
            await asyncio.sleep(1)

    async def foreign(self, **body: Any) -> bytes:
        """Pixels of somebody else's picture: asked of the server itself."""
        asked = {"prompt": "a blue jay", "seed": 3, "steps": 2, "width": 64, "height": 64, "sampler_name": "Euler"}
        answer = await self.backend.post("/sdapi/v1/txt2img", json=asked | body, timeout=600)
        assert answer.is_success, answer.text[:500]
        return decode(Image(b64=answer.json()["images"][0].encode())).tobytes()

    def outputs(self) -> str:
        folder = os.environ.get(f"{self.variable}_OUTPUTS")
        if not folder:
            pytest.skip(f"{self.variable}_OUTPUTS is not set")
        return string.Template(folder).substitute(PORT=self.backend.base_url.port)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "webui_url" in metafunc.fixturenames:
        urls = [url.strip() for url in os.environ.get(LiveWebUI.variable, "").split(",") if url.strip()]
        ids = [asyncio.run(_dialect(url)) for url in urls]
        metafunc.parametrize("webui_url", urls or [""], ids=ids or ["none"])


async def _dialect(url: str) -> str:
    config = A1111Config(base_url=url)
    api = Api("live", config)
    try:
        return (await detect("live", api, config)).dialect.name
    except ImageRouterError:
        return url
    finally:
        await api.aclose()


@pytest.fixture
def live_url() -> str:
    url = os.environ.get(LiveComfy.variable)
    if not url:
        pytest.skip(f"{LiveComfy.variable} names no server")
    return url


@pytest.fixture
async def launch(live_url: str) -> AsyncIterator[Any]:
    """``await launch(keys="…", models="…")``: a server with more keys for the provider, or with models, as YAML."""
    async with AsyncExitStack() as stack:

        async def _launch(keys: str = "", models: str = "{}") -> LiveComfy:
            return await stack.enter_async_context(LiveComfy.serving(live_url, keys, models))

        yield _launch


@pytest.fixture
async def live(launch: Any) -> LiveComfy:
    return await launch()


@pytest.fixture
def serve_webui(webui_url: str) -> Any:
    """``async with serve_webui(keys="…", models="…") as webui``: what its jobs leave is tidied up at its end."""
    if not webui_url:
        pytest.skip(f"{LiveWebUI.variable} names no server")

    def _serve(keys: str = "", models: str = "{}") -> Any:
        return LiveWebUI.serving(webui_url, keys, models)

    return _serve


@pytest.fixture
async def webui(serve_webui: Any) -> AsyncIterator[LiveWebUI]:
    async with serve_webui() as found:
        await found.until_idle()
        yield found
