"""The tests that every adapter has to pass. An adapter's whole test file can be this::

    class TestMyProvider(ProviderContract):
        @pytest_asyncio.fixture
        async def provider(self):
            provider = MyProvider("mine", MyConfig(base_url=...))
            await provider.start()
            yield provider
            await provider.aclose()

Needs pytest and pytest-asyncio. Fixtures that can be overridden are in `imagerouter.testing.contract.base`.
"""

from __future__ import annotations

import pytest

# Must come before the modules with the tests are imported, or their asserts would say nothing when they fail.
pytest.register_assert_rewrite(*(f"{__name__}.{group}" for group in ("base", "failures", "pictures", "running")))

from imagerouter.testing.contract.failures import FailureTests  # noqa: E402
from imagerouter.testing.contract.pictures import PictureTests  # noqa: E402
from imagerouter.testing.contract.running import RunningTests  # noqa: E402


class ProviderContract(PictureTests, RunningTests, FailureTests):
    """Subclass it, give it a started ``provider``, and run pytest."""


__all__ = ["ProviderContract"]
