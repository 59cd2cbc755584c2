"""Pictures by address, over real sockets on loopback, and which addresses are out of reach."""

import asyncio
import contextlib
import datetime
import gzip
import ipaddress
import socket
import ssl
from contextlib import asynccontextmanager
from io import BytesIO

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image as Pillow

from imagerouter import InvalidParameterError
from imagerouter.fetching import AT_ONCE, Inputs, fetch_all, is_allowed


def encoded(kind="PNG"):
    buffer = BytesIO()
    Pillow.effect_noise((32, 32), 80).save(buffer, kind)
    return buffer.getvalue()


PICTURE = encoded()
OPEN = Inputs(allow_hosts=["*"], allow_private=True, timeout=5)
"""What the tests need to reach themselves."""


def reply(body=PICTURE, status="200 OK", *headers):
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def host(answer=None, *, host="127.0.0.1", tls=None, hang=False):
    """A server that gives every request ``answer``, or what ``answer(target)`` returns or awaits."""
    seen, tasks = [], set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
            given = answer(seen[-1].split(" ")[1]) if callable(answer) else reply() if answer is None else answer
            writer.write(await given if asyncio.iscoroutine(given) else given)
            await writer.drain()
            if hang:
                await asyncio.Event().wait()
        writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield port, seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def names(monkeypatch):
    """Host names of this test alone → the addresses that each look-up brings; the last ones stay."""
    known = {}
    asked = []

    async def getaddrinfo(self, name, port, **_):
        asked.append(name)
        if name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        found = known[name].pop(0) if len(known[name]) > 1 else known[name][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    known["asked"] = asked
    return known


async def refused(url, settings=OPEN, param="images[0]"):
    with pytest.raises(InvalidParameterError) as caught:
        await fetch_all({param: url}, settings)
    assert caught.value.param == param
    assert f"`{param}`" in caught.value.message
    return caught.value.message


UNREACHABLE = "`images[0]` can't be fetched, or not within 5 seconds (`inputs.timeout`)"


# What works.


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
async def test_a_picture_is_fetched_as_it_is(kind):
    body = encoded(kind)
    async with host(reply(body, "200 OK", "content-type: text/html")) as (port, _):
        found = await fetch_all({"images[0]": url}, OPEN) if (url := f"http://127.0.0.1:{port}/a") else None
    assert found[url].data == body


async def test_the_request_names_its_host_and_says_nothing_of_ours(names):
    names["pictures.example"] = [["127.0.0.1"]]
    async with host() as (port, seen):
        await fetch_all({"mask": f"http://pictures.example:{port}/a/b.png?size=1#part"}, OPEN)
    first, *headers = seen[0].lower().strip().split("\r\n")
    assert first == "get /a/b.png?size=1 http/1.1"
    assert f"host: pictures.example:{port}" in headers
    assert "accept-encoding: identity" in headers
    assert {line.partition(":")[0] for line in headers} == {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "user-agent",
    }


async def test_one_address_is_asked_once():
    async with host() as (port, seen):
        url = f"http://127.0.0.1:{port}/a"
        found = await fetch_all({"images[0]": url, "images[1]": url, "mask": f"{url}?mask"}, OPEN)
    assert (list(found), len(seen)) == ([url, f"{url}?mask"], 2)


async def test_several_are_fetched_at_a_time():
    together = asyncio.Barrier(3)

    async def answer():
        await together.wait()
        return reply()

    async with host(lambda _: answer()) as (port, _):
        urls = {f"images[{i}]": f"http://127.0.0.1:{port}/{i}" for i in range(3)}
        assert len(await fetch_all(urls, OPEN)) == 3


async def test_no_more_than_so_many_are_fetched_at_a_time():
    active, most = 0, 0

    async def answer():
        nonlocal active, most
        active += 1
        most = max(most, active)
        for _ in range(200):
            await asyncio.sleep(0)
        active -= 1
        return reply()

    async with host(lambda _: answer()) as (port, _):
        requests = [{f"images[{i}]": f"http://127.0.0.1:{port}/{n}/{i}" for i in range(10)} for n in range(4)]
        await asyncio.gather(*(fetch_all(urls, OPEN) for urls in requests))
    assert 1 < most <= AT_ONCE


async def test_without_addresses_nothing_is_done():
    assert await fetch_all({}, Inputs()) == {}


async def test_the_next_address_of_a_host_is_tried_when_one_refuses(names):
    async with host(host="127.0.0.2") as (port, seen):
        names["pictures.example"] = [["127.0.0.1", "127.0.0.2"]]
        await fetch_all({"mask": f"http://pictures.example:{port}/"}, OPEN)
    assert len(seen) == 1


# What the configuration allows.


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("http://pictures.example/a", "pictures.example"),
        ("https://PICTURES.example./a", "Pictures.Example"),
        ("https://pictures.example:443/a", "*.example"),
        ("http://pictures.example:8080/a", "pictures.example:8080"),
        ("http://pictures.example:8080/a", "*"),
        ("http://[2001:db8::1]/a", "[2001:db8::1]"),
        ("http://bücher.example/a", "xn--bcher-kva.example"),
    ],
)
async def test_a_host_is_allowed_by_a_pattern(url, pattern, names):
    message = await refused(url, Inputs(allow_hosts=["other.example", pattern], timeout=5))
    assert message == UNREACHABLE  # it was looked up, and nobody knows it
    assert len(names["asked"]) == 1


