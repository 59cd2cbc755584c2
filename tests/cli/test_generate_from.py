"""``imagerouter generate --embed`` and ``--from``: the same picture again, out of the file alone."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from imagerouter import Image
from imagerouter.embedding import embedded, read

Run = Any
ALL = ("a cat, “soft” light 雨", "-m", "beta", "--seed", "7", "--steps", "9", "--size", "80x48", "--cfg-scale", "3.5")
MORE = ("--negative-prompt", "a dog", "--sampler", "DPM++ 2M Karras")


REQUEST = {
    "prompt": "a cat",
    "model": "beta",
    "size": "80x48",
    "seed": 7,
    "steps": 9,
    "cfg_scale": 3.5,
    "sampler": "dpmpp_2m",
    "scheduler": "normal",
    "output_format": "jpeg",
    "output_compression": 20,
}


def holding(path: Path, request: dict[str, Any]) -> None:
    """Write a picture that says it was drawn from ``request``."""
    Pillow.new("RGB", (8, 8)).save(path)
    path.write_bytes(embedded(Image(data=path.read_bytes()), request).data)


def errors(done: "subprocess.CompletedProcess[bytes]") -> str:
    return done.stderr.decode()


@pytest.mark.parametrize(("name", "quality"), [("cat.png", ()), ("cat.jpg", ("--output-compression", "70"))])
def test_a_picture_is_drawn_again_from_its_file_alone_byte_for_byte(
    run: Run, tmp_path: Path, name: str, quality: tuple[str, ...]
) -> None:
    first = run("generate", *ALL, *MORE, *quality, "--embed", "-o", name)
    second = run("generate", "--from", name, "--embed", "-o", f"again-{name}")
    for done in (first, second):
        assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / f"again-{name}").read_bytes() == (tmp_path / name).read_bytes()
    assert read((tmp_path / name).read_bytes())["prompt"] == ALL[0]


def test_every_picture_of_several_holds_its_own_seed(run: Run, tmp_path: Path) -> None:
    run("generate", *ALL, "-n", "3", "--embed", "-o", "cat.png")
    assert [read((tmp_path / f"cat-{number}.png").read_bytes())["seed"] for number in (1, 2, 3)] == [7, 8, 9]
    run("generate", "--from", "cat-3.png", "--embed", "-o", "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "cat-3.png").read_bytes()


def test_without_embed_the_file_says_nothing_and_its_pixels_are_the_same(run: Run, tmp_path: Path) -> None:
    run("generate", *ALL, "--embed", "-o", "cat.png")
    run("generate", "--from", "cat.png", "-o", "plain.png")
    assert read((tmp_path / "plain.png").read_bytes()) is None
    with Pillow.open(tmp_path / "cat.png") as before, Pillow.open(tmp_path / "plain.png") as after:
        assert before.tobytes() == after.tobytes()


def test_what_is_said_counts_more_than_what_is_in_the_file(run: Run, tmp_path: Path) -> None:
    holding(tmp_path / "cat.png", REQUEST)
    said = ("a dog", "--seed", "8", "--steps", "5", "--sampler", "euler", "-m", "alpha")
    run("generate", "--from", "cat.png", *said, "--embed", "-o", "dog.jpg")
    said_now = {"prompt": "a dog", "seed": 8, "steps": 5, "sampler": "euler", "model": "alpha"}
    assert read((tmp_path / "dog.jpg").read_bytes()) == REQUEST | said_now


def test_neither_scheduler_nor_quality_is_taken_from_the_file_where_they_do_not_fit(run: Run, tmp_path: Path) -> None:
    holding(tmp_path / "cat.png", REQUEST)
    run("generate", "--from", "cat.png", "--sampler", "DPM++ 2M Karras", "--embed", "-o", "again.webp")
    told = read((tmp_path / "again.webp").read_bytes())
    assert (told["sampler"], told["scheduler"], told["output_format"]) == ("dpmpp_2m", "karras", "webp")
    assert "output_compression" not in told


def test_nothing_but_parameters_of_a_picture_is_taken_from_a_file(run: Run, tmp_path: Path) -> None:
    holding(tmp_path / "cat.png", {"prompt": "a cat", "n": 50, "images": ["x"], "provider": {"only": []}, "models": 1})
    done = run("generate", "--from", "cat.png", "-o", "again.png", "--json")
    assert (done.returncode, len(json.loads(done.stdout)["images"])) == (0, 1)


def test_a_picture_that_holds_no_request_is_refused(run: Run, tmp_path: Path) -> None:
    Pillow.new("RGB", (8, 8)).save(tmp_path / "cat.png")
    done = run("generate", "--from", "cat.png", "-o", "again.png")
    assert done.returncode == 2
    assert "`cat.png` has no embedded request; was it drawn with --embed, or `metadata: embed`?" in errors(done)


@pytest.mark.parametrize(("operation", "given", "missing"), [("edit", (), "image"), ("inpaint", ("image",), "mask")])
def test_an_edit_is_not_drawn_again_without_the_pictures_that_it_was_made_of(
    run: Run, tmp_path: Path, operation: str, given: tuple[str, ...], missing: str
) -> None:
    holding(tmp_path / "dog.png", REQUEST | {"operation": operation})
    done = run("generate", "--from", "dog.png", *(f"--{name}=dog.png" for name in given), "-o", "again.png")
    assert done.returncode == 2
    assert f"give it with --{missing}" in errors(done)


def test_an_edit_is_drawn_again_with_them(run: Run, tmp_path: Path) -> None:
    Pillow.new("RGB", (64, 64), "white").save(tmp_path / "cat.png")
    pictures = ("--image", "cat.png", "--mask", "cat.png")
    run("generate", "a dog", "--seed", "2", "--strength", "0.5", *pictures, "--embed", "-o", "dog.png")
    run("generate", "--from", "dog.png", *pictures, "--embed", "-o", "again.png")
    assert read((tmp_path / "dog.png").read_bytes())["operation"] == "inpaint"
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "dog.png").read_bytes()


def test_a_prompt_is_needed_unless_a_picture_has_one(run: Run) -> None:
    done = run("generate", "-o", "cat.png")
    assert done.returncode == 2
    assert "Missing argument 'PROMPT'" in errors(done)


def test_a_server_embeds_and_draws_again_as_well(run: Run, tmp_path: Path, server: str) -> None:
    run("generate", *ALL, "--embed", "-o", "there.jpg", "--server", server)
    run("generate", "--from", "there.jpg", "--embed", "-o", "here.jpg")
    assert (tmp_path / "here.jpg").read_bytes() == (tmp_path / "there.jpg").read_bytes()
