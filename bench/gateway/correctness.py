"""Is it always the right picture? Many distinct ones through each path, some of them called off on the way.

    python bench/gateway/correctness.py                     # 10,000 through each path, 64 at once
    python bench/gateway/correctness.py --count 500

Every twentieth request is given up by its client after a random time: before the upstream has the picture, while it
comes, or when it is nearly there. All others must be answered with their own picture, byte for byte, whatever happens
to their neighbours; and when all is done, the server must have no job left. Each picture comes once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvloop
from contestants import contestants, routes
from load import Door, WrongAnswerError, connect
from pictures import DISTINCT, Picture
from run import LARGE, upstream

CALLED_OFF = 0.05
"""Share of the requests that are given up."""
SLOWEST_MS = 60
"""Upstreams take between nothing and this for a picture, so that answers overtake each other."""
PATIENCE = (0.01, 3.0)
"""Seconds after which a client gives up, from the least to the most, spread evenly over their orders of magnitude."""


@dataclass
class Tally:
    right: int = 0
    called_off: int = 0
    wrong: list[str] = field(default_factory=list)


async def client(door: Door, left: Iterator[Picture], tally: Tally, chance: random.Random) -> None:
    connection = await connect(door.port)
    for picture in left:
        gives_up = chance.random() < CALLED_OFF
        patience = math.exp(chance.uniform(*map(math.log, PATIENCE))) if gives_up else None
        try:
            async with asyncio.timeout(patience):
                await connection.ask(door.request(picture), picture)
            tally.right += 1
            continue
        except TimeoutError as error:
            if not gives_up:
                tally.wrong.append(str(error))
            tally.called_off += gives_up
        except (WrongAnswerError, OSError) as error:
            tally.wrong.append(str(error))
        connection.transport.abort()
        connection = await connect(door.port)
    connection.transport.close()


async def check(door: Door, count: int, at_once: int, size: int) -> Tally:
    tally, chance = Tally(), random.Random(count)
    pictures = (Picture(index, size, chance.randrange(SLOWEST_MS)) for index in range(count))
    await asyncio.gather(*(client(door, pictures, tally, chance) for _ in range(at_once)))
    return tally


def left_over(door: Door) -> str:
    """What the server says of jobs that still run, after some time to be through with those that were called off."""
    request = urllib.request.Request(f"http://127.0.0.1:{door.port}/v1/providers", headers=dict(door.headers))
    late, busy = time.monotonic() + 30, "no answer"
    while time.monotonic() < late:
        with suppress(OSError), urllib.request.urlopen(request) as answer:
            queue = json.load(answer)["queue"]
            busy = f"{queue['running']} running, {queue['waiting']} waiting"
            if not queue["running"] + queue["waiting"]:
                return ""
        time.sleep(0.2)
    return busy


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=10_000, help=f"through each path, at most {DISTINCT}")
    options.add_argument("--at-once", type=int, default=64)
    options.add_argument("--size", type=int, default=LARGE, help="bytes of a picture")
    chosen = options.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name, upstream(Path(name)) as port:
        running = contestants()["imagerouter"].start(Path(name), port)
        try:
            for route, model in routes().items():
                began, door = time.monotonic(), replace(running.door, model=model)
                tally = uvloop.run(check(door, chosen.count, chosen.at_once, chosen.size))
                busy = left_over(door)
                told = f"{tally.right} right, {tally.called_off} called off, {len(tally.wrong)} wrong"
                print(f"{route}: {told}, in {time.monotonic() - began:.0f} seconds", *tally.wrong[:3], sep="\n  ")
                print(f"  left over: {busy or 'nothing'}", flush=True)
                failed |= bool(tally.wrong or busy)
        finally:
            running.group.stop()
    sys.exit("not every picture was right" if failed else 0)


if __name__ == "__main__":
    main()
