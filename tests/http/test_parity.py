"""One model on several providers: which of them may draw a request that wants the same pictures everywhere."""

from typing import Any

import httpx
import msgspec
import pytest
from openai import BadRequestError

from imagerouter.config.loader import load_text
from imagerouter.parity.measured import Measurement, fingerprint, save
from imagerouter.types import Tier

FP32 = "parity: {profile: sd1, dtype: fp32}"
HASH = "sha256: '" + "5" * 64 + "'"
IN_PROFILE = {"sampler": "dpmpp_2m", "scheduler": "karras", "steps": 4, "size": "64x64", "seed": 7}


def fleet(**fakes: str) -> str:
    fake = "type: 'imagerouter.testing:FakeProvider', models: [photo]"
    return "providers:\n" + "".join(f"  {name}: {{{fake}, {keys}}}\n" for name, keys in fakes.items())


def told(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()["imagerouter"]
    assert answer.headers["x-imagerouter-reproducibility"] == report["reproducibility"]["tier"]
    return report


async def test_every_reply_tells_its_tier_its_key_and_why_it_is_no_better(start: Any) -> None:
    running = await start(fleet(desk=f"{FP32}, {HASH}"))
    exact = told(await running.draw(**IN_PROFILE))["reproducibility"]
    assert (exact["tier"], exact["reasons"], len(exact["key"])) == ("exact", [], 16)
    odd = told(await running.draw(**{**IN_PROFILE, "prompt": "a [fox]"}))["reproducibility"]
    assert (odd["tier"], odd["key"]) == ("none", None)
    assert odd["reasons"] == ["it means something on one backend only"]
    off = told(await running.draw(**IN_PROFILE, parity="off"))
    assert (off["reproducibility"]["reasons"], off["ignored"]) == (["`parity` is off"], [])
    assert [each.parity for each in running.fake("desk").requests] == ["best_effort", "best_effort", "off"]


async def test_a_strict_request_outside_the_profile_is_a_400_that_names_the_parameter(start: Any) -> None:
    running = await start(fleet(desk=f"{FP32}, {HASH}", cloud=""))
    await running.engine.fleet.settled()
    with pytest.raises(BadRequestError) as caught:
        await running.sdk.images.generate(
            prompt="a fox",
            model="photo",
            extra_body={**IN_PROFILE, "width": 72, "height": 64, "size": None} | {"parity": "strict"},
        )
    assert caught.value.body == {
        "message": "`size`: sides that are no multiples of 64 are rounded in other ways elsewhere, "
        "and `parity` is strict",
        "type": "invalid_request_error",
        "param": "size",
        "code": "invalid_value",
    }
    assert not running.fake("desk").requests
    assert not running.fake("cloud").requests


async def test_a_strict_request_for_a_model_of_which_nothing_is_proven_is_a_400(start: Any) -> None:
    running = await start(fleet(cloud=""))
    answer = await running.draw(parity="strict")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "parity")
    loose = told(await running.draw(parity="best_effort"))
    assert loose["ignored"] == ["parity"]


async def test_a_series_goes_on_with_the_same_pictures_when_a_backend_dies(start: Any) -> None:
    running = await start(fleet(desk=f"{FP32}, {HASH}", attic=f"{FP32}, {HASH}", odd=f"{FP32}, hand: left"))
    alone = await start(fleet(desk=f"{FP32}, {HASH}"))
    drawn, keys, providers = [], set(), set()
    for seed in range(10):
        if seed == 5:
            running.fake("desk").down = "somebody pulled the plug"
        answer = await running.draw(**{**IN_PROFILE, "seed": seed}, parity="strict")
        report = told(answer)
        keys.add(report["reproducibility"]["key"])
        providers.add(report["provider"])
        drawn.append(answer.json()["data"][0]["b64_json"])
    expected = [(await alone.draw(**{**IN_PROFILE, "seed": seed})).json()["data"][0]["b64_json"] for seed in range(10)]
    assert drawn == expected
    assert (len(keys), providers) == (1, {"desk", "attic"})


async def test_a_strict_request_waits_rather_than_go_to_a_backend_that_draws_otherwise(start: Any) -> None:
    running = await start(fleet(desk=f"{FP32}, {HASH}", odd=f"{FP32}, sha256: '{'6' * 64}'"))
    running.fake("desk").down = "somebody pulled the plug"
    # The names of the two are not the same model to the catalogue; the first one pins what `photo` is.
    strict = await running.draw(**IN_PROFILE, parity="strict")
    assert strict.status_code == 503
    assert not running.fake("odd").requests


async def test_parity_may_be_set_for_a_model_and_by_a_rule(start: Any) -> None:
    running = await start(
        fleet(desk=f"{FP32}, {HASH}")
        + "models: {photo: {defaults: {parity: off}, rules: [{when: {n: 1}, set: {parity: strict}}]}}\n"
    )
    assert told(await running.draw(**IN_PROFILE))["reproducibility"]["tier"] == "exact"
    assert running.fake("desk").requests[0].parity == "strict"
    softer = await start(fleet(desk=f"{FP32}, {HASH}") + "models: {photo: {defaults: {parity: off}}}\n")
    assert told(await softer.draw(**IN_PROFILE))["reproducibility"]["reasons"] == ["`parity` is off"]


async def test_what_was_measured_decides_who_draws_the_same(start: Any, tmp_path: Any) -> None:
    path = tmp_path / "parity.json"
    text = fleet(desk=FP32, attic=FP32) + f"server: {{port: 0, parity_file: '{path}'}}\n"
    apart = await start(text)
    report = told(await apart.draw(**IN_PROFILE, parity="strict"))
    assert report["provider"] == "desk"
    entries = load_text(text).providers
    usual = {"version": 1, "dtype": "fp32", "like": "desk/photo", "tiers": {"sampler.dpmpp_2m": Tier.CLOSE}}
    rows = {f"{n}/photo": Measurement(provider=fingerprint(entry), **usual) for n, entry in entries.items()}
    save(path, rows)
    together = await start(text)
    together.fake("desk").down = "somebody pulled the plug"
    measured = told(await together.draw(**IN_PROFILE, parity="strict"))
    assert (measured["provider"], measured["reproducibility"]["tier"]) == ("attic", "close")
    assert msgspec.json.decode(path.read_bytes())["targets"].keys() == rows.keys()
