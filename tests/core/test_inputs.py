"""Pictures and masks as clients send them, and what every adapter gets of them."""

import asyncio
import base64
import struct
import threading
import zlib
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageCms, ImageDraw, features

from imagerouter import Image, InvalidParameterError
from imagerouter.images import repaint_mask
from imagerouter.inputs import prepared
from imagerouter.jobs import Job
from imagerouter.openai.inputs import picture

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
ORIENTATION = 0x0112
ABOUT = 8
"""How far a level may be off after lossy compression."""


def file(pixels, kind="PNG", **how):
    buffer = BytesIO()
    pixels.save(buffer, kind, **how)
    return Image(data=buffer.getvalue())


def halves(mode="RGB", size=(40, 24), left=RED, right=BLUE):
    """Two colours side by side, so that it shows when a picture is turned or a channel swapped."""
    pixels = Pillow.new("RGB", size, right)
    pixels.paste(left, (0, 0, size[0] // 2, size[1]))
    return pixels.convert(mode)


def noise(size=(64, 48), mode="RGB"):
    channels = [Pillow.effect_noise(size, 80) for _ in mode]
    return Pillow.merge(mode, channels) if len(channels) > 1 else channels[0]


def oriented(value):
    exif = Pillow.Exif()
    exif[ORIENTATION] = value
    return exif


async def plain(image, **how):
    """The one picture of a request, prepared."""
    job = await prepared(Job(prompt="x", params={"images": (image,)}), **how)
    (made,) = job.params["images"]
    return made


async def masked(mask, image=None, channel=None):
    """Picture and mask of a request, prepared and opened."""
    image = image or file(halves())
    job = await prepared(Job(prompt="x", params={"images": (image,), "mask": mask}), channel)
    return opened(job.params["images"][0]), opened(job.params["mask"])


async def refused(image, **others):
    with pytest.raises(InvalidParameterError) as caught:
        await prepared(Job(prompt="x", params={"images": (image,), **others}))
    return caught.value


def opened(image):
    assert image.media_type in ("image/png", "image/jpeg", "image/webp")
    return Pillow.open(BytesIO(image.data))


def near(found, expected, most=ABOUT):
    return all(abs(a - b) <= most for a, b in zip(found, expected, strict=True))


# Pictures that need nothing.


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
async def test_a_plain_picture_stays_the_same_object(kind, mode):
    image = file(noise(mode="RGB" if (kind, mode) == ("JPEG", "RGBA") else mode), kind)
    assert await plain(image) is image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_the_pixels_of_a_plain_picture_are_not_decoded(kind, monkeypatch):
    image = file(noise(), kind)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    if kind != "WEBP":  # whose plugin decodes with its own method
        assert await plain(image) is image


async def test_a_request_without_pictures_stays_the_same_object():
    job = Job(prompt="x", params={"steps": 4})
    assert await prepared(job) is job


async def test_the_other_parameters_stay():
    job = await prepared(Job(prompt="x", params={"images": (file(noise()),), "steps": 4}, n=2))
    assert (job.params["steps"], job.n, job.prompt) == (4, 2, "x")


async def test_a_photograph_with_a_film_behind_it_stays_the_same_object():
    """As telephones write it: whatever markers are behind the end, the picture is whole."""
    image = file(noise(), "JPEG")
    assert await plain(longer := Image(data=image.data + b"ftypmp42 \xff\xda and so on")) is longer


# Pictures that every viewer shows in one way, and backends in several.


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", range(2, 9))
async def test_a_picture_is_turned_as_exif_says(kind, value):
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[value]
    pixels = noise((16, 8)).resize((64, 32), Pillow.Resampling.NEAREST)
    how = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    found = opened(await plain(file(pixels, kind, exif=oriented(value), **how)))
    expected = pixels.transpose(Pillow.Transpose(turn))
    assert found.size == expected.size
    assert not found.getexif()
    points = [(x + 2, y + 2) for x in range(0, found.width, 4) for y in range(0, found.height, 4)]
    assert all(near(found.getpixel(point), expected.getpixel(point)) for point in points)


async def test_exif_behind_the_pixels_of_a_png_counts_too():
    data = file(halves()).data
    exif = oriented(6).tobytes().removeprefix(b"Exif\0\0")
    late = data[:-12] + chunk(b"eXIf", exif) + data[-12:]
    assert opened(await plain(Image(data=late))).size == (24, 40)


@pytest.mark.parametrize("value", [0, 1, 9, 77])
async def test_exif_that_turns_nothing_leaves_the_file_alone(value):
    image = file(noise(), "JPEG", exif=oriented(value))
    assert await plain(image) is image


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
async def test_broken_exif_is_no_reason_to_refuse_a_picture():
    image = file(halves(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff broken")
    assert near(opened(await plain(image)).convert("RGB").getpixel((4, 4)), RED)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF"])
async def test_further_kinds_become_png(kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    made = await plain(file(halves(), kind))
    assert made.media_type == "image/png"
    assert near(opened(made).convert("RGB").getpixel((4, 4)), RED)
    assert near(opened(made).convert("RGB").getpixel((30, 4)), BLUE)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "MPO"])
async def test_of_several_frames_the_first_one_is_taken(kind):
    frames = [Pillow.new("RGB", (8, 8), BLUE), Pillow.new("RGB", (8, 8), GREEN)]
    image = file(Pillow.new("RGB", (8, 8), RED), kind, save_all=True, append_images=frames)
    made = opened(await plain(image))
    assert (made.format, getattr(made, "n_frames", 1)) == ("PNG", 1)
    assert near(made.convert("RGB").getpixel((4, 4)), RED)


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("F", "TIFF")]
)
async def test_black_and_white_stay_what_they_are_in_every_mode(mode, kind):
    pixels = halves(mode, left=WHITE, right=BLACK)
    made = opened(await plain(file(pixels, kind)))
    assert made.mode in ("L", "RGB")
    assert near(made.convert("RGB").getpixel((4, 4)), WHITE)
    assert near(made.convert("RGB").getpixel((30, 4)), BLACK)


async def test_ink_becomes_light():
    made = opened(await plain(file(Pillow.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)))
    assert (made.mode, near(made.getpixel((4, 4)), RED)) == ("RGB", True)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
async def test_sixteen_bits_of_grey_become_eight_of_the_same_brightness(kind):
    pixels = Pillow.new("I;16", (2, 1))
    pixels.putdata([65535, 32768])
    made = opened(await plain(file(pixels, kind)))
    assert (made.mode, made.getpixel((0, 0)), made.getpixel((1, 0))) == ("L", 255, 128)


async def test_sixteen_bits_a_colour_become_eight():
    row = b"\0" + struct.pack(">6H", 65535, 0, 0, 0, 0, 65535)
    made = await plain(Image(data=png_of(2, 1, row, depth=16)))
    assert made.data[24] == 8
    assert [opened(made).getpixel((x, 0)) for x in (0, 1)] == [RED, BLUE]


async def test_floats_are_white_at_one():
    pixels = Pillow.new("F", (2, 1))
    pixels.putdata([1.0, 0.5])
    made = opened(await plain(file(pixels, "TIFF")))
    assert [made.getpixel((x, 0)) for x in (0, 1)] == [255, 128]


def transparent(mode, kind):
    """A picture whose left half is transparent, in this mode."""
    clear = halves("RGBA", left=WHITE)
    clear.paste((0, 0, 0, 0), (0, 0, 20, 24))
    if mode == "P":
        return file(clear.quantize(4) if kind == "PNG" else clear, kind)
    if mode == "RGB":
        return file(halves(left=RED), kind, transparency=RED)
    return file(clear.convert(mode), kind)


@pytest.mark.parametrize(
    ("mode", "kind"), [("P", "PNG"), ("P", "GIF"), ("LA", "PNG"), ("RGB", "PNG"), ("RGBA", "TIFF")]
)
async def test_transparency_is_kept_and_becomes_an_alpha_channel(mode, kind):
    made = opened(await plain(transparent(mode, kind)))
    assert made.mode == "RGBA"
    assert [made.getpixel((x, 4))[3] for x in (4, 30)] == [0, 255]


async def test_colours_of_another_space_become_srgb():
    """The profile says that red and blue are swapped."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "odd.".encode("utf-16-be"))
    for mode in ("RGB", "RGBA"):
        made = opened(await plain(file(halves(mode), icc_profile=swapped)))
        assert (made.mode, "icc_profile" in made.info) == (mode, False)
        assert near(made.getpixel((4, 4))[:3], BLUE)
        assert near(made.getpixel((30, 4))[:3], RED)
    image = file(halves(), icc_profile=srgb)
    assert await plain(image) is image


async def test_a_broken_colour_profile_is_ignored():
    image = file(halves(), icc_profile=b"no profile at all")
    assert near(opened(await plain(image)).getpixel((4, 4)), RED)


@pytest.mark.parametrize("said", [None, "image/png", "text/plain", "image/svg+xml"])
async def test_what_a_picture_is_said_to_be_makes_no_difference(said):
    image = Image(data=file(halves(), "BMP").data, media_type=said)
    assert opened(await plain(image)).getpixel((4, 4)) == RED


def test_every_kind_may_come_as_base64():
    for kind in ("GIF", "BMP", "TIFF", "AVIF", "PNG", "JPEG", "WEBP"):
        text = base64.b64encode(file(halves(), kind).data).decode()
        assert picture(f"data:application/octet-stream;base64,{text}", "images[0]").data == base64.b64decode(text)


def test_what_has_been_received_or_fetched_is_taken_by_its_name():
    image = file(halves())
    assert picture("upload:0", "mask", {"upload:0": image}) is image
    with pytest.raises(InvalidParameterError, match="neither base64 nor"):
        picture("upload:1", "mask", {"upload:0": image})


# Files that are no pictures, or not all of one.


def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width, height, rows=b"", depth=8):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9440, 12_000, 40_000])
async def test_a_decompression_bomb_is_refused_by_its_header(side):
    error = await refused(Image(data=png_of(side, side)))
    assert (error.message, error.param) == ("`images[0]` has more than 89 megapixels", "images[0]")


async def test_a_picture_without_pixels_is_refused():
    assert (await refused(Image(data=png_of(0, 8)))).param == "images[0]"


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF"]
)
async def test_what_is_no_picture_is_refused(data):
    error = await refused(file(halves()), mask=Image(data=data))
    assert error.param == "mask"
    assert "PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF" in error.message


KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"]
WHOLE = {kind: file(noise(), kind).data for kind in KINDS}


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(KINDS), st.floats(0.1, 0.97))
def test_the_beginning_of_a_file_is_refused(kind, part):
    data = WHOLE[kind]
    asyncio.run(refused(Image(data=data[: int(len(data) * part)])))


async def test_a_photograph_that_ends_behind_its_thumbnail_is_refused():
    thumbnail = file(noise((32, 24)), "JPEG").data
    whole = file(noise(), "JPEG").data
    head = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = whole[:2] + head + whole[2:]
    assert await plain(image := Image(data=data)) is image
    await refused(Image(data=data[: len(data) * 2 // 3]))


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([*KINDS, "TIFF"]), st.data())
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_read_or_refused_and_nothing_else(kind, data):
    damaged = bytearray(WHOLE.get(kind) or file(noise(), kind).data)
    for place in data.draw(st.lists(st.integers(0, min(len(damaged), 400) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        asyncio.run(plain(Image(data=bytes(damaged))))
    except InvalidParameterError as error:
        assert error.param == "images[0]"


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_way(data):
    asyncio.run(refused(Image(data=data)))


async def test_the_picture_at_fault_is_named():
    error = await refused(file(halves()), images=(file(halves()), Image(data=b"GIF89a")))
    assert error.param == "images[1]"


async def test_few_pictures_are_decoded_at_a_time(monkeypatch):
    lock, active, most = threading.Lock(), 0, 0
    two = threading.Barrier(2, timeout=10)

    def slow(opened):
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        two.wait()
        with lock:
            active -= 1
        return opened.copy()

    monkeypatch.setattr("imagerouter.inputs.upright", slow)
    await asyncio.gather(*(plain(file(halves(), "BMP")) for _ in range(12)))
    assert most == 2


# Masks.


def hole(size=(40, 24), around=(*BLACK, 255)):
    """Transparent on the left."""
    mask = Pillow.new("RGBA", size, around)
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return mask


def sides(mask):
    """What a mask says about the left and the right half."""
    assert (mask.format, mask.mode) == ("PNG", "L")
    y = mask.height // 2
    return mask.getpixel((mask.width // 8, y)), mask.getpixel((mask.width * 7 // 8, y))


MASKS = {
    "transparent on the left": hole(),
    "transparent on the left of white": hole(around=(*WHITE, 255)),
    "transparent in a palette": hole().quantize(4),
    "grey with alpha": hole().convert("LA"),
    "white on the left": halves(left=WHITE, right=BLACK),
    "grey": halves("L", left=WHITE, right=BLACK),
    "one bit": halves("1", left=WHITE, right=BLACK),
    "opaque with alpha": halves("RGBA", left=WHITE, right=BLACK),
    "sixteen bits": halves("L", left=WHITE, right=BLACK).convert("I").point(lambda v: v * 257).convert("I;16"),
}


@pytest.mark.parametrize("name", MASKS)
async def test_every_kind_of_mask_becomes_white_where_to_repaint(name):
    _, mask = await masked(file(MASKS[name]))
    assert (mask.size, sides(mask)) == ((40, 24), (255, 0))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
async def test_a_mask_from_a_lossy_file_is_clean(kind):
    _, mask = await masked(file(halves(left=WHITE, right=BLACK), kind, quality=30))
    assert {level for _, level in mask.getcolors()} == {0, 255}
    assert sides(mask) == (255, 0)


async def test_white_strokes_on_transparent_ground_are_repainted_if_white_is_what_counts():
    strokes = Pillow.new("RGBA", (40, 24), (255, 255, 255, 0))
    strokes.paste((*WHITE, 255), (0, 0, 20, 24))
    assert sides((await masked(file(strokes), channel="white"))[1]) == (255, 0)
    assert sides((await masked(file(strokes)))[1]) == (0, 255)


async def test_the_channel_is_the_clients_choice():
    both = hole(around=(*WHITE, 255))
    assert sides((await masked(file(both), channel="alpha"))[1]) == (255, 0)
    assert sides((await masked(file(both), channel="white"))[1]) == (0, 255)


async def test_half_transparent_and_more_is_repainted():
    mask = Pillow.new("RGBA", (40, 24), (0, 0, 0, 127))
    mask.paste((0, 0, 0, 128), (20, 0, 40, 24))
    assert sides((await masked(file(mask)))[1]) == (255, 0)


@pytest.mark.parametrize("size", [(20, 12), (80, 48), (160, 95)])
async def test_a_mask_of_the_same_shape_is_scaled(size):
    _, mask = await masked(file(hole(size)))
    assert (mask.size, sides(mask)) == ((40, 24), (255, 0))
    assert {level for _, level in mask.getcolors()} == {0, 255}


@pytest.mark.parametrize("size", [(24, 40), (24, 24), (64, 24)])
async def test_a_mask_of_another_shape_is_refused_with_both_sizes(size):
    error = await refused(file(halves()), mask=file(hole(size)))
    assert error.param == "mask"
    assert f"{size[0]}x{size[1]}" in error.message
    assert "40x24" in error.message


async def test_a_mask_fits_the_picture_as_it_is_seen():
    lying = file(halves(size=(24, 40)), "JPEG", exif=oriented(6))
    pixels, mask = await masked(file(hole((40, 24))), lying)
    assert pixels.size == mask.size == (40, 24)


@pytest.mark.parametrize(
    ("mask", "channel", "said"),
    [
        (Pillow.new("L", (40, 24), 0), None, "transparent or white"),
        (Pillow.new("RGB", (40, 24), WHITE), "alpha", "transparent"),
        (hole(), "white", "white"),
    ],
)
async def test_a_mask_that_repaints_nothing_is_refused(mask, channel, said):
    with pytest.raises(InvalidParameterError, match=f"repaints nothing: no part of it is {said}$") as caught:
        await masked(file(mask), channel=channel)
    assert caught.value.param == "mask"


async def test_a_mask_without_a_picture_is_refused():
    with pytest.raises(InvalidParameterError, match="needs an input picture") as caught:
        await prepared(Job(prompt="x", params={"mask": file(hole())}))
    assert caught.value.param == "mask"


@settings(deadline=None, max_examples=40)
@given(st.data(), st.integers(1, 40), st.integers(1, 40))
def test_one_area_is_one_mask_however_it_is_drawn(data, width, height):
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (left, top, data.draw(st.integers(left, width - 1)), data.draw(st.integers(top, height - 1)))
    white = Pillow.new("L", (width, height), 0)
    ImageDraw.Draw(white).rectangle(box, fill=255)
    clear = Pillow.new("RGBA", (width, height), "red")
    clear.putalpha(white.point(lambda level: 255 - level))
    image = file(Pillow.new("RGB", (width, height)))
    for mask in (white, white.convert("RGB"), white.convert("1"), clear):
        _, found = asyncio.run(masked(file(mask), image))
        assert found.tobytes() == white.tobytes()
        assert repaint_mask(found, (width, height)).tobytes() == white.tobytes()  # as adapters read it


# Transparency of the picture itself.


def padded():
    """Red and blue halves with a margin of 20 transparent pixels, whose hidden colour is green."""
    canvas = Pillow.new("RGBA", (80, 64), (*GREEN, 0))
    canvas.paste(halves("RGBA"), (20, 20))
    return canvas


async def test_a_picture_can_be_its_own_mask():
    image = file(padded())
    _, mask = await masked(image, image)
    assert mask.getbbox() == (0, 0, 80, 64)
    assert mask.crop((20, 20, 60, 44)).getcolors() == [(40 * 24, 0)]
    assert mask.getpixel((5, 30)) == mask.getpixel((70, 60)) == 255


async def test_an_opaque_picture_is_no_mask_of_its_own():
    image = file(halves(left=WHITE))
    error = await refused(image, mask=image)
    assert (error.param, error.message) == ("mask", "`mask` repaints nothing: no part of it is transparent")


async def test_a_transparent_margin_takes_the_colours_next_to_it():
    image = file(padded())
    pixels, _ = await masked(image, image)
    assert pixels.mode == "RGB"
    assert pixels.crop((20, 20, 60, 44)).tobytes() == halves().tobytes()
    assert near(pixels.getpixel((10, 30)), RED, 60)
    assert near(pixels.getpixel((70, 30)), BLUE, 60)
    assert max(green for _, (_, green, _) in pixels.getcolors(80 * 64)) < 32


async def test_what_is_transparent_and_not_repainted_is_white():
    pixels, _ = await masked(file(right_only()), file(padded()))
    assert pixels.getpixel((5, 30)) == WHITE
    assert near(pixels.getpixel((70, 30)), BLUE, 60)


def right_only():
    mask = Pillow.new("L", (80, 64), 0)
    mask.paste(255, (60, 0, 80, 64))
    return mask


async def test_a_picture_that_is_all_transparent_is_white_under_its_mask():
    image = file(Pillow.new("RGBA", (8, 8), (0, 0, 0, 0)))
    pixels, mask = await masked(image, image)
    assert (pixels.getcolors(), mask.getcolors()) == ([(64, WHITE)], [(64, 255)])


async def test_without_a_mask_transparency_is_kept():
    image = file(padded())
    assert await plain(image) is image


@settings(deadline=None, max_examples=30)
@given(st.integers(8, 300), st.integers(8, 300), st.data())
def test_what_is_visible_colours_all_that_is_transparent(width, height, data):
    pixels = Pillow.new("RGBA", (width, height), (0, 0, 0, 0))
    left, top = data.draw(st.integers(0, width - 8)), data.draw(st.integers(0, height - 8))
    pixels.paste((200, 100, 50, 255), (left, top, left + 8, top + 8))
    mask = file(Pillow.new("L", (width, height), 255))
    found, _ = asyncio.run(masked(mask, file(pixels)))
    assert all(near(colour, (200, 100, 50), 32) for _, colour in found.convert("RGB").getcolors(width * height))
