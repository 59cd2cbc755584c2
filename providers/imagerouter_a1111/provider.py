"""The adapter: one server of the family."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from imagerouter import (
    Extras,
    ImageRequest,
    ImageRouterError,
    Images,
    MisconfiguredError,
    Model,
    ModelNotFoundError,
    ProgressSink,
    Provider,
    ProviderBusyError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    Status,
)
from imagerouter.logs import get_logger
from imagerouter.remote import local_servers
from imagerouter_a1111.api import ASK_SECONDS, Api
from imagerouter_a1111.config import A1111Config, A1111Model
from imagerouter_a1111.detection import Detected, detect
from imagerouter_a1111.drawing import Easel
from imagerouter_a1111.inventory import extras, look, recipes
from imagerouter_a1111.jobs import Jobs
from imagerouter_a1111.recipe import Press, Recipe, Stock
from imagerouter_a1111.residency import Residency
from imagerouter_a1111.sdapi import SdapiPress
from imagerouter_a1111.sdapi.answers import NoPictureError
from imagerouter_a1111.sdapi.press import WrongCheckpointError
from imagerouter_a1111.sdcpp import NativePress
from imagerouter_a1111.settings import Debt, Settings

log = get_logger(__name__)

LOCAL_PORTS = ("7860", "7861", "1234")
"""Of a web UI (unless ``GRADIO_SERVER_PORT`` names another), of a second one, and of stable-diffusion.cpp's server."""
RESCAN_SECONDS = 300.0
"""Between two scans of the server's folders, which it doesn't look into by itself."""
_SILENT_LOOKS = 6
"""Looks at the status that a server may leave unanswered: with forty requests under way it answers nobody."""


class A1111Provider(Provider[A1111Config]):
    """Every checkpoint of the server, with its LoRAs, VAEs, samplers and upscalers."""

    Config = A1111Config
    ModelConfig = A1111Model

    def __init__(self, name: str, config: A1111Config) -> None:
        super().__init__(name, config)
        self._connection: _Connection | None = None
        self._debt = Debt()

    @classmethod
    async def discover(cls) -> dict[str, dict[str, Any]]:
        return await local_servers("a1111", LOCAL_PORTS, "GRADIO_SERVER_PORT", _is_one)

    async def start(self) -> None:
        connection = self._connection
        if connection is not None:
            self._connection = None
            await connection.aclose()
        api = Api(self.name, self.config)
        try:
            detected = await detect(self.name, api, self.config)
            connection = _Connection(self.name, self.config, api, detected, self._debt)
            await connection.begin()
        except BaseException:
            await api.aclose()
            raise
        self._connection = connection
        log.info("a1111.detected", provider=self.name, dialect=detected.dialect.name)

    async def models(self) -> list[Model]:
        connection = self._connected()
        await connection.update()
        unusable = [Model(id=name, problem=reason) for name, reason in connection.unusable.items()]
        return [*(recipe.model for recipe in connection.recipes.values()), *unusable]

    async def extras(self) -> Extras:
        return self._connected().extras

    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:
        connection = self._connected()
        try:
            return await connection.draw(request, progress)
        except (WrongCheckpointError, NoPictureError) as error:
            log.warning("a1111.drawn_wrong", provider=self.name, reason=error.message)
            await connection.recover(request)
        return await connection.draw(request, progress)

    async def status(self) -> Status:
        return await self._connected().status()

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    def _connected(self) -> _Connection:
        if self._connection is None:
            raise ProviderUnavailableError(f"provider `{self.name}` isn't started")
        return self._connection


