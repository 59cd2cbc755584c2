"""Image to image and inpainting: python examples/edit.py [base URL]"""

import base64
import sys
from io import BytesIO
from pathlib import Path

from openai import OpenAI
from PIL import Image

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=base_url, api_key="none-needed")


def draw(name: str, prompt: str, **extra: object) -> str:
    answer = client.images.generate(prompt=prompt, extra_body={"seed": 7, "steps": 15, **extra})
    Path(name).write_bytes(base64.b64decode(answer.data[0].b64_json))
    print(name)
    return answer.data[0].b64_json


def mask_of_the_right_half() -> str:
    """Transparent is repainted, as in OpenAI's API."""
    mask = Image.new("RGBA", (256, 256), "black")
    mask.paste((0, 0, 0, 0), (128, 0, 256, 256))
    out = BytesIO()
    mask.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


start = draw("square.png", "a green square on a white background")
draw("square-recoloured.png", "a red square on a white background", image=start, strength=0.7)
draw("square-half.png", "a white background", image=start, mask=mask_of_the_right_half(), strength=1.0)
