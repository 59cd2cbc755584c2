"""The OpenAPI document tells the truth: what it allows is never a defect, and every answer is one that it describes."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.http.test_edits import file

from imagerouter.app import answers
from imagerouter.app.chat_answers import CHUNKS
from imagerouter.app.events import EVENTS
from imagerouter.app.schemas import ANSWERS
from imagerouter.errors import GenerationError

JSON = "application/json"
FORM = "multipart/form-data"
WITH_FORMS = ("/v1/images/generations", "/v1/images/edits", "/v1/images/variations", "/v1/route")
WITH_BODIES = (*WITH_FORMS, "/v1/chat/completions")
SHAPES = {shape.__name__: shape for shape in (*ANSWERS, answers.Model)}
FAKE = "type: 'imagerouter.testing:FakeProvider', steps: 1"
FLEET = (
    f"providers: {{one: {{{FAKE}, models: [a, b]}}, two: {{{FAKE}, models: [a]}}}}\n"
    "models: {a: {aliases: [short], targets: [{provider: one, price: 0.02, weight: 2}, {provider: two, order: 1}]}}\n"
    "limits: {max_n: 2, max_side: 128, max_steps: 8}\n"
)
ADMIN = {"authorization": "Bearer admins-secret"}


class Document:
    """The document, and whether an answer is in it."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.schemas: dict[str, Any] = raw["components"]["schemas"]

    def operation(self, method: str, path: str) -> dict[str, Any]:
        operation: dict[str, Any] = self.raw["paths"][path][method.lower()]
        return operation

    def body(self, path: str, media_type: str = JSON) -> dict[str, Any]:
        """The schema of a body."""
        return self.resolved(self.operation("post", path)["requestBody"]["content"][media_type]["schema"])

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        return self.schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def holds(self, reply: httpx.Response, path: str) -> None:
        """Fail unless the status, its headers and the whole of the body are as documented."""
        about = self.operation(reply.request.method, path)["responses"].get(str(reply.status_code))
        assert about is not None, (reply.status_code, reply.text)
        assert {name for name, header in about["headers"].items() if header["required"]} <= reply.headers.keys()
        if not reply.content:
            return
        media_type = reply.headers["content-type"].partition(";")[0]
        if media_type.startswith("image/"):
            assert "image/*" in about["content"]
        elif media_type == JSON:
            same(reply.json(), about["content"][JSON]["schema"]["$ref"].rpartition("/")[2])
        else:
            assert media_type in about["content"]
            for event in events(reply.text):
                same(event, next(shape.__name__ for shape in (*EVENTS, *CHUNKS) if fits(event, shape)))


def same(told: Any, name: str) -> None:
    """Nothing is missing and nothing left over: keys that a type doesn't have are lost on the way through it."""
    assert json.loads(msgspec.json.encode(msgspec.convert(told, SHAPES[name]))) == told


def fits(told: Any, shape: type[Any]) -> bool:
    try:
        msgspec.convert(told, shape)
    except msgspec.ValidationError:
        return False
    return True


def events(text: str) -> list[Any]:
    told = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(data) for data in told if data != "[DONE]"]


