"""What a request costs between the engine and its provider, in function calls, which no busy machine changes."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import imagerouter
from imagerouter.config.loader import load_text
from imagerouter.engine import Engine
from imagerouter.jobs import Job

CORE = Path(imagerouter.__file__).parent
ROOMS = tuple(str(CORE / name) for name in ("dispatching", "fleet", "jobs.py", "parity", "routing", "scheduling"))
MOST, MOST_MORE = 185, 50
"""Calls of a request where one provider is idle, and for each further one that has the model, too."""


async def calls(providers: int) -> int:
    """Of functions in the core, for one request that finds all providers idle."""
    fake = "{type: 'imagerouter.testing:FakeProvider', models: [sdxl]}"
    config = load_text(f"providers: {{{', '.join(f'p{number}: {fake}' for number in range(providers))}}}")
    count = 0

    def counted(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(ROOMS)

    async with Engine(config) as engine:
        await engine.fleet.settled()
        await engine.dispatcher.run(Job("a fox", {"width": 8, "height": 8}, model="sdxl"))
        sys.setprofile(counted)
        try:
            await engine.dispatcher.run(Job("a fox", {"width": 8, "height": 8}, model="sdxl"))
        finally:
            sys.setprofile(None)
    return count


async def test_a_request_takes_few_calls_and_few_more_for_each_provider() -> None:
    one, four = await calls(1), await calls(4)
    assert one <= MOST
    assert four - one <= 3 * MOST_MORE
