"""AUTOMATIC1111's API, at ``/sdapi/v1``, and the little of its page's own that clients with task ids need."""

from __future__ import annotations

from typing import Any, cast

from litestar import Request, Response
from litestar.exceptions import HTTPException

from imagerouter.app.dialects import while_on
from imagerouter.app.errors import HANDLERS, headers_for, known
from imagerouter.app.sdapi import control, drawing, lists
from imagerouter.app.sdapi.senders import Senders
from imagerouter.dialects.a1111 import errors
from imagerouter.errors import AuthenticationError, ImageRouterError

__all__ = ["INTERNAL", "OPTIONS", "SDAPI", "UNROUTED", "Senders"]

_PLACES = ("/sdapi/", "/internal/")


def _failed(_: Request[Any, Any, Any], error: ImageRouterError) -> Response[Any]:
    about = errors.as_sent(error)
    headers = headers_for(about)
    if isinstance(about, AuthenticationError):
        headers["www-authenticate"] = 'Basic realm="imagerouter", charset="UTF-8"'
    return Response(errors.body(about), status_code=errors.status(about), headers=headers)


def _unknown(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    return _failed(request, known(request, error))


def _unrouted(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    # Litestar asks the application's handlers where it has found no route, whoever's path it is.
    if error.status_code >= 500 or not request.scope["path"].startswith(_PLACES):
        return cast("Response[Any]", HANDLERS[HTTPException](request, error))
    answer = _unknown(request, error)
    answer.headers.update(error.headers or {})
    return answer


OPTIONS: dict[str, Any] = {
    "guards": [while_on("a1111")],
    "exception_handlers": {ImageRouterError: _failed, Exception: _unknown},
    "include_in_schema": False,
}
"""Of the routers of both. Their shapes are another project's, which its clients know."""
UNROUTED: Any = {HTTPException: _unrouted}
"""For the application: routes and methods below these paths that aren't there."""
SDAPI = (
    *(drawing.txt2img, drawing.img2img),
    *(control.progress, control.interrupt, control.skip, control.read_options, control.change_options),
    *(lists.sd_models, lists.samplers, lists.schedulers, lists.sd_vae, lists.loras, lists.upscalers),
    *(lists.latent_modes, lists.nothing, lists.embeddings, lists.scripts, lists.cmd_flags, lists.memory),
    *(lists.refresh, lists.keep_checkpoint, lists.png_info),
)
"""Below ``/sdapi/v1``."""
INTERNAL = (control.task_progress, control.pending_tasks, control.ping)
"""Below ``/internal``."""
