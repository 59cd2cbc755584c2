"""Install those that imagerouter is compared with, each into a folder of its own that git doesn't see.

    python bench/gateway/peers.py

Nothing of them is needed to use or to test imagerouter. nginx is taken from the system.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

LITELLM_VERSION = "1.106.2"
PORTKEY_VERSION = "1.15.2"

_PEERS = Path(__file__).parents[1] / ".peers"
LITELLM = _PEERS / "litellm"
PORTKEY = _PEERS / "portkey"
PORTKEY_SERVER = PORTKEY / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def nginx() -> str:
    found = shutil.which("nginx")
    if found is None:
        raise FileNotFoundError("nginx isn't installed")
    return found


def nginx_version() -> str:
    told = subprocess.run([nginx(), "-v"], capture_output=True, text=True, check=True).stderr
    return told.strip().rpartition("/")[2]


def main() -> None:
    subprocess.run([sys.executable, "-m", "venv", str(LITELLM)], check=True)
    wanted = f"litellm[proxy]=={LITELLM_VERSION}"
    subprocess.run([str(LITELLM / "bin" / "python"), "-m", "pip", "install", "--quiet", wanted], check=True)
    print(f"LiteLLM {LITELLM_VERSION} is in {LITELLM}")
    if shutil.which("npm"):
        PORTKEY.mkdir(parents=True, exist_ok=True)
        package = f"@portkey-ai/gateway@{PORTKEY_VERSION}"
        # Its install script would apply patches, of which the package brings none.
        options = ["--prefix", str(PORTKEY), "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(["npm", "install", *options, package], check=True)
        print(f"Portkey {PORTKEY_VERSION} is in {PORTKEY}")
    else:
        print("Portkey needs npm, which isn't there")
    if not shutil.which("nginx"):
        print("nginx isn't there; install it with the system's package manager")


if __name__ == "__main__":
    main()
