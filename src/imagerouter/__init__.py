"""imagerouter: one OpenAI-compatible endpoint in front of every image backend."""

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
from imagerouter.provider import Binding, Model, Provider, ProviderConfig, Status
from imagerouter.types import Hires, Image, ImageRequest, Images, Lora, Operation, Progress, ProgressSink

__version__ = "0.1.0"

__all__ = [
    "IMAGE",
    "OBJECT",
    "STRING",
    "Binding",
    "Descriptor",
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
    "Status",
    "__version__",
    "between",
    "one_of",
]
