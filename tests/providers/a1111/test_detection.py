"""Which member of the family a server is, and why one can't be used."""

import pytest
from tests.providers.a1111.desk import desk, drawn
from tests.providers.a1111.desk import request as asked_for
from tests.providers.a1111.fake import FakeA1111

from imagerouter import ProviderError, ProviderUnavailableError
from imagerouter.testing.wire import Response
from imagerouter_a1111 import A1111Config, A1111Provider

pytestmark = pytest.mark.usefixtures("impatient")

TITLES = {
    "a1111": "AUTOMATIC1111",
    "a1111-old": "AUTOMATIC1111",
    "forge": "Forge",
    "sdnext": "SD.Next",
    "sdcpp": "stable-diffusion.cpp",
}


async def title(provider):
    return (await provider.models())[0].description.rpartition(" on ")[2]


@pytest.mark.parametrize("dialect", TITLES)
async def test_a_server_is_known_by_what_it_serves(dialect):
    async with FakeA1111(dialect) as fake, desk(fake) as provider:
        assert await title(provider) == TITLES[dialect]


async def test_reforge_is_known_by_its_command_line(a1111):
    a1111.answer("GET", "/sdapi/v1/cmd-flags", lambda asked: Response(json={"cuda_malloc": False, "api": True}))
    async with desk(a1111) as provider:
        assert await title(provider) == "reForge"


async def test_what_the_configuration_says_goes_before_what_is_seen(a1111):
    async with desk(a1111, dialect="reforge") as provider:
        assert await title(provider) == "reForge"


@pytest.mark.parametrize("described", [b"<html>", b"[]", b'{"info": [], "paths": {}}', b'{"paths": 7}'])
async def test_a_server_that_describes_itself_badly_is_drawn_with_all_the_same(a1111, described):
    a1111.answer("GET", "/openapi.json", lambda asked: Response(200, {"content-type": "application/json"}, described))
    async with desk(a1111) as provider:
        assert await title(provider) == "AUTOMATIC1111"
        await drawn(provider, asked_for())


async def test_a_tiny_server_that_nobody_knows_is_not_taken_for_another(launch):
    fake = await launch("sdcpp")
    fake.answer("GET", "/sdcpp/v1/capabilities", lambda asked: Response(404, {}, b""))
    with pytest.raises(ProviderUnavailableError, match="set its `dialect`"):
        await A1111Provider("desk", A1111Config(base_url=fake.url)).start()


async def test_a_server_without_its_api_may_still_be_starting(launch):
    fake = await launch(api=False)
    provider = A1111Provider("desk", A1111Config(base_url=fake.url))
    with pytest.raises(ProviderUnavailableError, match="still starting, or was started without `--api`"):
        await provider.start()
    fake.api = True
    await provider.start()
    await drawn(provider, asked_for())
    await provider.aclose()


@pytest.mark.parametrize("password", ["", "wrong"])
async def test_credentials_that_are_not_taken_are_said_to_be_and_not_shown(launch, password, capsys):
    fake = await launch(auth=("owner", "secret"))
    keys = {"username": "owner", "password": password} if password else {}
    with pytest.raises(ProviderError, match="doesn't accept the credentials") as raised:
        await A1111Provider("desk", A1111Config(base_url=fake.url, **keys)).start()
    assert not any(word in f"{raised.value}{capsys.readouterr()}" for word in ("owner", "secret", "wrong", "127.0.0.1"))


async def test_a_server_may_be_guarded_and_stand_behind_a_path(launch):
    fake = await launch(auth=("owner", "secret"), prefix="/tools/draw")
    async with desk(fake, username="owner", password="secret") as provider:
        await drawn(provider, asked_for())
        assert (await provider.status()).running == 0
