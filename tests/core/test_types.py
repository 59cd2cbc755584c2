import base64
import struct

import pytest

from imagerouter import Image, ImageRequest, Operation, Progress, types
from imagerouter.parameters import DECLARABLE
from imagerouter.testing import make_image
from imagerouter.types import sniff_media_type

PNG = make_image().data


class CountingBase64:
    """Stands in for pybase64 and notes how long everything is that it is given."""

    def __init__(self):
        self.decoded, self.encoded = [], []

    def b64decode(self, text, validate=False):
        self.decoded.append(len(text))
        return base64.b64decode(text, validate=validate)

    def b64encode(self, data):
        self.encoded.append(len(data))
        return base64.b64encode(data)


@pytest.fixture
def counting(monkeypatch):
    counting = CountingBase64()
    monkeypatch.setattr(types, "pybase64", counting)
    return counting


def test_a_picture_delivered_as_base64_passes_without_being_decoded(counting):
    text = base64.b64encode(PNG + bytes(10_000))
    image = Image(b64=text)
    assert image.media_type == "image/png"
    assert image.head(1000) == (PNG + bytes(10_000))[:1000]
    assert image.b64 is text
    assert image.is_encoded
    assert counting.decoded == [2048], "only the beginning may be read, once, to learn what it is"
    assert counting.encoded == []


def test_a_media_type_that_is_known_is_not_looked_up(counting):
    assert Image(b64=base64.b64encode(PNG), media_type="image/webp").media_type == "image/webp"
    assert counting.decoded == []


def test_raw_bytes_are_encoded_once_and_only_when_asked(counting):
    image = Image(data=PNG)
    assert (image.is_encoded, counting.encoded) == (False, [])
    assert image.b64 is image.b64
    assert base64.b64decode(image.b64) == PNG
    assert image.data is PNG
    assert counting.encoded == [len(PNG)]


def test_base64_is_decoded_once_and_only_when_asked(counting):
    image = Image(b64=base64.b64encode(PNG), media_type="image/png")
    assert image.data == PNG
    assert image.data is image.data
    assert counting.decoded == [len(image.b64)]


@pytest.mark.parametrize("given", [{}, {"data": PNG, "b64": b""}], ids=["neither", "both"])
def test_an_image_takes_one_of_both_forms(given):
    with pytest.raises(TypeError, match="either data or b64"):
        Image(**given)


@pytest.mark.parametrize("text", [b"", b"no base64!", b"abc"])
def test_text_that_is_no_base64_has_no_known_media_type(text):
    assert Image(b64=text).media_type == "application/octet-stream"


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp", "gif"])
def test_real_files_are_recognised_by_their_first_bytes(file_format):
    data = make_image(file_format=file_format).data
    assert sniff_media_type(data[:12]) == f"image/{file_format}"
    assert Image(b64=base64.b64encode(data)).media_type == f"image/{file_format}"


@pytest.mark.parametrize("head", [b"", b"\x89PN", b"RIFF\x00\x00\x00\x00WAVE", b"<svg xmlns=", b"BM12345678901"])
def test_anything_else_is_not_taken_for_a_picture(head):
    assert sniff_media_type(head) == "application/octet-stream"


def request(**fields):
    return ImageRequest(**({"model": "any", "prompt": "a lighthouse", "seed": 7} | fields))


@pytest.mark.parametrize(
    ("pictures", "operation"),
    [
        ({}, Operation.GENERATE),
        ({"images": (make_image(),)}, Operation.EDIT),
        ({"images": (make_image(),), "mask": make_image()}, Operation.INPAINT),
    ],
)
def test_the_pictures_that_come_along_decide_the_operation(pictures, operation):
    assert request(**pictures).operation is operation


def test_seeds_count_up_and_wrap_around_at_32_bits():
    assert [request(seed=2**32 - 2).seed_of(index) for index in range(4)] == [2**32 - 2, 2**32 - 1, 0, 1]


def test_parameters_are_the_ones_that_were_set():
    assert request().parameters == {"seed"}
    assert request(steps=20, negative_prompt="fog", n=3).parameters == {"seed", "steps", "negative_prompt"}


def test_every_declarable_parameter_is_a_field_of_the_request():
    assert set(ImageRequest.__struct_fields__) >= DECLARABLE


@pytest.mark.parametrize(("step", "steps", "fraction"), [(0, 0, 0), (1, 4, 0.25), (4, 4, 1), (9, 4, 1)])
def test_progress_is_a_part_of_one(step, steps, fraction):
    assert Progress(step=step, steps=steps).fraction == fraction


WHOLE = {
    "png": b"\x89PNG\r\n\x1a\n" + b"pixels" * 9000 + b"\x00\x00\x00\x00IEND\xaeB`\x82",
    "jpeg": b"\xff\xd8\xff" + b"pixels" * 9000 + b"\xff\xd9",
    "webp": b"RIFF" + struct.pack("<I", 54_004) + b"WEBP" + b"pixels" * 9000,
}


@pytest.mark.parametrize("kind", WHOLE)
def test_large_base64_is_proved_by_its_ends(kind, counting):
    text = base64.b64encode(WHOLE[kind])
    assert Image(b64=memoryview(text)).is_sound
    assert max(counting.decoded) < len(text) / 4


SPOILED = {
    "cut short": lambda text: text[:-1],
    "line breaks": lambda text: b"\n".join(text[start : start + 76] for start in range(0, len(text), 76)),
    "escapes": lambda text: text.replace(b"/", b"\\/"),
    "a character that is none at the end": lambda text: text[:-9] + b"!" + text[-8:],
    "no base64 in the middle, and no end": lambda text: text[:40_000] + b"!" + text[40_001:-4],
}


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("kind", WHOLE)
def test_large_base64_that_is_spoiled_is_noticed(kind, spoiled):
    text = spoiled(base64.b64encode(WHOLE[kind].replace(b"pixels", b"pi\xff\xffls")))
    assert not Image(b64=text).is_sound


@pytest.mark.parametrize("kind", WHOLE)
def test_large_base64_with_another_end_is_decoded_as_a_whole(kind):
    assert Image(b64=base64.b64encode(WHOLE[kind] + b"more")).is_sound
