"""The body of ``POST /images``: the fields of ``/images/generations``, most under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREVIEWS = 3
"""Of each picture of a stream: OpenRouter's clients take previews, and have no parameter to ask for a number."""


def fields_of(sent: Mapping[str, Any]) -> dict[str, Any]:
    """What `Engine.understand` takes."""
    return {"partial_images": PREVIEWS, **sent} if sent.get("stream") is True else dict(sent)
