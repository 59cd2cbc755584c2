"""What a configuration that is right key by key can still get wrong: names, parameters and rules."""

from __future__ import annotations

from collections.abc import Iterable

from imagerouter.auth import check_keys
from imagerouter.config import Config, ModelEntry, ProviderEntry
from imagerouter.config.positions import Document, Path
from imagerouter.config.rule_references import check_rules
from imagerouter.config.yaml_parameters import typed_section
from imagerouter.errors import ConfigError
from imagerouter.names import key
from imagerouter.storage import Storage
from imagerouter.suggest import did_you_mean
from imagerouter.wording import listing, quote


def check_references(document: Document, config: Config) -> Config:
    """Report names that clash or lead nowhere, and parameters that no request could have.

    Returns the configuration with its parameters in the types that a request holds.
    """
    _check_names(document, config)
    check_keys(document, config)
    _check_results(document, config)
    models = {name: _checked(document, config, name, entry) for name, entry in config.models.items()}
    defaults = typed_section(document, config, ("defaults",), config.defaults)
    rules = check_rules(document, config, ("rules",), config.rules)
    providers = {name: _ruled(document, config, name, entry) for name, entry in config.providers.items()}
    return config.model_copy(update={"providers": providers, "models": models, "defaults": defaults, "rules": rules})


def _check_results(document: Document, config: Config) -> None:
    try:
        Storage.open(config.results)
    except ConfigError as error:
        document.report(("results", "url"), error.problems[0].removeprefix("results.url: "))


def _ruled(document: Document, config: Config, name: str, entry: ProviderEntry) -> ProviderEntry:
    rules = check_rules(document, config, ("providers", name, "rules"), entry.config.rules)
    return entry.model_copy(update={"config": entry.config.model_copy(update={"rules": rules})})


def _checked(document: Document, config: Config, name: str, entry: ModelEntry) -> ModelEntry:
    targets = []
    for index, target in enumerate(entry.targets):
        path = ("models", name, "targets", index)
        params = typed_section(document, config, (*path, "params"), target.params)
        targets.append(target.model_copy(update={"params": params}))
        if target.provider not in config.providers:
            known = f". Providers: {listing(config.providers)}"
            hint = did_you_mean(target.provider, config.providers) or known
            document.report((*path, "provider"), f"no provider named {quote(target.provider)}{hint}")
    defaults = typed_section(document, config, ("models", name, "defaults"), entry.defaults)
    rules = check_rules(document, config, ("models", name, "rules"), entry.rules)
    return entry.model_copy(update={"targets": targets, "defaults": defaults, "rules": rules})


def _check_names(document: Document, config: Config) -> None:
    """No two models may answer to one name; names are compared as the catalogue looks them up."""
    # Pins begin with them.
    _check_spellings(document, "provider", config.providers)
    taken = _check_spellings(document, "model", config.models)
    for name in config.models:
        _check_readable(document, ("models", name), "a model's name", name, at_key=True)
    for name, entry in config.models.items():
        for index, alias in enumerate(entry.aliases):
            place = ("models", name, "aliases", index)
            _check_readable(document, place, "an alias", alias)
            other = taken.setdefault(key(alias), name)
            if key(alias) == key(other):
                document.report(place, f"{quote(alias)} is already the name of a model")
            elif other != name:
                document.report(place, f"{quote(alias)} is already an alias of the model {quote(other)}")


def _check_spellings(document: Document, what: str, names: Iterable[str]) -> dict[str, str]:
    """Report names that are one name for the catalogue; returns each as it looks them up, with the one that has it."""
    taken: dict[str, str] = {}
    for name in names:
        other = taken.setdefault(key(name), name)
        if other != name:
            differs = "only in case" if other.casefold() == name.casefold() else "only in case and kind of slash"
            document.report((f"{what}s", name), f"differs from the {what} {quote(other)} {differs}", at_key=True)
    return taken


def _check_readable(document: Document, path: Path, what: str, name: str, *, at_key: bool = False) -> None:
    if not name.strip() or not name.isprintable():
        document.report(path, f"{what} can't be empty or hold control characters", at_key=at_key)
