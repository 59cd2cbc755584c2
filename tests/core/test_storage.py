"""Pictures behind links: what can be read, by whom, for how long, and what is left when something fails."""

import asyncio
import resource
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter import Image
from imagerouter.config import Results
from imagerouter.errors import ConfigError, ImageRouterError, NotFoundError, PermissionDeniedError
from imagerouter.storage import LinkExpiredError, Storage, StorageError, StoredFile, swept
from imagerouter.storage.bucket import Bucket
from imagerouter.storage.folder import Folder
from imagerouter.storage.links import link, verified
from imagerouter.storage.store import Store

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
SECRET = b"0123456789abcdef"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["folder", "bucket"])
def store(request: Any, tmp_path: Path) -> Store:
    return in_memory() if request.param == "bucket" else Folder(tmp_path / "deep" / "down")


@pytest.fixture
def storage(store: Store, clock: Clock) -> Storage:
    return Storage(store, ttl=60, clock=clock)


def in_memory() -> Bucket:
    obstore = pytest.importorskip("obstore.store", reason="obstore (imagerouter[s3]) is not installed")
    return Bucket(obstore.MemoryStore())


def parts(url: str) -> tuple[str, str, str]:
    """Name, expiry and signature of a link."""
    split = urlsplit(url)
    query = parse_qs(split.query, strict_parsing=True)
    return split.path.removeprefix("/v1/files/"), query["expires"][0], query["signature"][0]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def a_disk_with_room_for(size: int) -> Iterator[None]:
    """Files of this process can't get larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("media_type", "extension"),
    [
        ("image/png", "png"),
        ("image/jpeg", "jpg"),
        ("image/webp", "webp"),
        ("image/avif", "avif"),
        ("image/svg+xml", "bin"),
        ("text/html", "bin"),
    ],
)
async def test_a_picture_comes_back_as_it_was(storage: Storage, media_type: str, extension: str) -> None:
    name, expires, signature = parts(await storage.keep(Image(data=PNG, media_type=media_type)))
    file = await storage.find(name, expires, signature)
    assert name.endswith("." + extension)
    assert file.media_type == (media_type if extension != "bin" else "application/octet-stream")
    assert (await storage.read(file), await storage.size(file)) == (PNG, len(PNG))


async def test_base64_is_stored_as_the_bytes_that_it_stands_for(storage: Storage) -> None:
    file = await storage.find(*parts(await storage.keep(Image(b64=Image(data=PNG).b64))))
    assert await storage.read(file) == PNG


async def test_no_two_pictures_share_an_id(storage: Storage) -> None:
    urls = await asyncio.gather(*(storage.keep(Image(data=PNG)) for _ in range(20)))
    ids = {parts(url)[0].partition(".")[0] for url in urls}
    assert len(ids) == 20
    assert all(len(bytes.fromhex(each)) == 16 for each in ids)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_any_range_is_what_slicing_gives(tmp_path_factory: pytest.TempPathFactory, data: bytes, draw: Any) -> None:
    start = draw.draw(st.integers(0, len(data) - 1))
    stop = draw.draw(st.none() | st.integers(start + 1, len(data)))

    async def read(store: Store) -> bytes:
        await store.write("x", data)
        return await store.read("x", start, stop)

    for store in (in_memory(), Folder(tmp_path_factory.getbasetemp() / "ranges")):
        assert asyncio.run(read(store)) == data[start:stop]


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "/etc/passwd", "secret", "a\0b.png", "C:\\x.png"])
async def test_no_name_leads_out_of_the_place_even_if_it_is_signed(storage: Storage, name: str) -> None:
    for expires in ("1900000000", "..", ""):
        with pytest.raises(PermissionDeniedError):
            await storage.find(name, expires, "")


async def test_a_link_holds_for_its_time_and_not_a_second_longer(storage: Storage, clock: Clock) -> None:
    sent = parts(await storage.keep(Image(data=PNG)))
    clock.now += 59.5
    assert storage.seconds_left(await storage.find(*sent)) == 0
    clock.now += 0.5
    with pytest.raises(LinkExpiredError) as caught:
        await storage.find(*sent)
    assert (caught.value.status, caught.value.code) == (410, "link_expired")


async def test_a_sweep_deletes_what_has_expired_and_nothing_else(store: Store, storage: Storage, clock: Clock) -> None:
    old = await storage.find(*parts(await storage.keep(Image(data=PNG))))
    await store.write("holiday.png", b"not ours")
    clock.now += 30
    young = await storage.find(*parts(await storage.keep(Image(data=PNG))))
    assert await storage.sweep() == 0
    clock.now += 30
    assert await storage.sweep() == 1
    assert sorted(await store.names()) == sorted([young.key, "holiday.png", "secret"])
    assert await storage.read(young) == PNG
    with pytest.raises(NotFoundError, match="has been deleted"):
        await storage.read(old)
    with pytest.raises(NotFoundError, match="has been deleted"):
        await storage.size(old)


async def test_what_a_crash_has_left_half_written_goes_with_the_next_sweep_after_its_time(
    tmp_path: Path, clock: Clock
) -> None:
    left = StoredFile("ab" * 16, "png", int(clock.now) + 60)
    (tmp_path / f"{left.key}.part").write_bytes(PNG[:50])
    storage = Storage(Folder(tmp_path), ttl=60, clock=clock)
    assert await storage.sweep() == 0
    clock.now += 60
    assert await storage.sweep() == 1
    assert not names(tmp_path)


async def test_what_can_not_be_deleted_keeps_nothing_else_from_being_deleted(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    await folder.write("other", PNG)
    (tmp_path / "stuck").mkdir()
    with pytest.raises(OSError, match="stuck"):
        await folder.delete(["gone", "stuck", "other"])
    assert names(tmp_path) == ["stuck"]


async def test_sweeping_before_anything_is_stored_makes_no_folder(tmp_path: Path) -> None:
    assert await Storage(Folder(tmp_path / "files"), ttl=60).sweep() == 0
    assert not names(tmp_path)


async def test_a_server_sweeps_as_soon_as_it_starts_and_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = asyncio.Queue[None]()

    class Stale(Folder):
        async def names(self) -> list[str]:
            looks.put_nowait(None)
            raise OSError("stale file handle")

    monkeypatch.setattr("imagerouter.storage.storage.SWEEP_SECONDS", 0)
    async with swept(lambda: Storage(Stale(tmp_path), ttl=60)), asyncio.timeout(10):
        for _ in range(3):
            await looks.get()


async def test_links_outlive_a_restart_and_hold_at_every_server_that_shares_the_place(
    store: Store, clock: Clock
) -> None:
    servers = [Storage(store, ttl=60, clock=clock) for _ in range(5)]
    urls = await asyncio.gather(*(server.keep(Image(data=PNG)) for server in servers))
    for url in urls:
        for server in (*servers, Storage(store, ttl=60, clock=clock)):
            assert (await server.find(*parts(url))).name in url


async def test_a_secret_from_the_configuration_leaves_none_beside_the_files(store: Store, clock: Clock) -> None:
    storage = Storage(store, ttl=60, secret=SECRET.decode(), clock=clock)
    file = verified(*parts(await storage.keep(Image(data=PNG))), SECRET)
    assert await store.names() == [file.key]
    with pytest.raises(PermissionDeniedError):
        await storage.find(*parts(link(file, b"another secret, as long")))


async def test_a_damaged_secret_signs_nothing(store: Store, clock: Clock) -> None:
    await store.write("secret", b"\n")
    with pytest.raises(StorageError):
        await Storage(store, ttl=60, clock=clock).keep(Image(data=PNG))


async def test_only_this_user_can_read_what_is_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    await Storage(Folder(folder), ttl=60).keep(Image(data=PNG))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600, 0o600]


async def test_a_full_disk_is_an_error_without_a_path_and_leaves_nothing_behind(tmp_path: Path) -> None:
    storage = Storage(Folder(tmp_path), ttl=60)
    await storage.keep(Image(data=PNG))
    before = names(tmp_path)
    with a_disk_with_room_for(4000), pytest.raises(StorageError) as caught:
        await storage.keep(Image(data=PNG * 100))
    assert names(tmp_path) == before
    assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
    assert caught.value.message == "The storage for pictures does not work right now"


async def test_a_place_that_is_no_folder_is_the_same_error(tmp_path: Path) -> None:
    (tmp_path / "files").write_bytes(b"a file")
    storage = Storage.open(Results(url=str(tmp_path / "files")))
    for attempt in (storage.keep(Image(data=PNG)), storage.find("x", "1", "x"), storage.sweep()):
        with pytest.raises(StorageError):
            await attempt


async def test_base64_that_is_none_is_not_stored(storage: Storage) -> None:
    with pytest.raises(StorageError):
        await storage.keep(Image(b64=b"=A=", media_type="image/png"))


async def test_a_bucket_that_can_not_be_reached_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory()
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    storage = Storage.open(Results(url="s3://pictures", secret=SECRET.decode()))
    for attempt in (storage.keep(Image(data=PNG)), storage.sweep()):
        with pytest.raises(StorageError) as caught:
            await attempt
        assert "127.0.0.1" not in caught.value.message


def test_by_default_pictures_are_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asyncio.run(Storage.open(Results()).keep(Image(data=PNG)))
    assert {path.suffix for path in (tmp_path / "imagerouter" / "files").iterdir()} == {"", ".png"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://pictures", "`ftp://` is unknown; valid are a folder, `s3://`, `gs://`, `az://`, and `auto`"),
        ("s3://", "results.url: "),
        ("s3://two words", "results.url: "),
    ],
)
def test_a_place_that_can_not_be_one_is_an_error_of_the_configuration(url: str, message: str) -> None:
    in_memory()
    with pytest.raises(ConfigError) as caught:
        Storage.open(Results(url=url))
    assert message in caught.value.message


def test_a_bucket_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(ConfigError, match=r"pip install 'imagerouter\[s3\]'"):
        Storage.open(Results(url="s3://pictures"))


def test_errors_of_the_storage_have_openais_shape() -> None:
    error: ImageRouterError = StorageError("x")
    assert error.body() == {
        "error": {"message": "x", "type": "server_error", "param": None, "code": "storage_unavailable"}
    }
