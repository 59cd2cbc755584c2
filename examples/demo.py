"""What `make demo` runs: start the server, send one request as any OpenAI client would, keep the picture."""

import base64
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from openai import OpenAI

MODEL = "builtin"  # the small one that comes with the package
PROMPT = "a red circle on a blue background"
PICTURE = Path("demo.png")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            if httpx.get(f"{url}/v1/models/{MODEL}").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    sys.exit("the server did not start; its messages above say why")


def main() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "imagerouter", "serve", "--port", str(port), "--log-level", "warning"]
    print("starting the server ...")
    server = subprocess.Popen(command)
    try:
        wait_until_ready(url, server)
        client = OpenAI(base_url=f"{url}/v1", api_key="none-needed")
        print(f'drawing "{PROMPT}" ...')
        answer = client.images.generate(model=MODEL, prompt=PROMPT, size="256x256", extra_body={"seed": 7})
    finally:
        server.terminate()
        server.wait()
    PICTURE.write_bytes(base64.b64decode(answer.data[0].b64_json))
    told = answer.model_extra["imagerouter"]
    print(f"""
The picture is {PICTURE.resolve()}
drawn by `{told["target"]}` on `{told["provider"]}` in {told["render_ms"] / 1000:.1f} s with seed {answer.data[0].seed}.

Go on with
  .venv/bin/imagerouter serve                        the server on http://127.0.0.1:8000
  .venv/bin/imagerouter generate "a yellow star"     a picture without a server
  configs/reference.yaml                             every setting, explained""")


if __name__ == "__main__":
    main()
