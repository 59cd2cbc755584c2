"""Previews while the picture is being drawn: python examples/stream.py [base URL]"""

import base64
import sys
from pathlib import Path

from openai import OpenAI

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=base_url, api_key="none-needed")

events = client.images.generate(
    prompt="a yellow star on a black background",
    stream=True,
    partial_images=2,
    extra_body={"seed": 3, "steps": 15, "stream_progress": True},
)
for event in events:
    if event.type == "image_generation.partial_image":
        name = f"star-preview-{event.partial_image_index}.png"
    elif event.type == "image_generation.completed":
        name = "star.png"
    else:
        print(f"{event.stage}: step {event.step} of {event.steps} on {event.provider}")
        continue
    Path(name).write_bytes(base64.b64decode(event.b64_json))
    print(name)
