"""Public model names → targets. Pure: the configuration and what providers report go in, names come out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from imagerouter import config as yaml
from imagerouter.config import Config, ModelEntry
from imagerouter.jobs import Sort, Target
from imagerouter.names import key
from imagerouter.provider import Model
from imagerouter.routing.identity import Split, by_rank, index, look_up, public_name, spellings, stem, together
from imagerouter.routing.patterns import is_like, is_pattern
from imagerouter.routing.prices import FREE, Price
from imagerouter.routing.rules import Rule

_VARIANTS: Mapping[str, Sort] = {"floor": "price", "nitro": "throughput"}
"""OpenRouter's shortcuts: what follows the colon of a model's name → the order that it asks for."""


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A name that clients may send, with every target behind it, best first."""

    name: str
    targets: tuple[Target, ...]
    aliases: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Targets of the YAML that no provider offers right now, each with the reason."""
    rules: tuple[Rule, ...] = ()

    @property
    def is_usable(self) -> bool:
        return any(not target.model.problem for target in self.targets)

    @property
    def is_demo(self) -> bool:
        return bool(self.targets) and all(target.model.is_demo for target in self.targets)


_Merged = tuple[PublicModel, list[Split]]
"""A model, and files of its name that are other ones."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All public models, in the order in which the YAML and then the providers name them."""

    models: tuple[PublicModel, ...] = ()
    default: str | None = None
    warnings: tuple[str, ...] = ()
    """Files of one name that turned out to be different models, each in a sentence."""
    _spellings: tuple[Mapping[str, PublicModel], ...] = ()
    """Every accepted one: public names and aliases, before pins, before files."""
    _patterns: tuple[tuple[str, PublicModel], ...] = ()
    _providers: frozenset[str] = frozenset()

    def resolve(self, name: str | None) -> PublicModel | None:
        """The model behind a public name, alias, ``provider/model`` pin or file name, whatever the case, and else the
        first one with an alias like ``dall-e-*`` that ``name`` matches.

        ``None`` asks for the default model.
        """
        if name is None:
            name = self.default
        return None if name is None else self._spelled(name) or self._matched(key(name))

    def knows(self, name: str) -> bool:
        """Whether ``name`` is a spelling of a model, and doesn't merely match a pattern."""
        return self._spelled(name) is not None

    def variant(self, name: str | None) -> tuple[str | None, Sort | None]:
        """``sdxl:floor`` → ``sdxl``, cheapest first; ``sdxl:nitro`` → ``sdxl``, fastest renderer first.

        What is the name of a model as a whole stays one.
        """
        if name is None or ":" not in name:
            return name, None
        head, _, suffix = name.rpartition(":")
        sort = _VARIANTS.get(suffix.casefold())
        return (name, None) if not head or sort is None or self.knows(name) else (head, sort)

    def names(self) -> list[str]:
        return [model.name for model in self.models]

    def _spelled(self, name: str) -> PublicModel | None:
        for known in self._spellings:
            if (model := look_up(known, name)) is not None:
                return model
        return None

    def _matched(self, name: str) -> PublicModel | None:
        provider, slash, _ = name.partition("/")
        # Who pins a provider that isn't there must not be served by another one.
        needed = provider + slash if slash and provider in self._providers else ""
        fitting = (m for pattern, m in self._patterns if pattern.startswith(needed) and is_like(name, pattern))
        return next(fitting, None)


def build(
    config: Config,
    reported: Mapping[str, Iterable[Model]],
    previous_default: str | None = None,
    loaded: Mapping[str, Collection[str]] | None = None,
) -> Catalogue:
    """Merge the YAML's models with what each provider reports (provider name → its models).

    :param previous_default: stays the default while it is there, so that a provider that comes back later than the
        others doesn't change what a request without a model gets.
    :param loaded: native names of the models that each provider has loaded.
    """
    offered = {provider: list(models) for provider, models in reported.items()}
    targets = [
        Target(provider, model, config.defaults, price=_price(config, provider))
        for provider, models in offered.items()
        for model in models
    ]
    pins, groups = _pins(targets), _groups(targets)
    taken = {key(name) for model, entry in config.models.items() for name in (model, *_exact(entry.aliases))}
    # Only entries look models up, and a server may have thousands.
    named = {provider: _by_name(models) for provider, models in offered.items()} if config.models else {}
    merged = [_from_yaml(name, entry, config, named) for name, entry in config.models.items()]
    merged += [_from_files(group) for name, group in groups.items() if name not in taken]
    listed, warnings = _listed(config, merged, pins, taken | groups.keys())
    found = [model for model, _ in merged]
    apart = [pins[other.target.name] for _, others in merged for other in others]
    return Catalogue(
        models=tuple(listed),
        default=config.default_model or _default(listed, previous_default, config, loaded or {}),
        warnings=tuple(warnings),
        _spellings=(_names(found), pins, _files([*found, *apart])),
        _patterns=_patterns(found),
        _providers=frozenset(key(provider) for provider in offered),
    )


