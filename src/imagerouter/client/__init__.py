"""The engine without a server: `Client`, and `AsyncClient` for programs with an event loop of their own.

``docs/python.md`` shows how to use them.
"""

from imagerouter.client.asynchronous import AsyncClient, ConfigLike
from imagerouter.client.blocking import Client
from imagerouter.client.parameters import Parameters
from imagerouter.client.pictures import Picture, PictureLike
from imagerouter.client.results import CompletedEvent, Event, PartialImageEvent, ProgressEvent, Result

__all__ = [
    "AsyncClient",
    "Client",
    "CompletedEvent",
    "ConfigLike",
    "Event",
    "Parameters",
    "PartialImageEvent",
    "Picture",
    "PictureLike",
    "ProgressEvent",
    "Result",
]