@pytest.mark.parametrize(
    ("url", "patterns"),
    [
        ("http://pictures.example/a", []),
        ("http://pictures.example/a", ["example", "pictures", "*.pictures.example"]),
        ("http://pictures.example:8080/a", ["pictures.example"]),
        ("http://pictures.example:80/a", ["pictures.example:443"]),
        ("https://pictures.example:80/a", ["pictures.example"]),
        ("http://evil.example/pictures.example", ["pictures.example"]),
        ("http://pictures.example.evil.example/", ["pictures.example"]),
        ("http://evil.example#pictures.example", ["pictures.example"]),
        ("http://evil.example?.pictures.example", ["*.pictures.example"]),
    ],
)
async def test_another_host_is_refused_and_the_key_is_named(url, patterns, names):
    assert "`inputs.allow_hosts`" in await refused(url, Inputs(allow_hosts=patterns))
    assert names["asked"] == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://pictures.example/a",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "http:///a",
        "//pictures.example/a",
        "http://user:secret@pictures.example/a",
        "http://pictures.example@127.0.0.1/",
        "http://pictures.example\\@127.0.0.1/",
        "http://pictures.example:99999/",
        "http://pictures.example:0/",
        "http://0177.0.0.1/",
        "http://pictures.example:port/",
        "http://pictures.example/\r\nx: y",
        "",
    ],
)
async def test_what_is_no_plain_address_is_refused_unasked(url, names):
    assert "address" in await refused(url)
    assert names["asked"] == []


async def test_all_addresses_are_checked_before_the_first_is_fetched():
    async with host() as (port, seen):
        urls = {"images[0]": f"http://127.0.0.1:{port}/", "mask": "ftp://127.0.0.1/"}
        with pytest.raises(InvalidParameterError) as caught:
            await fetch_all(urls, OPEN)
    assert (caught.value.param, seen) == ("mask", [])


# Addresses behind the walls.


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_this_machine_is_out_of_reach_however_it_is_spelled(name):
    async with host() as (port, seen):
        settings = OPEN.model_copy(update={"allow_private": False})
        assert await refused(f"http://{name}:{port}/", settings) == UNREACHABLE
    assert seen == []


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "192.168.0.1"], ["fd00::1"], ["64:ff9b::a00:1"], ["0.0.0.0"], []],
)
async def test_a_name_for_a_private_address_is_refused_without_a_connection(addresses, names, monkeypatch):
    names["pictures.example"] = [addresses]
    monkeypatch.setattr("imagerouter.fetching.make_client", lambda *_, **__: pytest.fail("connected"))
    assert await refused("http://pictures.example/", Inputs(allow_hosts=["*"], timeout=5)) == UNREACHABLE


async def test_an_open_port_of_a_private_host_looks_like_a_closed_one():
    settings = OPEN.model_copy(update={"allow_private": False})
    async with host() as (port, _):
        with_server = await refused(f"http://127.0.0.1:{port}/", settings)
    without = await refused(f"http://127.0.0.1:{port}/", settings)
    assert with_server == without == await refused(f"http://127.0.0.1:{port}/")


async def test_the_name_is_looked_up_once_so_that_it_cannot_change_its_mind(names):
    async with host() as (port, seen):
        names["pictures.example"] = [["127.0.0.1"], ["169.254.169.254"]]
        await fetch_all({"mask": f"http://pictures.example:{port}/"}, OPEN)
    assert (len(names["asked"]), len(seen)) == (1, 1)


