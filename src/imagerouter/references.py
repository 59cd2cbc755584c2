"""What a configuration that is right key by key can still get wrong: names and parameters."""

from __future__ import annotations

import re
from typing import Any

from imagerouter.config import Config, ModelEntry
from imagerouter.openai import typed_parameters
from imagerouter.positions import Document, Path, plain
from imagerouter.suggest import did_you_mean
from imagerouter.wording import listing, quote


def check_references(document: Document, config: Config) -> Config:
    """Report names that clash or lead nowhere, and parameters that no request could have.

    Returns the configuration with its parameters in the types that a request holds.
    """
    _check_names(document, config)
    models = {name: _checked(document, config, name, entry) for name, entry in config.models.items()}
    defaults = _parameters(document, config, ("defaults",), config.defaults)
    return config.model_copy(update={"models": models, "defaults": defaults})


def _checked(document: Document, config: Config, name: str, entry: ModelEntry) -> ModelEntry:
    targets = []
    for index, target in enumerate(entry.targets):
        path = ("models", name, "targets", index)
        params = _parameters(document, config, (*path, "params"), target.params)
        targets.append(target.model_copy(update={"params": params}))
        if target.provider not in config.providers:
            known = f". Providers: {listing(config.providers)}"
            hint = did_you_mean(target.provider, config.providers) or known
            document.report((*path, "provider"), f"no provider named {quote(target.provider)}{hint}")
    defaults = _parameters(document, config, ("models", name, "defaults"), entry.defaults)
    return entry.model_copy(update={"targets": targets, "defaults": defaults})


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


def _parameters(document: Document, config: Config, path: Path, written: dict[str, Any]) -> dict[str, Any]:
    """Parameters as the file has them → typed ones; problems are reported where they stand."""
    params = {
        name: _meant(name, value, config) if document.is_variable((*path, name)) else value
        for name, value in written.items()
    }
    typed, problems = typed_parameters(params, config.limits)
    for name, problem in problems:
        inner = (int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", name))
        place = (*path, name) if name in params else (*path, *inner)
        document.report(place, problem, at_key=problem.startswith("unknown"))
    return typed


def _meant(name: str, value: Any, config: Config) -> Any:
    """What a variable holds is text; where the parameter is a number, it is meant as one."""
    number = plain(value)
    return value if typed_parameters({name: number}, config.limits)[1] else number
