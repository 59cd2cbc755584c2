"""A provider that tells how large its files are."""

import msgspec

from imagerouter.provider import Model
from imagerouter.testing import FakeConfig, FakeProvider


class SizedConfig(FakeConfig):
    size: int


class Sized(FakeProvider):
    """All of its files have the same size."""

    Config = SizedConfig

    async def models(self) -> list[Model]:
        return [msgspec.structs.replace(model, file_size=self.config.size) for model in await super().models()]
