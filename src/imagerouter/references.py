"""What a configuration that is right key by key can still get wrong: names, parameters and rules."""

from __future__ import annotations

from imagerouter.auth import check_keys
from imagerouter.config import Config, ModelEntry, ProviderEntry
from imagerouter.positions import Document
from imagerouter.rule_references import check_rules
from imagerouter.suggest import did_you_mean
from imagerouter.wording import listing, quote
from imagerouter.yaml_parameters import typed_section


def check_references(document: Document, config: Config) -> Config:
    """Report names that clash or lead nowhere, and parameters that no request could have.

    Returns the configuration with its parameters in the types that a request holds.
    """
    _check_names(document, config)
    check_keys(document, config)
    models = {name: _checked(document, config, name, entry) for name, entry in config.models.items()}
    defaults = typed_section(document, config, ("defaults",), config.defaults)
    rules = check_rules(document, config, ("rules",), config.rules)
    providers = {name: _ruled(document, config, name, entry) for name, entry in config.providers.items()}
    return config.model_copy(update={"providers": providers, "models": models, "defaults": defaults, "rules": rules})


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
    taken: dict[str, str] = {}
    for name in config.models:
        path = ("models", name)
        if not name.strip() or not name.isprintable():
            document.report(path, "a model's name can't be empty or hold control characters", at_key=True)
        other = taken.setdefault(name.casefold(), name)
        if other != name:
            document.report(path, f"differs from the model {quote(other)} only in case", at_key=True)
    for name, entry in config.models.items():
        for index, alias in enumerate(entry.aliases):
            other = taken.setdefault(alias.casefold(), name)
            place = ("models", name, "aliases", index)
            if alias.casefold() == other.casefold():
                document.report(place, f"{quote(alias)} is already the name of a model")
            elif other != name:
                document.report(place, f"{quote(alias)} is already an alias of the model {quote(other)}")
