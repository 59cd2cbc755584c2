"""Pictures with the OpenAI SDK: python examples/openai_sdk.py [base URL]"""

import base64
import sys
from pathlib import Path

from openai import OpenAI

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=base_url, api_key="none-needed")

answer = client.images.generate(
    prompt="a red circle on a blue background",
    size="256x256",
    n=2,
    # What OpenAI has no name for goes through extra_body.
    extra_body={"steps": 15, "cfg_scale": 2, "seed": 7},
)
for item in answer.data:
    path = Path(f"circle-{item.seed}.png")
    path.write_bytes(base64.b64decode(item.b64_json))
    print(path)
print(answer.model_extra["imagerouter"]["applied"])
