"""Catalogues for tests, made of a few words."""

from __future__ import annotations

from imagerouter.config import Config
from imagerouter.provider import Model
from imagerouter.routing.catalogue import Catalogue, PublicModel, build


def sized(name: str, size: int = 0, sha256: str = "") -> Model:
    return Model(id=name, file_size=size, sha256=sha256)


def catalogue(yaml: dict[str, object] | None = None, /, **reported: list[str] | list[Model]) -> Catalogue:
    """Of the file's keys, and for each provider of what it reports."""
    models = {name: [m if isinstance(m, Model) else sized(m) for m in found] for name, found in reported.items()}
    return build(Config.model_validate(yaml or {}), models)


def resolved(made: Catalogue, name: str | None) -> PublicModel:
    found = made.resolve(name)
    assert found is not None, name
    return found


def where(model: PublicModel) -> list[str]:
    return [target.name for target in model.targets]
