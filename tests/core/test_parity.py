import string
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from imagerouter import STRING, Hires, Image, ImageRequest, Lora, Model, Parity, Reproducible, Tier, between, one_of
from imagerouter.jobs import Target
from imagerouter.parameters import DECLARABLE
from imagerouter.parity import prompts
from imagerouter.parity.checking import Checked, decibels
from imagerouter.parity.judging import judge, key_of
from imagerouter.parity.measured import Measured, Measurement
from imagerouter.parity.profile import PROFILES, WHY, why

PLAIN = {"sampler": "dpmpp_2m", "scheduler": "karras", "steps": 20, "width": 512, "height": 512}


def target(provider: str, *, known: Reproducible | None = None, **about: Any) -> Target:
    parity = Reproducible(profile="sd1", dtype="fp32") if known is None else known
    honoured = dict.fromkeys(DECLARABLE, STRING)
    model = Model(
        **{"id": "photo.safetensors", "width": 512, "height": 512, "parameters": honoured, "parity": parity, **about}
    )
    return Target(provider, model)


def request(**said: Any) -> ImageRequest:
    return ImageRequest(**{"model": "photo.safetensors", "prompt": "a fox", "seed": 1, **PLAIN, **said})


def tier(**said: Any) -> Tier:
    return judge(request(**said), target("desk"), ()).tier


def test_a_plain_request_in_the_profile_is_exact_and_has_no_reasons() -> None:
    verdict = judge(request(), target("desk"), ())
    assert (verdict.tier, verdict.reasons, verdict.param) == (Tier.EXACT, (), None)
    assert verdict.key is not None


@pytest.mark.parametrize(
    ("said", "expected", "param"),
    [
        ({"sampler": "dpmpp_2m_sde"}, Tier.EXACT, None),
        ({"sampler": "uni_pc"}, Tier.NONE, "sampler"),
        ({"scheduler": "sgm_wobbly"}, Tier.NONE, "scheduler"),
        ({"scheduler": "normal"}, Tier.EXACT, None),
        ({"scheduler": "normal", "steps": 7}, Tier.CLOSE, "steps"),
        ({"width": 520}, Tier.NONE, "size"),
        ({"loras": (Lora("ink"),)}, Tier.CLOSE, "loras"),
        ({"hires": Hires()}, Tier.CLOSE, "hires"),
        ({"options": {"tiling": True}}, Tier.NONE, "provider.options"),
        ({"prompt": "a [fox]"}, Tier.NONE, "prompt"),
        ({"negative_prompt": "cat AND dog"}, Tier.NONE, "prompt"),
    ],
)
def test_what_keeps_a_request_from_being_exact_is_named(
    said: dict[str, Any], expected: Tier, param: str | None
) -> None:
    verdict = judge(request(**said), target("desk"), ())
    assert (verdict.tier, verdict.param) == (expected, param)
    assert bool(verdict.reasons) is (expected is not Tier.EXACT)
    assert (verdict.key is None) is (expected is Tier.NONE)


def test_the_worst_feature_counts_and_is_told_first() -> None:
    verdict = judge(request(scheduler="normal", steps=7, prompt="a [fox]"), target("desk"), ())
    assert (verdict.tier, verdict.param, len(verdict.reasons)) == (Tier.NONE, "prompt", 2)


def test_a_backend_may_be_better_or_worse_than_the_profile() -> None:
    own = {"sampler.euler_ancestral": Tier.NONE, "scheduler.beta": Tier.EXACT, "weights": Tier.NONE}
    here = target("gpu", known=Reproducible(profile="sd1", dtype="fp32", tiers=own))
    assert judge(request(sampler="euler_ancestral"), here, ()).tier is Tier.NONE
    assert judge(request(scheduler="beta"), here, ()).tier is Tier.EXACT
    assert tier(scheduler="beta") is Tier.NONE
    assert judge(request(prompt="a (red:1.2) fox"), here, ()).tier is Tier.NONE
    assert tier(prompt="a (red:1.2) fox") is Tier.EXACT


