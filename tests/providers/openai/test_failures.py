"""What goes wrong, in the client's words."""

from __future__ import annotations

import json

import pytest
from tests.providers.openai.asking import draw, started
from tests.providers.openai.fake import DIFFUSERS, Answer, FakeOpenAI

from imagerouter import (
    GenerationError,
    MisconfiguredError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderBusyError,
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter.errors import ContentPolicyError
from imagerouter_openai import api


def error(message, **more):
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}}


LIMIT = "Rate limit reached for gpt-image-2 in organization org-Secret on images per min"
CASES = [
    (400, error("Your request was rejected by the safety system.", code="moderation_blocked"), ContentPolicyError),
    (400, error("No.", code="content_policy_violation"), ContentPolicyError),
    (400, error("Invalid size", param="size", code="invalid_value"), ProviderRejectedError),
    (400, {"error": "prompt required"}, ProviderRejectedError),
    (
        422,
        {"detail": [{"loc": ["body", "quality"], "msg": "Input should be valid", "input": "x"}]},
        ProviderRejectedError,
    ),
    (401, error("Incorrect API key provided: sk-Secret"), ProviderError),
    (403, error("organization org-Secret must be verified"), ProviderError),
    (404, error("The model does not exist", code="model_not_found"), ModelNotFoundError),
    (404, {"error": {"message": "The model `x` does not exist.", "param": "model", "code": 404}}, ModelNotFoundError),
    (404, {"detail": "Not Found"}, MisconfiguredError),
    (405, b"", MisconfiguredError),
    (408, b"", ProviderTimeoutError),
    (429, error(LIMIT, code="rate_limit_exceeded"), ProviderBusyError),
    (429, error("You exceeded your current quota", code="insufficient_quota"), MisconfiguredError),
    (500, error("The server had an error", type="server_error"), GenerationError),
    (500, {"detail": "CUDA out of memory. Tried to allocate 2 GiB"}, OutOfMemoryError),
    (502, b"<html>", ProviderUnavailableError),
    (503, error("overloaded"), ProviderBusyError),
    (504, b"", ProviderTimeoutError),
]


@pytest.mark.parametrize(("status", "body", "kind"), CASES, ids=str)
async def test_every_refusal_is_the_error_that_it_means_and_is_not_tried_again(openai, status, body, kind):
    openai.answers += [Answer(status, body, {"retry-after": "7", "x-should-retry": "true"})] * 2
    async with started(openai.url) as provider:
        with pytest.raises(kind) as raised:
            await draw(provider, quality="high")
    assert type(raised.value) is kind
    assert len(openai.asked) == 1
    assert "Secret" not in raised.value.message
    assert raised.value.retry_after == (7 if kind is ProviderBusyError else None)


async def test_the_refusal_names_the_clients_parameter_and_says_why():
    named = {"size": "size", "num_inference_steps": "steps", "model": None, "loras[0].name": None}
    async with FakeOpenAI(("z",), owner="vllm", takes=DIFFUSERS) as vllm, started(vllm.url) as provider:
        for theirs, ours in named.items():
            vllm.answers.append(Answer(400, error("must be smaller than that", param=theirs)))
            with pytest.raises(ProviderRejectedError, match="must be smaller than that") as raised:
                await draw(provider, model="z", steps=200)
            assert raised.value.param == ours


async def test_a_policys_words_reach_the_client_without_addresses(openai):
    words = "Rejected by the safety system. See https://help.openai.com/123 for more."
    openai.answers.append(Answer(400, error(words, code="moderation_blocked", type="image_generation_user_error")))
    async with started(openai.url) as provider:
        with pytest.raises(ContentPolicyError) as raised:
            await draw(provider)
    assert raised.value.message == "Rejected by the safety system. See … for more."


IN_STREAM = [
    ({"message": "no", "code": "moderation_blocked"}, ContentPolicyError),
    ({"message": "`steps` must be at most 10", "code": "invalid_value", "param": "quality"}, ProviderRejectedError),
    ({"message": "the queue is full", "code": "queue_full"}, ProviderBusyError),
    ({"message": "took too long", "code": "provider_timeout"}, ProviderTimeoutError),
    ({"message": "no memory", "code": "provider_out_of_memory"}, OutOfMemoryError),
    ({"message": "gone", "code": "model_not_found"}, ModelNotFoundError),
    ({"message": "odd", "code": None, "type": "server_error"}, GenerationError),
    ("odd", GenerationError),
]


@pytest.mark.parametrize(("said", "kind"), IN_STREAM, ids=str)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_inside_of_an_answer_is_an_error(openai, said, kind, stream):
    body = {"type": "error", "error": said}
    sent = f"event: error\ndata: {json.dumps(body)}\n\n".encode() if stream else body
    openai.answers.append(Answer(200, sent, {"content-type": "text/event-stream"} if stream else {}))
    async with started(openai.url) as provider:
        with pytest.raises(kind) as raised:
            await draw(provider, quality="high", partial_images=1)
    assert raised.value.param == {ContentPolicyError: "prompt", ModelNotFoundError: "model"}.get(
        kind, "quality" if kind is ProviderRejectedError else None
    )


async def test_a_key_that_the_server_does_not_know_is_our_fault_from_the_start(openai):
    openai.key = "right"
    with pytest.raises(ProviderError, match="credentials") as raised:
        async with started(openai.url, api_key="wrong"):
            pass
    assert raised.value.status == 502
    assert "wrong" not in raised.value.message


async def test_silence_is_a_timeout_after_which_nobody_asks_again(openai, monkeypatch):
    monkeypatch.setattr(api, "SLACK_SECONDS", 0.0)
    async with started(openai.url, timeout=0.05) as provider:
        with pytest.raises(ProviderTimeoutError):
            await draw(provider, prompt="slowly")
    assert openai.paths.count("/v1/images/generations") <= 1
