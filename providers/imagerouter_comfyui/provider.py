"""The adapter: one ComfyUI server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from imagerouter import (
    Binding,
    Extras,
    ImageRequest,
    ImageRouterError,
    Images,
    MisconfiguredError,
    Model,
    ModelNotFoundError,
    ProgressSink,
    Provider,
    ProviderRejectedError,
    ProviderUnavailableError,
    Status,
)
from imagerouter.logs import get_logger
from imagerouter.remote import local_servers
from imagerouter_comfyui.api import Api
from imagerouter_comfyui.config import ComfyConfig, ComfyModel
from imagerouter_comfyui.drawing import Easel
from imagerouter_comfyui.graph import WorkflowError
from imagerouter_comfyui.inventory import Headers, Inventory, extras, look, recipes
from imagerouter_comfyui.jobs import Jobs
from imagerouter_comfyui.recipe import Recipe
from imagerouter_comfyui.residency import Residency, files_of
from imagerouter_comfyui.socket import Socket
from imagerouter_comfyui.watch import messages_of, timestamp_of
from imagerouter_comfyui.workflows import inspect, load

log = get_logger(__name__)

LOCAL_PORTS = ("8188", "8000")
"""Of a ComfyUI that was started by hand, and of its desktop application, unless ``COMFY_PORT`` names another."""


class ComfyProvider(Provider[ComfyConfig]):
    """Checkpoints and diffusion models with templates of our own, and any workflow."""

    Config = ComfyConfig
    ModelConfig = ComfyModel

    def __init__(self, name: str, config: ComfyConfig) -> None:
        super().__init__(name, config)
        self._inventory: Inventory | None = None
        self._headers: Headers = {}
        """What the files themselves say; kept for as long as the provider lives."""
        self._recipes: dict[str, Recipe] = {}
        self._unusable: dict[str, str] = {}
        self._connection: _Connection | None = None

    @classmethod
    async def discover(cls) -> dict[str, dict[str, Any]]:
        return await local_servers("comfyui", LOCAL_PORTS, "COMFY_PORT", _is_comfy)

    async def start(self) -> None:
        if self._connection is None:
            self._connection = _Connection(self.name, self.config)
            self._connection.socket.on_lost = self._on_lost
        connection = self._connection
        await connection.socket.start()
        await self._refresh(connection)
        await connection.look_around()

    async def models(self) -> list[Model]:
        await self._refresh(self._connected())
        unusable = [Model(id=name, problem=reason) for name, reason in self._unusable.items()]
        usable = [replace(recipe.model, options=recipe.options) for recipe in self._recipes.values()]
        return [*usable, *unusable]

    async def extras(self) -> Extras:
        return Extras() if self._inventory is None else extras(self._inventory)

    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:
        connection = self._connected()
        recipe = self._recipes.get(request.model)
        if recipe is None and (reason := self._unusable.get(request.model)) is not None:
            raise MisconfiguredError(f"provider `{self.name}` can't use `{request.model}`: {reason}")
        if recipe is None:
            raise ModelNotFoundError(f"provider `{self.name}` has no model `{request.model}`", param="model")
        if request.operation not in recipe.model.operations:
            cause = "mask" if request.mask is not None else "images"
            raise ProviderRejectedError(f"model `{request.model}` can't {request.operation}", param=cause)
        return await connection.easel.draw(request, recipe, progress)

    async def status(self) -> Status:
        connection = self._connected()
        queue = await connection.api.queue()
        if not connection.socket.is_connected:
            return Status(ready=False, detail="its websocket is closed")
        ours = connection.jobs.ids
        if any(job.id not in ours for job in queue):
            await connection.look_around()
        running = sum(job.running for job in queue)
        models = ((name, recipe.files) for name, recipe in self._recipes.items())
        resident = connection.residency.resident(models)
        return Status(ready=True, running=running, queued=len(queue) - running, resident=resident)

    async def inspect(self, workflow: Path) -> list[Binding]:
        try:
            return await inspect(self._connected().api, workflow)
        except WorkflowError as error:
            problems = "\n".join(error.problems)
            raise MisconfiguredError(f"{workflow.name} can't be used: {problems}") from None

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    def _on_lost(self) -> None:
        """The server may come back as another version, with other nodes and nothing loaded."""
        self._inventory = None
        if self._connection is not None:
            self._connection.residency.forget()

    def _connected(self) -> _Connection:
        if self._connection is None:
            raise ProviderUnavailableError(f"provider `{self.name}` isn't started")
        return self._connection

    async def _refresh(self, connection: _Connection) -> None:
        """List what the server has. Workflows are bound again only when that has changed."""
        inventory = await look(connection.api, self._inventory, self._headers)
        if self._inventory is not None and inventory.is_like(self._inventory):
            return
        found, unusable = recipes(inventory, self.config)
        problems = {name: [reason] for name, reason in unusable.items()}
        classes = dict(inventory.classes)
        for name, spec in self.config.models.items():
            if spec.workflow is None or name in unusable:
                continue
            try:
                found[name] = await load(connection.api, name, spec, classes)
            except WorkflowError as error:
                unusable[name], problems[name] = str(error), error.problems
        for name, reasons in problems.items():
            level = log.warning if name in self.config.models else log.info
            level("comfyui.unusable", provider=self.name, model=name, reason="; ".join(reasons))
        self._inventory, self._recipes, self._unusable = inventory, found, unusable


class _Connection:
    """Everything that is alive while the provider is started."""

    def __init__(self, name: str, config: ComfyConfig) -> None:
        self.api = Api(name, config)
        self.residency = Residency()
        self.socket = Socket(name, config)
        self.jobs = Jobs(name, config, self.api, self.socket)
        self.easel = Easel(name, config, self.api, self.jobs, self.residency)

    async def look_around(self) -> None:
        """See which models other people's jobs have loaded: the last one that ended, and those in the queue."""
        entry = await self.api.last_history()
        if entry is not None:
            item = entry.get("prompt")
            graph = item[2] if isinstance(item, list) and len(item) > 2 else None
            ended = max((timestamp_of(data) for _, data in messages_of(entry)), default=0.0)
            self.residency.ran(files_of(graph), ended)
        running, _ = await self.api.graphs()
        ours = self.jobs.ids
        for item in running:
            if str(item[1]) not in ours:
                self.residency.ran(files_of(item[2]), self.residency.at)

    async def aclose(self) -> None:
        await self.easel.aclose()
        await self.jobs.aclose()
        await self.socket.aclose()
        await self.api.aclose()


async def _is_comfy(url: str) -> bool:
    api = Api("comfyui", ComfyConfig(base_url=url))
    try:
        async with asyncio.timeout(1.5):
            return "comfyui_version" in (await api.system_stats()).get("system", {})
    except (ImageRouterError, TimeoutError, AttributeError):
        return False
    finally:
        await api.aclose()
