"""Models as OpenRouter lists them: for images with typed descriptors, and beside all others with prices as texts.

Source of the fields: ``openrouter`` 1.3.84 (PyPI), ``components/imagemodellistitem.py``, ``imageendpoint.py``,
``imagepricingentry.py``, ``model.py`` and ``publicendpoint.py``. What is about text is 0, ``null`` or empty here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from imagerouter.config import Limits
from imagerouter.dialects.openrouter.capabilities import capabilities, union
from imagerouter.jobs import Target
from imagerouter.routing.catalogue import PublicModel
from imagerouter.routing.prices import FREE, Price
from imagerouter.routing.refusals import Snapshot
from imagerouter.types import Operation

Told = dict[str, Any]

ROOT = "/api/v1"
PAGE = 500
"""Models in one answer, where the client doesn't say; its SDK asks for more when there are as many."""


def wants_images(query: Mapping[str, str]) -> bool:
    """Whether models that draw are among those asked for by ``?output_modalities=`` (a list) or ``?type=``."""
    asked = {word.strip() for key in ("output_modalities", "type") for word in query.get(key, "").split(",")} - {""}
    return not asked or bool(asked & {"image", "all"})


def image_model(listed: PublicModel, limits: Limits) -> Told:
    """One row of ``GET /images/models``; ``supported_parameters`` is the union over its targets."""
    return {
        **_about(listed),
        "architecture": _modalities(listed),
        "supported_parameters": union(capabilities(target.model, limits) for target in listed.targets),
        "supports_streaming": True,
        "endpoints": f"{ROOT}/images/models/{quote(listed.name)}/endpoints",
    }


def image_endpoints(listed: PublicModel, limits: Limits) -> Told:
    """``GET /images/models/…/endpoints``: every target, best first. Prices are in US dollars."""
    return {
        "id": listed.name,
        "endpoints": [
            {
                "provider_name": target.provider,
                "provider_slug": target.provider,
                "provider_tag": target.provider,
                "supported_parameters": capabilities(target.model, limits),
                "allowed_passthrough_parameters": sorted(target.model.options),
                "supports_streaming": True,
                "pricing": _lines(target.price),
            }
            for target in listed.targets
        ],
    }


def page(listed: Sequence[PublicModel], limits: Limits, query: Mapping[str, str]) -> Told:
    """``GET /models``: the part of the list that ``offset`` and ``limit`` ask for, and where it goes on."""
    offset, limit = _number(query, "offset", 0), max(_number(query, "limit", PAGE), 1)
    after = offset + limit
    more = {**query, "offset": after, "limit": limit}
    following = f"{ROOT}/models?{urlencode(more)}" if after < len(listed) else None
    rows = [model(each, limits) for each in listed[offset:after]]
    return {"data": rows, "total_count": len(listed), "links": {"next": following}}


def _number(query: Mapping[str, str], name: str, usual: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 9 else usual


def model(listed: PublicModel, limits: Limits) -> Told:
    """One row of ``GET /models``; its prices are those of the first target, at its native size."""
    return {
        **_about(listed),
        "canonical_slug": listed.name,
        "hugging_face_id": None,
        "context_length": None,
        "architecture": _architecture(listed),
        "pricing": _pricing(listed.targets[0]) if listed.targets else _texts(0, 0),
        "top_provider": {"context_length": None, "max_completion_tokens": None, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": sorted(union(capabilities(target.model, limits) for target in listed.targets)),
        "default_parameters": None,
        "supported_voices": None,
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": f"{ROOT}/models/{quote(listed.name)}/endpoints"},
    }


def model_endpoints(listed: PublicModel, limits: Limits, snapshots: Mapping[str, Snapshot]) -> Told:
    """``GET /models/…/endpoints``: ``status`` is 0 where a provider takes jobs, and -1 where it doesn't."""
    rows = [_endpoint(listed, target, limits, snapshots[target.provider]) for target in listed.targets]
    return {**_about(listed), "architecture": _architecture(listed), "endpoints": rows}


def _endpoint(listed: PublicModel, target: Target, limits: Limits, snapshot: Snapshot) -> Told:
    unknown = "latency_last_30m throughput_last_30m uptime_last_5m uptime_last_30m uptime_last_1d".split()
    return {
        "name": f"{target.provider} | {listed.name}",
        "tag": target.provider,
        "provider_name": target.provider,
        "model_id": listed.name,
        "model_name": listed.name,
        "context_length": 0,
        "max_completion_tokens": None,
        "max_prompt_tokens": None,
        "quantization": None,
        "service_tier": None,
        "native_tools": {},
        "pricing": _pricing(target),
        "supported_parameters": sorted(capabilities(target.model, limits)),
        "supports_diarization": False,
        "supports_implicit_caching": False,
        "supports_tool_choice": dict.fromkeys(("auto", "function", "none", "required"), False),
        "status": 0 if snapshot.ready else -1,
        **dict.fromkeys(unknown),
    }


def _about(listed: PublicModel) -> Told:
    first = listed.targets[0].model if listed.targets else None
    return {
        "id": listed.name,
        "name": listed.name,
        "description": first.description if first else "",
        "created": first.created if first else 0,
    }


def _modalities(listed: PublicModel) -> Told:
    takes = any({Operation.EDIT, Operation.INPAINT} & target.model.operations for target in listed.targets)
    return {"input_modalities": ["text", "image"] if takes else ["text"], "output_modalities": ["image"]}


def _architecture(listed: PublicModel) -> Told:
    told = _modalities(listed)
    modality = f"{'+'.join(told['input_modalities'])}->image"
    return {**told, "modality": modality, "tokenizer": "Other", "instruct_type": None}


def _lines(price: Price) -> list[Told]:
    """One line for whatever costs something, which add up; what is free has one of 0."""
    lines = price.model_dump(exclude_defaults=True) if price != FREE else {"image": 0.0}
    return [{"billable": "output_image", "unit": unit, "cost_usd": cost} for unit, cost in lines.items()]


def _pricing(target: Target) -> dict[str, str]:
    megapixels = target.model.width * target.model.height / 1e6
    return _texts(target.price.request, target.price.of_image(megapixels))


def _texts(request: float, image: float) -> dict[str, str]:
    said = {"prompt": 0.0, "completion": 0.0, "request": request, "image": 0.0, "image_output": image}
    return {name: f"{cost:.9f}".rstrip("0").rstrip(".") for name, cost in said.items()}
