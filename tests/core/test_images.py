"""Finished pictures as clients get them: their format, quality, colours and texts."""

import asyncio
import threading
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, ImageChops, ImageCms
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from imagerouter import Image, InvalidParameterError, ProviderResponseError, images
from imagerouter.embedding import read
from imagerouter.images import check_format, convert, deliver, dimensions, in_worker

FORMATS = ("png", "jpeg", "webp", "avif")
MADE_BY_BACKENDS = ("png", "jpeg", "webp")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Pillow.Image:
    red, blue = Pillow.new("RGB", size, (200, 40, 30)), Pillow.new("RGB", size, (20, 60, 190))
    return Pillow.composite(red, blue, Pillow.linear_gradient("L").resize(size)).convert(mode)


def file(kind: str, made: Pillow.Image | None = None, **settings: Any) -> Image:
    out = BytesIO()
    (made or picture()).save(out, kind.upper(), **settings)
    return Image(data=out.getvalue())


def opened(image: Image) -> Pillow.Image:
    done = Pillow.open(BytesIO(image.data))
    done.load()
    return done


def difference(one: Pillow.Image, other: Pillow.Image) -> int:
    """The most that any value of any pixel is off, of 255."""
    extrema: Any = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getextrema()
    return int(max(high for _, high in extrema))


@pytest.mark.parametrize("own", MADE_BY_BACKENDS)
@pytest.mark.parametrize("wanted", FORMATS)
async def test_every_format_becomes_every_other(own: str, wanted: str) -> None:
    settings = {} if own == "png" else {"quality": 100}
    image = file(own, **settings)
    done = await deliver(image, wanted, None)
    assert (done is image) == (own == wanted)
    assert (done.media_type, opened(done).format, dimensions(done)) == (f"image/{wanted}", wanted.upper(), (64, 48))
    assert difference(opened(done), opened(image)) <= 12


@pytest.mark.parametrize("own", MADE_BY_BACKENDS)
@pytest.mark.parametrize("compression", [None, 100])
async def test_what_is_right_already_is_passed_on_and_stays_base64(own: str, compression: int | None) -> None:
    image = Image(b64=file(own).b64)
    assert await deliver(image, own, compression) is image
    assert await deliver(image, None, None) is image


@pytest.mark.parametrize("own", MADE_BY_BACKENDS)
@pytest.mark.parametrize("wanted", ["jpeg", "webp", "avif"])
async def test_less_quality_is_a_smaller_file(own: str, wanted: str) -> None:
    noise = file(own, Pillow.effect_noise((96, 96), 80).convert("RGB"))
    sizes = [len((await deliver(noise, wanted, compression)).data) for compression in (0, 30, 60, 99)]
    assert sizes == sorted(set(sizes))
    assert sizes[0] < len((await deliver(noise, wanted, 100)).data)


async def test_compression_says_nothing_about_a_png() -> None:
    image = file("png")
    assert await deliver(image, "png", 10) is image
    assert difference(opened(await deliver(file("webp", lossless=True), "png", 10)), picture()) == 0


