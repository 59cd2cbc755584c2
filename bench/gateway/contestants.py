"""Who is compared: how each is started on a port of its own, and by which door it is asked."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import peers
from a1111 import NAME as WEBUI
from comfy import NAME as COMFY
from load import Door
from processes import Group, free_port

HERE = Path(__file__).parent
KEY = "sk-bench-0123456789abcdef"
_MODEL = "gpt-image-1"
_BEARER = {"authorization": f"Bearer {KEY}"}


@dataclass(frozen=True)
class Contestant:
    """A way to a picture."""

    name: str
    version: str
    command: Callable[[Path, int, int], list[str]]
    """From a folder for its files, its own port and the upstream's port to what starts it."""
    health: str
    """Path that answers 200 from the moment on at which requests are taken."""
    model: str = _MODEL
    headers: Callable[[int], Mapping[str, str]] = lambda _: _BEARER
    """From the upstream's port to what requests carry."""
    environment: Callable[[Path], Mapping[str, str]] = field(default=lambda _: {})
    is_ready: Callable[[int], bool] = field(default=lambda _: True)
    """From its port to whether it can draw, which may come after it answers."""

    def start(self, folder: Path, upstream: int) -> Running:
        port = free_port()
        folder = folder / self.name
        folder.mkdir(exist_ok=True)
        command = self.command(folder, port, upstream)
        group = Group(command, folder / f"{self.name}.log", self.environment(folder))
        try:
            cpu = group.answers(f"http://127.0.0.1:{port}{self.health}")
            while not self.is_ready(port):
                time.sleep(0.05)
        except BaseException:
            group.stop()
            raise
        return Running(self, group, Door(port, self.model, headers=self.headers(upstream)), cpu)


@dataclass(frozen=True)
class Running:
    """A contestant that answers."""

    contestant: Contestant
    group: Group
    door: Door
    start_cpu: float
    """Seconds of CPU time until it answered."""


def _imagerouter(folder: Path, port: int, upstream: int) -> list[str]:
    """Every feature that is on by default, and a key."""
    url = f"http://127.0.0.1:{upstream}"
    providers = {
        "webui": {"type": "a1111", "base_url": url, "concurrency": 256},
        "comfy": {"type": "comfyui", "base_url": url, "concurrency": 256},
    }
    if has_openai():
        providers["hosted"] = {"type": "openai", "base_url": f"{url}/v1", "concurrency": 256}
    config = {"providers": providers, "keys": {"bench": {"secret": KEY}}, "server": {"port": port}}
    file = folder / "imagerouter.yaml"
    file.write_text(json.dumps(config))  # which is YAML, too
    return [sys.executable, "-m", "imagerouter", "serve", "--config", str(file)]


def has_openai() -> bool:
    """Whether imagerouter has an adapter for upstreams that speak OpenAI's API."""
    return any(entry.name == "openai" for entry in importlib.metadata.entry_points(group="imagerouter.providers"))


def _has_all_providers(port: int) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/providers", headers=_BEARER)
    with urllib.request.urlopen(request) as answer:
        return all(provider["state"] == "ready" for provider in json.load(answer)["data"])


def _nginx(folder: Path, port: int, upstream: int) -> list[str]:
    """One worker, connections kept open, and no buffering of whole answers: the fastest of what was tried."""
    config = f"""\
        daemon off; worker_processes 1; pid {folder}/pid; error_log stderr warn;
        events {{ worker_connections 2048; }}
        http {{
          access_log off;
          client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
          uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
          keepalive_requests 1000000;
          upstream backend {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000; }}
          server {{
            listen 127.0.0.1:{port};
            location / {{
              proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header connection "";
              proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
            }}
          }}
        }}
        """
    (folder / "nginx.conf").write_text(dedent(config))
    return [peers.nginx(), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _baseline(_: Path, port: int, upstream: int) -> list[str]:
    return [sys.executable, str(HERE / "proxy.py"), str(port), str(upstream)]


def _litellm(folder: Path, port: int, upstream: int) -> list[str]:
    """One worker, a master key, no database."""
    target = f'{{model: openai/{_MODEL}, api_base: "http://127.0.0.1:{upstream}/v1", api_key: {KEY}}}'
    config = f"model_list: [{{model_name: {_MODEL}, litellm_params: {target}}}]\nlitellm_settings: {{num_retries: 0}}\n"
    (folder / "litellm.yaml").write_text(config)
    options = f"--host 127.0.0.1 --port {port} --num_workers 1 --telemetry False"
    return [str(peers.LITELLM / "bin" / "litellm"), "--config", str(folder / "litellm.yaml"), *options.split()]


def _portkey(_: Path, port: int, __: int) -> list[str]:
    return ["node", str(peers.PORTKEY_SERVER), f"--port={port}", "--headless"]


def _portkey_headers(upstream: int) -> Mapping[str, str]:
    return {**_BEARER, "x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}


def contestants() -> dict[str, Contestant]:
    """By name, all that are there; of the others it is printed how to get them."""
    found = [
        Contestant(
            "imagerouter",
            importlib.metadata.version("imagerouter"),
            _imagerouter,
            "/health/live",
            model=_MODEL if has_openai() else WEBUI,
            # What it learns and keeps must not mix with what a server of the same user has learned.
            environment=lambda folder: {"XDG_STATE_HOME": str(folder), "XDG_CACHE_HOME": str(folder)},
            is_ready=_has_all_providers,
        ),
        Contestant("baseline", f"on uvicorn {importlib.metadata.version('uvicorn')}", _baseline, "/v1/models"),
    ]
    if shutil.which("nginx"):
        found.append(Contestant("nginx", peers.nginx_version(), _nginx, "/v1/models"))
    else:
        print("nginx is missing: install it (`apt install nginx-light`, `brew install nginx`) for the ratios to it")
    if (peers.LITELLM / "bin" / "litellm").exists():
        found.append(Contestant("LiteLLM", peers.LITELLM_VERSION, _litellm, "/health/liveliness", environment=_lite))
    else:
        print("LiteLLM is missing: `make bench-peers` installs it")
    if peers.PORTKEY_SERVER.exists() and shutil.which("node"):
        version = f"{peers.PORTKEY_VERSION} on node {_node_version()}"
        found.append(Contestant("Portkey", version, _portkey, "/", headers=_portkey_headers, environment=_trusting))
    else:
        print("Portkey is missing: `make bench-peers` installs it")
    return {contestant.name: contestant for contestant in found}


def routes() -> dict[str, str]:
    """Path through imagerouter → the model that takes it."""
    return {"A1111": WEBUI, "ComfyUI": COMFY} | ({"OpenAI": _MODEL} if has_openai() else {})


def _lite(_: Path) -> Mapping[str, str]:
    return {"LITELLM_MASTER_KEY": KEY, "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def _trusting(_: Path) -> Mapping[str, str]:
    return {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}


def _node_version() -> str:
    return subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip().lstrip("v")