async def test_a_proxy_of_the_environment_does_not_get_to_choose_the_address(names, monkeypatch):
    names["pictures.example"] = [["127.0.0.1"]]
    async with host(reply(b"")) as (proxy, asked), host() as (port, _):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        await fetch_all({"mask": f"http://pictures.example:{port}/"}, OPEN)
    assert asked == []


PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "2606:4700::1111",
    "2a00:1450::1",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]
NEVER = [
    "0.0.0.0", "255.255.255.255", "224.0.0.1", "239.1.2.3", "240.0.0.1", "169.254.169.254", "169.254.0.1", "::",
    "ff02::1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
    "::ffff:0.0.0.0", "64:ff9b::e000:1", "::7f00:1",
]  # fmt: skip
OWN = [
    "127.0.0.1", "127.255.0.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "192.0.2.1",
    "198.18.0.1", "::1", "fd12::1", "fc00::1", "fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::1", "2002:c0a8:101::",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address):
    assert is_allowed(ipaddress.ip_address(address), private=False)
    assert is_allowed(ipaddress.ip_address(address), private=True)


@pytest.mark.parametrize("address", OWN)
def test_private_addresses_are_allowed_only_by_configuration(address):
    assert not is_allowed(ipaddress.ip_address(address), private=False)
    assert is_allowed(ipaddress.ip_address(address), private=True)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(address):
    assert not is_allowed(ipaddress.ip_address(address), private=False)
    assert not is_allowed(ipaddress.ip_address(address), private=True)


@given(st.ip_addresses())
def test_what_is_allowed_without_configuration_is_public(address):
    if is_allowed(address, private=False):
        assert is_allowed(address, private=True)
        assert not address.is_multicast
        assert not address.is_link_local
        assert not address.is_loopback
        assert address.is_global or address.version == 6  # of those, some stand for an IPv4 address


@given(st.ip_addresses(v=4))
@example(ipaddress.IPv4Address("127.0.0.1"))
@example(ipaddress.IPv4Address("8.8.8.8"))
def test_an_address_inside_another_counts_as_itself(address):
    wrapped = [
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80)),
    ]
    for private in (False, True):
        verdicts = {is_allowed(ipaddress.ip_address(each), private=private) for each in wrapped}
        assert verdicts == {is_allowed(address, private=private)}


@given(
    st.sampled_from(
        [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
            "100.64.0.0/10",
            "224.0.0.0/4",
            "ff00::/8",
            "240.0.0.0/4",
            "0.0.0.0/8",
        ]
    ),
    st.data(),
)
def test_nothing_in_a_private_network_is_public(network, data):
    address = data.draw(st.ip_addresses(network=network))
    assert not is_allowed(address, private=False)


# Redirects.


def redirect(target, status="302 Found"):
    return reply(b"", status, f"location: {target}")


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
async def test_a_redirect_to_an_allowed_host_is_followed(status):
    async with host(lambda target: reply() if target == "/b" else redirect("/b", status)) as (port, seen):
        url = f"http://127.0.0.1:{port}/a"
        assert (await fetch_all({"mask": url}, OPEN))[url].data == PICTURE
    assert len(seen) == 2


async def test_a_redirect_to_another_host_is_refused_like_the_host_itself(names):
    names["pictures.example"] = [["127.0.0.1"]]
    async with host() as (inner, seen), host(redirect(f"http://127.0.0.1:{inner}/")) as (port, _):
        settings = OPEN.model_copy(update={"allow_hosts": [f"pictures.example:{port}"]})
        message = await refused(f"http://pictures.example:{port}/", settings)
    assert "`inputs.allow_hosts`" in message
    assert "127.0.0.1" not in message
    assert seen == []


