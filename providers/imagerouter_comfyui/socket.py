"""The one websocket to a server, over which the events of all our jobs come.

ComfyUI sends a job's events to the socket whose ``clientId`` was given with the job. Every connection gets a new
id: two sockets with the same one take each other's place, and the death of a half-open old one would mute the new
one for good. Jobs of an earlier connection are followed by asking instead (`imagerouter_comfyui.jobs`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from imagerouter import ProviderError, ProviderUnavailableError
from imagerouter.http import is_local
from imagerouter.logs import get_logger
from imagerouter.remote import headers_of
from imagerouter_comfyui.config import ComfyConfig
from imagerouter_comfyui.connection import Connection
from imagerouter_comfyui.frames import Frame, parse

log = get_logger(__name__)

MOST_UNCLAIMED = 200
"""Events of jobs that nobody listens to (yet)."""
CONNECT_SECONDS = 10.0
FIRST_RETRY, LAST_RETRY = 0.5, 10.0
"""Seconds between attempts to connect again, doubled each time."""
PING_SECONDS = 20.0
"""Proxies cut connections that are silent for a minute, and the server itself sends nothing while it is idle."""
PONG_SECONDS = 60.0
"""A server that loads a model may not get round to answering for a long while."""


class Listener(Protocol):
    """Somebody who waits for the events of one job."""

    def on_event(self, kind: str, data: dict[str, Any]) -> None: ...
    def on_frame(self, frame: Frame) -> None: ...
    @property
    def is_followed(self) -> bool:
        """Whether somebody wants to know of each step."""

    def on_sign(self) -> None:
        """The server is at work on it."""

    def on_step(self) -> None:
        """A node has made a step. Told only where it isn't followed, instead of the event."""

    def on_lost(self) -> None:
        """No more events will come; whether the job goes on isn't known."""


