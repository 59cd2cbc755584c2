"""What becomes of stable-diffusion.cpp's own jobs when the server or the network does something unexpected."""

import pytest
from tests.providers.a1111.sdcpp_of import (
    PICTURE,
    answer_jobs,
    completed,
    desk,
    drawing,
    failure,
    hasten,
    nobody,
    request,
    sent,
)

from imagerouter import (
    GenerationError,
    OutOfMemoryError,
    ProviderBusyError,
    ProviderError,
    ProviderRejectedError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter.testing.wire import Response
from imagerouter_a1111.sdcpp import press


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    hasten(monkeypatch)


@pytest.fixture
async def native(launch):
    return await launch("sdcpp")


# Lost connections


async def test_a_connection_that_is_lost_takes_nothing_from_a_job(native):
    native.hold()
    lost = []

    def lose(_):
        lost.append(1)
        if len(lost) == 3:
            del native.answers["GET", path]

    async with desk(native) as provider:
        task = drawing(provider)
        await native.held()
        path = f"/sdcpp/v1/jobs/{[*native.native_jobs][-1]}"
        native.answer("GET", path, lose)
        await native.until(lambda: len(lost) == 3)
        native.release()
        images = await task
    assert len(images.images) == 1
    assert len(sent(native)) == 1


async def test_a_server_that_stays_away_ends_the_job_as_unavailable(native):
    native.hold()
    async with desk(native) as provider:
        task = drawing(provider)
        await native.held()
        await native.abort()
        with pytest.raises(ProviderUnavailableError):
            await task


async def test_a_server_that_was_started_anew_has_lost_the_job(native):
    native.hold()
    async with desk(native) as provider:
        task = drawing(provider)
        await native.held()
        await native.abort()
        await native.start()
        with pytest.raises(ProviderResponseError, match="lost the job"):
            await task


async def test_a_job_that_has_expired_is_lost(native):
    native.hold()
    async with desk(native) as provider:
        task = drawing(provider)
        await native.held()
        [number] = native.native_jobs
        del native.native_jobs[number]
        native.expired_jobs.add(number)
        with pytest.raises(ProviderResponseError, match="lost the job"):
            await task
        native.release()


async def test_a_job_whose_handing_over_was_not_answered_is_not_sent_twice(native):
    native.answer("POST", "/sdcpp/v1/img_gen", lambda _: None)
    async with desk(native) as provider:
        with pytest.raises(ProviderResponseError):
            await provider.generate(request(), nobody)
        assert (await provider.status()).running == 0
    assert len(sent(native)) == 1


# Failures


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (failure("generate_image returned no results"), GenerationError, "generate_image returned no results"),
        (failure("cudaMalloc failed: out of memory"), OutOfMemoryError, "too little memory"),
        (failure("no such file: /srv/models/x.safetensors"), GenerationError, "…"),
        (failure("job cancelled by client", "cancelled"), ProviderBusyError, "somebody has cancelled"),
        ({"status": "failed"}, GenerationError, "failed"),
        ({"status": "evaporated"}, GenerationError, "evaporated"),
        (completed(), ProviderResponseError, "0 images instead of 1"),
        (completed(PICTURE, PICTURE), ProviderResponseError, "2 images instead of 1"),
        (completed("bm8gcGljdHVyZQ=="), ProviderResponseError, "not a picture"),
        ({"status": "completed", "result": None}, ProviderResponseError, "0 images instead of 1"),
        ({"status": 3}, ProviderResponseError, "can't be understood"),
        ([], ProviderResponseError, "can't be understood"),
    ],
)
async def test_a_job_that_brings_no_picture_says_why(native, state, error, words):
    answer_jobs(native, state)
    async with desk(native) as provider:
        with pytest.raises(error, match=words) as raised:
            await provider.generate(request(), nobody)
    assert type(raised.value) is error
    assert "/srv" not in raised.value.message


async def test_a_full_queue_means_that_the_server_is_busy(launch):
    native = await launch("sdcpp", max_queue=0)
    async with desk(native) as provider:
        with pytest.raises(ProviderBusyError):
            await provider.generate(request(), nobody)


async def test_what_the_server_refuses_is_refused(native):
    async with desk(native) as provider:
        refused = Response(status=400, json={"error": "invalid generation parameters"})
        native.answer("POST", "/sdcpp/v1/img_gen", lambda _: refused)
        with pytest.raises(ProviderRejectedError, match="invalid generation parameters"):
            await provider.generate(request(), nobody)


@pytest.mark.parametrize("told", [{}, [], {"id": 7}, {"id": "../options"}])
async def test_a_job_that_isnt_named_is_no_job(native, told):
    native.answer("POST", "/sdcpp/v1/img_gen", lambda _: Response(status=202, json=told))
    async with desk(native) as provider:
        with pytest.raises(ProviderResponseError, match="which job"):
            await provider.generate(request(), nobody)


async def test_credentials_that_are_refused_later_end_the_job(native, monkeypatch):
    monkeypatch.setattr(press, "GONE_SECONDS", 0.0)
    answer_jobs(native, {})
    native.answer("GET", "/sdcpp/v1/jobs/job_1", lambda _: Response(status=401, json={"error": "no"}))
    async with desk(native) as provider:
        with pytest.raises(ProviderError, match="credentials"):
            await provider.generate(request(), nobody)


async def test_a_server_that_has_no_time_to_answer_is_given_more(native, monkeypatch):
    monkeypatch.setattr(press, "GONE_SECONDS", 0.0)
    late = [Response(status=504), Response(status=504)]
    native.answer("POST", "/sdcpp/v1/img_gen", lambda _: Response(status=202, json={"id": "job_1"}))
    native.answer("GET", "/sdcpp/v1/jobs/job_1", lambda _: late.pop() if late else Response(json=completed(PICTURE)))
    async with desk(native) as provider:
        assert len((await provider.generate(request(), nobody)).images) == 1
        monkeypatch.setattr(press, "SILENT_SECONDS", 0.0)
        late.append(Response(status=504))
        with pytest.raises(ProviderTimeoutError):
            await provider.generate(request(), nobody)