async def test_a_redirect_to_a_private_address_is_refused(names):
    """The first host is public as far as the check knows; the second one isn't."""
    names["pictures.example"] = [["127.0.0.1"]]
    names["inner.example"] = [["169.254.169.254"]]
    async with host(redirect("http://inner.example/")) as (port, _):
        assert await refused(f"http://pictures.example:{port}/") == UNREACHABLE
    assert names["asked"] == ["pictures.example", "inner.example"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://user:x@127.0.0.1/"])
async def test_a_redirect_to_another_scheme_is_refused(target):
    async with host(redirect(target)) as (port, _):
        assert "address" in await refused(f"http://127.0.0.1:{port}/")


async def test_redirects_end():
    async with host(redirect("/again")) as (port, seen):
        assert "redirected more than 3 times" in await refused(f"http://127.0.0.1:{port}/")
    assert len(seen) == 4


# What hosts answer.


@pytest.mark.parametrize(
    "status", ["404 Not Found", "403 Forbidden", "500 Oops", "206 Partial", "204 None", "304 Same"]
)
async def test_any_other_status_is_told(status):
    async with host(reply(PICTURE, status)) as (port, _):
        assert f"HTTP {status[:3]}" in await refused(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "body", [b"<html>log in</html> and so on", b"", b"GIF", b"secret=1\n" * 20, gzip.compress(PICTURE), b"RIFF1234AVI "]
)
async def test_what_is_no_picture_is_refused_whatever_it_is_called(body):
    async with host(reply(body, "200 OK", "content-type: image/png")) as (port, _):
        message = await refused(f"http://127.0.0.1:{port}/")
    assert "PNG, JPEG, WebP" in message
    assert "secret" not in message


async def test_what_is_compressed_unasked_is_not_unpacked():
    bomb = gzip.compress(PICTURE + bytes(10**7))
    async with host(reply(bomb, "200 OK", "content-encoding: gzip")) as (port, _):
        assert "is not a PNG" in await refused(f"http://127.0.0.1:{port}/")


async def test_what_is_no_picture_is_not_read_to_its_end():
    async with host(b"HTTP/1.1 200 OK\r\n\r\n<!doctype html> and then nothing more", hang=True) as (port, _):
        assert "is not a PNG" in await refused(f"http://127.0.0.1:{port}/")


def endless():
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1000\r\n" + PICTURE[:16] + bytes(4080) + b"\r\n"


@pytest.mark.parametrize("answer", [reply(PICTURE + bytes(4096)), endless()])
async def test_too_many_bytes_are_refused_as_they_come(answer):
    settings = OPEN.model_copy(update={"max_bytes": 4000})
    async with host(answer, hang=True) as (port, _):
        message = await refused(f"http://127.0.0.1:{port}/", settings)
    assert message == "`images[0]` goes beyond the 4000 bytes that are fetched (`inputs.max_bytes`)"


async def test_the_pictures_of_one_request_share_the_bytes():
    settings = OPEN.model_copy(update={"max_bytes": len(PICTURE) * 5 // 2})
    async with host() as (port, _):
        urls = [f"http://127.0.0.1:{port}/{i}" for i in range(3)]
        assert len(await fetch_all({"a": urls[0], "b": urls[1]}, settings)) == 2
        with pytest.raises(InvalidParameterError, match=r"`inputs\.max_bytes`"):
            await fetch_all({"a": urls[0], "b": urls[1], "c": urls[2]}, settings)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + PICTURE[:64]])
async def test_a_host_that_goes_silent_is_given_up(answer):
    settings = OPEN.model_copy(update={"timeout": 0.05})
    async with host(answer, hang=True) as (port, _):
        assert "not within 0.05 seconds (`inputs.timeout`)" in await refused(f"http://127.0.0.1:{port}/", settings)


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + PICTURE,
        b"HTTP/1.1 302 F\r\nlocation: http://[\r\n\r\n",
    ],
)
async def test_a_broken_answer_is_no_picture(answer):
    async with host(answer) as (port, _):
        assert await refused(f"http://127.0.0.1:{port}/") == UNREACHABLE


@pytest.mark.parametrize("name", ["nowhere.example", "a..b", "a" * 80 + ".example", "a b"])
async def test_a_host_that_nobody_knows_looks_like_one_that_is_down(name, names):
    assert await refused(f"http://{name}/") == UNREACHABLE


async def test_the_first_failure_ends_the_others():
    async def answer(target):
        if target == "/slow":
            await asyncio.Event().wait()
        return reply(b"", "404 No")

    async with host(answer) as (port, _):
        urls = {"images[0]": f"http://127.0.0.1:{port}/slow", "images[1]": f"http://127.0.0.1:{port}/bad"}
        with pytest.raises(InvalidParameterError) as caught:
            await fetch_all(urls, OPEN)
    assert caught.value.param == "images[1]"


# TLS.


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """A certificate for `pictures.example` that this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pictures.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pictures.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_the_certificate_is_checked_for_the_name_and_not_the_address(certified, names):
    asked = []
    certified.sni_callback = lambda _, name, __: asked.append(name)
    names["pictures.example"] = names["other.example"] = [["127.0.0.1"]]
    async with host(tls=certified) as (port, seen):
        url = f"https://pictures.example:{port}/"
        assert (await fetch_all({"mask": url}, OPEN))[url].data == PICTURE
        assert await refused(f"https://other.example:{port}/") == UNREACHABLE
    assert (asked, len(seen)) == (["pictures.example", "other.example"], 1)