def _listed(
    config: Config, merged: Iterable[_Merged], pins: Mapping[str, PublicModel], taken: Set[str]
) -> tuple[list[PublicModel], list[str]]:
    """What is offered, files that differ under their pins, and a warning for each of these."""
    listed: list[PublicModel] = []
    warnings: list[str] = []
    for model, others in merged:
        # What can't be used isn't offered; who asks for it by its name is told why it can't.
        if model.name in config.models or model.is_usable:
            listed.append(model)
        for other in others:
            pin = pins[other.target.name]
            if pin.is_usable and key(pin.name) not in taken:
                listed.append(pin)
                warnings.append(
                    f"{other.reason}, so it is a model of its own, `{pin.name}`; "
                    f"if each may stand for the other, name both in `models.{model.name}.targets`"
                )
    return listed, warnings


def _price(config: Config, provider: str) -> Price:
    entry = config.providers.get(provider)
    return FREE if entry is None else entry.config.price


def _exact(aliases: Iterable[str]) -> list[str]:
    return [alias for alias in aliases if not is_pattern(alias)]


def _groups(targets: Iterable[Target]) -> dict[str, list[Target]]:
    groups: dict[str, list[Target]] = {}
    for target in targets:
        groups.setdefault(key(public_name(target.model)), []).append(target)
    return groups


def _from_files(group: list[Target]) -> _Merged:
    kept, others = together(group)
    return PublicModel(public_name(kept[0].model), tuple(kept)), others


def _from_yaml(name: str, entry: ModelEntry, config: Config, named: Mapping[str, Mapping[str, Model]]) -> _Merged:
    defaults: dict[str, Any] = {**config.defaults, **entry.defaults}
    wanted = entry.targets or [yaml.Target(provider=p) for p, models in named.items() if look_up(models, name)]
    targets, missing = [], []
    for wish in wanted:
        native = wish.model or name
        model = look_up(named.get(wish.provider, {}), native)
        if model is not None and model.problem:
            missing.append(f"`{wish.provider}` can't use `{native}`: {model.problem}")
        elif model is not None:
            price = wish.price if wish.price is not None else _price(config, wish.provider)
            targets.append(Target(wish.provider, model, defaults, wish.params, wish.order, wish.weight, price))
        elif wish.provider in named:
            missing.append(f"`{wish.provider}` has no model `{native}`")
    if not wanted:
        missing.append(f"no provider has a model `{name}`")
    kept, others = (targets, []) if entry.targets else together(targets)
    missing += [other.reason for other in others]
    return PublicModel(name, tuple(kept), tuple(entry.aliases), tuple(missing), tuple(entry.rules)), others


def _by_name(models: list[Model]) -> dict[str, Model]:
    """One provider's models by what an entry may call them: their native names before public and short ones."""
    short = ((name, model) for model in models for name in (public_name(model), stem(model.id)))
    return index([*((model.id, model) for model in models), *short])


def _default(
    listed: list[PublicModel], previous: str | None, config: Config, loaded: Mapping[str, Collection[str]]
) -> str | None:
    """The least by: a real model rather than a demo, the previous one, one of the YAML, a loaded one, the first."""

    def rank(model: PublicModel) -> tuple[bool, bool, bool, bool]:
        is_loaded = any(target.model.id in loaded.get(target.provider, ()) for target in model.targets)
        return model.is_demo, model.name != previous, model.name not in config.models, not is_loaded

    return min(listed, key=rank).name if listed else None


def _names(found: Iterable[PublicModel]) -> dict[str, PublicModel]:
    return index((name, model) for model in found for name in (model.name, *_exact(model.aliases)))


def _pins(targets: Iterable[Target]) -> dict[str, PublicModel]:
    """Each is called by the first of its spellings that no other one has."""
    rows = [([f"{target.provider}/{name}" for name in spellings(target.model)], target) for target in targets]
    owners = index(by_rank(rows))
    named = [(names, _called(names, target, owners)) for names, target in rows]
    return index(by_rank(named))


def _called(names: list[str], target: Target, owners: Mapping[str, Target]) -> PublicModel:
    native, *others = names
    return PublicModel(next((name for name in others if owners[name] is target), native), (target,))


def _files(found: Iterable[PublicModel]) -> dict[str, PublicModel]:
    return index(by_rank([(spellings(target.model), model) for model in found for target in model.targets]))


def _patterns(found: Iterable[PublicModel]) -> tuple[tuple[str, PublicModel], ...]:
    """In the file's order, but what matches every name comes last."""
    rows = [(key(alias), model) for model in found for alias in model.aliases if is_pattern(alias)]
    return tuple(sorted(rows, key=lambda row: not row[0].strip("*")))
