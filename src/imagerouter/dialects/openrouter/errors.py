"""Errors as OpenRouter's clients read them: ``code`` is the HTTP status, and a text there can't be parsed by its SDK.

Source: ``openrouter`` 1.3.84 (PyPI), ``components/*responseerrordata.py``: ``code: int``, ``message: str``,
``metadata`` any object. In the events of a stream ``code`` is a text, as it is at OpenAI.
"""

from __future__ import annotations

from typing import Any

from imagerouter.errors import ImageRouterError

_BY_STATUS = {
    401: "authentication",
    403: "permission_denied",
    404: "not_found",
    413: "payload_too_large",
    429: "rate_limit_exceeded",
    502: "provider_unavailable",
    503: "provider_overloaded",
    504: "timeout",
}
_BY_CODE = {
    "content_policy_violation": "content_policy_violation",
    "provider_unavailable": "provider_unavailable",
    "no_provider_available": "provider_unavailable",
}


def error_body(error: ImageRouterError) -> dict[str, Any]:
    """As everywhere but for ``code``; ``metadata`` has OpenRouter's word for it, our own code, and the parameter."""
    about = {"error_type": _kind(error), "code": error.code, "param": error.param}
    return {"error": {**error.body()["error"], "code": error.status, "metadata": about}}


def _kind(error: ImageRouterError) -> str:
    usual = _BY_STATUS.get(error.status, "invalid_request" if error.status < 500 else "server")
    return _BY_CODE.get(error.code or "", usual)
