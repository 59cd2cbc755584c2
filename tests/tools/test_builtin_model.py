"""The built-in model's workshop: its drawings are what their captions say, and its judge is to be trusted."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL.Image import Image

pytest.importorskip("diffusers")

from tools.builtin_model import (
    captions,
    denoiser,
    edits,
    families,
    lexicon,
    lora,
    objects,
    patterns,
    prove_checker,
    tokenizer,
)
from tools.builtin_model.artist import Artist
from tools.builtin_model.autoencoder import build, to_latents
from tools.builtin_model.checker import judge, judge_pattern
from tools.builtin_model.evaluate import interval
from tools.builtin_model.questions import CATEGORIES, questions
from tools.builtin_model.wishes import Wish


@pytest.mark.parametrize("title", prove_checker.CASES)
def test_the_checker_passes_real_drawings_and_catches_wrong_ones(title: str) -> None:
    assert prove_checker.tried(title, 3) == 3


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_drawing_of_every_question_is_right_and_no_question_is_in_the_training_set(category: str) -> None:
    asked = questions(5, 5, (category,))
    assert [question.prompt for question in asked] == [question.prompt for question in questions(5, 5, (category,))]
    for question in asked:
        wish = question.wish
        assert wish.held_out
        if isinstance(wish, Wish):
            assert judge(np.asarray(objects.draw_wish(wish, "", Random(1)).smooth()), wish).right
        else:
            assert judge_pattern(np.asarray(patterns.draw_wish(wish, "", Random(1)).smooth()), wish).right


def test_training_draws_all_kinds_but_never_what_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Wish] = []
    spots = objects.spots
    monkeypatch.setattr(objects, "spots", lambda wish, random: drawn.append(wish) or spots(wish, random))
    for seed in range(60):
        for draw in (objects.draw_alike, objects.draw_pair):
            draw(Random(seed), (256, 256))
    assert {len(wish.items) for wish in drawn} == {2, 3, 4}
    assert not [wish for wish in drawn if wish.held_out]


def test_what_a_caption_says_is_in_the_picture() -> None:
    for seed in range(40):
        scene = objects.draw_one(Random(seed), (256, 256), objects.Item("red", "star", "small", "top left"))
        assert any(words in scene.caption for words in captions.PLACE_WORDS["top left"])
        mark = np.asarray(scene.smooth())[40:98, 40:98].reshape(-1, 3).astype(int)
        corner = np.asarray(scene.smooth())[200, 200].astype(int)
        assert np.abs(mark - corner).sum(axis=1).max() > 60


def test_every_picture_fits_its_frame_and_is_the_same_for_the_same_seed() -> None:
    for seed in range(60):
        size = ((256, 256), (320, 192), (224, 288))[seed % 3]
        one, two = (families.draw_any(Random(seed), *size) for _ in range(2))
        assert one.caption == two.caption
        assert one.smooth().size == size
        assert (one.eighth() == two.eighth()).all()


def test_every_word_of_every_caption_is_one_token_and_no_other_word_is_replaced_by_an_unknown_one() -> None:
    words = tokenizer.build()
    tokenizer.check(words)
    known = set(tokenizer.words())
    assert set(" ".join(lexicon.NEAREST).split()) <= known
    assert set(tokenizer.likenesses().values()) <= known


def test_the_encoder_s_written_weights_make_the_latents_that_training_uses() -> None:
    torch = pytest.importorskip("torch")
    pixels = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    eighths = torch.nn.functional.avg_pool2d(pixels, 8)
    encoded = build().encode(pixels * 2 - 1).latents
    assert torch.allclose(encoded, to_latents(eighths), atol=1e-4)


def test_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    def weights(name: str, *stops: int) -> Any:
        plan = denoiser.Plan(work=tmp_path / name, steps=2, batch=1)
        plan.work.mkdir()
        for stop in stops:
            trainer = denoiser.Trainer(plan, 0)
            trainer.resume()
            for lesson in islice(denoiser.Pictures(plan, 0).since(trainer.step), stop - trainer.step):
                trainer.advance(lesson)
            trainer.save()
        nets, _, step = denoiser.trained(plan.work)
        assert step == 2
        return nets.state_dict()

    through, stopped = weights("through", 2), weights("stopped", 1, 2)
    assert all(torch.equal(through[name], stopped[name]) for name in through)


def test_lessons_show_what_is_wanted_but_for_what_is_being_retouched(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    lesson = denoiser.Pictures(denoiser.Plan(work=tmp_path, steps=1, batch=64), 0)[0]
    same = (lesson.shown == lesson.wanted).flatten(1).all(dim=1)
    assert torch.equal(same, ~lesson.retouched)
    assert 0 < lesson.retouched.sum() < 32


def test_a_patch_lies_inside_and_behind_everything() -> None:
    scene = objects.draw_one(Random(3), (256, 256), objects.Item("red", "circle"))
    plain, patched = (np.asarray(picture.smooth()) for picture in (scene, scene.patched(Random(3))))
    differs = (plain != patched).any(axis=2)
    assert differs.any()
    assert not differs[:8].any()
    assert not differs[:, -8:].any()
    assert not differs[128, 128]


def test_outlines_keep_the_caption_and_empty_the_inside() -> None:
    scene = objects.draw_one(Random(3), (256, 256), objects.Item("red", "circle"))
    outlined = lora.outlined(scene)
    assert outlined.caption == scene.caption
    full, line = (np.asarray(picture.smooth()) for picture in (scene, outlined))
    assert (full[128, 128] != full[5, 5]).any()
    assert (line[128, 128] == line[5, 5]).all()
    assert (line != line[5, 5]).any()


def test_an_interval_holds_the_share_and_narrows_with_more_tries() -> None:
    for hits, count in ((0, 10), (10, 10), (37, 80), (370, 800)):
        low, high = interval(hits, count)
        assert -1e-9 <= low <= hits / count <= high <= 1 + 1e-9
    assert interval(370, 800)[1] - interval(370, 800)[0] < interval(37, 80)[1] - interval(37, 80)[0]


class Stubborn(Artist):
    """Gives back what it is given."""

    def __init__(self) -> None:
        pass

    def draw(self, prompt: str, seed: int = 1, **more: Any) -> Image:
        return more["images"][0] if "images" in more else Pillow.new("RGB", (256, 256), "white")


class Emptying(Stubborn):
    """Paints everything in the colour of the upper left corner."""

    def draw(self, prompt: str, seed: int = 1, **more: Any) -> Image:
        given = super().draw(prompt, seed, **more)
        return Pillow.new("RGB", given.size, given.getpixel((0, 0)))


class Tinting(Emptying):
    """Paints what it is to repaint in a slightly lighter colour."""

    def draw(self, prompt: str, seed: int = 1, **more: Any) -> Image:
        given = super().draw(prompt, seed, **more)
        return Pillow.composite(given.point(lambda byte: byte + 12), given, more["mask"])


def test_edits_are_judged_by_what_came_of_them() -> None:
    assert all(
        marks == {"background": True, "colour": False, "shape": True} for _, marks in edits.recolour(Stubborn(), 6, 0.4)
    )
    assert not any(marks["nothing left"] for _, marks in edits.repaint(Stubborn(), 6, own=False))
    assert not any(marks["no seam"] for _, marks in edits.repaint(Tinting(), 6, own=False))
    assert all(all(marks.values()) for _, marks in edits.repaint(Emptying(), 6, own=False))
    assert not any(marks["shape"] for _, marks in edits.without(Stubborn(), 6))
