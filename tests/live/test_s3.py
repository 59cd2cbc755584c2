"""Pictures in a bucket: everything over the real S3 API, as moto's server speaks it."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.datastructures import State

from imagerouter import Image
from imagerouter.app.errors import HANDLERS
from imagerouter.app.files import publish, read_file
from imagerouter.config import Results
from imagerouter.storage import Storage, StorageError
from imagerouter.storage.bucket import Bucket

pytest.importorskip("obstore", reason="obstore (imagerouter[s3]) is not installed")
moto = pytest.importorskip("moto.server", reason="moto's server (moto[s3], flask-cors) is not installed")

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40_000  # 10 MB


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 with an empty bucket ``pictures``."""
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    assert httpx.put(f"{address}/pictures", verify=False).status_code == 200
    yield address
    server.stop()


@pytest.fixture
def clock() -> Any:
    return SimpleNamespace(now=1_800_000_000.0)


@pytest.fixture(autouse=True)
def credentials(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture
def serve(clock: Any) -> Any:
    """``serve("bucket/prefix")`` is one of several servers that may share it."""

    def _serve(place: str) -> Storage:
        return Storage(Bucket.at(f"s3://{place}"), ttl=60, clock=lambda: clock.now)

    return _serve


def client(storage: Storage) -> httpx.AsyncClient:
    app = Litestar(
        [read_file], exception_handlers=HANDLERS, state=State({"storage": lambda: storage}), logging_config=None
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://imagerouter.test", verify=False)


async def url_of(storage: Storage) -> str:
    (url,) = await publish(storage, [Image(data=PNG)], "")
    assert url is not None
    return url.removeprefix("/v1")


async def test_a_picture_goes_into_the_bucket_and_comes_back_whole_and_in_parts(serve: Any) -> None:
    url = await url_of(storage := serve("pictures/whole"))
    async with client(storage) as http:
        whole = await http.get(url)
        assert (whole.status_code, whole.content) == (200, PNG)
        assert (await http.head(url)).headers == whole.headers
        part = await http.get(url, headers={"range": "bytes=5000000-5000099"})
        assert (part.status_code, part.content) == (206, PNG[5_000_000:5_000_100])
        assert part.headers["content-range"] == f"bytes 5000000-5000099/{len(PNG)}"
        assert (await http.get(url, headers={"range": "bytes=-3"})).content == PNG[-3:]
        assert (await http.get(url, headers={"range": f"bytes={len(PNG)}-"})).status_code == 416


async def test_servers_that_start_at_once_agree_on_one_secret(serve: Any) -> None:
    servers = [serve("pictures/shared") for _ in range(4)]
    urls = await asyncio.gather(*map(url_of, servers))
    for server in (*servers, serve("pictures/shared")):
        async with client(server) as http:
            assert [(await http.head(url)).status_code for url in urls] == [200] * 4


async def test_expired_pictures_are_deleted_from_the_bucket_and_nothing_else(serve: Any, clock: Any) -> None:
    storage, beside = serve("pictures/swept"), Bucket.at("s3://pictures/swept")
    old = await url_of(storage)
    await beside.write("holiday.png", b"not ours")
    clock.now += 30
    young = await url_of(storage)
    clock.now += 30
    assert await storage.sweep() == 1
    async with client(storage) as http:
        assert [(await http.get(url)).status_code for url in (old, young)] == [410, 200]
    left = await beside.names()
    assert len(left) == 3
    assert {"holiday.png", "secret"} < set(left)


async def test_a_picture_that_somebody_deleted_is_404(serve: Any) -> None:
    url = await url_of(storage := serve("pictures/deleted"))
    bucket = Bucket.at("s3://pictures/deleted")
    await bucket.delete([*await bucket.names(), "never-there"])
    async with client(storage) as http:
        for headers in ({}, {"range": "bytes=0-1"}):
            assert (await http.get(url, headers=headers)).status_code == 404


async def test_a_bucket_that_is_not_there_is_an_error_and_no_link(serve: Any) -> None:
    storage = serve("nowhere")
    assert await publish(storage, [Image(data=PNG)], "") == [None]
    with pytest.raises(StorageError):
        await storage.sweep()


async def test_the_configuration_names_the_bucket() -> None:
    await Storage.open(Results(url="s3://pictures/by/config")).keep(Image(data=PNG))
    assert "secret" in await Bucket.at("s3://pictures/by/config").names()
