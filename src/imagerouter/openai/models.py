"""Models in OpenAI's shape, and beside its fields what each one can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagerouter.jobs import Target
from imagerouter.routing.catalogue import PublicModel
from imagerouter.routing.prices import FREE
from imagerouter.routing.refusals import Snapshot


def describe(model: PublicModel, snapshots: Mapping[str, Snapshot]) -> dict[str, Any]:
    """One model. ``supported_parameters`` is what its first target honours, in OpenRouter's typed shape."""
    first = model.targets[0].model if model.targets else None
    operations = {operation for target in model.targets for operation in target.model.operations}
    return {
        "id": model.name,
        "object": "model",
        "created": first.created if first else 0,
        "owned_by": "imagerouter",
        "name": model.name,
        "description": first.description if first else "",
        "aliases": list(model.aliases),
        "architecture": {
            "input_modalities": ["text", "image"] if len(operations) > 1 else ["text"],
            "output_modalities": ["image"],
        },
        "operations": sorted(operations),
        "size": f"{first.width}x{first.height}" if first else None,
        "supported_parameters": first.parameters if first else {},
        "supports_streaming": True,
        "targets": [_target(target, snapshots[target.provider]) for target in model.targets],
    }


def _target(target: Target, snapshot: Snapshot) -> dict[str, Any]:
    """``order``, ``weight`` and ``price`` (US dollars) are there only where they aren't 0, 1 and free."""
    told: dict[str, Any] = {
        "provider": target.provider,
        "model": target.model.id,
        "ready": snapshot.ready,
        "resident": target.model.id in snapshot.resident,
    }
    if target.order:
        told["order"] = target.order
    if target.weight != 1:
        told["weight"] = target.weight
    if target.price != FREE:
        told["price"] = target.price.model_dump(exclude_defaults=True)
    return told