@pytest.mark.parametrize("wanted", ["png", "webp", "avif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
async def test_transparency_is_kept_where_there_is_room_for_it(mode: str, wanted: str) -> None:
    made = picture("RGBA")
    made.putalpha(Pillow.linear_gradient("L").resize(made.size).point(lambda level: 255 if level > 127 else 0))
    own = "webp" if wanted == "png" and mode == "RGBA" else "png"
    done = opened(await deliver(file(own, made.quantize(64) if mode == "P" else made.convert(mode)), wanted, 99))
    if own != wanted:
        assert done.mode == "RGBA"
        assert difference(done.getchannel("A"), made.getchannel("A")) <= 8


async def test_a_jpeg_is_white_where_the_picture_is_transparent() -> None:
    done = opened(await deliver(file("png", Pillow.new("RGBA", (16, 16), (0, 0, 0, 0))), "jpeg", None))
    assert done.getpixel((8, 8)) == (255, 255, 255)


@pytest.mark.parametrize("wanted", ["jpeg", "webp", "avif"])
async def test_greys_of_sixteen_bits_keep_their_brightness(wanted: str) -> None:
    grey = Pillow.new("I;16", (16, 16), 128 * 257)
    assert difference(opened(await deliver(file("png", grey), wanted, None)), Pillow.new("L", (16, 16), 128)) <= 1


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
async def test_a_colour_profile_is_kept(mode: str, wanted: str) -> None:
    made = picture(mode)
    own = "png" if wanted != "png" else "webp"
    done = await deliver(file(own, made, icc_profile=PROFILE), wanted, None)
    assert opened(done).info["icc_profile"] == PROFILE


async def test_a_profile_of_other_colours_is_not() -> None:
    done = opened(await deliver(file("jpeg", picture("CMYK"), icc_profile=PROFILE), "png", None))
    assert (done.mode, done.info.get("icc_profile")) == ("RGB", None)


@pytest.mark.parametrize("wanted", [None, *FORMATS])
async def test_a_picture_that_only_its_exif_turns_stands_upright(wanted: str | None) -> None:
    turned = Pillow.Exif()
    turned[ExifTags.Base.Orientation] = 6
    done = opened(await deliver(file("jpeg", exif=turned, quality=100), wanted, None))
    assert done.size == (48, 64)
    assert done.getexif().get(ExifTags.Base.Orientation, 1) == 1
    assert difference(done, picture().transpose(Pillow.Transpose.ROTATE_270)) <= 12


def with_texts(kind: str) -> Image:
    texts = PngInfo()
    texts.add_text("parameters", "a secret")
    own = Pillow.Exif()
    own[ExifTags.Base.ImageDescription] = "a secret"
    return file(kind, exif=own, **({"pnginfo": texts} if kind == "png" else {}))


@pytest.mark.parametrize("own", MADE_BY_BACKENDS)
@pytest.mark.parametrize("wanted", [None, *FORMATS])
async def test_what_a_backend_wrote_into_a_file_is_not_delivered(own: str, wanted: str | None) -> None:
    image = with_texts(own)
    assert b"a secret" in image.data
    assert b"a secret" not in (await deliver(image, wanted, None)).data


@pytest.mark.parametrize("own", MADE_BY_BACKENDS)
async def test_it_is_where_the_operator_wants_that(own: str) -> None:
    image = with_texts(own)
    assert await deliver(image, own, None, keep_texts=True) is image


@pytest.mark.parametrize("own", MADE_BY_BACKENDS)
@pytest.mark.parametrize("wanted", [None, *FORMATS])
@pytest.mark.parametrize("compression", [None, 80])
async def test_an_embedded_request_says_how_the_file_was_written(
    own: str, wanted: str | None, compression: int | None
) -> None:
    image = with_texts(own)
    done = await deliver(image, wanted, compression, request={"prompt": "雨", "seed": 7}, keep_texts=True)
    kind = wanted or own
    quality = {} if kind == "png" or compression is None else {"output_compression": compression}
    assert read(done.data) == {"prompt": "雨", "seed": 7, "output_format": kind} | quality
    assert b"a secret" not in done.data
    plain = await deliver(image, wanted, compression)
    assert opened(done).tobytes() == opened(plain).tobytes()
    assert done.media_type == plain.media_type


@given(st.binary(max_size=40), st.sampled_from(FORMATS), st.booleans())
def test_what_is_no_picture_is_the_providers_fault(data: bytes, wanted: str, has_request: bool) -> None:
    request = {"seed": 1} if has_request else None
    for image in (Image(data=data, media_type="image/jpeg"), Image(b64=b"x" + data, media_type="image/jpeg")):
        if wanted == "jpeg" and request is None:
            continue
        with pytest.raises(ProviderResponseError):
            asyncio.run(deliver(image, wanted, 50, request=request))


@pytest.mark.parametrize("own", MADE_BY_BACKENDS)
@pytest.mark.parametrize("wanted", FORMATS)
def test_half_a_picture_is_none(own: str, wanted: str) -> None:
    whole = file(own, Pillow.effect_noise((64, 64), 80)).data
    with pytest.raises(ProviderResponseError):
        convert(Image(data=whole[: len(whole) // 2]), wanted)


@pytest.mark.parametrize("wanted", ["png", "webp", "avif", None])
def test_transparency_can_be_asked_of_every_format_but_jpeg(wanted: str | None) -> None:
    check_format(wanted, "transparent")
    check_format("jpeg", "opaque")
    for name in ("jpeg", "jpg"):
        with pytest.raises(InvalidParameterError, match="png or webp") as raised:
            check_format(name, "transparent")
        assert raised.value.param == "background"


def test_avif_is_refused_where_pillow_can_not_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_format("avif", None)
    monkeypatch.setattr("PIL.AvifImagePlugin.SUPPORTED", False)
    with pytest.raises(InvalidParameterError, match="use png, jpeg or webp") as raised:
        check_format("avif", None)
    assert raised.value.param == "output_format"


async def test_only_a_few_pictures_are_worked_on_at_once() -> None:
    most = images._WORKERS._max_workers
    running, reached, lock = 0, 0, threading.Lock()
    full = threading.Event()

    def work() -> None:
        nonlocal running, reached
        with lock:
            running, reached = running + 1, max(reached, running + 1)
        if reached == most:
            full.set()
        assert full.wait(60)
        with lock:
            running -= 1

    await asyncio.gather(*(in_worker(work) for _ in range(4 * most)))
    assert reached == most <= 4
