"""Pictures as a program has them: what it may send, and how it saves what it gets."""

import base64
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Pillow
from tests.core.clients import Watched, png, watched

from imagerouter import AsyncClient, Image


async def test_a_picture_is_saved_in_the_format_of_its_suffix_with_the_request_in_it(tmp_path: Path) -> None:
    async with AsyncClient(watched()) as client:
        (picture,) = await client.generate("a fox", seed=3, metadata="embed")
    assert picture.save(tmp_path / "fox.png").read_bytes() == picture.data
    assert picture.save(str(tmp_path / "fox.bin")).read_bytes() == picture.data
    for suffix, kind in ((".jpg", "JPEG"), (".webp", "WEBP")):
        path = picture.save(tmp_path / f"fox{suffix}")
        assert Pillow.open(path).format == kind
        assert b"a fox" in path.read_bytes()
    with pytest.raises(FileNotFoundError):
        picture.save(tmp_path / "nowhere" / "fox.png")
    with pytest.raises(ValueError, match=r"one of \.png, .*, not \.gif"):
        picture.save(tmp_path / "fox.GIF")
    assert not (tmp_path / "fox.GIF").exists()


async def test_a_picture_may_be_given_in_any_way_a_program_has_it(tmp_path: Path) -> None:
    data = png()
    path = tmp_path / "input.png"
    path.write_bytes(data)
    encoded = base64.b64encode(data).decode()
    async with AsyncClient(watched()) as client:
        with path.open("rb") as file:
            for given in (
                data, bytearray(data), memoryview(data), path, file, BytesIO(data), Image(data=data), encoded,
                f"data:image/png;base64,{encoded}", {"image_url": {"url": encoded}}, [data], (path,),
            ):  # fmt: skip
                await client.edit(given, "a cat")
        await client.generate("a cat", images=[data], mask=png(mode="L", colour="white"))
        drawn = await client.generate("a dog", init_image=data)
        await client.edit(drawn, "a cat", strength=0.5)
        await client.vary(drawn[0])
    requests = Watched.made[0].requests
    assert {request.images[0].data for request in requests[:14]} == {data}
    assert [request.operation for request in requests[11:14]] == ["edit", "inpaint", "edit"]
    assert [request.images[0].data for request in requests[14:]] == [drawn[0].data] * 2
    assert (requests[-1].prompt, requests[-1].strength) == ("", 0.6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
async def test_pillows_pictures_are_sent_whatever_their_mode(mode: str) -> None:
    pixels = Pillow.new("RGB", (64, 64), "white").convert("L" if mode in ("I;16", "F") else "RGB").convert(mode)
    async with AsyncClient(watched()) as client:
        await client.edit(pixels.point(lambda level: level * 257) if mode == "I;16" else pixels, "a cat")
    sent = Pillow.open(BytesIO(Watched.made[0].requests[0].images[0].data))
    assert sent.convert("RGB").getpixel((5, 5)) == (255, 255, 255)
