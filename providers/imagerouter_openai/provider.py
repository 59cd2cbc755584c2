"""The adapter: one server that speaks OpenAI's images API."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec

from imagerouter import (
    ImageRequest,
    Images,
    MisconfiguredError,
    Model,
    ModelNotFoundError,
    ProgressSink,
    Provider,
    ProviderUnavailableError,
    Status,
)
from imagerouter.http import is_local, map_http_errors, raise_for_status
from imagerouter.logs import get_logger
from imagerouter_openai.api import Api
from imagerouter_openai.config import DialectName, OpenAIConfig
from imagerouter_openai.dialects import DIALECTS, recognised
from imagerouter_openai.drawing import Easel
from imagerouter_openai.offers import Entry, Offer, offers

log = get_logger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks at a server on the internet: hosted ones count every request, and tell nothing new."""


_NO_LIST = (403, 404, 405)
"""A server may have none, and a key of OpenAI's may be for pictures alone."""


class _List(msgspec.Struct, frozen=True):
    data: list[dict[str, Any]] = []


class OpenAIProvider(Provider[OpenAIConfig]):
    """Every model of the server that draws, or those that the configuration names."""

    Config = OpenAIConfig

    def __init__(self, name: str, config: OpenAIConfig) -> None:
        super().__init__(name, config)
        self._api: Api | None = None
        self._offers: dict[str, Offer] = {}
        self._dialect: DialectName = "openai"
        self._looked = float("-inf")
        self._is_near = False

    async def start(self) -> None:
        await self.aclose()
        self._api, self._is_near = Api(self.name, self.config), is_local(httpx.URL(self.config.root).host)
        try:
            await self._look()
        except BaseException:
            await self.aclose()
            raise
        log.info("openai.recognised", provider=self.name, dialect=self._dialect, models=len(self._offers))

    async def models(self) -> list[Model]:
        await self._look()
        return [offer.model for offer in self._offers.values()]

    async def status(self) -> Status:
        if self._is_near or self._dialect == "imagerouter" or _now() - self._looked >= LOOK_SECONDS:
            await self._look()
        if not any(offer.is_ready for offer in self._offers.values()):
            return Status(ready=False, detail="none of its own providers is ready")
        return Status(ready=True, resident=frozenset(name for name, offer in self._offers.items() if offer.is_resident))

    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:
        api, offer = self._connected(), self._offers.get(request.model)
        if offer is None:
            raise ModelNotFoundError(f"provider `{self.name}` has no model `{request.model}`", param="model")
        return await Easel(self.name, self.config, api).draw(request, offer, progress)

    async def aclose(self) -> None:
        api, self._api = self._api, None
        if api is not None:
            await api.aclose()

    async def _look(self) -> None:
        """List what the server has. One without a list is taken at the configuration's word."""
        response = await self._connected().get("models")
        entries: list[Entry] = []
        if response.status_code in _NO_LIST and self.config.models:
            log.debug("openai.not_listed", provider=self.name, status=response.status_code)
        elif response.status_code in (404, 405):
            message = f"provider `{self.name}` has no list of models: correct its base_url, or name its `models`"
            raise MisconfiguredError(message)
        elif response.is_server_error:
            raise ProviderUnavailableError(
                f"provider `{self.name}` can't list its models (HTTP {response.status_code})"
            )
        else:
            with map_http_errors(self.name):
                raise_for_status(response, self.name)
                entries = [*msgspec.json.decode(response.content, type=_List).data]
        if self.config.dialect != "auto":
            self._dialect = self.config.dialect
        elif entries:  # one that has just been started may have none yet
            self._dialect = recognised(entries)
        self._offers = offers(entries, DIALECTS[self._dialect], self.config)
        self._looked = _now()
        if not self._offers:
            raise ProviderUnavailableError(f"provider `{self.name}` lists no model that draws")

    def _connected(self) -> Api:
        if self._api is None:
            raise ProviderUnavailableError(f"provider `{self.name}` isn't started")
        return self._api


def _now() -> float:
    return asyncio.get_running_loop().time()
