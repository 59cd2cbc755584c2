"""Contract tests about a job while it runs: progress, cancellation, several at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from itertools import groupby

import pytest

from imagerouter.provider import Model
from imagerouter.testing.contract.base import AnyProvider, ContractBase, Recorder, TaskWatch, honours
from imagerouter.testing.drawing import decode
from imagerouter.types import ImageRequest

PATIENCE = 60
"""Seconds after which a test that hangs is given up. Nothing is measured against it."""


class RunningTests(ContractBase):
    """What happens meanwhile."""

    async def recorded(self, provider: AnyProvider, request: ImageRequest) -> Recorder:
        """The progress of a whole request; skips where there is none to be had."""
        if not self.reports_progress:
            pytest.skip("this adapter's backend reports no progress")
        recorder = Recorder()
        await provider.generate(request, recorder)
        assert recorder.steps, "no step was reported; if that can't be had, set reports_progress = False"
        return recorder

    async def interrupted(self, provider: AnyProvider, request: ImageRequest) -> Recorder:
        """Cancel a request in the middle of its work, and see the cancellation come out."""
        recorder = Recorder()
        job = asyncio.create_task(provider.generate(request, recorder))
        recorder.on_step = job.cancel
        try:
            if not self.reports_progress:
                await self.until_running()
                job.cancel()
            await asyncio.wait([job], timeout=PATIENCE)
            assert job.done(), "the cancelled request went on for ever"
            assert job.cancelled(), f"it was not cancelled but ended with {job.exception() or job.result()}"
        finally:
            job.cancel()
        return recorder

    async def test_progress_never_goes_back_and_ends_at_the_last_step(
        self, provider: AnyProvider, model: Model
    ) -> None:
        recorder = await self.recorded(provider, self.ask(model, n=2))
        for index, signs in groupby(recorder.steps, key=lambda progress: progress.image_index):
            steps = [progress.step for progress in signs]
            assert steps == sorted(steps), f"image {index} went back"
        last = recorder.steps[-1]
        assert last.step == last.steps

    async def test_progress_speaks_of_known_stages_and_of_images_that_exist(
        self, provider: AnyProvider, model: Model
    ) -> None:
        for progress in (await self.recorded(provider, self.ask(model, n=2))).progress:
            assert progress.stage in ("queue", "load", "render")
            assert progress.image_index in (None, 0, 1)
            assert 0 <= progress.fraction <= 1

    async def test_progress_is_reported_on_the_event_loop_only(self, provider: AnyProvider, model: Model) -> None:
        recorder = await self.recorded(provider, self.ask(model))
        assert recorder.threads == {threading.get_ident()}

    async def test_the_event_loop_turns_while_a_picture_is_drawn(
        self, provider: AnyProvider, slow_request: ImageRequest
    ) -> None:
        turned = (await self.recorded(provider, slow_request)).turned
        if not turned:
            pytest.skip("progress was reported only once")
        # Two messages may well arrive in one packet; all of them at once means that the loop was blocked.
        assert sum(turned) >= max(1, len(turned) // 2)

    async def test_previews_are_pictures(self, provider: AnyProvider, model: Model) -> None:
        honours(model, "partial_images")
        recorder = await self.recorded(provider, self.ask(model, partial_images=2))
        for progress in recorder.progress:
            if progress.preview is not None:
                decode(progress.preview)

    async def test_nothing_is_reported_after_the_pictures_are_there(self, provider: AnyProvider, model: Model) -> None:
        recorder = await self.recorded(provider, self.ask(model))
        reported = len(recorder.progress)
        await provider.generate(self.ask(model, seed=1), Recorder())
        assert len(recorder.progress) == reported

    async def test_a_cancelled_request_ends_and_says_nothing_more(
        self, provider: AnyProvider, model: Model, slow_request: ImageRequest
    ) -> None:
        recorder = await self.interrupted(provider, slow_request)
        reported = len(recorder.progress)
        await provider.generate(self.ask(model), Recorder())
        assert len(recorder.progress) == reported

    async def test_cancelling_tells_the_backend_to_stop(
        self, provider: AnyProvider, slow_request: ImageRequest, interruptions: Callable[[], int]
    ) -> None:
        before = interruptions()
        await self.interrupted(provider, slow_request)
        assert interruptions() == before + 1

    async def test_the_next_picture_after_a_cancelled_one_is_the_right_one(
        self, provider: AnyProvider, model: Model, slow_request: ImageRequest
    ) -> None:
        honours(model, "seed")
        expected = await provider.generate(self.ask(model), Recorder())
        await self.interrupted(provider, slow_request)
        drawn = await provider.generate(self.ask(model), Recorder())
        assert [image.data for image in drawn.images] == [image.data for image in expected.images]

    async def test_a_request_cancelled_before_it_began_leaves_nothing_behind(
        self, provider: AnyProvider, model: Model
    ) -> None:
        job = asyncio.create_task(provider.generate(self.ask(model), Recorder()))
        await asyncio.sleep(0)
        job.cancel()
        await asyncio.wait([job])
        assert len((await provider.generate(self.ask(model), Recorder())).images) == 1

    async def test_requests_at_the_same_time_do_not_mix(self, provider: AnyProvider, model: Model) -> None:
        honours(model, "seed")
        if provider.config.concurrency < 2:
            pytest.skip("this provider runs one job at a time")
        requests = [self.ask(model, seed=seed, n=2) for seed in range(500, 500 + provider.config.concurrency)]
        alone = [await provider.generate(request, Recorder()) for request in requests]
        together = await asyncio.gather(*(provider.generate(request, Recorder()) for request in requests))
        for one, other in zip(alone, together, strict=True):
            assert [image.data for image in one.images] == [image.data for image in other.images]

    async def test_it_is_ready_and_the_model_resident_after_a_picture(
        self, provider: AnyProvider, model: Model
    ) -> None:
        await provider.generate(self.ask(model), Recorder())
        status = await provider.status()
        assert status.ready
        assert min(status.running, status.queued) >= 0
        if self.reports_residency:
            assert model.id in status.resident

    async def test_no_task_is_left_after_closing(
        self, spare: AnyProvider, model: Model, slow_request: ImageRequest
    ) -> None:
        with TaskWatch() as watch:
            await spare.start()
            await spare.generate(self.ask(model), Recorder())
            await self.interrupted(spare, slow_request)
            await spare.aclose()
            assert await watch.left() == []
