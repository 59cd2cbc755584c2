"""The stand-in against transcripts of a real ComfyUI 0.33: the same graphs give the same events and errors."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import httpx
import PIL.Image
import pytest
from tests.providers.comfyui.fake import FakeComfy
from tests.providers.comfyui.tapes import TAPES
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

RECORDED_FILES = ["tiny_a.ckpt", "tiny_b.ckpt", "tiny_c.safetensors", "tiny_inpaint.ckpt"]


def lines_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TAPES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def is_last(message: Any) -> bool:
    return message["type"] == "executing" and message["data"]["node"] is None


def sign(message: Any) -> str:
    """What a message is, without the names in it: a server may take independent nodes in another order."""
    kind, data = message["type"], message["data"]
    match kind:
        case "progress_state":
            *_, newest = data["nodes"].values()
            return f"{kind} {len(data['nodes'])} {newest['state']} {newest['value']:g}/{newest['max']:g}"
        case "executing":
            return kind if data["node"] else f"{kind} nothing"
        case "progress":
            return f"{kind} {data['value']}/{data['max']}"
        case "status":
            return f"{kind} {data['status']['exec_info']['queue_remaining']}"
        case "execution_cached":
            return f"{kind} {sorted(data['nodes'])}"
        case "execution_interrupted":
            return f"{kind} {data['node_type']} {data['executed']}"
    return str(kind)


def recorded(lines: list[dict[str, Any]], label: str) -> list[tuple[dict[str, Any], list[str]]]:
    """Each submission with the signs of what was sent to the socket until its end."""
    jobs: list[tuple[dict[str, Any], list[str]]] = []
    over = True
    for line in lines:
        if line["kind"] == "http" and line["method"] == "POST" and line["path"] == "/prompt":
            jobs.append((line["request"], []))
            over = False
        elif over or line.get("ws") != label:
            continue
        elif line["kind"] == "ws_binary":
            jobs[-1][1].append(f"frame {line['frame']['event']}")
        elif line["kind"] == "ws_text":
            jobs[-1][1].append(sign(line["message"]))
            over = is_last(line["message"])
    return jobs


class Client:
    """One socket and what it hears."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection) -> None:
        self.http = http
        self.socket = socket

    async def submit(self, body: dict[str, Any]) -> str:
        answer = await self.http.post("/prompt", json=body | {"client_id": "me"})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["prompt_id"])

    async def hears(self) -> list[str]:
        """Signs up to the end of a job."""
        signs = []
        async for message in self.socket:
            if isinstance(message, bytes):
                signs.append(f"frame {struct.unpack('>I', message[:4])[0]}")
                continue
            signs.append(sign(json.loads(message)))
            if is_last(json.loads(message)):
                break
        return signs


@pytest.fixture
async def comfy():
    async with FakeComfy(previews="latent2rgb", files={"checkpoints": RECORDED_FILES}) as fake:
        yield fake


@pytest.fixture
async def client(comfy):
    address = comfy.url.replace("http", "ws") + "/ws?clientId=me"
    async with (
        httpx.AsyncClient(base_url=comfy.url, verify=False) as http,
        connect(address, max_size=None, max_queue=None) as socket,
    ):
        assert sign(json.loads(await socket.recv())) == "status 0"
        yield Client(http, socket)


async def test_a_picture_its_rerun_from_the_cache_and_variations_are_told_as_recorded(client):
    for body, expected in recorded(lines_of("txt2img_then_cached"), "A"):
        await client.submit(body)
        assert await client.hears() == expected


async def test_previews_and_pictures_come_in_frames_without_names_by_default(client):
    jobs = [job for job in recorded(lines_of("websocket_images_and_previews"), "A") if "executing nothing" in job[1]]
    for body, expected in jobs:
        await client.submit(body)
        heard = await client.hears()
        assert [sign for sign in heard if sign.startswith("frame")] == [
            sign for sign in expected if sign.startswith("frame")
        ]


async def test_previews_and_pictures_come_in_frames_with_names_to_those_who_asked(client):
    flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
    await client.socket.send(json.dumps(flags))
    assert sign(json.loads(await client.socket.recv())) == "feature_flags"
    (body, expected) = next(
        job for job in recorded(lines_of("websocket_images_and_previews"), "B") if "execution_start" in job[1]
    )
    warm = json.loads(json.dumps(body))
    warm["prompt"]["5"]["inputs"]["batch_size"] = 1  # as the one before it on the tape
    await client.submit(warm)
    await client.hears()
    await client.submit(body)
    assert await client.hears() == expected


def without_tooltips(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_tooltips(item) for name, item in value.items() if name not in UNTOLD}
    return [without_tooltips(item) for item in value] if isinstance(value, list) else value


UNTOLD = ("tooltip", "dynamicPrompts", "round")
"""What the stand-in's classes don't have."""

REFUSED = [
    line
    for line in lines_of("validation_errors")
    if line["kind"] == "http" and line["status"] >= 400 and isinstance(line["request"], dict)
]


@pytest.mark.parametrize("line", REFUSED, ids=range(len(REFUSED)))
async def test_what_the_real_server_refused_is_refused_in_the_same_words(client, line):
    answer = await client.http.post("/prompt", json=line["request"])
    assert answer.status_code == line["status"]
    if answer.status_code == 400:
        expected = without_tooltips(line["response"])
        found = without_tooltips(answer.json())
        assert found["error"] == expected["error"]
        assert found["node_errors"].keys() == expected["node_errors"].keys()
        for node, told in expected["node_errors"].items():
            assert sorted(map(str, found["node_errors"][node]["errors"])) == sorted(map(str, told["errors"]))


def graph(**sampler: Any) -> dict[str, Any]:
    body = lines_of("txt2img_then_cached")[2]["request"]
    body["prompt"]["3"]["inputs"] |= sampler
    return body


