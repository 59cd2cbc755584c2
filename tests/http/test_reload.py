"""A server goes over to another configuration while it runs."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagerouter.app import reload as reloading
from imagerouter.app.reload import FileSource
from imagerouter.app.server import listening
from imagerouter.config.loader import load_text
from imagerouter.errors import ConfigError

ROOT = {"authorization": "Bearer root-secret"}
FAKE = "type: 'imagerouter.testing:FakeProvider'"
SERVER = "server: {admin_key: root-secret}"
ONE = f"providers:\n  one: {{{FAKE}}}\n{SERVER}\n"


class Reloadable:
    """A server whose configuration is a file."""

    def __init__(self, path: Path, server: Any, http: httpx.AsyncClient) -> None:
        self.path, self.engine, self.app, self.http = path, server.engine, server.app, http

    async def reload(self, text: str | None = None, headers: dict[str, str] = ROOT) -> httpx.Response:
        if text is not None:
            self.path.write_text(text)
        return await self.http.post("/v1/reload", headers=headers)

    async def names(self) -> list[str]:
        await self.engine.fleet.settled()
        return [model["id"] for model in (await self.http.get("/v1/models")).json()["data"]]

    def fake(self, name: str) -> Any:
        return self.engine.fleet.members[name].provider


@pytest.fixture
async def served(tmp_path: Path) -> Any:
    path = tmp_path / "imagerouter.yaml"
    path.write_text(ONE)
    source = FileSource(path, port=0)
    async with (
        listening(await source(), source) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        await server.engine.fleet.settled()
        yield Reloadable(path, server, http)


async def test_what_was_added_to_the_file_is_there_and_the_rest_stays_as_it_was(served: Any) -> None:
    before = served.fake("one")
    reply = await served.reload(
        f"providers:\n  one: {{{FAKE}}}\n  two: {{{FAKE}, models: [new]}}\n"
        f"models: {{fake: {{aliases: [dall-e-3]}}}}\n{SERVER}"
    )
    told = {"kept": ["one"], "started": ["two"], "stopped": [], "changed": [], "needs_restart": []}
    assert (reply.status_code, reply.json()) == (200, told)
    assert served.fake("one") is before
    assert await served.names() == ["fake", "new"]
    for model, provider in (("new", "two"), ("dall-e-3", "one")):
        answer = await served.http.post("/v1/images/generations", json={"prompt": "x", "model": model})
        assert answer.json()["imagerouter"]["provider"] == provider
    assert (await served.reload(ONE)).json()["stopped"] == ["two"]
    assert await served.names() == ["fake"]


async def test_a_job_that_runs_ends_on_the_provider_as_it_was(served: Any) -> None:
    old = served.fake("one")
    old.gated = True
    drawing = asyncio.create_task(served.http.post("/v1/images/generations", json={"prompt": "x"}))
    await old.held()
    told = (await served.reload(f"providers:\n  one: {{{FAKE}, steps: 9}}\n{SERVER}")).json()
    assert (told["changed"], old.closed, drawing.done()) == (["one"], 0, False)
    old.release()
    assert (await drawing).json()["imagerouter"]["applied"]["steps"] == 4
    again = await served.http.post("/v1/images/generations", json={"prompt": "x"})
    assert again.json()["imagerouter"]["applied"]["steps"] == 9
    assert old.closed == 1


async def test_a_file_that_is_wrong_changes_nothing_and_every_problem_is_told_with_its_place(served: Any) -> None:
    reply = await served.reload("providers:\n  one: {type: nonsense}\nlimits: {max_n: many}\n")
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_configuration")
    lines = error["message"].splitlines()
    assert lines[0].startswith(f"{served.path}:2:15: providers.one.type: ")
    assert await served.names() == ["fake"]
    assert served.engine.config.server.admin_key == "root-secret"
    served.path.unlink()
    assert f"{served.path}: no such file" in (await served.reload()).json()["error"]["message"]
    assert (await served.reload(ONE)).json()["kept"] == ["one"]


async def test_what_only_a_restart_can_change_is_named_and_overrides_count_again(served: Any) -> None:
    told = (await served.reload(ONE.replace(SERVER, "server: {admin_key: root-secret, host: '::1', port: 1}"))).json()
    assert told["needs_restart"] == ["server.host"]


async def test_limits_and_keys_follow_at_once(served: Any) -> None:
    body = {"prompt": "x" * 30_000}
    assert (await served.http.post("/v1/images/generations", json=body)).status_code == 200
    await served.reload(f"{ONE}limits: {{max_body: 10kB}}\nkeys: {{bob: {{secret: bob-secret}}}}\n")
    assert (await served.http.get("/v1/models")).status_code == 401
    bob = {"x-api-key": "bob-secret"}
    reply = await served.http.post("/v1/images/generations", json=body, headers=bob)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")
    refused = await served.reload(headers=bob)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


async def test_only_the_admin_key_reloads(served: Any) -> None:
    for headers in ({}, {"authorization": "Bearer wrong-secret"}):
        reply = await served.reload(headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (await served.reload(f"providers: {{one: {{{FAKE}}}}}")).status_code == 200
    reply = await served.reload()
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "permission_denied")
    assert "set `server.admin_key`" in reply.json()["error"]["message"]


async def test_reloads_come_one_after_the_other(served: Any) -> None:
    running, most = 0, 0
    source = served.app.state.source

    async def watched(ready: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        config = await source(ready)
        running -= 1
        return config

    served.app.state.source = watched
    replies = await asyncio.gather(*(served.reload() for _ in range(5)))
    assert ([reply.status_code for reply in replies], most) == ([200] * 5, 1)


async def test_a_server_that_was_not_started_from_a_file_stays_as_it_is(start: Any) -> None:
    running = await start("server: {port: 0, admin_key: root-secret}")
    reply = await running.http.post("/v1/reload", headers=ROOT)
    assert (reply.status_code, reply.json()["kept"]) == (200, ["fake"])


async def test_what_was_found_on_this_machine_stays_while_it_works(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found = [f"a: {{{FAKE}}}, b: {{{FAKE}}}", f"b: {{{FAKE}, steps: 9}}", None, None]

    async def discover() -> Any:
        text = found.pop(0)
        if text is None:
            raise ConfigError(["no backend found"])
        return load_text(f"providers: {{{text}}}")

    monkeypatch.setattr(reloading, "discover", discover)
    source = FileSource(port=0)
    first = (await source()).providers
    second = (await source(["a"])).providers
    assert (set(first), set(second)) == ({"a", "b"}, {"a", "b"})
    assert (second["a"], second["b"].config.steps) == (first["a"], 9)
    assert (await source(["b"])).providers == {"b": second["b"]}
    with pytest.raises(ConfigError, match="no backend found"):
        await source()
    (tmp_path / "imagerouter.yaml").write_text(ONE)
    assert set((await source(["b"])).providers) == {"one"}