class Socket:
    """Connects, stays connected, and hands each event to whom it concerns."""

    def __init__(self, name: str, config: ComfyConfig) -> None:
        self.on_status: Callable[[int], None] = lambda _: None
        """Told the number of jobs that the server has left to do, whenever that changes."""
        self.on_lost: Callable[[], None] = lambda: None
        """Told when a connection has ended; the server may have been restarted."""
        self._name = name
        self._config = config
        self._listeners: dict[str, Listener] = {}
        self._unclaimed: deque[_Event] = deque(maxlen=MOST_UNCLAIMED)
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._tried = asyncio.Event()
        self._failure: ProviderError = ProviderUnavailableError(f"provider `{name}` can't be reached")
        self._retry_now = asyncio.Event()
        self._current: str | None = None
        self.client_id = ""
        """Of the connection that is open now."""

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    async def start(self) -> None:
        """Return once it is connected; raises what keeps it from that."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._stay_connected(), name=f"websocket of {self._name}")
        await self.connected()

    async def connected(self) -> None:
        """If there is no connection, wait for an attempt to make one; raises what came of it."""
        if self._connected.is_set():
            return
        self._tried.clear()
        self._retry_now.set()
        await self._tried.wait()
        if not self._connected.is_set():
            raise type(self._failure)(self._failure.message)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def renew(self) -> None:
        """Give up a connection over which events don't come any more; a new one is made at once."""
        if self._connection is not None:
            self._connected.clear()
            self._tried.clear()
            self._connection.transport.abort()

    def listen(self, prompt_id: str, listener: Listener) -> None:
        """From now on ``listener`` gets the events of this job. Call it before the job is submitted.

        Of a server that draws its own ids, events may have come before we know to whom they belong.
        """
        self._listeners[prompt_id] = listener
        for event in self._unclaimed:
            if event.data.get("prompt_id") == prompt_id:
                listener.on_event(event.type, event.data)

    def unlisten(self, prompt_id: str) -> None:
        self._listeners.pop(prompt_id, None)

    async def _stay_connected(self) -> None:
        retry = FIRST_RETRY
        while True:
            self.client_id = str(uuid4())
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    connection = await self._connect()
            except Exception as error:
                if not isinstance(error, OSError | TimeoutError | WebSocketException):
                    log.exception("comfyui.connect_failed", provider=self._name)
                self._failure = self._explained(error)
                self._tried.set()
                await self._pause(retry)
                retry = min(LAST_RETRY, retry * 2)
            else:
                await self._serve(connection)
                retry = FIRST_RETRY
                await self._pause(retry)

    async def _pause(self, seconds: float) -> None:
        """Until the time is over, or somebody needs the connection."""
        self._retry_now.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._retry_now.wait()

    async def _connect(self) -> Connection:
        base = urlsplit(self._config.base_url)
        secure = base.scheme == "https"
        connection = await connect(
            f"{'wss' if secure else 'ws'}://{base.netloc}{base.path.rstrip('/')}/ws?clientId={self.client_id}",
            additional_headers=headers_of(self._config),
            user_agent_header="imagerouter",
            ssl=ssl.create_default_context() if secure else None,
            proxy=None if is_local(base.hostname or "") else True,
            compression=None,
            max_size=None,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
            open_timeout=None,
            create_connection=Connection,
        )
        assert isinstance(connection, Connection)
        return connection

    async def _serve(self, connection: Connection) -> None:
        """Read one connection to its end."""
        try:
            connection.on_message = self._dispatch
            # Must come first: only then do pictures say which job they belong to.
            await connection.send(_FEATURES)
            self._connection = connection
            self._connected.set()
            self._tried.set()
            async for message in connection:
                if isinstance(message, str):
                    self._dispatch(message.encode(), is_text=True)
                else:
                    self._dispatch(message, is_text=False)
        except (OSError, WebSocketException):
            pass
        finally:
            self._connection = None
            self._lose()
            connection.transport.abort()
        log.info("comfyui.disconnected", provider=self._name)

    def _lose(self) -> None:
        self._connected.clear()
        self._tried.clear()
        self._current = None
        self._unclaimed.clear()
        self.on_lost()
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            listener.on_lost()

    def _dispatch(self, message: bytes | bytearray, is_text: bool) -> None:
        """One message. Whatever is odd about it, the next one is read."""
        try:
            if not is_text:
                self._pass_on(parse(bytes(message)))
                return
            listener = self._listeners.get(self._current or "")
            if message.startswith(_STATES):
                if listener is not None:
                    listener.on_sign()
            elif listener is not None and message.startswith(_STEP) and not listener.is_followed:
                listener.on_step()
            else:
                self._tell(_decode(message))
        except msgspec.MsgspecError:
            pass
        except Exception:
            log.exception("comfyui.odd_message", provider=self._name)

    def _tell(self, event: _Event) -> None:
        if event.type == "status":
            self.on_status(_remaining(event.data))
        prompt_id = event.data.get("prompt_id")
        if event.type == "executing":
            self._current = prompt_id
        if not isinstance(prompt_id, str):
            return
        if (listener := self._listeners.get(prompt_id)) is not None:
            listener.on_event(event.type, event.data)
        else:
            self._unclaimed.append(event)

    def _pass_on(self, frame: Frame | None) -> None:
        if frame is None:
            return
        # An old server doesn't say whose a picture is; it can only be of the job that it works on for us.
        listener = self._listeners.get(frame.prompt_id or self._current or "")
        if listener is not None:
            listener.on_frame(frame)

    def _explained(self, error: Exception) -> ProviderError:
        if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403):
            return ProviderError(
                f"provider `{self._name}` doesn't accept the credentials that it is configured with"
                f" (HTTP {error.response.status_code})"
            )
        if isinstance(error, InvalidStatus):
            reason = f"refuses the websocket (HTTP {error.response.status_code}); a proxy in front of it must allow it"
            return ProviderUnavailableError(f"provider `{self._name}` {reason}")
        return ProviderUnavailableError(f"provider `{self._name}` can't be reached")


class _Event(msgspec.Struct):
    type: str
    data: dict[str, Any] = {}


_STATES, _STEP = b'{"type": "progress_state"', b'{"type": "progress"'
"""Nearly all that comes: the states of all nodes with each step of one, which `_STEP` tells as well, and each step."""
_decode = msgspec.json.Decoder(_Event).decode
_FEATURES = msgspec.json.encode({"type": "feature_flags", "data": {"supports_preview_metadata": True}}).decode()


def _remaining(data: dict[str, Any]) -> int:
    try:
        return int(data["status"]["exec_info"]["queue_remaining"])
    except (KeyError, TypeError, ValueError):
        return 0
