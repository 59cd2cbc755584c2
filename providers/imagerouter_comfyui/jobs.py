"""Submitting a graph, following it to its end whatever happens on the way, and stopping it.

Events are the normal way to learn what becomes of a job, and asking is the way out: after a lost connection, and
whenever a job has been silent for a while, since the server sends nothing about a job that somebody removed from
its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from enum import Enum
from itertools import takewhile
from typing import Any
from uuid import uuid4

from imagerouter import (
    GenerationError,
    ImageRouterError,
    Progress,
    ProviderBusyError,
    ProviderError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter.logs import get_logger
from imagerouter_comfyui.api import Api
from imagerouter_comfyui.config import ComfyConfig
from imagerouter_comfyui.recipe import Built
from imagerouter_comfyui.socket import Socket
from imagerouter_comfyui.watch import Failed, Watch, files_in, messages_of

log = get_logger(__name__)

QUIET_SECONDS = 15.0
"""A job that is silent for so long is asked about."""
LAST_POLL_SECONDS = 5.0
"""Between two questions about a job whose events don't reach us; the first ones come after one second."""
SECOND_LOOK_SECONDS = 1.0
"""A job that is neither queued nor done is looked for once more after this time before it counts as lost."""
REFUSED_SECONDS, UNREACHABLE_SECONDS = 15.0, 30.0
"""For a server that has gone away to come back, before the job is given up: when nobody listens there any more, and
when it just doesn't answer."""
POSITION_SECONDS = 1.0
"""Between two questions about places in the queue."""
SETTLE_SECONDS = 2.0
"""For a server to be through with a job after its end, before the job is deleted from its history."""
STOP_SECONDS = 5.0
"""For a server to take a cancellation."""


