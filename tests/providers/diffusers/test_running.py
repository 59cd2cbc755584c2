"""One thread for all, cancelling, running out of memory, and what a failure says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from imagerouter import GenerationError, OutOfMemoryError, ProviderUnavailableError
from imagerouter_diffusers import DiffusersConfig, DiffusersProvider, canonical, devices, failures
from imagerouter_diffusers.calls import Call
from imagerouter_diffusers.worker import Worker

SIZE = {"width": 64, "height": 64}


def test_importing_the_adapter_imports_neither_torch_nor_diffusers() -> None:
    code = (
        "import sys, imagerouter_diffusers as d; d.DiffusersProvider('x', d.DiffusersConfig());"
        "assert not {'torch', 'diffusers', 'transformers', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_it_is_discovered_where_its_libraries_are_installed() -> None:
    assert await DiffusersProvider.discover() == {"local": {}}


async def test_without_its_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagerouter_diffusers.provider.find_spec", lambda name: None)
    assert await DiffusersProvider.discover() == {}
    with pytest.raises(ProviderUnavailableError, match=r"pip install 'imagerouter\[diffusers\]'"):
        await DiffusersProvider("x", DiffusersConfig()).start()


async def test_two_providers_on_one_device_share_its_thread_and_its_models(config: DiffusersConfig, local: Any) -> None:
    other = DiffusersProvider("other", config.model_copy(update={"memory": 2**40}))
    await other.start()
    assert other._worker is local._worker
    await other.aclose()
    assert (await local.status()).ready


async def test_a_device_that_is_not_there_is_unavailable() -> None:
    provider = DiffusersProvider("gpu", DiffusersConfig(device="cuda:99", hub_cache=False))
    with pytest.raises(ProviderUnavailableError, match="cuda:99"):
        await provider.start()
    assert not (await provider.status()).ready


async def test_a_job_that_waits_is_cancelled_without_disturbing_the_running_one() -> None:
    worker = Worker.acquire("cpu", "test", None)
    entered, gate = threading.Event(), threading.Event()

    def first() -> str:
        entered.set()
        gate.wait()
        return "done"

    running = asyncio.create_task(worker.run(first))
    await asyncio.to_thread(entered.wait)
    waiting = asyncio.create_task(worker.run(lambda: pytest.fail("was cancelled before it began")))
    await asyncio.sleep(0)
    assert (worker.running, worker.queued) == (1, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert worker.queued == 0
    gate.set()
    assert await running == "done"
    worker.release("test")


async def test_cancelling_waits_until_the_work_has_really_stopped() -> None:
    worker = Worker.acquire("cpu", "test", None)
    entered, stop, stopped = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        stop.wait()
        stopped.set()
        raise failures.Cancelled

    task = asyncio.create_task(worker.run(work, stop.set))
    await asyncio.to_thread(entered.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()
    worker.release("test")


async def test_a_cancelled_picture_stops_at_the_next_step(studio: Any) -> None:
    steps: list[int] = []
    done = asyncio.Event()

    def note(progress: Any) -> None:
        steps.append(progress.step)
        if progress.step == 2:
            done.set()

    request = studio.request("sd1", steps=200, **SIZE)
    task = asyncio.create_task(studio.provider.generate(request, note))
    await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert max(steps) < 200
    assert (await studio.provider.status()).running == 0


class Hungry:
    """Stands in for a device that has room for ``room`` pictures at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.batches: list[int] = []
        draw = canonical.draw

        def limited(call: Call, first: int, count: int, steps: Any) -> Any:
            self.batches.append(count)
            if count > room:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return draw(call, first, count, steps)

        monkeypatch.setattr(canonical, "draw", limited)
        monkeypatch.setattr(devices, "images_at_once", lambda device, pixels: 3)


async def test_out_of_memory_is_met_with_smaller_batches(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await studio.draw("sdxl", **SIZE)
    hungry = Hungry(monkeypatch, room=1)
    assert len((await studio.draw("sd1", n=3, **SIZE)).images) == 3
    assert hungry.batches == [3, 1, 1, 1]
    assert (await studio.provider.status()).resident == {"sd1"}


async def test_out_of_memory_again_is_said_plainly(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hungry = Hungry(monkeypatch, room=0)
    with pytest.raises(OutOfMemoryError, match="not enough memory"):
        await studio.draw("sd1", n=3, **SIZE)
    assert hungry.batches == [3, 1]
    monkeypatch.undo()
    assert (await studio.draw("sd1", **SIZE)).images


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError(), RuntimeError("MPS backend out of memory")])
def test_every_library_runs_out_of_memory_in_its_own_words(error: Exception) -> None:
    assert isinstance(failures.translate(error, "drawing"), OutOfMemoryError)


def test_a_foreign_failure_says_what_it_is_but_neither_path_nor_address() -> None:
    assert failures.translate(ValueError("a wrong shape"), "loading failed").message == (
        "loading failed: ValueError: a wrong shape"
    )
    told = failures.translate(OSError("no file /home/somebody/models/x"), "loading failed")
    assert isinstance(told, GenerationError)
    assert told.message == "loading failed: OSError"


async def test_a_model_that_can_not_be_loaded_is_a_failure_of_generation(tmp_path: Path, folder: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(folder / "sd1", broken)
    (broken / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    provider = DiffusersProvider("x", DiffusersConfig(device="cpu", folders=[str(tmp_path)], hub_cache=False))
    await provider.start()
    from imagerouter import ImageRequest

    with pytest.raises(GenerationError, match="can't be loaded") as raised:
        await provider.generate(ImageRequest(model="broken", prompt="x", seed=1), lambda progress: None)
    assert str(tmp_path) not in raised.value.message
    await provider.aclose()
