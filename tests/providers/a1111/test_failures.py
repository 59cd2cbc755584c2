"""What a client is told when a server of the family fails. The bodies are the servers' own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers.a1111.orders_of import answer, order, recipe

from imagerouter import (
    GenerationError,
    Hires,
    Image,
    ImageRouterError,
    Lora,
    MisconfiguredError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderBusyError,
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter_a1111.failures import failed
from imagerouter_a1111.recipe import SecondPass

SAID = {
    "sampler": "euler",
    "hires": Hires(),
    "images": (Image(data=b"x"),),
    "loras": (Lora("ink"),),
    "width": 64,
    "steps": 2,
    "strength": 0.5,
}
"""A client that has said it all."""


def webui(detail: str = "", *, error: str = "HTTPException", errors: str = "") -> dict[str, str]:
    """The shape of AUTOMATIC1111 and reForge."""
    return {"error": error, "detail": detail, "body": "", "errors": errors}


def sdnext(code: int, detail: str) -> dict[str, Any]:
    return {"error": "HTTPException", "code": code, "detail": detail, "body": "", "errors": f"{code}: {detail}"}


def judged(status: int, body: Any, *, request: Any = SAID, **settled: Any) -> ImageRouterError:
    return failed("p", answer(body, status), order(request, **settled))


@pytest.mark.parametrize(
    ("status", "body", "param", "words"),
    [
        (404, webui("Sampler not found"), "sampler", "Sampler not found"),
        (404, sdnext(404, "Sampler not found"), "sampler", "Sampler not found"),
        (400, {"detail": "Sampler not found"}, "sampler", "Sampler not found"),
        (500, webui(error="Exception", errors="could not find upscaler named Nope"), "hires.upscaler", "named Nope"),
        (404, webui("Init image not found"), "images[0]", "Init image not found"),
        (400, {"error": "Init image is none"}, "images[0]", "Init image is none"),
        (500, webui("Invalid encoded image"), "images[0]", "Invalid encoded image"),
        (500, sdnext(500, "Invalid encoded image"), "images[0]", "Invalid encoded image"),
        (400, {"error": "prompt required"}, "prompt", "prompt required"),
        (400, {"error": "invalid lora path: /srv/loras/ink.safetensors"}, "loras", "invalid lora path: …"),
        (400, {"error": "empty body"}, None, "empty body"),
        (413, b"<html><h1>Too large</h1></html>", None, "HTTP 413"),
    ],
)
def test_a_refusal_names_the_clients_parameter(status: int, body: Any, param: str | None, words: str) -> None:
    error = judged(status, body)
    assert type(error) is ProviderRejectedError
    assert error.param == param
    assert error.message.endswith(f"provider `p` rejected it: {words}") or words in error.message


@pytest.mark.parametrize("body", [webui("Sampler not found"), webui(errors="could not find upscaler named Nope")])
def test_a_client_isnt_blamed_for_what_it_hasnt_said(body: Any) -> None:
    assert judged(404, body, request=None).param is None


@pytest.mark.parametrize(
    ("field", "message", "param"),
    [
        ("width", "value is not a valid integer", "width"),
        ("steps", "Input should be a valid integer, unable to parse string as an integer", "steps"),
        ("denoising_strength", "value is not a valid float", "strength"),
        ("eta", "value is not a valid float", "provider.options.eta"),
        ("n_iter", "value is not a valid integer", None),
    ],
)
def test_a_field_that_isnt_valid_is_told_by_its_parameter_and_without_its_value(
    field: str, message: str, param: str | None
) -> None:
    body = {
        "detail": [{"loc": ["body", field], "msg": message, "type": "x", "input": "secret", "ctx": {"doc": "secret"}}]
    }
    error = judged(422, body, options={"eta": "secret"})
    assert type(error) is ProviderRejectedError
    assert error.param == param
    assert f"{field}: {message}" in error.message
    assert "secret" not in error.message


def test_the_strength_of_a_second_pass_is_its_own_parameter() -> None:
    body = {"detail": [{"loc": ["body", "denoising_strength"], "msg": "value is not a valid float"}]}
    hires = SecondPass(width=1, height=1, steps=1, strength=0.5, upscaler="Latent")
    assert judged(422, body, hires=hires).param == "hires.strength"


def test_a_body_that_the_server_cant_parse_is_no_parameters_fault() -> None:
    text = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    error = judged(422, {"detail": [{"loc": ["body", 1], "msg": text, "type": "value_error.jsondecode"}]})
    assert (type(error), error.param) == (ProviderRejectedError, None)


@pytest.mark.parametrize(
    ("body", "options", "param"),
    [
        (webui("Script 'ControlNet' not found"), {"alwayson_scripts": {"ControlNet": {}}}, "alwayson_scripts"),
        (sdnext(422, "Always on script not found: ControlNet"), {"alwayson_scripts": {"X": {}}}, "alwayson_scripts"),
        ({"detail": "always on script controlnet not found"}, {"alwayson_scripts": {"X": {}}}, "alwayson_scripts"),
        (webui("Script 'nope' not found"), {"script_name": "nope"}, "script_name"),
        (webui("Script 'nope' not found"), {"script_name": "nope", "alwayson_scripts": {"X": {}}}, "script_name"),
    ],
)
def test_a_script_that_isnt_installed_is_an_options_fault(body: Any, options: Any, param: str) -> None:
    error = judged(422, body, options=options)
    assert type(error) is ProviderRejectedError
    assert error.param == f"provider.options.{param}"


@pytest.mark.parametrize(
    "body",
    [
        webui(error="RuntimeError", errors="model 'ink' not found"),
        webui(error="Exception", errors="Could not find checkpoint with name ink"),
        {"error": "RuntimeError", "detail": "", "body": "", "message": "model 'ink' not found"},
    ],
)
def test_a_checkpoint_that_has_gone_is_a_model_that_isnt_there(body: Any) -> None:
    error = judged(500, body)
    assert (type(error), error.param) == (ModelNotFoundError, "model")


def test_a_refiner_that_isnt_there_is_the_options_fault() -> None:
    body = webui(error="Exception", errors="Could not find checkpoint with name nope")
    error = judged(500, body, options={"refiner_checkpoint": "nope"})
    assert (type(error), error.param) == (ProviderRejectedError, "provider.options.refiner_checkpoint")


@pytest.mark.parametrize(
    "body",
    [
        webui(error="OutOfMemoryError", errors="CUDA out of memory. Tried to allocate 20.00 GiB"),
        webui(error="RuntimeError", errors="CUDA error: out of memory"),
        webui(error="RuntimeError", errors="MPS backend out of memory (MPS allocated: 5.05 GB)"),
        {"error": "OutOfMemoryError", "detail": "", "body": "", "message": ""},
        b'"CUDA out of memory."',
    ],
)
def test_too_little_memory_is_told_from_other_failures(body: Any) -> None:
    assert type(judged(500, body)) is OutOfMemoryError


def test_a_setting_that_the_server_hasnt_is_for_its_owner_to_see_to() -> None:
    body = webui(error="KeyError", errors="'forge_additional_modules'")
    error = judged(500, body)
    assert type(error) is MisconfiguredError
    assert "no setting `forge_additional_modules`" in error.message
    own = judged(500, webui(error="KeyError", errors="'odd'"), of=recipe(settings={"odd": 1}))
    assert type(own) is MisconfiguredError


def test_a_setting_that_a_client_has_named_is_the_clients() -> None:
    error = judged(500, webui(error="KeyError", errors="'odd'"), options={"override_settings": {"odd": 1}})
    assert (type(error), error.param) == (ProviderRejectedError, "provider.options.override_settings")


def test_frozen_settings_are_for_the_owner_to_see_to() -> None:
    error = judged(500, webui(error="AssertionError", errors="changing settings is disabled"))
    assert type(error) is MisconfiguredError


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, {"detail": "Not Found"}), (405, {"detail": "Method Not Allowed"}), (404, b""), (404, b"<html></html>")],
)
def test_a_server_without_its_api_is_told_to_be_started_with_it(status: int, body: Any) -> None:
    error = judged(status, body)
    assert type(error) is MisconfiguredError
    assert "`--api`" in error.message


@pytest.mark.parametrize(
    ("status", "body"), [(401, webui("Not authenticated")), (401, webui("Incorrect username or password")), (403, b"")]
)
def test_wrong_credentials_arent_the_clients_fault(status: int, body: Any) -> None:
    error = judged(status, body)
    assert type(error) is ProviderError
    assert error.status == 502
    assert "credentials" in error.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, sdnext(429, "127.0.0.1:/sdapi/v1/txt2img: rate limit exceeded")),
        (503, {"detail": {"msg": "Server is busy; please try again later.", "type": "service_unavailable"}}),
    ],
)
def test_a_busy_server_says_when_to_come_back(status: int, body: Any) -> None:
    error = failed("p", answer(body, status, **{"retry-after": "7"}), order())
    assert type(error) is ProviderBusyError
    assert error.retry_after == 7
    assert "127.0.0.1" not in error.message
    assert "sdapi" not in error.message


@pytest.mark.parametrize(
    ("status", "kind"), [(502, ProviderUnavailableError), (504, ProviderTimeoutError), (408, ProviderTimeoutError)]
)
def test_a_proxys_own_page_counts_only_by_its_status(status: int, kind: type[Exception]) -> None:
    error = judged(status, b"<html><body>Bad Gateway out there</body></html>")
    assert type(error) is kind
    assert "Gateway" not in error.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (webui(error="IndexError", errors="list index out of range"), "list index out of range (IndexError)"),
        (webui(error="RuntimeError", errors="number of steps must be non-negative"), "must be non-negative"),
        (webui(error="ZeroDivisionError", errors="integer division or modulo by zero"), "by zero (ZeroDivisionError)"),
        (webui(error="KeyError", errors="'time_embed'"), "'time_embed' (KeyError)"),
        (
            {"error": "server_error", "message": "[json.exception.type_error.302] type must be number, but is string"},
            "type must be number, but is string",
        ),
        (b"\"unsupported operand type(s) for /: 'str' and 'int'\"", "unsupported operand type(s)"),
        ({"error": "ValueError", "detail": "", "body": "", "message": "in Forge's shape"}, "in Forge's shape"),
        ({"error": "the model is gone"}, "failed to draw it: the model is gone"),
        (b"Internal Server Error", "failed to draw it: Internal Server Error"),
        (b"<html>oops</html>", "failed to draw it: HTTP 500"),
        (b"", "failed to draw it: HTTP 500"),
        ([1], "failed to draw it: HTTP 500"),
        (
            webui(
                error="NansException", errors="A tensor with all NaNs was produced in Unet. Use --no-half to fix this."
            ),
            "A tensor with all NaNs was produced in Unet. Use --no-half to fix this. (NansException)",
        ),
    ],
)
def test_any_other_failure_is_told_in_the_servers_own_words(body: Any, words: str) -> None:
    error = judged(500, body)
    assert type(error) is GenerationError
    assert error.message.count(words) == 1


def test_neither_paths_nor_tracebacks_nor_the_clients_prompt_are_shown() -> None:
    prompt = "a fox that reads a long book by the fire"
    text = f'bad: {prompt} in /home/me/webui/modules/x.py\nTraceback (most recent call last):\n  File "y.py"'
    message = judged(500, webui(error="Exception", errors=text), request={"prompt": prompt}).message
    assert message == "provider `p` failed to draw it: bad: … in …"


def test_a_prompt_that_is_repeated_says_nothing_about_the_failure() -> None:
    prompt = "an upscaler that is out of memory, lora and path"
    body = webui(error="ValueError", errors=f"can't draw: {prompt}")
    assert type(judged(500, body, request={**SAID, "prompt": prompt})) is GenerationError


@pytest.mark.parametrize("words", ["lora ", "model '", "model 'model "])
def test_words_without_an_end_take_no_longer_than_others(words: str) -> None:
    assert len(judged(500, webui(error="Exception", errors=words * 50_000)).message) < 600


values = st.none() | st.integers() | st.text(max_size=20)
bodies = st.dictionaries(
    st.sampled_from(["error", "errors", "message", "detail"]),
    values | st.lists(st.dictionaries(st.sampled_from(["loc", "msg"]), values | st.lists(values))),
)


@given(status=st.integers(300, 599), body=bodies | values | st.lists(values) | st.binary(max_size=20))
def test_whatever_a_server_answers_becomes_one_of_our_errors(status: int, body: Any) -> None:
    error = judged(status, body)
    assert isinstance(error, ImageRouterError)
    assert error.status not in (401, 403)
    assert "`p`" in error.message
