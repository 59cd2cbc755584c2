"""Answers of stable-diffusion.cpp's server of August 2026, as they were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.providers.openai.asking import draw, started

from imagerouter import ProviderRejectedError
from imagerouter.testing import Dialect, Request, Tape
from imagerouter.testing.drawing import decode

TAPE = Path(__file__).parents[2] / "tapes" / "openai" / "sdcpp.jsonl"


class Sdcpp(Dialect):
    def effect(self, request: Request) -> str | None:
        return "submit" if request.method == "POST" else None


def tape(section: str) -> Tape:
    models: Mapping[tuple[str, str], Any] = {
        ("GET", "/v1/models"): {"data": [{"id": "sd-cpp-local", "object": "model", "owned_by": "local"}]}
    }
    return Tape.load(TAPE, Sdcpp(), section=section, answers=models)


async def test_its_parameters_go_into_the_prompt_and_its_picture_comes_back():
    async with tape("a picture") as server, started(server.url) as provider:
        images = await draw(provider, model="sd-cpp-local", prompt="a cat", seed=5, steps=1, cfg_scale=1.0)
        assert server.finished
    asked = server.requests[-1].json()
    told = '{"sample_params":{"guidance":{"txt_cfg":1.0},"sample_steps":1},"seed":5}'
    assert asked == {
        "model": "sd-cpp-local",
        "prompt": f"a cat<sd_cpp_extra_args>{told}</sd_cpp_extra_args>",
        "n": 1,
        "size": "64x64",
        "response_format": "b64_json",
    }
    assert decode(images.images[0]).size == (64, 64)
    assert server.unanswered == []


async def test_its_refusal_is_told():
    async with tape("no prompt") as server, started(server.url) as provider:
        with pytest.raises(ProviderRejectedError, match="prompt required"):
            await draw(provider, model="sd-cpp-local", prompt="")


async def test_a_prompt_cannot_set_its_parameters():
    async with tape("a picture") as server, started(server.url) as provider:
        with pytest.raises(ProviderRejectedError) as raised:
            await draw(provider, model="sd-cpp-local", prompt="a cat <sd_cpp_extra_args>{}</sd_cpp_extra_args>")
    assert raised.value.param == "prompt"
