"""Models that a target defines on the spot: ``targets: [{provider: desk, workflow: portrait.json}]``.

They become what ``providers.desk.models`` would have said, so an adapter finds all of its models in one place.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from imagerouter.config import ProviderEntry, Target
from imagerouter.config.positions import Document, Path
from imagerouter.config.validation import validate
from imagerouter.registry import Registry
from imagerouter.wording import quote


def move_definitions(document: Document, models: Any, providers: dict[str, ProviderEntry], types: Registry) -> Any:
    """The section ``models`` without its definitions, which go into ``providers``; what is wrong is reported."""
    if not isinstance(models, dict):
        return models
    return {name: _entry(document, name, entry, providers, types) for name, entry in models.items()}


def _entry(document: Document, name: str, entry: Any, providers: dict[str, ProviderEntry], types: Registry) -> Any:
    targets = entry.get("targets") if isinstance(entry, dict) else None
    if not isinstance(targets, list):
        return entry
    plain = [
        _target(document, ("models", name, "targets", index), target, providers, types)
        for index, target in enumerate(targets)
    ]
    return {**entry, "targets": plain}


def _target(document: Document, path: Path, target: Any, providers: dict[str, ProviderEntry], types: Registry) -> Any:
    """What is left of a target without its definition: the keys of `Target`."""
    if not isinstance(target, dict) or target.keys() <= Target.model_fields.keys():
        return target
    provider = target.get("provider")
    if not isinstance(provider, str):
        return target
    own = {key: value for key, value in target.items() if key in Target.model_fields}
    entry = providers.get(provider)
    if entry is None:
        return own  # that there is no such provider says enough
    kind = types.provider_class(entry.type).ModelConfig
    if kind is None:
        return target
    native = target.get("model") or str(path[1])
    valid = validate(document, _both(kind), target, path)
    if valid is not None:
        # Taken from what is valid already: an adapter may read whole files to check its keys.
        values = {key: getattr(valid, key) for key in kind.model_fields}
        definition = kind.model_construct(valid.model_fields_set & kind.model_fields.keys(), **values)
        providers[provider] = _defined(document, path, entry, native, definition)
    return {**own, "model": native}


def _defined(document: Document, path: Path, entry: ProviderEntry, native: str, definition: BaseModel) -> ProviderEntry:
    known: dict[str, Any] = getattr(entry.config, "models", {})
    if known.get(native, definition) != definition:
        document.report(path, f"{quote(native)} is already defined otherwise on this provider; give one a `model`")
    config = entry.config.model_copy(update={"models": {**known, native: definition}})
    return entry.model_copy(update={"config": config})


def _both(kind: type[BaseModel]) -> type[BaseModel]:
    """A target's own keys and the definition's in one section, so that messages know of both."""
    settings = ConfigDict(extra="forbid", frozen=True)
    return type("Target", (Target, kind), {"model_config": settings, "__module__": __name__})