async def test_an_interrupt_while_a_model_is_loaded_takes_effect_at_the_next_node(comfy, client):
    (body, expected) = recorded(lines_of("two_clients"), "A")[-1]
    warm = graph()
    warm["prompt"]["4"]["inputs"]["ckpt_name"] = "tiny_a.ckpt"
    warm["prompt"]["5"] = body["prompt"]["5"]
    await client.submit(warm)
    await client.hears()
    comfy.hold("CheckpointLoader")
    prompt_id = await client.submit(body)
    assert await comfy.running() == prompt_id
    await client.http.post("/interrupt", json={"prompt_id": prompt_id})
    heard = await client.hears()
    assert heard[-3:] == ["execution_interrupted CLIPTextEncode ['4']", "status 0", "executing nothing"]
    assert [sign for sign in heard if sign != "executing nothing"] == expected[: len(heard) - 1]


async def test_an_error_in_a_node_is_told_and_the_next_job_runs(comfy, client):
    comfy.fail("torch.OutOfMemoryError", "Allocation on device", "KSampler")
    await client.submit(graph())
    assert (await client.hears())[-3:] == ["execution_error", "status 0", "executing nothing"]
    await client.submit(graph())
    assert "execution_success" in await client.hears()


async def test_jobs_run_by_number_and_a_cancelled_one_is_never_heard_of(comfy, client):
    comfy.hold()
    first, second, third = [await client.submit(graph(seed=seed)) for seed in range(3)]
    assert await comfy.running() == first
    assert (await client.http.post(f"/api/jobs/{second}/cancel")).json() == {"cancelled": True}
    assert (await client.http.get(f"/api/jobs/{second}")).status_code == 404
    front = await client.submit(graph(seed=9) | {"front": True})
    comfy.release()
    await comfy.until(lambda: third in comfy.history)
    assert [*comfy.history] == [first, front, third]
    assert (comfy.cancelled, comfy.interrupted) == ([second], [])


async def test_the_picture_is_as_large_as_the_graph_says_and_holds_it(client):
    body = graph()
    body["prompt"]["5"]["inputs"] |= {"width": 100, "height": 68}  # the real server gave 96 x 64, too
    prompt_id = await client.submit(body)
    await client.hears()
    entry = (await client.http.get(f"/history/{prompt_id}")).json()[prompt_id]
    (image,) = entry["outputs"]["9"]["images"]
    picture = PIL.Image.open(io.BytesIO((await client.http.get("/view", params=image)).content))
    assert picture.size == (96, 64)
    assert json.loads(picture.info["prompt"]) == body["prompt"]


async def test_uploads_of_one_name_are_kept_apart_by_their_bytes(client):
    async def upload(data: bytes, **fields: str) -> Any:
        return (await client.http.post("/upload/image", files={"image": ("src.png", data)}, data=fields)).json()

    names = [(await upload(data))["name"] for data in (b"one\r\n\xff", b"one\r\n\xff", b"two")]
    assert names == ["src.png", "src.png", "src (1).png"]
    assert await upload(b"three", overwrite="true", subfolder="gw/2026") == {
        "name": "src.png",
        "subfolder": "gw/2026",
        "type": "input",
    }


async def test_a_killed_server_comes_back_empty(comfy, client):
    comfy.hold()
    await client.submit(graph())
    await comfy.running()
    await comfy.kill()
    with pytest.raises(httpx.TransportError):
        await client.http.get("/prompt")
    await comfy.restart()
    assert (await client.http.get("/history")).json() == {}
    assert (await client.http.post("/prompt", json=graph())).json()["number"] == 0


async def test_an_old_server_draws_its_own_ids_knows_no_jobs_and_interrupts_whatever_runs():
    mine = "8d2a1c3e-5f60-4b71-9a82-0c1d2e3f4a5b"
    async with (
        FakeComfy(old=True, files={"checkpoints": RECORDED_FILES}) as old,
        httpx.AsyncClient(verify=False) as http,
    ):
        http.base_url = old.url
        old.hold()
        answer = (await http.post("/prompt", json=graph() | {"prompt_id": mine})).json()
        assert answer["prompt_id"] == await old.running() != mine
        assert (await http.get("/api/jobs")).status_code == 404
        assert (await http.post(f"/api/jobs/{mine}/cancel")).status_code == 404
        await http.post("/interrupt", json={"prompt_id": mine})
        await old.until(lambda: old.interrupted == [answer["prompt_id"]])


async def test_behind_a_proxy_both_doors_want_the_token():
    token = {"authorization": "Bearer sesame"}
    async with FakeComfy(prefix="/comfy", required_headers=token) as comfy, httpx.AsyncClient(verify=False) as http:
        assert (await http.get(f"{comfy.url}/prompt")).status_code == 401
        assert (await http.get(f"{comfy.url}/prompt", headers=token)).json() == {"exec_info": {"queue_remaining": 0}}
        address = comfy.url.replace("http", "ws") + "/ws?clientId=me"
        with pytest.raises(InvalidStatus):
            await connect(address)
        async with connect(address, additional_headers=token) as socket:
            assert sign(json.loads(await socket.recv())) == "status 0"


async def test_jobs_of_nobody_are_told_to_everybody_but_not_whole(comfy, client):
    """As recorded: progress and interruptions are broadcast, the rest is not sent."""
    body = graph()
    del body["client_id"]
    await client.http.post("/prompt", json=body)
    heard: list[str] = []
    while not heard or heard[-1] != "status 0":
        message = await client.socket.recv()
        heard.append("frame" if isinstance(message, bytes) else sign(json.loads(message)))
    assert {sign.split()[0] for sign in heard} == {"status", "progress_state", "progress", "frame"}
