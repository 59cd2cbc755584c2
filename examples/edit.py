"""Image to image and inpainting: python examples/edit.py [base URL]"""

import base64
import sys
from io import BytesIO
from pathlib import Path

from openai import OpenAI
from openai.types import ImagesResponse
from PIL import Image

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=base_url, api_key="none-needed")


def save(name: str, answer: ImagesResponse) -> bytes:
    picture = base64.b64decode(answer.data[0].b64_json)
    Path(name).write_bytes(picture)
    print(name)
    return picture


def mask_of_the_right_half() -> bytes:
    """Transparent is repainted, as in OpenAI's API."""
    mask = Image.new("RGBA", (256, 256), "black")
    mask.paste((0, 0, 0, 0), (128, 0, 256, 256))
    out = BytesIO()
    mask.save(out, "PNG")
    return out.getvalue()


settings = {"seed": 7, "steps": 15}
start = save("square.png", client.images.generate(prompt="a green square on a white background", extra_body=settings))
recoloured = client.images.edit(
    image=start, prompt="a red square on a white background", extra_body={**settings, "strength": 0.7}
)
save("square-recoloured.png", recoloured)
half = client.images.edit(
    image=start, mask=mask_of_the_right_half(), prompt="a white background", extra_body={**settings, "strength": 1.0}
)
save("square-half.png", half)
