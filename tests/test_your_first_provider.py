"""The code in docs/your-first-provider.md runs, step by step, and its last version keeps the contract."""

import json
import re
import sys
import textwrap
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from imagerouter import Image, ImageRequest, Provider, ProviderConfig
from imagerouter.app.server import listening
from imagerouter.config.loader import load
from imagerouter.testing import decode
from imagerouter.testing.drawing import draw

PAGE = Path(__file__).parents[1] / "docs" / "your-first-provider.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def chapters(*names):
    """The Python blocks of some chapters."""
    parts = dict(part.split("\n", 1) for part in TEXT.split("\n## ")[1:])
    return [block for name in names for block in BLOCKS if block in parts[name]]


def grown(*names):
    """What a reader has after these chapters: indented blocks replace or add methods of the class before."""
    module = {"__name__": "docs"}
    for block in chapters(*names):
        code = compile(textwrap.dedent(block), str(PAGE), "exec")
        if not block.startswith(" "):
            exec(code, module)
            continue
        methods = {}
        exec(code, module, methods)
        for name, method in methods.items():
            setattr(newest_provider(module), name, method)
    return module


def newest_provider(module):
    return [kind for kind in module.values() if isinstance(kind, type) and issubclass(kind, Provider)][-1]


class Paintbox(ThreadingHTTPServer):
    """The backend of the page. Every question about a job takes it one stroke further."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), PaintboxHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.jobs, self.deleted, self.picture = {}, 0, None

    def answer(self, method, path, body):
        if path == "/models":
            return ["oil", "watercolour"]
        if method == "PUT":
            self.jobs[path] = {"stroke": -1, "strokes": 4} | body
            return {"state": "queued"}
        if method == "DELETE":
            self.deleted += 1
            return self.jobs.pop(path) and {}
        return self.proceed(self.jobs[path])

    def proceed(self, job):
        job["stroke"] += 1
        shown = {"stroke": job["stroke"], "strokes": job["strokes"]}
        if job["prompt"] == "fail":
            return {"state": "failed"}
        if job["stroke"] < job["strokes"]:
            return shown | {"state": "painting" if job["stroke"] else "queued"}
        settings = {key: job[key] for key in ("model", "prompt", "seed", "strokes")}
        fingerprint = json.dumps(settings).encode()
        file = draw(fingerprint, job.get("w", 256), job.get("h", 256))
        return shown | {
            "state": "done",
            "picture": self.picture or b64encode(file).decode(),
        }


class PaintboxHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        content = json.dumps(self.server.answer(self.command, self.path, body)).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        self.wfile.write(head.encode() + content)

    do_GET = do_PUT = do_DELETE = answer  # noqa: N815 - http.server looks for these names


@pytest.fixture
def paintbox():
    server = Paintbox()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


FIRST = ("Twenty lines that work",)
HONEST = (*FIRST, "Say what you honour")
PAINTBOX = ("A backend behind HTTP", "Progress", "Cancellation", "Status", "Errors")

TestPaintbox = grown(*PAINTBOX, "Test it")["TestPaintbox"]
"""The page's own tests of its last version, collected here."""


def test_every_block_is_part_of_a_chapter_that_is_run():
    assert chapters(*HONEST, *PAINTBOX, "Test it") == BLOCKS


def test_the_first_provider_has_twenty_lines_at_most():
    (block,) = chapters(*FIRST)
    assert len([line for line in block.splitlines() if line]) <= 20


async def draw_with(provider, **fields):
    request = ImageRequest(**({"model": "one-colour", "prompt": "a red fox", "seed": 3} | fields))
    return await provider.generate(request, lambda progress: None)


@pytest.mark.parametrize("names", [FIRST, HONEST], ids=["first", "honest"])
async def test_the_first_versions_draw(names):
    provider = newest_provider(grown(*names))("paint", ProviderConfig())
    images = await draw_with(provider, n=2, negative_prompt="fog")
    assert [decode(image).size for image in images.images] == [(512, 512)] * 2
    assert images.images[1].data == (await draw_with(provider, seed=4)).images[0].data
    assert images.ignored == ({"negative_prompt"} if names is HONEST else set())


@pytest.mark.parametrize("count", range(1, 6))
async def test_every_version_for_paintbox_draws(paintbox, count):
    module = grown(*PAINTBOX[:count])
    provider = newest_provider(module)("studio", module["PaintboxConfig"](base_url=paintbox.url, poll=0))
    await provider.start()
    images = await draw_with(provider, model="oil", width=96, height=64)
    assert decode(images.images[0]).size == (96, 64)
    await provider.aclose()


async def test_a_job_that_fails_is_reported_and_stopped(paintbox):
    module = grown(*PAINTBOX)
    provider = newest_provider(module)("studio", module["PaintboxConfig"](base_url=paintbox.url, poll=0))
    with pytest.raises(module["GenerationError"], match="'studio'"):
        await draw_with(provider, model="oil", prompt="fail")
    assert paintbox.deleted == 1
    await provider.aclose()


async def test_the_first_provider_is_served_as_the_page_says(tmp_path, monkeypatch):
    (block,) = chapters(*FIRST)
    yaml, config = (
        re.search(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[1],
        tmp_path / "colours.yaml",
    )
    (tmp_path / "colours.py").write_text(block, encoding="utf-8")
    config.write_text(yaml + "server: {port: 0}\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    body = re.search(r"/v1/images/generations -d '(.*)'", TEXT)[1]
    async with listening(load(config)) as server, httpx.AsyncClient(base_url=server.url) as client:
        await server.engine.fleet.settled()
        reply = await client.post(
            "/v1/images/generations",
            content=body,
            headers={"content-type": "application/x-www-form-urlencoded"},  # as curl -d does
        )
    assert reply.status_code == 200, reply.text
    picture = Image(b64=reply.json()["data"][0]["b64_json"].encode())
    assert decode(picture).size == (512, 512)
