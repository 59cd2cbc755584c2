"""The HTTP door: routes and wiring. ``uvicorn --factory imagerouter.app:create_app`` works too."""

from imagerouter.app.server import serve
from imagerouter.app.wiring import create_app

__all__ = ["create_app", "serve"]