def test_edits_may_be_worse_with_one_sampler_than_with_others() -> None:
    here = target(
        "webui",
        known=Reproducible(profile="sd1", dtype="fp32", tiers={"edit": Tier.CLOSE, "edit.dpmpp_sde": Tier.NONE}),
    )
    picture = (Image(data=b"", media_type="image/png"),)
    assert judge(request(images=picture), here, ()).tier is Tier.CLOSE
    verdict = judge(request(images=picture, sampler="dpmpp_sde"), here, ())
    assert (verdict.tier, verdict.param) == (Tier.NONE, "images")


def test_what_the_backend_says_that_it_used_counts_for_more_than_what_was_asked() -> None:
    verdict = judge(request(), target("desk"), (), applied={"sampler": "uni_pc", "width": 512, "height": 512})
    assert verdict.tier is Tier.NONE


def test_the_models_own_defaults_count_where_nothing_is_said() -> None:
    parameters = {"sampler": one_of(["euler", "uni_pc"], "uni_pc"), "steps": between(1, 50, 20)}
    bare = ImageRequest(model="photo.safetensors", prompt="a fox", seed=1)
    assert judge(bare, target("desk", parameters=parameters), ()).param == "sampler"


def test_what_a_model_ignores_keeps_its_pictures_from_being_the_same() -> None:
    honoured = dict.fromkeys(DECLARABLE - {"hires", "style"}, STRING)
    verdict = judge(request(hires=Hires(), style="vivid"), target("desk", parameters=honoured), ())
    assert (verdict.tier, verdict.reasons) == (Tier.NONE, ("`hires` has no effect here", why("hires")[1]))


def test_half_precision_is_close_at_most() -> None:
    assert judge(request(), target("gpu", known=Reproducible(profile="sd1", dtype="fp16")), ()).tier is Tier.CLOSE
    assert judge(request(), target("gpu", known=Reproducible(profile="sd1")), ()).tier is Tier.CLOSE


def test_nothing_is_promised_without_a_profile_or_with_parity_off() -> None:
    nowhere = judge(request(), Target("cloud", Model(id="gpt-image-2")), ())
    strange = judge(request(), target("desk", known=Reproducible(profile="sd9")), ())
    off = judge(request(parity=Parity.OFF), target("desk"), ())
    assert [each.tier for each in (nowhere, strange, off)] == [Tier.NONE] * 3
    assert [each.key for each in (nowhere, strange, off)] == [None] * 3
    assert off.reasons == ("`parity` is off",)


def test_an_edit_without_a_size_has_that_of_its_picture() -> None:
    buffer = BytesIO()
    Pillow.new("RGB", (100, 64)).save(buffer, "PNG")
    odd = ImageRequest(model="m", prompt="a fox", seed=1, images=(Image(data=buffer.getvalue()),))
    assert "size" in {why(feature)[0] for feature in ("size",)}
    assert judge(odd, target("desk"), ()).param == "size"


@given(st.text(alphabet=string.ascii_letters + " ,.{}|!?'\"é\n", max_size=150))
def test_plain_texts_mean_the_same_everywhere(text: str) -> None:
    harmless = text.replace("AND", "").replace("BREAK", "")
    assert prompts.features(harmless) in {(), ("syntax",)}
    if "AND" not in harmless and "BREAK" not in harmless:
        assert prompts.features(harmless) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"a \(real\) fox \[in\] snow", ()),
        ("a (fox:1.3)", ("weights",)),
        ("a (fox", ("syntax", "weights")),
        ("a fox)", ("syntax",)),
        ("a [cat:dog:0.5]", ("syntax",)),
        ("a cat BREAK a dog", ("syntax",)),
        ("a sandy BREAKFAST", ()),
        ("<lora:ink:1> a fox", ("syntax",)),
        ("a fox # really", ("syntax",)),
        ("a \u201cfox\u201d", ("syntax",)),
        ("fox &amp; hound", ("syntax",)),
        ("fox & hound", ()),
        ("a fox, embedding:soft", ("syntax",)),
        ("a fox " * 50, ("long_prompt",)),
    ],
)
def test_syntax_of_one_backend_is_found(text: str, expected: tuple[str, ...]) -> None:
    assert prompts.features(text) == expected


