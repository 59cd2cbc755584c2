"""Where a server keeps what it has learned."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from imagerouter.app.costs_file import costs_file
from imagerouter.config import Config, Server
from imagerouter.engine import Engine


def test_by_default_every_port_has_a_file_in_the_users_state_folder(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert costs_file(Server(port=8000)) == tmp_path / "state" / "imagerouter" / "costs-8000.json"
    assert costs_file(Server(port=8001)) == tmp_path / "state" / "imagerouter" / "costs-8001.json"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert costs_file(Server()) == tmp_path / ".local" / "state" / "imagerouter" / "costs-8000.json"
    assert (tmp_path / ".local" / "state" / "imagerouter").is_dir()


@pytest.mark.parametrize("server", [Server(port=0), Server(costs_file=None)])
def test_a_port_that_is_another_each_time_has_none_and_nobody_is_forced(server: Server) -> None:
    assert costs_file(server) is None


def test_a_path_of_ones_own_is_relative_to_the_current_directory(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert costs_file(Server(port=0, costs_file="speeds/mine.json")) == Path("speeds/mine.json")
    assert (tmp_path / "speeds").is_dir()
    assert costs_file(Server(costs_file="~/mine.json")) == tmp_path / "home" / "mine.json"


def test_where_nothing_can_be_written_that_is_said_once_and_the_server_runs_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "costs.json", tmp_path):
        with capture_logs() as logs:
            assert costs_file(Server(costs_file=str(path))) is None
        assert [(entry["event"], entry["path"]) for entry in logs] == [("costs.not_kept", str(path))]


async def test_what_was_learned_is_saved_even_where_stopping_is_cut_short(tmp_path: Path, monkeypatch: Any) -> None:
    async def cut() -> None:
        raise asyncio.CancelledError

    path = tmp_path / "costs.json"
    engine = Engine(Config(), costs_file=path)
    monkeypatch.setattr(engine.fleet, "aclose", cut)
    with pytest.raises(asyncio.CancelledError):
        async with engine:
            pass
    assert path.is_file()
