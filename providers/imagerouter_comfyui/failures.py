"""What a server complains about, in the words of the client's own parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imagerouter import (
    GenerationError,
    ImageRequest,
    ImageRouterError,
    InvalidParameterError,
    MisconfiguredError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderBusyError,
)
from imagerouter.http import presentable
from imagerouter_comfyui.recipe import Built
from imagerouter_comfyui.watch import Failed

_LIMITS = {
    "value_smaller_than_min": "must be at least {min}",
    "value_bigger_than_max": "must be at most {max}",
}


def rejected(provider: str, answer: Mapping[str, Any], built: Built, request: ImageRequest) -> ImageRouterError:
    """The error for a graph that the server's validation refuses (``execution.py``: ``validate_prompt``)."""
    complaints = list(_complaints(answer.get("node_errors")))
    for node, complaint in complaints:
        error = _blamed(provider, node, complaint, built, request)
        if error is not None:
            return error
    return MisconfiguredError(
        f"provider `{provider}` doesn't accept its workflow: {_reason(answer, complaints, built)}"
    )


def _complaints(node_errors: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for node, found in (node_errors if isinstance(node_errors, dict) else {}).items():
        errors = found.get("errors") if isinstance(found, dict) else None
        for complaint in errors if isinstance(errors, list) else ():
            if isinstance(complaint, dict):
                yield str(node), complaint


def _blamed(
    provider: str, node: str, complaint: dict[str, Any], built: Built, request: ImageRequest
) -> ImageRouterError | None:
    """The client's own value that a complaint is about, or ``None`` if it is about something else."""
    kind, extra = str(complaint.get("type")), complaint.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    param = built.places.get((node, str(extra.get("input_name"))))
    if param == "model" and kind == "value_not_in_list":
        return ModelNotFoundError(f"provider `{provider}` has no model `{request.model}` any more", param="model")
    if param is None or "linked_node" in extra or not _is_clients(param, request):
        return None
    return InvalidParameterError(_meant(provider, param, kind, extra), param=param)


def _meant(provider: str, param: str, kind: str, extra: dict[str, Any]) -> str:
    """What is wrong with the client's value, without the value."""
    if kind in _LIMITS:
        return f"`{param}` {_limit(kind, extra.get('input_config'))}"
    if _is_picture(param):
        return f"`{param}`: provider `{provider}` can't read this picture"
    if kind == "value_not_in_list":
        return f"`{param}`: provider `{provider}` has nothing of this name"
    return f"`{param}`: provider `{provider}` can't use this value"


def _is_clients(param: str, request: ImageRequest) -> bool:
    root = _root(param)
    return root in ("prompt", "seed") or root in request.parameters or root in request.options


def _is_picture(param: str) -> bool:
    return param.endswith(".image") or _root(param) in ("images", "mask")


def _root(param: str) -> str:
    """``loras[0].name`` → ``loras``, ``provider.options.controlnet[0].image`` → ``controlnet``."""
    return param.removeprefix("provider.options.").split("[")[0].split(".")[0]


def _limit(kind: str, config: Any) -> str:
    settings = config[1] if isinstance(config, list) and len(config) > 1 and isinstance(config[1], dict) else {}
    bounds = {"min": settings.get("min", "the smallest"), "max": settings.get("max", "the largest")}
    return _LIMITS[kind].format(**bounds)


def _reason(answer: Mapping[str, Any], complaints: list[tuple[str, dict[str, Any]]], built: Built) -> str:
    if complaints:
        node, complaint = complaints[0]
        kind = built.graph[node]["class_type"] if node in built.graph else "?"
        return f"node {node} (`{kind}`): {presentable(str(complaint.get('message')))}{_detail(complaint)}"
    error = answer.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return presentable(str(message or "it doesn't say why"))


def _detail(complaint: dict[str, Any]) -> str:
    # Details quote the received value, which may be what a client wrote; the input's name says enough.
    extra = complaint.get("extra_info")
    name = extra.get("input_name") if isinstance(extra, dict) else None
    return f" (input `{name}`)" if isinstance(name, str) else ""


def failed(provider: str, end: Failed, built: Built, request: ImageRequest) -> ImageRouterError:
    """The error for a job that has ended without pictures."""
    if end.kind == "validation":
        return rejected(provider, {"node_errors": end.data}, built, request)
    if end.kind == "execution_interrupted":
        return ProviderBusyError(f"provider `{provider}`: somebody has interrupted the job")
    kind, message = str(end.data.get("exception_type")), str(end.data.get("exception_message"))
    node, node_type = str(end.data.get("node_id")), str(end.data.get("node_type"))
    if "OutOfMemory" in kind or "out of memory" in message.lower():
        return OutOfMemoryError(f"provider `{provider}` has too little memory for this request")
    if (param := _picture_of(node, built)) is not None:
        return InvalidParameterError(f"`{param}`: provider `{provider}` can't read this picture", param=param)
    return GenerationError(f"provider `{provider}` failed in `{presentable(node_type)}`: {presentable(message)}")


def _picture_of(node: str, built: Built) -> str | None:
    """The client's picture that a failed node was to load."""
    for (place, name), param in built.places.items():
        if place == node and name == "image" and _is_picture(param):
            return param
    return None
