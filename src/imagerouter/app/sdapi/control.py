"""Looking at one's jobs, stopping them, and one's settings."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post

from imagerouter.app.body import read_fields
from imagerouter.app.sdapi.senders import Sender, Senders, name_of
from imagerouter.dialects.a1111 import progress as told
from imagerouter.dialects.a1111 import settings
from imagerouter.dialects.a1111.progress import Stops
from imagerouter.engine import Engine
from imagerouter.errors import ModelNotFoundError
from imagerouter.suggest import did_you_mean, shortened


def _sender(request: Request[Any, Any, Any]) -> Sender:
    senders: Senders = request.app.state.senders
    return senders.of(request)


@get("/progress")
async def progress(request: Request[Any, Any, Any]) -> dict[str, Any]:
    sender = _sender(request)
    picture = request.query_params.get("skip_current_image", "").casefold() not in ("1", "true", "yes", "on")
    sender.wants_previews |= picture
    return told.progress(sender.current, sender.stops, picture=picture)


@post("/interrupt", status_code=200)
async def interrupt(request: Request[Any, Any, Any]) -> dict[str, Any]:
    sender = _sender(request)
    sender.stops = Stops(sender.stops.skipped, interrupted=True)
    for work in sender.jobs:
        work.stop.set()
    return {}


@post("/skip", status_code=200)
async def skip(request: Request[Any, Any, Any]) -> None:
    """The picture that is being drawn. One of several can't be left out, so then there is nothing to skip."""
    sender = _sender(request)
    sender.stops = Stops(skipped=True, interrupted=sender.stops.interrupted)
    for work in sender.jobs:
        if work.course.n == 1:
            work.stop.set()


@get("/options")
async def read_options(request: Request[Any, Any, Any]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    return settings.told(_sender(request).settings, engine.catalogue.default)


@post("/options", status_code=200)
async def change_options(request: Request[Any, Any, Any]) -> None:
    engine: Engine = request.app.state.engine
    sender = _sender(request)
    sent, _ = await read_fields(request, engine.config.limits)
    changed = settings.changed(sender.settings, sent)
    if (model := changed.get(settings.MODEL)) is not None and model != sender.settings.get(settings.MODEL):
        changed[settings.MODEL] = _offered(engine, model)
    sender.settings = changed


def _offered(engine: Engine, name: str) -> str:
    """The model's title. Raises `ModelNotFoundError`."""
    for spelling in (name, settings.unhashed(name)):
        base, _ = engine.catalogue.variant(spelling)
        if (model := engine.catalogue.resolve(base)) is not None:
            return model.name if engine.catalogue.knows(spelling) else spelling
    hint = did_you_mean(name, engine.catalogue.names())
    raise ModelNotFoundError(f"The model `{shortened(name)}` does not exist{hint}", param=settings.MODEL)


# By task id: what the real server's own page asks


@post("/progress", status_code=200)
async def task_progress(request: Request[Any, Any, Any]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    sender = _sender(request)
    sent, _ = await read_fields(request, engine.config.limits)
    name, seen = name_of(sent.get("id_task")), sent.get("id_live_preview", -1)
    wants_picture = sent.get("live_preview", True) is not False
    sender.wants_previews |= wants_picture
    course = sender.task(name)
    number = seen if isinstance(seen, int) else -1
    return told.task(
        course, completed=course is None and name in sender.finished, seen=number if wants_picture else None
    )


@get("/pending-tasks")
async def pending_tasks(request: Request[Any, Any, Any]) -> dict[str, Any]:
    tasks = [work.course.task for work in _sender(request).jobs if work.course.waits and work.course.task]
    return {"size": len(tasks), "tasks": tasks}


@get("/ping")
async def ping() -> dict[str, Any]:
    return {}
