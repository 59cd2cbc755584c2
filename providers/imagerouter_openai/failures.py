"""What a server says when it fails, in the words of the client's own parameters.

OpenAI's object has ``message``, ``type``, ``param`` and ``code``. vLLM-Omni and SGLang, which are made with FastAPI,
say ``detail``; stable-diffusion.cpp says ``error`` with a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from imagerouter import (
    GenerationError,
    ImageRouterError,
    MisconfiguredError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderBusyError,
    ProviderRejectedError,
    ProviderTimeoutError,
)
from imagerouter.errors import ContentPolicyError
from imagerouter.http import Answer, presentable, status_error
from imagerouter.logs import get_logger
from imagerouter_openai.answers import text_of

log = get_logger(__name__)

_LONGEST = 400
_OWN_STATUS = (401, 403, 408, 429, 502, 503, 504)
"""Statuses that say enough by themselves: what is said beside them names accounts, or parts of keys."""
_POLICY = re.compile(r"content_?policy_?violation|moderation_blocked|content_filter", re.IGNORECASE)
_OUT_OF_MEMORY = re.compile(r"out ?of ?memory|provider_out_of_memory", re.IGNORECASE)
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)
_INDEXED = re.compile(r"[.\[]")

_IN_STREAM: dict[str, type[ImageRouterError]] = {
    "rate_limit_exceeded": ProviderBusyError,
    "queue_full": ProviderBusyError,
    "provider_busy": ProviderBusyError,
    "provider_unavailable": ProviderBusyError,
    "no_provider_available": ProviderBusyError,
    "provider_timeout": ProviderTimeoutError,
    "invalid_value": ProviderRejectedError,
    "unknown_parameter": ProviderRejectedError,
    "provider_rejected": ProviderRejectedError,
}
"""Codes of errors that come where no status can: inside of a stream, from another imagerouter above all."""


@dataclass(frozen=True)
class _Complaint:
    words: str = ""
    code: str = ""
    kind: str = ""
    param: str = ""


def refused(
    provider: str, response: Answer | httpx.Response, body: bytes, names: Mapping[str, str]
) -> ImageRouterError:
    """The error for an answer that isn't 2xx.

    :param names: of what was sent: the server's name → the client's.
    """
    complaint = _complaint(_decoded(body))
    status = response.status_code
    if (known := _known(provider, complaint, is_own_fault=status >= 500)) is not None:
        return known
    if status in _OWN_STATUS or status < 400:
        if complaint.words:
            log.warning("openai.refused", provider=provider, status=status, reason=complaint.words[:_LONGEST])
        return status_error(response, provider)
    if status == 404 and _MODEL.search(f"{complaint.param} {complaint.words[:_LONGEST]}"):
        return _no_model(provider)
    if status in (404, 405) and not complaint.code:
        return MisconfiguredError(f"provider `{provider}` has no images API there; its base_url is probably not right")
    if status < 500:
        return _rejected(provider, complaint, names)
    return status_error(response, provider, complaint.words)


def told(provider: str, error: Any, names: Mapping[str, str]) -> ImageRouterError:
    """The error for one that came inside of an answer that had begun well."""
    complaint = _complaint({"error": error})
    if (known := _known(provider, complaint, is_own_fault=True)) is not None:
        return known
    own = _IN_STREAM.get(complaint.code)
    if own is ProviderRejectedError or (own is None and complaint.kind == "invalid_request_error"):
        return _rejected(provider, complaint, names)
    words = presentable(complaint.words, _LONGEST) or "it doesn't say why"
    return (own or GenerationError)(f"provider `{provider}` failed to draw it: {words}")


def _known(provider: str, complaint: _Complaint, *, is_own_fault: bool) -> ImageRouterError | None:
    """The error if it says the same whatever its status is. A refusal may repeat any words of the client's."""
    words = presentable(complaint.words, _LONGEST)
    if _POLICY.search(f"{complaint.code} {complaint.kind} {complaint.words[:_LONGEST]}"):
        return ContentPolicyError(words or f"provider `{provider}` refuses such content", param="prompt")
    if is_own_fault and _OUT_OF_MEMORY.search(f"{complaint.code} {complaint.words}"):
        return OutOfMemoryError(f"provider `{provider}` has too little memory for this request")
    if complaint.code in _NO_CREDIT:
        return MisconfiguredError(f"provider `{provider}` has no credit left for the key that it is configured with")
    if complaint.code == "model_not_found":
        return _no_model(provider)
    return None


def _no_model(provider: str) -> ModelNotFoundError:
    return ModelNotFoundError(f"provider `{provider}` doesn't have this model any more", param="model")


def _rejected(provider: str, complaint: _Complaint, names: Mapping[str, str]) -> ProviderRejectedError:
    param = next((names[name] for name in (complaint.param, _head(complaint.param)) if name in names), None)
    about = f"`{param}`: " if param is not None else ""
    words = presentable(complaint.words, _LONGEST) or "it doesn't say why"
    return ProviderRejectedError(f"{about}provider `{provider}` rejected it: {words}", param=param)


def _head(param: str) -> str:
    return _INDEXED.split(param, maxsplit=1)[0]


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = body[: 4 * _LONGEST].decode(errors="replace").strip()
        return "" if text.startswith("<") else text


def _complaint(found: Any) -> _Complaint:
    if not isinstance(found, dict):
        return _Complaint(words=text_of(found))
    error = found.get("error")
    if isinstance(error, dict):
        found = error
    elif error:
        return _Complaint(words=text_of(error))
    detail = found.get("detail")
    if isinstance(detail, list):
        return _invalid(detail)
    if isinstance(detail, dict):
        found = detail
    words = text_of(found.get("message")) or text_of(detail)
    return _Complaint(words, text_of(found.get("code")), text_of(found.get("type")), text_of(found.get("param")))


def _invalid(detail: list[Any]) -> _Complaint:
    """FastAPI's list of what doesn't fit; the first is told, without the value that came."""
    first = detail[0] if detail and isinstance(detail[0], dict) else {}
    place = first.get("loc")
    names = [name for name in place[1:] if isinstance(name, str)] if isinstance(place, list) else []
    return _Complaint(text_of(first.get("msg")), param=names[0] if names else "")