class State(Enum):
    """What the server answers about a job."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    UNKNOWN = "unknown"


class Jobs:
    """All of our jobs on one server."""

    def __init__(self, name: str, config: ComfyConfig, api: Api, socket: Socket) -> None:
        self._name = name
        self._config = config
        self._api = api
        self._socket = socket
        self._live: dict[str, Watch] = {}
        self._asking: asyncio.Task[None] | None = None
        self._has_changed = False
        socket.on_status = self._on_status

    @property
    def ids(self) -> frozenset[str]:
        """Of our jobs that the server hasn't finished."""
        return frozenset(watch.prompt_id for watch in self._live.values() if not watch.done)

    async def submit(
        self, built: Built, extra: dict[str, Any], tell: Callable[[Progress], None], place: int = 0
    ) -> Watch:
        """Queue the graph of image ``place``. Raises `PromptRejectedError`, or what kept the server from taking it."""
        await self._socket.connected()
        now = asyncio.get_running_loop().time
        watch = Watch(built, tell, now, place, prompt_id=str(uuid4()), is_next=place == 0)
        body = {
            "prompt": built.graph,
            "prompt_id": watch.prompt_id,
            "client_id": self._socket.client_id,
            "extra_data": extra,
        }
        # The server may start on it before it answers.
        self._follow(watch)
        try:
            answer = await self._deliver(watch, body)
        except BaseException:
            self.release([watch])
            raise
        self._adopt(watch, answer.get("prompt_id", watch.prompt_id))
        watch.is_queued, watch.heard = True, watch.now()
        if dropped := _dropped_outputs(built, answer.get("node_errors")):
            await self.stop([watch])
            self.release([watch])
            raise Failed("validation", dropped)
        return watch

    async def _deliver(self, watch: Watch, body: dict[str, Any]) -> dict[str, Any]:
        """Send a job. Where that fails, it may have arrived all the same, and must not be drawn twice."""
        try:
            return await self._api.submit(body)
        except ImageRouterError as error:
            if not _may_have_arrived(error):
                raise
            try:
                state = await self._look(watch)
            except ImageRouterError:
                await self.stop([watch])
                raise ProviderResponseError(f"{error.message}; whether the job arrived isn't known") from error
            if state is State.UNKNOWN:
                raise
            return {}

    async def finish(self, watch: Watch) -> None:
        """Return when the job has ended well; raises `Failed`, or an error of ours that says why it was given up."""
        looks = 0
        unreachable_since: float | None = None
        while not watch.done:
            if await self._news(watch, self._pause(watch, looks)):
                looks = 0
                continue
            looks += 1
            try:
                state = await self._look(watch)
                is_gone = state is State.UNKNOWN and await self._is_gone(watch)
                unreachable_since = None
            except ImageRouterError as error:
                unreachable_since = unreachable_since or watch.now()
                refused = isinstance(error, ProviderUnavailableError)
                if watch.now() - unreachable_since > (REFUSED_SECONDS if refused else UNREACHABLE_SECONDS):
                    raise ProviderResponseError(f"{error.message}; what became of the job isn't known") from error
                continue
            if is_gone:
                watch.done = True
                raise self._lost(watch)
            self._check_patience(watch, state)
        if watch.failure is not None:
            raise watch.failure

    async def recall(self, watch: Watch) -> None:
        """Take from the history what the events didn't bring: it may be written a moment after the last one."""
        entry = await self._api.history(watch.prompt_id)
        if entry is not None:
            _take_history(watch, entry)

    async def stop(self, watches: Iterable[Watch]) -> None:
        """Cancel those that haven't ended, and no other job. Never raises: nobody is left to tell."""
        ids = [watch.prompt_id for watch in watches if not watch.done]
        if not ids:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._api.cancel(ids)
        except (ImageRouterError, TimeoutError) as error:
            log.warning("comfyui.cancel_failed", provider=self._name, jobs=ids, reason=str(error) or "no answer")

    async def settled(self, watches: Iterable[Watch]) -> None:
        """Wait until the server is through with jobs that have ended or were stopped, so that it forgets them well.

        One that was taken out of the queue gives no sign; hence the limit.
        """
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                for watch in watches:
                    while not (watch.settled or watch.orphaned):
                        watch.changed.clear()
                        await watch.changed.wait()
        except TimeoutError:
            pass

    def release(self, watches: Iterable[Watch]) -> None:
        """Listen no longer."""
        for watch in watches:
            self._live.pop(watch.prompt_id, None)
            self._socket.unlisten(watch.prompt_id)

    async def aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _on_status(self, remaining: int) -> None:
        """The queue has changed. Where our own jobs stand in it is asked only if others are in it as well."""
        waiting = [watch for watch in self._live.values() if watch.is_queued and not watch.done]
        if remaining < len(waiting):
            # Somebody has removed one of ours; the server says no more about it than this.
            for watch in waiting:
                watch.is_doubtful = True
                watch.changed.set()
        self._has_changed = remaining > 1 and any(watch.is_next and not watch.started for watch in self._live.values())
        if self._has_changed and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._tell_positions())

    async def _tell_positions(self) -> None:
        """Ask once, and again as long as the queue has changed in between; never more often than that."""
        while self._has_changed:
            self._has_changed = False
            try:
                queue = [job.id for job in await self._api.queue()]
            except ImageRouterError:
                return
            for watch in self._live.values():
                if watch.is_next and not watch.started and watch.prompt_id in queue:
                    ahead = queue.index(watch.prompt_id)
                    watch.tell(Progress(stage="queue", queue_position=ahead, image_index=watch.image_index))
            await asyncio.sleep(POSITION_SECONDS)

    def _follow(self, watch: Watch) -> None:
        self._live[watch.prompt_id] = watch
        self._socket.listen(watch.prompt_id, watch)

    def _adopt(self, watch: Watch, prompt_id: str) -> None:
        """Servers before July 2025 ignore our id and draw one of their own."""
        if prompt_id != watch.prompt_id:
            self.release([watch])
            watch.prompt_id = prompt_id
            self._follow(watch)

    async def _news(self, watch: Watch, seconds: float) -> bool:
        """Wait for the job's end, or a lost connection; ``False`` if nothing at all was heard for so long."""
        was_orphaned = watch.orphaned
        start = watch.now()
        try:
            async with asyncio.timeout(seconds):
                await watch.changed.wait()
        except TimeoutError:
            return watch.heard > start
        watch.changed.clear()
        is_doubtful, watch.is_doubtful = watch.is_doubtful, False
        return not is_doubtful and (was_orphaned or not watch.orphaned)

    async def _look(self, watch: Watch) -> State:
        """Ask the server. The queue comes first: a job that ends in between is then found in the history."""
        queue = await self._api.queue()
        ahead = list(takewhile(lambda job: job.id != watch.prompt_id, queue))
        if len(ahead) < len(queue):
            is_running = queue[len(ahead)].running
            watch.started = watch.started or is_running
            ours = self.ids
            is_kept_waiting = not is_running and any(job.id not in ours for job in ahead)
            watch.ahead_since = (watch.ahead_since or watch.now()) if is_kept_waiting else None
            return State.RUNNING if is_running else State.PENDING
        entry = await self._api.history(watch.prompt_id)
        if entry is None:
            return State.UNKNOWN
        if not watch.done and not watch.orphaned:
            # It has ended, and no event told: whatever comes over this connection doesn't reach us.
            log.warning("comfyui.mute", provider=self._name)
            watch.orphaned = True
            self._socket.renew()
        _take_history(watch, entry)
        return State.DONE

    async def _is_gone(self, watch: Watch) -> bool:
        """Look a second time: a job may be on its way from the queue to the history."""
        await self._news(watch, SECOND_LOOK_SECONDS)
        return not watch.done and await self._look(watch) is State.UNKNOWN

    def _lost(self, watch: Watch) -> ProviderError:
        if watch.orphaned:
            # It isn't there, so sending it again can't draw it twice.
            return ProviderUnavailableError(f"provider `{self._name}` has lost the job; it was probably restarted")
        return ProviderError(f"provider `{self._name}`: somebody has removed the job from its queue")

    def _check_patience(self, watch: Watch, state: State) -> None:
        now = watch.now()
        if state is State.PENDING and watch.ahead_since is not None:
            seconds = self._config.queue_timeout
            if now - watch.ahead_since > seconds:
                raise ProviderBusyError(f"provider `{self._name}` didn't begin within {seconds:g} seconds")
        if state is not State.RUNNING or watch.orphaned:
            return  # of a job whose events don't reach us only the provider's `timeout` is the end
        limit = self._config.load_timeout if watch.is_loading else self._config.idle_timeout
        if now - watch.heard > limit:
            raise ProviderTimeoutError(f"provider `{self._name}` made no progress for {limit:g} seconds")

    def _pause(self, watch: Watch, looks: int) -> float:
        """Seconds until the next question, if nothing happens."""
        if watch.orphaned:
            return 0.0 if looks == 0 else min(LAST_POLL_SECONDS, float(looks))
        quiet = min(QUIET_SECONDS, self._config.queue_timeout, self._config.load_timeout, self._config.idle_timeout)
        return quiet if looks else max(0.0, quiet - (watch.now() - watch.heard))


