"""Contract tests about what goes wrong: the right class of error, no secrets in it, and a clean end."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest

from imagerouter.errors import (
    ImageRouterError,
    ModelNotFoundError,
    ProviderResponseError,
    ProviderUnavailableError,
)
from imagerouter.provider import Model
from imagerouter.testing.contract.base import AnyProvider, ContractBase, Recorder

PRIVATE = re.compile(r"://|Traceback|127\.0\.0\.1|localhost|(^|\s)(/|[A-Z]:\\)\w+[/\\]")
"""What a client must not read: addresses, tracebacks and absolute paths."""


class FailureTests(ContractBase):
    """What goes wrong, and the beginning and the end."""

    async def start_and_draw(self, provider: AnyProvider) -> None:
        await provider.start()
        models = await provider.models()
        await provider.generate(self.ask(models[0]), Recorder())

    async def test_a_model_that_is_not_there_is_not_found(self, provider: AnyProvider, model: Model) -> None:
        with pytest.raises(ModelNotFoundError) as raised:
            await provider.generate(self.ask(model, model="no-such-model.safetensors"), Recorder())
        assert not PRIVATE.search(raised.value.message)

    async def test_a_backend_that_is_not_there_is_unavailable(self, unreachable_provider: AnyProvider) -> None:
        with pytest.raises(ProviderUnavailableError) as raised:
            await self.start_and_draw(unreachable_provider)
        assert not PRIVATE.search(raised.value.message)
        await unreachable_provider.aclose()

    async def test_asking_a_backend_that_is_not_there_for_its_state_is_no_crash(
        self, unreachable_provider: AnyProvider
    ) -> None:
        with suppress(ImageRouterError):
            assert not (await unreachable_provider.status()).ready
        await unreachable_provider.aclose()

    async def test_it_can_be_closed_after_a_start_that_failed(self, unreachable_provider: AnyProvider) -> None:
        with suppress(ProviderUnavailableError):
            await unreachable_provider.start()
        await unreachable_provider.aclose()
        await unreachable_provider.aclose()

    async def test_an_answer_that_is_no_picture_is_a_bad_response(self, garbled_provider: AnyProvider) -> None:
        with pytest.raises(ProviderResponseError) as raised:
            await self.start_and_draw(garbled_provider)
        assert not PRIVATE.search(raised.value.message)
        await garbled_provider.aclose()

    async def test_it_can_be_closed_twice_and_before_it_was_started(self, spare: AnyProvider) -> None:
        await spare.aclose()
        await spare.aclose()

    async def test_it_can_be_closed_twice_after_work(self, spare: AnyProvider, model: Model) -> None:
        await spare.start()
        await spare.generate(self.ask(model), Recorder())
        await spare.aclose()
        await spare.aclose()

    async def test_making_one_needs_no_backend_and_keeps_its_name(self, provider: AnyProvider) -> None:
        other = type(provider)("attic 2 (Büro)", provider.config)
        assert other.name == "attic 2 (Büro)"
        assert other.config == provider.config
        await other.aclose()

    async def test_its_configuration_refuses_keys_that_it_does_not_know(self, provider: AnyProvider) -> None:
        assert isinstance(provider.config, type(provider).Config)
        assert type(provider).Config.model_config.get("extra") == "forbid"
