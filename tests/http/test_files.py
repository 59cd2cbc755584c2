"""Links to stored pictures as browsers, download tools and chat frontends use them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Request, Router, get
from litestar.datastructures import State
from litestar.testing import RequestFactory

from imagerouter import Image
from imagerouter.app.errors import HANDLERS
from imagerouter.app.files import RangeNotSatisfiableError, base_url, byte_range, is_known, publish, read_file
from imagerouter.storage import Storage
from imagerouter.storage.folder import Folder

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
SIZE = len(PNG)


@get("/where")
async def where(request: Request[Any, Any, Any]) -> str:
    return base_url(request, None)


@pytest.fixture
async def door(tmp_path: Path) -> Any:
    """An application with nothing but files, a client for it, and its clock."""
    clock = SimpleNamespace(now=1_800_000_000.0)
    folder = tmp_path / "files"
    storage = Storage(Folder(folder), ttl=60, clock=lambda: clock.now)
    app = Litestar(
        [Router("/v1", route_handlers=[read_file]), read_file, where],
        exception_handlers=HANDLERS,
        state=State({"storage": lambda: storage}),
        logging_config=None,
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test", verify=False) as http:
        yield SimpleNamespace(http=http, clock=clock, storage=storage, folder=folder)


@pytest.fixture
async def url(door: Any) -> str:
    (found,) = await publish(door.storage, [Image(data=PNG)], "http://pictures.test")
    return found


def error(reply: httpx.Response) -> dict[str, Any]:
    body = reply.json()
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert reply.headers["content-type"] == "application/json"
    return body["error"]


async def test_a_link_gives_the_picture_with_all_that_a_browser_wants_to_know(door: Any, url: str) -> None:
    reply = await door.http.get(url)
    name = url.partition("?")[0].rpartition("/")[2]
    assert (reply.status_code, reply.content) == (200, PNG)
    assert {key: value for key, value in reply.headers.items() if key != "date"} == {
        "content-type": "image/png",
        "content-length": str(SIZE),
        "etag": f'"{name.removesuffix(".png")}"',
        "cache-control": "private, max-age=60, immutable",
        "accept-ranges": "bytes",
        "content-disposition": f'inline; filename="{name}"',
        "x-content-type-options": "nosniff",
    }


async def test_links_hold_without_v1_too(door: Any, url: str) -> None:
    assert (await door.http.get(url.replace("/v1/", "/"))).content == PNG


async def test_head_tells_the_same_without_the_picture(door: Any, url: str) -> None:
    head, whole = await door.http.head(url), await door.http.get(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == whole.headers


async def test_caches_keep_a_picture_just_as_long_as_its_link_holds(door: Any, url: str) -> None:
    door.clock.now += 59
    assert (await door.http.get(url)).headers["cache-control"] == "private, max-age=1, immutable"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=1000-999999", 1000, SIZE),
        ("bytes=-5", SIZE - 5, SIZE),
        ("bytes=-999999", 0, SIZE),
        ("Bytes=5-5", 5, 6),
    ],
)
async def test_a_range_is_a_part_of_the_picture(door: Any, url: str, asked: str, start: int, stop: int) -> None:
    reply = await door.http.get(url, headers={"range": asked})
    assert (reply.status_code, reply.content) == (206, PNG[start:stop])
    assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert reply.headers["content-length"] == str(stop - start)
    assert reply.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "asked", [f"bytes={SIZE}-", f"bytes={SIZE + 7}-{SIZE + 9}", "bytes=-0", "bytes=9" + "9" * 25 + "-"]
)
async def test_a_range_behind_the_end_is_416(door: Any, url: str, asked: str) -> None:
    reply = await door.http.get(url, headers={"range": asked})
    assert (reply.status_code, reply.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert error(reply)["code"] == "range_not_satisfiable"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=-", "bytes=0-1,4-5", "lines=1-2", "bytes", "", "bytes=x-y"])
async def test_a_range_that_can_not_be_read_or_is_several_gives_the_whole_picture(
    door: Any, url: str, asked: str
) -> None:
    reply = await door.http.get(url, headers={"range": asked})
    assert (reply.status_code, reply.content) == (200, PNG)


async def test_a_download_goes_on_only_in_the_same_picture(door: Any, url: str) -> None:
    etag = (await door.http.head(url)).headers["etag"]
    for if_range, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200), ("Sat, 01 Jan 2028 00:00:00 GMT", 200)):
        reply = await door.http.get(url, headers={"range": "bytes=100-", "if-range": if_range})
        assert (reply.status_code, reply.content) == (status, PNG[100:] if status == 206 else PNG)


async def test_who_has_the_picture_is_not_sent_it_again(door: Any, url: str) -> None:
    etag = (await door.http.head(url)).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        for method in ("GET", "HEAD"):
            reply = await door.http.request(method, url, headers={"if-none-match": known, "range": "bytes=0-1"})
            assert (reply.status_code, reply.content, reply.headers["etag"]) == (304, b"", etag)
            assert "max-age=60" in reply.headers["cache-control"]
    assert (await door.http.get(url, headers={"if-none-match": '"other"'})).status_code == 200


async def test_a_changed_link_is_403(door: Any, url: str) -> None:
    path, _, query = url.partition("?")
    later = url.replace("expires=18", "expires=19")
    for changed in (
        path,
        later,
        url[:-1],
        f"{path}?{query}x",
        url.replace(".png?", ".jpg?"),
        f"{path}?expires=&signature=",
    ):
        reply = await door.http.get(changed)
        assert (reply.status_code, error(reply)["type"]) == (403, "permission_error")
        assert (await door.http.head(changed)).status_code == 403


async def test_an_expired_link_is_410_and_its_file_is_gone_with_the_next_sweep(door: Any, url: str) -> None:
    door.clock.now += 60
    for _ in range(2):
        reply = await door.http.get(url)
        assert (reply.status_code, error(reply)["code"]) == (410, "link_expired")
        await door.storage.sweep()
    assert [path.name for path in door.folder.iterdir()] == ["secret"]


async def test_a_deleted_picture_is_404(door: Any, url: str) -> None:
    for path in door.folder.glob("*.png"):
        path.unlink()
    for headers in ({}, {"range": "bytes=0-1"}):
        reply = await door.http.get(url, headers=headers)
        assert (reply.status_code, error(reply)["code"]) == (404, "not_found")
    assert (await door.http.head(url)).status_code == 404


async def test_a_place_that_fails_is_503_without_a_path(door: Any, url: str) -> None:
    (picture,) = door.folder.glob("*.png")
    picture.unlink()
    picture.mkdir()
    reply = await door.http.get(url)
    assert (reply.status_code, error(reply)["code"]) == (503, "storage_unavailable")
    assert reply.headers["retry-after"] == "5"
    assert str(door.folder) not in reply.text


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "secret",
        "%00.png",
        "....//secret",
        "C:%5Csecret",
        "%ff.png",
        "a" * 5000,
    ],
)
async def test_no_path_leads_to_another_file(door: Any, url: str, path: str) -> None:
    query = url.partition("?")[2]
    for prefix in ("/v1/files/", "/files/"):
        reply = await door.http.get(f"{prefix}{path}?{query}")
        assert reply.status_code in (403, 404)
        error(reply)


async def test_what_a_browser_would_run_is_only_downloaded(door: Any) -> None:
    (link,) = await publish(door.storage, [Image(data=b"<svg/>", media_type="image/svg+xml")], "")
    reply = await door.http.get(link)
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-disposition"].startswith("attachment; ")


async def test_a_picture_that_can_not_be_stored_has_no_link_and_the_others_have_theirs(door: Any) -> None:
    broken = Image(b64=b"=A=", media_type="image/png")
    links = await publish(door.storage, [Image(data=PNG), broken, Image(data=PNG)], "http://pictures.test")
    assert [link is None for link in links] == [False, True, False]
    assert (await door.http.get(links[2])).content == PNG


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"host": "192.168.1.5:8000"}, "http://192.168.1.5:8000"),
        ({"host": "[::1]:8000"}, "http://[::1]:8000"),
        ({"x-forwarded-proto": "https"}, "https://pictures.test"),
        ({"x-forwarded-proto": "HTTPS, http", "x-forwarded-host": "pub.example, inner"}, "https://pub.example"),
        ({"x-forwarded-prefix": "/draw/"}, "http://pictures.test/draw"),
        (
            {"x-forwarded-proto": "javascript", "x-forwarded-host": "a/b", "x-forwarded-prefix": "//x"},
            "http://pictures.test",
        ),
        ({"x-forwarded-host": "user@evil", "x-forwarded-prefix": "/a?b"}, "http://pictures.test"),
    ],
)
async def test_links_begin_with_how_the_client_reached_the_server(
    door: Any, headers: dict[str, str], found: str
) -> None:
    assert (await door.http.get("/where", headers=headers)).text == found


@pytest.mark.parametrize(
    "public", ["https://pub.example/draw", "https://pub.example/draw/", "https://pub.example/draw/v1/"]
)
def test_the_public_url_wins_over_whatever_the_request_says(public: str) -> None:
    request = RequestFactory().get("/", headers={"host": "inner", "x-forwarded-host": "other"})
    assert base_url(request, public) == "https://pub.example/draw"


def test_a_server_that_is_mounted_below_a_path_says_so_in_its_links() -> None:
    request = RequestFactory(root_path="/draw").get("/", headers={"host": "inner:1"})
    assert base_url(request, None) == "http://inner:1/draw"


def test_without_a_host_header_links_name_the_address_that_the_server_listens_on() -> None:
    scope: Any = {"type": "http", "scheme": "http", "path": "/", "headers": [], "server": ("::1", 8000)}
    assert base_url(Request(scope), None) == "http://[::1]:8000"


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_ranges_count_as_the_rfc_says(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    for header, expected in (
        (f"bytes={first}-{last}", data[first : last + 1]),
        (f"bytes={first}-", data[first:]),
        (f"bytes=-{last}", data[-last:] if last else b""),
    ):
        try:
            part = byte_range(header, size)
        except RangeNotSatisfiableError:
            assert not expected
        else:
            assert first > last if part is None else bytes(part) == expected


@given(st.text() | st.from_regex(r"bytes=[0-9 ,-]*", fullmatch=True), st.integers(1, 50))
def test_whatever_a_range_header_says_it_is_a_part_of_the_file_or_nothing(header: str, size: int) -> None:
    try:
        part = byte_range(header, size)
    except RangeNotSatisfiableError:
        return
    assert part is None or 0 <= part.start < part.stop <= size


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters='",'))), st.booleans())
def test_a_picture_is_known_by_its_tag_among_any_others(others: list[str], has_it: bool) -> None:
    tags = [f'"{tag}"' for tag in others] + ['"mine"'] * has_it
    assert is_known(", ".join(tags), '"mine"') == has_it or "mine" in others
