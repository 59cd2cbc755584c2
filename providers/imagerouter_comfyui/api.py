"""ComfyUI's HTTP routes (its ``server.py``), as far as an image needs them. No answer is trusted unchecked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from imagerouter import ProviderResponseError
from imagerouter.http import make_client, map_http_errors, raise_for_status
from imagerouter.remote import headers_of
from imagerouter_comfyui.config import ComfyConfig

READ_SECONDS = 60.0
"""Between two pieces of an answer. While it loads a model a server may not answer for many seconds."""

_JOBS_LIMIT = 1000


class PromptRejectedError(Exception):
    """The server's validation refused a graph: ``error`` is its whole answer, never to be shown as it is."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__("the server refused the graph")
        self.error = error


class FileRef(msgspec.Struct, frozen=True):
    """A file on the server, as ``executed`` events and the history name it."""

    filename: str
    subfolder: str = ""
    type: str = "output"


class QueuedJob(msgspec.Struct, frozen=True):
    """A job in the server's queue, ours or anybody's."""

    id: str
    running: bool
    priority: float
    """Lower goes first."""


class Api:
    """One server. Raises classes of `imagerouter.errors`, and `PromptRejectedError` from `submit`."""

    def __init__(self, name: str, config: ComfyConfig) -> None:
        self._name = name
        self._client = make_client(
            config.base_url.rstrip("/") + "/", read_timeout=READ_SECONDS, headers=headers_of(config)
        )
        self._has_jobs = True
        """Whether it has `/api/jobs`, which came in December 2025; learned from the first 404."""
        self._has_cancel = True
        """Whether it has `/api/jobs/{id}/cancel`, which came in June 2026."""

    async def aclose(self) -> None:
        await self._client.aclose()

    async def system_stats(self) -> dict[str, Any]:
        return await self._object("system_stats")

    async def object_info(self, name: str) -> dict[str, Any]:
        """``{name: …}``, a node class as the server describes it; empty if it has no such class."""
        return await self._object(f"object_info/{quote(name, safe='')}")

    async def folder(self, name: str) -> list[str]:
        """Names of the model files of one kind; empty where the server doesn't know the kind."""
        found = await self._get(f"models/{quote(name, safe='')}", missing=[])
        return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []

    async def sizes(self, folder: str) -> dict[str, int]:
        """File → bytes, of one kind of model file; empty where it doesn't tell, as old servers don't."""
        found = await self._get(f"experiment/models/{quote(folder, safe='')}", missing=[])
        sizes: dict[str, int] = {}
        for row in found if isinstance(found, list) else []:
            match row:
                case {"name": str(name), "size": int(size)}:
                    # Of several folders for one kind the first that has a file counts, and is listed first.
                    sizes.setdefault(name, size)
        return sizes

    async def metadata(self, folder: str, filename: str) -> dict[str, Any]:
        """The ``__metadata__`` of a safetensors file; empty where there is none."""
        found = await self._get(f"view_metadata/{quote(folder, safe='')}", {"filename": filename}, missing={})
        return found if isinstance(found, dict) else {}

    async def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        """Queue a graph; the answer has ``prompt_id`` and ``node_errors``. Raises `PromptRejectedError`."""
        with map_http_errors(self._name):
            response = await self._client.ask("POST", "prompt", msgspec.json.encode(body))
            if response.status_code == 400 and isinstance(answer := response.json(), dict) and "error" in answer:
                raise PromptRejectedError(answer)
            raise_for_status(response, self._name)
            answer = response.json()
        if not isinstance(answer, dict) or not isinstance(answer.get("prompt_id"), str):
            raise ProviderResponseError(f"provider `{self._name}` didn't say under which id it queued the job")
        return answer

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """What became of a finished job, or ``None`` while the server knows of no end."""
        found = await self._object(f"history/{quote(prompt_id, safe='')}")
        entry = found.get(prompt_id)
        return entry if isinstance(entry, dict) else None

    async def last_history(self) -> dict[str, Any] | None:
        """The newest finished job of anybody."""
        found = await self._object("history", {"max_items": "1"})
        entry = next(iter(found.values()), None)
        return entry if isinstance(entry, dict) else None

    async def forget(self, prompt_ids: list[str]) -> None:
        """Remove our own jobs from the history, which holds whole graphs."""
        await self._post("history", {"delete": prompt_ids})

    async def queue(self) -> list[QueuedJob]:
        """Everybody's jobs, the running one first, then in the order in which they will run."""
        if self._has_jobs:
            query = {"status": "pending,in_progress", "limit": str(_JOBS_LIMIT)}
            found = await self._get("api/jobs", query, missing=None)
            if isinstance(found, dict):
                return _ordered([_from_jobs(job) for job in found.get("jobs") or () if isinstance(job, dict)])
            self._has_jobs = False
        running, pending = await self.graphs()
        jobs = [_from_queue(item, running=True) for item in running]
        return _ordered(jobs + [_from_queue(item, running=False) for item in pending])

    async def graphs(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """Running and pending items ``[number, id, graph, …]`` of `/queue`: heavy, since it holds whole graphs."""
        found = await self._object("queue")
        parts = (found.get("queue_running"), found.get("queue_pending"))
        running, pending = ([item for item in part or () if isinstance(item, list) and len(item) > 2] for part in parts)
        return running, pending

    async def cancel(self, prompt_ids: Sequence[str]) -> None:
        """Stop jobs, running or queued, and nobody else's; the last ones first, so that none of them begins.

        Servers without the atomic route are asked first which job is running: before September 2025 they take
        `/interrupt` for whatever that is, so it is only ever sent while our own job is seen to run.
        """
        left = [*reversed(prompt_ids)]
        while self._has_cancel and left:
            with map_http_errors(self._name):
                path = f"api/jobs/{quote(left[0], safe='')}/cancel"
                response = await self._client.ask("POST", path, patience=_SHORT)
                if response.status_code in (404, 405):
                    self._has_cancel = False
                else:
                    raise_for_status(response, self._name)
                    left.pop(0)
        if not left:
            return
        queue = [job for job in await self.queue() if job.id in left]
        if pending := [job.id for job in queue if not job.running]:
            await self._post("queue", {"delete": pending})
        for job in queue:
            if job.running:
                await self._post("interrupt", {"prompt_id": job.id})

    async def upload(self, data: bytes, name: str, folder: str) -> str:
        """Put a picture into the server's ``temp`` folder, which it empties when it starts.

        :param name: made of the content's hash: the server keeps one file for the same name and bytes.

        Returns the reference that ``LoadImage`` takes.
        """
        fields = {"type": "temp", "subfolder": folder}
        with map_http_errors(self._name):
            response = await self._client.post(
                "upload/image", data=fields, files={"image": (name, data, "application/octet-stream")}
            )
            raise_for_status(response, self._name)
            answer = msgspec.json.decode(response.content)
        stored = answer.get("name") if isinstance(answer, dict) else None
        if not isinstance(stored, str):
            raise ProviderResponseError(f"provider `{self._name}` didn't say where it put a picture")
        place = "/".join(part for part in (str(answer.get("subfolder") or ""), stored) if part)
        return f"{place} [{answer.get('type') or 'temp'}]"

    async def view(self, file: FileRef) -> bytes:
        """The bytes of a file."""
        with map_http_errors(self._name):
            response = await self._client.ask("GET", "view", query=msgspec.structs.asdict(file))
            if 400 <= response.status_code < 500:
                raise ProviderResponseError(f"provider `{self._name}` doesn't have the picture any more")
            raise_for_status(response, self._name)
            return response.content

    async def _object(self, path: str, query: dict[str, str] | None = None) -> dict[str, Any]:
        found = await self._get(path, query)
        if not isinstance(found, dict):
            raise ProviderResponseError(f"provider `{self._name}` doesn't answer like a ComfyUI server")
        return found

    async def _get(self, path: str, query: dict[str, str] | None = None, **missing: Any) -> Any:
        """``missing=x`` is the answer where the server has no such thing; without it that is an error."""
        with map_http_errors(self._name):
            response = await self._client.ask("GET", path, query=query)
            if missing and response.status_code in (404, 405):
                return missing["missing"]
            raise_for_status(response, self._name)
            return response.json()

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        with map_http_errors(self._name):
            response = await self._client.ask("POST", path, msgspec.json.encode(body), patience=_SHORT)
            raise_for_status(response, self._name)


_SHORT = httpx.Timeout(10.0)
"""For what is done after a job: nobody should wait for a server that has died."""


def _from_jobs(job: dict[str, Any]) -> QueuedJob:
    return QueuedJob(str(job.get("id")), job.get("status") == "in_progress", _priority(job.get("priority")))


def _from_queue(item: list[Any], *, running: bool) -> QueuedJob:
    return QueuedJob(str(item[1]), running, _priority(item[0]))


def _priority(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _ordered(jobs: list[QueuedJob]) -> list[QueuedJob]:
    return sorted(jobs, key=lambda job: (not job.running, job.priority))