def _may_have_arrived(error: ImageRouterError) -> bool:
    """Whether a job may be on the server although sending it failed: not if nobody took the connection.

    A proxy's 502 says only that it got no answer; it is told apart by having no exception as its cause.
    """
    if isinstance(error, ProviderUnavailableError):
        return error.__cause__ is None
    return isinstance(error, ProviderTimeoutError | ProviderResponseError | ProviderBusyError | GenerationError)


def _take_history(watch: Watch, entry: dict[str, Any]) -> None:
    """What the events would have told, from the history's entry."""
    outputs = entry.get("outputs")
    for node, output in (outputs if isinstance(outputs, dict) else {}).items():
        if node in watch.built.outputs:
            watch.files.setdefault(node, files_in(output))
    for kind, data in messages_of(entry):
        if kind in ("execution_success", "execution_error", "execution_interrupted"):
            watch.on_event(kind, data)
    watch.done = watch.settled = True


def _dropped_outputs(built: Built, node_errors: Any) -> dict[str, Any]:
    """The complaints that cost us a picture.

    Of several outputs the server silently leaves out those that don't validate, and answers with success.
    """
    if not isinstance(node_errors, dict):
        return {}
    return {
        node: found
        for node, found in node_errors.items()
        if isinstance(found, dict) and {node, *map(str, found.get("dependent_outputs") or ())} & set(built.outputs)
    }