async def document_of(running: Any) -> Document:
    return Document((await running.http.get("/docs/openapi.json")).json())


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """All objects inside of a JSON value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(inner)


@pytest.fixture
async def fleet(start: Any) -> tuple[Any, Document]:
    running = await start(FLEET)
    return running, await document_of(running)


async def test_the_document_holds_together(running: Any) -> None:
    document = await document_of(running)
    assert document.raw["openapi"].startswith("3.1.")
    references = {part["$ref"] for part in parts(document.raw) if isinstance(part.get("$ref"), str)}
    named = {f"#/components/schemas/{name}" for name in document.schemas}
    assert references == named
    operations = [operation for path in document.raw["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len({*ids})
    assert all(operation["summary"] and operation["responses"] for operation in operations)


async def test_every_example_is_served_as_it_stands(running: Any) -> None:
    document = await document_of(running)
    served = []
    for path, operations in document.raw["paths"].items():
        for example in document.body(path).get("examples", ()) if "requestBody" in operations.get("post", {}) else ():
            reply = await running.http.post(path, json=example)
            assert reply.status_code == 200, reply.text
            document.holds(reply, path)
            served.append(path)
    assert served == [*WITH_BODIES]


async def test_what_can_be_asked_is_answered_as_described(fleet: Any) -> None:
    running, document = fleet
    running.fake("two").fail_with(GenerationError("no"))
    assert (await running.draw(model="b", n=2)).status_code == 200
    assert (await running.draw(provider={"only": ["two"]})).status_code == 502
    for path in ("/v1/models", "/v1/providers", "/health/live", "/health/ready"):
        document.holds(found := await running.http.get(path), path)
        document.holds(head := await running.http.head(path), path)
        assert (head.status_code, head.headers["content-type"], head.content) == (200, JSON, b"")
        # The age of an error has more digits a moment later.
        assert path == "/v1/providers" or head.headers["content-length"] == str(len(found.content))
    for name in ("a", "short", "b", "c", "a/b/c"):
        document.holds(await running.http.get(f"/v1/models/{name}"), "/v1/models/{model_id}")
    for asked in ({}, {"models": ["b", "a"], "n": 2}, {"size": "4096x4096"}, {"provider": {"only": ["x"]}}, {"n": 0}):
        document.holds(await running.http.post("/v1/route", json=asked), "/v1/route")


async def test_a_reload_is_answered_as_described(start: Any) -> None:
    running = await start("server: {port: 0, admin_key: admins-secret}\nkeys: {alice: {secret: secret-of-alice}}")
    document = await document_of(running)
    statuses = []
    for headers in (ADMIN, {}, {"x-api-key": "secret-of-alice"}):
        reply = await running.http.post("/v1/reload", headers=headers)
        document.holds(reply, "/v1/reload")
        statuses.append(reply.status_code)
    assert statuses == [200, 401, 403]


async def test_pictures_by_link_are_as_described(start: Any, tmp_path: Any) -> None:
    running = await start(f"results: {{url: {tmp_path}}}")
    document = await document_of(running)
    reply = await running.draw(response_format="url")
    document.holds(reply, "/v1/images/generations")
    url, etag = reply.json()["data"][0]["url"], (await running.http.get(reply.json()["data"][0]["url"])).headers["etag"]
    statuses = []
    for method, address, headers in (
        ("GET", url, {}),
        ("HEAD", url, {}),
        ("GET", url, {"range": "bytes=0-9"}),
        ("GET", url, {"range": "bytes=99999999-"}),
        ("GET", url, {"if-none-match": etag}),
        ("GET", url + "x", {}),
    ):
        reply = await running.http.request(method, address, headers=headers)
        document.holds(reply, "/v1/files/{name}")
        statuses.append(reply.status_code)
    assert statuses == [200, 200, 206, 416, 304, 403]


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits", "/v1/images/variations"])
async def test_events_are_as_described(running: Any, path: str) -> None:
    document = await document_of(running)
    asked = {"prompt": "x", "stream": True, "stream_progress": True, "partial_images": 1}
    picture = {} if path.endswith("generations") else {"images": [base64.b64encode(file()).decode()]}
    reply = await running.http.post(path, json={**asked, **picture})
    document.holds(reply, path)
    running.fake().fail_with(GenerationError("no"))
    document.holds(broken := await running.http.post(path, json={**asked, **picture}), path)
    kinds = {event["type"].partition(".")[2] for event in events(reply.text)}
    assert {"partial_image", "completed", "progress"} <= kinds
    assert events(broken.text)[-1]["type"] == "error"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
PICTURES = (file(size=(8, 8)), file(size=(16, 8), kind="JPEG"), file((0, 0, 0, 0), size=(8, 8)))
TEXTS = ("a", "b", "nobody", "auto", "64x64", "16:9", "euler", "one")


def values(schema: dict[str, Any], document: Document) -> st.SearchStrategy[Any]:
    """What a schema of the document allows, with texts that often mean something."""
    schema = document.resolved(schema)
    if "anyOf" in schema:
        return st.one_of([values(choice, document) for choice in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "integer" | "number" | "string":
            return scalars(schema)
        case "array":
            size = {"min_size": schema.get("minItems", 0), "max_size": min(schema.get("maxItems", 3), 3)}
            return st.lists(values(schema["items"], document), **size)
        case "object":
            return objects(schema, document)
    return {"boolean": st.booleans(), "null": st.none()}.get(schema.get("type", ""), anything)


def scalars(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if schema["type"] == "integer":
        return st.integers(least, most) | st.integers(least or 0, min(most or 64, 64))
    if schema["type"] == "number":
        return st.floats(schema.get("exclusiveMinimum", least), most, allow_nan=False, allow_infinity=False)
    if schema.get("format") == "binary":
        return st.one_of(st.sampled_from(PICTURES), st.sampled_from(PICTURES), st.binary(max_size=20))
    return st.sampled_from(TEXTS) | st.text(min_size=schema.get("minLength", 0), max_size=20)


def objects(schema: dict[str, Any], document: Document) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        return st.dictionaries(st.sampled_from(TEXTS), values(schema.get("additionalProperties", {}), document))
    inner = {name: st.deferred(lambda each=each: values(each, document)) for name, each in schema["properties"].items()}
    encoded = st.sampled_from([base64.b64encode(picture).decode() for picture in PICTURES])
    if "images" in inner:
        inner["images"] |= st.lists(encoded, min_size=1, max_size=2)
    needed = {name: inner[name] for name in schema.get("required", ())}
    together = schema.get("dependentRequired", {})

    def with_some(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        chosen = {*names, *(other for name in names for other in together.get(name, ()))}
        return st.fixed_dictionaries({**needed, **{name: inner[name] for name in sorted(chosen)}})

    return st.lists(st.sampled_from(sorted(inner)), max_size=4).flatmap(with_some)


def flat(value: Any) -> list[bytes]:
    """The files of a field."""
    return [] if value is None else value if isinstance(value, list) else [value]


fuzzed = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@fuzzed
@given(data=st.data())
async def test_no_body_is_answered_with_a_defect_or_with_what_is_not_described(fleet: Any, data: Any) -> None:
    running, document = fleet
    path = data.draw(st.sampled_from(WITH_BODIES))
    body = data.draw(objects(document.body(path), document))
    if data.draw(st.booleans()):
        body = {**body, data.draw(st.sampled_from(sorted(document.body(path)["properties"]))): data.draw(anything)}
    reply = await running.http.post(path, json=body)
    document.holds(reply, path)
    assert reply.status_code < 500, reply.text


@fuzzed
@given(data=st.data())
async def test_no_form_is_either(fleet: Any, data: Any) -> None:
    running, document = fleet
    path = data.draw(st.sampled_from(WITH_FORMS))
    fields = data.draw(objects(document.body(path, FORM), document))
    parts = [(name, (name, item)) for name in ("image", "mask") for item in flat(fields.pop(name, None))]
    for name, value in fields.items():
        parts.append((name, (None, value if isinstance(value, str) else json.dumps(value))))
    reply = await running.http.post(path, files=[*parts, ("nobody", (None, "x"))])
    document.holds(reply, path)
    assert reply.status_code < 500, reply.text
