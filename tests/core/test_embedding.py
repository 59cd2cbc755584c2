"""The request that is written into finished pictures, and read from any file at all."""

import json
import struct
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from imagerouter import Image, Model, between
from imagerouter.embedding import FIELDS, embedded, exif_of, read, request_of
from imagerouter.jobs import Job, Outcome, Target
from imagerouter.metadata import has_texts, stripped
from imagerouter.types import Hires, Lora

KINDS = ("PNG", "JPEG", "WEBP")
ALPHA = ("PNG", "WEBP")
EXIF_DIRECTORY = 0x8769


def saved(picture: Pillow.Image, kind: str, **settings: Any) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **settings)
    return out.getvalue()


def opened(data: bytes) -> Pillow.Image:
    picture = Pillow.open(BytesIO(data))
    picture.load()
    return picture


def small(mode: str = "RGB", size: tuple[int, int] = (7, 5)) -> Pillow.Image:
    picture = Pillow.effect_noise(size, 90).convert(mode)
    picture.putpixel((0, 0), (255, 0, 9, 40)[: len(picture.getbands())])
    return picture


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**32) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
requests = st.dictionaries(st.sampled_from(FIELDS) | words, values, max_size=8)
sides = st.integers(1, 40)
files = st.builds(
    lambda kind, mode, lossless, profile, size: saved(
        small("RGB" if kind == "JPEG" else mode, size),
        kind,
        **({"icc_profile": b"profile"} if profile else {}),
        **({"lossless": lossless} if kind == "WEBP" else {}),
    ),
    st.sampled_from(KINDS),
    st.sampled_from(["RGB", "RGBA", "L"]),
    st.booleans(),
    st.booleans(),
    st.tuples(sides, sides),
)


@given(files, requests)
def test_a_request_comes_back_and_no_pixel_has_changed(file: bytes, request: dict[str, Any]) -> None:
    before, after = opened(file), embedded(Image(data=file), request)
    assert read(after.data) == request
    picture = opened(after.data)
    assert (picture.mode, picture.size, picture.format) == (before.mode, before.size, before.format)
    assert picture.tobytes() == before.tobytes()
    assert picture.info.get("icc_profile") == before.info.get("icc_profile")
    assert after.media_type == Image(data=file).media_type


@pytest.mark.parametrize("kind", [*KINDS, "AVIF"])
@pytest.mark.parametrize("character", ["a", '"', "\\", "é", "雨", "🌧", "\n", "\0"])
def test_the_longest_prompts_come_back_whole(kind: str, character: str) -> None:
    request = {"prompt": character * 32_000, "negative_prompt": character * 32_000}
    if kind == "AVIF":
        data = saved(small(), kind, exif=exif_of(request))
    else:
        data = embedded(Image(data=saved(small(), kind)), request).data
    assert read(data) == request
    assert opened(data).size == (7, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_other_texts_make_way_and_a_second_request_replaces_the_first(kind: str) -> None:
    texts = PngInfo()
    texts.add_text("parameters", "a secret")
    own = Pillow.Exif()
    own[ExifTags.Base.ImageDescription] = "a secret"
    file = saved(small(), kind, exif=own, **({"pnginfo": texts} if kind == "PNG" else {}))
    once = embedded(Image(data=file), {"prompt": "a cat"})
    twice = embedded(once, {"prompt": "a dog"})
    assert b"a secret" in file
    assert b"a secret" not in once.data
    assert read(twice.data) == {"prompt": "a dog"}
    assert b"a cat" not in twice.data
    assert stripped(twice.data) == stripped(file)
    assert has_texts(twice)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_in_base64_is_embedded_into_all_the_same(kind: str) -> None:
    image = Image(b64=Image(data=saved(small(), kind)).b64)
    assert read(embedded(image, {"seed": 7}).data) == {"seed": 7}


def test_a_png_has_the_request_as_a_text_named_imagerouter() -> None:
    picture = opened(embedded(Image(data=saved(small(), "PNG")), {"prompt": "雨"}).data)
    assert picture.info["imagerouter"] == '{"prompt": "雨"}'


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("length", [5, 150_000])
def test_other_files_have_it_in_the_comment_of_their_exif(kind: str, length: int) -> None:
    request = {"prompt": "r" * length}
    file = saved(small(), kind, exif=exif_of(request)) if kind == "AVIF" else saved(small(), kind)
    data = file if kind == "AVIF" else embedded(Image(data=file), request).data
    comment = opened(data).getexif().get_ifd(EXIF_DIRECTORY)[ExifTags.Base.UserComment]
    assert comment[:8] == b"ASCII\0\0\0"
    assert json.loads(comment[8:]) == {"imagerouter": request}


def test_exif_of_other_byte_order_and_other_entries_is_read() -> None:
    comment = b'ASCII\0\0\0{"imagerouter": {"seed": 3}}'
    entries = struct.pack("<HHII", 0x0112, 3, 1, 1) + struct.pack("<HHII", EXIF_DIRECTORY, 4, 1, 38)
    inner = struct.pack("<H", 1) + struct.pack("<HHIII", ExifTags.Base.UserComment, 7, len(comment), 56, 0)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4) + inner + comment
    assert read(saved(small(), "JPEG", exif=b"Exif\0\0" + tiff)) == {"seed": 3}


