"""Not sending SD.Next more than it allows: what comes beyond its limit is drawn, and then thrown away."""

from __future__ import annotations

import asyncio
from collections import deque

from imagerouter_a1111.recipe import Stock

WINDOW_SECONDS = 60.0
_COST = 5
"""Requests that one job counts as (``modules/api/validate.py``)."""


class Pace:
    """The jobs of the last minute, by route: each has a limit of its own."""

    def __init__(self) -> None:
        self._sent: dict[str, deque[float]] = {}

    async def turn(self, route: str, stock: Stock) -> None:
        """Wait until one more job may be sent there."""
        limit = stock.settings.get("server_rate_limit")
        if not isinstance(limit, int | float) or limit <= 0:
            return
        # One less, since the server counts at the end of a job, and jobs take differently long.
        most = max(1, int(limit) // _COST - 1)
        sent = self._sent.setdefault(route, deque())
        while True:
            now = asyncio.get_running_loop().time()
            while sent and sent[0] <= now - WINDOW_SECONDS:
                sent.popleft()
            if len(sent) < most:
                break
            await asyncio.sleep(sent[0] + WINDOW_SECONDS - now)
        sent.append(now)
