"""Public model names → targets. Pure: the configuration and what providers report go in, names come out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from imagerouter.config import Config, ModelEntry
from imagerouter.jobs import Target
from imagerouter.provider import Model

_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


def stem(native: str) -> str:
    """The file name without folders, extension and A1111's ``[hash]``: ``sub\\x.safetensors [31e3]`` → ``x``."""
    path = native.replace("\\", "/").rsplit(" [", 1)[0] if native.endswith("]") else native.replace("\\", "/")
    name = PurePosixPath(path).name
    for suffix in _SUFFIXES:
        if name.casefold().endswith(suffix):
            return name[: -len(suffix)]
    return name


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A name that clients may send, with every target behind it, best first."""

    name: str
    targets: tuple[Target, ...]
    aliases: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Targets of the YAML that no provider offers right now, each with the reason."""

    @property
    def is_usable(self) -> bool:
        return any(not target.model.problem for target in self.targets)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All public models, in the order in which the YAML and then the providers name them."""

    models: tuple[PublicModel, ...] = ()
    default: str | None = None
    _index: dict[str, PublicModel] = field(default_factory=dict)

    def resolve(self, name: str | None) -> PublicModel | None:
        """The model behind a public name, alias, file name or ``provider/model`` pin, whatever the case.

        ``None`` asks for the default model.
        """
        if name is None:
            name = self.default
        return None if name is None else self._index.get(_key(name))

    def names(self) -> list[str]:
        return [model.name for model in self.models]


def _key(name: str) -> str:
    return name.replace("\\", "/").casefold()


def build(config: Config, reported: Mapping[str, Iterable[Model]], previous_default: str | None = None) -> Catalogue:
    """Merge the YAML's models with what each provider reports (provider name → its models).

    :param previous_default: stays the default while it is there, so that a provider that starts later than the
        others doesn't change what a request without a model gets.
    """
    offered = {provider: list(models) for provider, models in reported.items()}
    found = [_from_yaml(name, entry, config, offered) for name, entry in config.models.items()]
    taken = {_key(name) for model in found for name in (model.name, *model.aliases)}
    groups: dict[str, list[Target]] = {}
    for provider, models in offered.items():
        for model in models:
            groups.setdefault(public_name(model), []).append(Target(provider, model, config.defaults))
    merged: dict[str, list[str]] = {}
    for name in groups:
        merged.setdefault(_key(name), []).append(name)
    for key, names in merged.items():
        if key not in taken:
            found.append(PublicModel(names[0], tuple(t for name in names for t in groups[name])))
    # What can't be used isn't offered; who asks for it by its name is told why it can't.
    reachable, found = found, [model for model in found if model.name in config.models or model.is_usable]
    names = [model.name for model in found]
    kept = previous_default if previous_default in names else next(iter(names), None)
    default = config.default_model or kept
    return Catalogue(tuple(found), default, _index(reachable, config, offered))


def public_name(model: Model) -> str:
    return model.name or stem(model.id)


def _from_yaml(name: str, entry: ModelEntry, config: Config, offered: Mapping[str, list[Model]]) -> PublicModel:
    defaults: dict[str, Any] = {**config.defaults, **entry.defaults}
    wanted = [(t.provider, t.model or name, t.params) for t in entry.targets]
    if not wanted:
        wanted = [(provider, name, {}) for provider, models in offered.items() if _find(models, name)]
    targets, missing = [], []
    for provider, native, params in wanted:
        model = _find(offered.get(provider, []), native)
        if model is not None and model.problem:
            missing.append(f"`{provider}` can't use `{native}`: {model.problem}")
        elif model is not None:
            targets.append(Target(provider, model, defaults, params))
        elif provider in offered:
            missing.append(f"`{provider}` has no model `{native}`")
    if not wanted:
        missing.append(f"no provider has a model `{name}`")
    return PublicModel(name, tuple(targets), tuple(entry.aliases), tuple(missing))


def _find(models: Iterable[Model], native: str) -> Model | None:
    wanted = _key(native)
    return next((m for m in models if _key(m.id) == wanted), None) or next(
        (m for m in models if wanted in (_key(public_name(m)), _key(stem(m.id)))), None
    )


def _index(found: Iterable[PublicModel], config: Config, offered: Mapping[str, list[Model]]) -> dict[str, PublicModel]:
    """Every accepted spelling; public names and aliases win over file names, those over pins."""
    index: dict[str, PublicModel] = {}
    for model in found:
        for spelling in (model.name, *model.aliases):
            index.setdefault(_key(spelling), model)
    for model in found:
        for target in model.targets:
            path = PurePosixPath(target.model.id.replace("\\", "/"))
            short = stem(target.model.id)
            for spelling in (target.model.id, str(path.parent / short), path.name, short):
                index.setdefault(_key(spelling), model)
    for provider, models in offered.items():
        for native in models:
            pin = PublicModel(f"{provider}/{public_name(native)}", (Target(provider, native, config.defaults),))
            for spelling in (native.id, public_name(native), stem(native.id)):
                index.setdefault(_key(f"{provider}/{spelling}"), pin)
    return index
