"""What a configuration that is right key by key can still get wrong: names and parameters."""

from __future__ import annotations

import re
from typing import Any

from imagerouter.config import Config
from imagerouter.openai import check_parameters
from imagerouter.positions import Document, Path, plain
from imagerouter.suggest import did_you_mean
from imagerouter.wording import listing, quote


def check_references(document: Document, config: Config) -> None:
    """Report names that clash or lead nowhere, and parameters that no request could have."""
    _check_names(document, config)
    _check_parameters(document, ("defaults",), config.defaults)
    for name, entry in config.models.items():
        _check_parameters(document, ("models", name, "defaults"), entry.defaults)
        for index, target in enumerate(entry.targets):
            path = ("models", name, "targets", index)
            _check_parameters(document, (*path, "params"), target.params)
            if target.provider not in config.providers:
                known = f". Providers: {listing(config.providers)}"
                hint = did_you_mean(target.provider, config.providers) or known
                document.report((*path, "provider"), f"no provider named {quote(target.provider)}{hint}")


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


def _check_parameters(document: Document, path: Path, params: dict[str, Any]) -> None:
    for name, value in params.items():
        if isinstance(value, str) and document.is_variable((*path, name)):
            params[name] = _typed(name, value)
    for name, problem in check_parameters(params):
        inner = (int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", name))
        place = (*path, name) if name in params else (*path, *inner)
        document.report(place, problem, at_key=problem.startswith("unknown"))


def _typed(name: str, text: str) -> Any:
    """What a variable holds is text; where the parameter is a number, it is meant as one."""
    value = plain(text)
    return text if check_parameters({name: value}) else value