@pytest.mark.parametrize("kind", [*KINDS, "AVIF", "GIF", "BMP"])
def test_a_picture_without_a_request_has_none(kind: str) -> None:
    assert read(saved(small(), kind)) is None
    if kind != "GIF":
        other = Pillow.Exif()
        other.get_ifd(EXIF_DIRECTORY)[ExifTags.Base.UserComment] = b'ASCII\0\0\0{"prompt": "of another program"}'
        assert read(saved(small(), kind, exif=other)) is None


starts = st.sampled_from(
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe1",
        b"RIFF\0\0\0\0WEBPVP8X",
        b"RIFF\0\0\0\0WEBPEXIF",
        b"\0\0\0 ftypavif",
    ]
)
tiffs = st.sampled_from([b"", b"\0\x40Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69", b"Exif\0\0II*\0\x08\0\0\0"])


@given(starts, tiffs, st.binary(max_size=80))
def test_any_bytes_are_read_without_an_error(start: bytes, tiff: bytes, rest: bytes) -> None:
    found = read(start + tiff + rest)
    assert found is None or isinstance(found, dict)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_short_anywhere_raises_nothing(kind: str) -> None:
    whole = embedded(Image(data=saved(small(), kind)), {"prompt": "a cat"}).data
    found = [read(whole[:length]) for length in range(len(whole))]
    assert all(each in (None, {"prompt": "a cat"}) for each in found)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "7", '"text"', "{", "nul", "9" * 10_000])
def test_what_is_no_object_or_nested_without_end_is_no_request(text: str) -> None:
    texts = PngInfo()
    texts.add_itxt("imagerouter", text)
    assert read(saved(small(), "PNG", pnginfo=texts)) is None


def test_more_text_than_any_request_has_is_not_read() -> None:
    texts = PngInfo()
    texts.add_itxt("imagerouter", json.dumps({"prompt": "x" * 2**24}))
    assert read(saved(small(), "PNG", pnginfo=texts)) is None


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"\xff\xd8\xff\xe0"])
def test_nothing_is_written_into_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"neither PNG|cut short"):
        embedded(Image(data=data, media_type="image/png"), {})


def outcome(params: dict[str, Any], **more: Any) -> Outcome:
    native = Model(id="native.safetensors", width=512, height=512, parameters={"seed": between(0, 2**32 - 1)})
    facts: dict[str, Any] = {
        "job": Job(prompt="a lighthouse", params=params, n=3, seed=params.get("seed", 11)),
        "model": "lighthouses",
        "target": Target("desk", native, defaults={"steps": 9}),
        "images": (),
        "seed": params.get("seed", 11),
        "applied": {},
        "ignored": frozenset(),
        "attempts": (),
    }
    times = dict.fromkeys(("queue_ms", "load_ms", "render_ms", "total_ms"), 0.0)
    return Outcome(**{**facts, **times, **more})


def test_a_request_is_told_as_it_was_honoured() -> None:
    said = {
        "steps": 30,
        "cfg_scale": 7.5,
        "sampler": "euler",
        "vae": "x",
        "loras": (Lora("ink", 0.5),),
        "seed": 2**32 - 1,
    }
    applied = {"steps": 20, "sampler": "dpmpp_2m", "width": 640, "height": 512, "options": {"key": 1}, "seed": 5}
    told = request_of(outcome(said, applied=applied, ignored=frozenset({"vae"})), 2)
    assert told == {
        "prompt": "a lighthouse",
        "model": "lighthouses",
        "size": "640x512",
        "seed": 1,
        "steps": 20,
        "cfg_scale": 7.5,
        "sampler": "dpmpp_2m",
        "loras": [{"name": "ink", "weight": 0.5}],
    }


def test_input_pictures_are_not_in_it_but_that_there_were_some_is() -> None:
    picture = Image(data=saved(small(), "PNG"))
    told = request_of(outcome({"images": (picture,), "mask": picture, "strength": 0.4}, applied={"mask": "…"}), 0)
    assert told == {
        "prompt": "a lighthouse",
        "model": "lighthouses",
        "seed": 11,
        "steps": 9,
        "strength": 0.4,
        "operation": "inpaint",
    }
    assert request_of(outcome({"images": (picture,)}), 0)["operation"] == "edit"
    assert "seed" not in request_of(outcome({}, ignored=frozenset({"seed"})), 0)


@pytest.mark.parametrize("said", [{}, {"width": 512, "height": 384}])
def test_the_size_before_a_second_pass_is_what_the_request_has(said: dict[str, int]) -> None:
    applied = {"width": 768, "height": 576, "hires": {"scale": 1.5, "steps": None}}
    told = request_of(outcome({**said, "hires": Hires(scale=1.5)}, applied=applied), 0)
    assert (told["size"], told["hires"]["scale"]) == ("512x384", 1.5)


@pytest.mark.parametrize(
    "wrong", [{"width": "wide", "height": 1}, {"hires": 5, "width": 1, "height": 1}, {"vae": object()}]
)
def test_whatever_an_adapter_tells_becomes_json(wrong: dict[str, Any]) -> None:
    assert json.dumps(request_of(outcome({}, applied=wrong), 0))
