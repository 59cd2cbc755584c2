"""OpenRouter's images API: its requests are ours but for a few words, its listings and errors have their own shape."""

from imagerouter.dialects.openrouter.errors import error_body
from imagerouter.dialects.openrouter.listing import (
    image_endpoints,
    image_model,
    model,
    model_endpoints,
    page,
    wants_images,
)
from imagerouter.dialects.openrouter.request import fields_of

__all__ = [
    "error_body",
    "fields_of",
    "image_endpoints",
    "image_model",
    "model",
    "model_endpoints",
    "page",
    "wants_images",
]