class _Connection:
    """Everything that is alive while the provider is started."""

    def __init__(self, name: str, config: A1111Config, api: Api, detected: Detected, debt: Debt) -> None:
        self.recipes: dict[str, Recipe] = {}
        self.unusable: dict[str, str] = {}
        self._name = name
        self._config = config
        self._api = api
        self._detected = detected
        self._jobs = Jobs(api)
        self._residency = Residency(api)
        self._settings = Settings(name, api, debt, keep=config.keep_settings)
        self._press: Press
        if detected.capabilities:
            self._press = NativePress(name, config, api, self._jobs)
        else:
            self._press = SdapiPress(
                name, config, api, jobs=self._jobs, residency=self._residency, settings=self._settings
            )
        self._easel = Easel(name, config, self._press)
        self._stock: Stock | None = None
        self._scanned = _now()
        self._is_new = True
        self._silent = 0

    @property
    def extras(self) -> Extras:
        return Extras() if self._stock is None else extras(self._stock)

    async def begin(self) -> None:
        await self.refresh()
        if self._stock is not None:
            self._settings.resume(self._stock)

    async def refresh(self) -> None:
        """List what the server has."""
        stock = await look(self._api, self._detected)
        self._stock = replace(stock, settings={**stock.settings, **self._settings.owed})
        self.recipes, unusable = recipes(self._stock, self._config)
        for model, reason in unusable.items():
            if self.unusable.get(model) != reason:
                log.warning("a1111.unusable", provider=self._name, model=model, reason=reason)
        self.unusable = unusable

    async def update(self) -> None:
        """The same for a server that may have more to do than to answer: then what it had stays."""
        if self._is_new:
            self._is_new = False  # the list of the start is still warm
            return
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await self._rescan()
                await self.refresh()
        except (ProviderTimeoutError, TimeoutError):
            log.info("a1111.not_listed", provider=self._name)

    async def _rescan(self) -> None:
        """Have the server look for new files; it does so between two jobs only."""
        if _now() - self._scanned < RESCAN_SECONDS or not self._detected.dialect.has_settings:
            return
        if self._stock is None or self._jobs.count or await self._jobs.busy(self._stock):
            return
        self._scanned = _now()
        for kind in ("checkpoints", "loras", "vae"):
            if f"/sdapi/v1/refresh-{kind}" in self._detected.routes:
                try:
                    await self._api.post(f"sdapi/v1/refresh-{kind}")
                except ImageRouterError as error:
                    log.info("a1111.not_rescanned", provider=self._name, kind=kind, reason=error.message)

    async def draw(self, request: ImageRequest, progress: ProgressSink) -> Images:
        stock, recipe = self._stock, self.recipes.get(request.model)
        if recipe is None and (reason := self.unusable.get(request.model)) is not None:
            raise MisconfiguredError(f"provider `{self._name}` can't use `{request.model}`: {reason}")
        if recipe is None or stock is None:
            raise ModelNotFoundError(f"provider `{self._name}` has no model `{request.model}`", param="model")
        return await self._easel.draw(request, recipe, stock, progress)

    async def recover(self, request: ImageRequest) -> None:
        """The list of checkpoints may be out of date, or (SD.Next) nothing be loaded after a failed load."""
        if (await detect(self._name, self._api, self._config)).dialect != self._detected.dialect:
            raise ProviderUnavailableError(f"provider `{self._name}` has become another server")
        await self.refresh()
        recipe = self.recipes.get(request.model)
        if recipe is not None and self._detected.dialect.name == "sdnext":
            await self._api.post("sdapi/v1/checkpoint", missing={}, sd_model_checkpoint=recipe.checkpoint.title)

    async def status(self) -> Status:
        stock = self._stock
        if stock is None:
            raise ProviderUnavailableError(f"provider `{self._name}` isn't started")
        try:
            async with asyncio.timeout(ASK_SECONDS):
                running, queued = await self._jobs.load(stock)
                await self._residency.look(stock)
            self._silent = 0
        except (ProviderBusyError, ProviderTimeoutError, TimeoutError) as error:
            self._silent += 1
            if self._silent > _SILENT_LOOKS:
                raise ProviderTimeoutError(f"provider `{self._name}` took too long to answer") from error
            running, queued = max(1, self._jobs.count), 0
        resident = self._residency.models(self.recipes.items())
        return Status(ready=True, running=running, queued=queued, resident=resident)

    async def aclose(self) -> None:
        try:
            await self._press.aclose()
        finally:
            await self._api.aclose()


async def _is_one(url: str) -> bool:
    api = Api("a1111", A1111Config(base_url=url))
    try:
        async with asyncio.timeout(1.5):
            found = await api.get("sdapi/v1/sd-models")
            return isinstance(found, list)
    except (ImageRouterError, TimeoutError):
        return False
    finally:
        await api.aclose()


def _now() -> float:
    return asyncio.get_running_loop().time()