def test_every_feature_that_can_lower_a_tier_has_words_for_it() -> None:
    for profile in PROFILES.values():
        for feature, each in profile.tiers.items():
            assert each is Tier.EXACT or all(why(feature))
    assert all(param and reason for param, reason in WHY.values())


def test_targets_share_a_key_if_file_precision_and_vae_are_the_same() -> None:
    known = {"sha256": "31e35c80fc4829d14f90153f4c74cd59", "file_size": 4_000}
    full, short = target("a", **known), target("b", sha256="31E35C80FC")
    sized, other = target("c", file_size=4_000), target("d", file_size=5_000)
    half = target("e", known=Reproducible(profile="sd1", dtype="fp16"), **known)
    siblings = (full, short, sized, other, half)
    keys = {each.provider: key_of(each, siblings) for each in siblings}
    assert keys["a"] == keys["b"] == keys["c"]
    assert len({keys["a"], keys["d"], keys["e"]}) == 3
    assert key_of(full, siblings, vae="sub/Other.safetensors") == key_of(short, siblings, vae="other.pt") != keys["a"]


def test_a_target_of_which_nothing_is_known_has_a_key_of_its_own() -> None:
    one, other = target("a"), target("b")
    assert key_of(one, (one, other)) != key_of(other, (one, other))
    blind = [target(name, known=Reproducible(profile="sd1"), file_size=7) for name in "ab"]
    assert key_of(blind[0], blind) != key_of(blind[1], blind)


def measured(**rows: Mapping[str, Any]) -> Measured:
    usual = {"provider": "", "version": PROFILES["sd1"].version, "dtype": "fp32"}
    return Measured({f"{name}/photo.safetensors": Measurement(**{**usual, **row}) for name, row in rows.items()})


def test_what_was_measured_counts_for_more_than_what_is_assumed() -> None:
    here = target("a", file_size=7)
    found = measured(a={"like": "a/photo.safetensors", "file_size": 7, "tiers": {"sampler.euler": Tier.NONE}})
    assert judge(request(sampler="euler"), here, (here,), measured=found).tier is Tier.NONE
    changed = target("a", file_size=8)
    assert judge(request(sampler="euler"), changed, (changed,), measured=found).tier is Tier.EXACT


def test_targets_that_were_measured_to_draw_the_same_share_a_key() -> None:
    one, other = target("a", sha256="1" * 64), target("b", file_size=9)
    found = measured(a={"like": "a/photo.safetensors"}, b={"like": "a/photo.safetensors"})
    assert key_of(one, (one, other)) != key_of(other, (one, other))
    assert key_of(one, (one, other), measured=found) == key_of(other, (one, other), measured=found)


def test_they_still_share_it_when_the_first_of_them_is_gone() -> None:
    left = [target(name, file_size=size) for name, size in (("b", 8), ("c", 9))]
    like = {"like": "a/photo.safetensors"}
    found = measured(a=like, b=like, c=like)
    assert key_of(left[0], left, measured=found) == key_of(left[1], left, measured=found)


def test_of_pictures_the_ratio_tells_how_far_they_agree() -> None:
    grey, lighter = Pillow.new("RGB", (8, 8), (100, 100, 100)), Pillow.new("RGB", (8, 8), (101, 101, 101))
    assert decibels(grey, grey.copy()) == 99.0
    assert decibels(grey, lighter) == pytest.approx(48.13, abs=0.01)
    assert decibels(grey, Pillow.new("RGB", (8, 9))) == 0.0


def test_a_target_is_as_good_as_the_one_that_agrees_best_with_it() -> None:
    targets = tuple(target(name) for name in "abc")
    a, b, c = (each.name for each in targets)
    checked = Checked("photo", targets)
    checked.decibels = {"base": {(a, b): 80.0, (a, c): 20.0, (b, c): 20.5}, "edit": {(a, b): 50.0}}
    assert [checked.first_like(name) for name in (a, b, c)] == [a, a, c]
    assert [checked.tier("base", name) for name in (a, b, c)] == [Tier.EXACT, Tier.EXACT, Tier.NONE]
    assert [checked.tier("edit", name) for name in (a, c)] == [Tier.CLOSE, None]
