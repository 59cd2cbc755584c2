"""imagerouter: one OpenAI-compatible endpoint in front of every image backend."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagerouter.client import AsyncClient, Client
    from imagerouter.errors import (
        GenerationError,
        ImageRouterError,
        InvalidParameterError,
        MisconfiguredError,
        ModelNotFoundError,
        OutOfMemoryError,
        ProviderBusyError,
        ProviderError,
        ProviderRejectedError,
        ProviderResponseError,
        ProviderTimeoutError,
        ProviderUnavailableError,
    )
    from imagerouter.parameters import IMAGE, OBJECT, STRING, Descriptor, between, one_of
    from imagerouter.provider import Binding, Extras, Model, Provider, ProviderConfig, Reproducible, Status
    from imagerouter.types import (
        Hires,
        Image,
        ImageRequest,
        Images,
        Lora,
        Operation,
        Parity,
        Progress,
        ProgressSink,
        Tier,
    )

__version__ = "0.1.0"

__all__ = [
    "IMAGE",
    "OBJECT",
    "STRING",
    "AsyncClient",
    "Binding",
    "Client",
    "Descriptor",
    "Extras",
    "GenerationError",
    "Hires",
    "Image",
    "ImageRequest",
    "ImageRouterError",
    "Images",
    "InvalidParameterError",
    "Lora",
    "MisconfiguredError",
    "Model",
    "ModelNotFoundError",
    "Operation",
    "OutOfMemoryError",
    "Parity",
    "Progress",
    "ProgressSink",
    "Provider",
    "ProviderBusyError",
    "ProviderConfig",
    "ProviderError",
    "ProviderRejectedError",
    "ProviderResponseError",
    "ProviderTimeoutError",
    "ProviderUnavailableError",
    "Reproducible",
    "Status",
    "Tier",
    "__version__",
    "between",
    "one_of",
]

_HOMES = ("errors", "types", "parameters", "provider", "client")


def __getattr__(name: str) -> Any:
    """Each name from where it lives, once somebody asks for it: a command's ``--help`` needs none of them."""
    if name in __all__:
        for home in _HOMES:
            if (found := getattr(import_module(f"imagerouter.{home}"), name, None)) is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
