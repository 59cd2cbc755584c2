"""Counts the requests that are being answered, so that a shutdown can wait until the last byte is handed over."""

from __future__ import annotations

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send


class InFlight(ASGIMiddleware):
    """One per application; ``count`` covers streams until their end."""

    def __init__(self) -> None:
        self.count = 0

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        self.count += 1
        try:
            await next_app(scope, receive, send)
        finally:
            self.count -= 1
