"""The engine without a server and without `await`: threads, interrupts, forks, and the end of the process."""

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.core.clients import Watched, watched

from imagerouter import Client, InvalidParameterError
from imagerouter.client import CompletedEvent, ProgressEvent
from imagerouter.errors import ConfigError


def test_a_client_draws_edits_varies_streams_and_tells() -> None:
    with Client(watched()) as client:
        (first,) = client.generate("a fox", seed=7)
        assert client.edit(first, "a cat", strength=0.5)[0].data != first.data
        assert client.vary(first.pil(), n=2)[1].size == (64, 64)
        *steps, done = client.stream("a fox", seed=7)
        assert {type(step) for step in steps} == {ProgressEvent}
        assert isinstance(done, CompletedEvent)
        assert done.picture.data == first.data
        assert [model["id"] for model in client.models()] == ["fake"]
        assert client.route(n=2)["n"] == 2
        with pytest.raises(InvalidParameterError, match="`steps`"):
            client.generate("a fox", steps=0)
    assert Watched.made[0].closed == 1
    with pytest.raises(RuntimeError, match="closed"):
        client.generate("a fox")


async def test_it_works_where_an_event_loop_runs_already_as_in_a_notebook() -> None:
    with Client(watched()) as client:
        assert len(client.generate("a fox")) == 1


def test_threads_share_a_client_and_each_gets_its_own_picture() -> None:
    client = Client(watched(concurrency=4))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda seed: client.generate("a fox", seed=seed)[0], range(16)))
    assert [picture.seed for picture in results] == [*range(16)]
    assert [picture.data for picture in results[::5]] == [
        client.generate("a fox", seed=s)[0].data for s in (0, 5, 10, 15)
    ]
    client.close()
    assert [desk.started for desk in Watched.made] == [1]


def test_a_with_that_fails_leaves_no_thread_behind() -> None:
    before = {*threading.enumerate()}
    with pytest.raises(ConfigError), Client({"providers": {"desk": {"type": "nobody's"}}}):
        pass
    assert {*threading.enumerate()} <= before


def test_leaving_a_stream_stops_the_work_on_the_backend() -> None:
    with Client(watched(gated=True)) as client:
        for _ in client.stream("a fox"):
            break
        assert Watched.made[0].outcomes == ["cancelled"]


def test_closing_ends_what_other_threads_wait_for() -> None:
    client = Client(watched(gated=True))
    with ThreadPoolExecutor(2) as pool:
        drawn = pool.submit(client.generate, "a fox")
        client.models()
        streamed = pool.submit(lambda: list(client.stream("a fox")))
        Watched.made[0].see(lambda: Watched.made[0].outcomes == ["held"])
        client.close()
        for waiting in (drawn, streamed):
            with pytest.raises(RuntimeError, match="closed"):
                waiting.result()
    assert Watched.made[0].outcomes == ["cancelled"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell that starts something in the background has it ignore interrupts, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals for threads")
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("streams", [False, True])
def test_an_interrupt_stops_the_work_on_the_backend_before_it_is_raised(streams: bool) -> None:
    main = threading.main_thread().ident
    assert main == threading.get_ident()

    def interrupt() -> None:
        while not Watched.made:
            pass
        Watched.made[0].see(lambda: Watched.made[0].outcomes == ["held"])
        signal.pthread_kill(main, signal.SIGINT)

    with Client(watched(gated=True)) as client:
        other = threading.Thread(target=interrupt)
        other.start()
        with pytest.raises(KeyboardInterrupt):
            list(client.stream("a fox")) if streams else client.generate("a fox")
        assert Watched.made[0].outcomes == ["cancelled"]
        other.join()


def test_a_client_that_nobody_has_any_more_closes_its_providers() -> None:
    client = Client(watched())
    client.generate("a fox")
    del client
    gc.collect()
    Watched.made[0].see(lambda: Watched.made[0].closed == 1)


def test_streams_that_were_left_half_read_are_no_reason_to_complain(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(watched(gated=True, concurrency=3))
    streams = [client.stream("a fox") for _ in range(3)]
    for stream in streams:
        next(stream)
    client.close()
    assert Watched.made[0].outcomes == ["cancelled"] * 3
    for stream in streams:
        stream.close()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


class Collecting(Watched):
    """Collects garbage while it draws."""

    async def generate(self, *arguments: Any) -> Any:
        gc.collect()
        return await super().generate(*arguments)


def test_a_stream_that_is_collected_as_garbage_stops_its_work_even_in_the_clients_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    config = watched(gated=True, concurrency=2)
    config["providers"]["desk"]["type"] = f"{__name__}:Collecting"
    with Client(config) as client:
        stream: Any = client.stream("a fox")
        next(stream)
        (desk,) = Watched.made
        gc.disable()
        cycle = [stream]
        cycle.append(cycle)
        del stream, cycle
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(client.generate, "a cat")
            desk.see(lambda: desk.outcomes == ["cancelled", "held"])
            gc.enable()
            client.close()
            assert isinstance(other.exception(), RuntimeError)
    assert complaints == []


PROGRAM = """
import os, sys
from imagerouter import Client, ImageRouterError
from imagerouter.testing import FakeProvider

class Desk(FakeProvider):
    async def aclose(self):
        await super().aclose()
        print("closed")

client = Client({"providers": {"desk": {"type": "__main__:Desk", "fail": "GenerationError", "fail_times": 1}}})
try:
    client.generate("a fox")
except ImageRouterError as error:
    print(type(error).__name__, flush=True)
print(len(client.generate("a fox")), flush=True)
"""


def run(program: str, folder: Path) -> Any:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


HALF_READ = """
stream = client.stream("a fox")
next(stream)
"""


def test_a_process_that_ends_closes_its_clients_and_nothing_of_it_was_logged(tmp_path: Path) -> None:
    done = run(PROGRAM + HALF_READ, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "GenerationError\n1\nclosed\n", "")


LOGGED = """
import logging
logging.basicConfig(level="INFO", format="%(name)s %(message)s")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_is_refused_and_logs_go_where_the_programs_go(tmp_path: Path) -> None:
    fork = """
if not os.fork():
    for made in (lambda: client, lambda: Client({"providers": {"desk": {"type": "__main__:Desk"}}})):
        try:
            made().generate("a fox")
        except RuntimeError as error:
            print(error)
    del stream
    sys.exit()
os.wait()
"""
    done = run(LOGGED + PROGRAM + HALF_READ + fork, tmp_path)
    assert done.returncode == 0, done.stderr
    refusal = "imagerouter can't be used in a fork of a process that has used it; start that by `spawn`"
    assert done.stdout.splitlines() == ["GenerationError", "1", refusal, refusal, "closed"]
    assert "imagerouter.engine image.done job='img_" in done.stderr
    assert "imagerouter.engine image.failed job='img_" in done.stderr
    assert "Exception ignored" not in done.stderr
