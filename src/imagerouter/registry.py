"""Provider types → classes, through the entry-point group ``imagerouter.providers``.

Nothing is imported before it is asked for: a type that nobody configures costs nothing, and may lack its
dependencies. ``module:Class`` names a private adapter that isn't packaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import util
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from imagerouter.provider import Provider
from imagerouter.suggest import did_you_mean
from imagerouter.wording import listing, quote

GROUP = "imagerouter.providers"
ProviderClass = type[Provider[Any]]

_REFERENCE = re.compile(r"([\w.]+):(\w+)")


class ProviderTypeError(Exception):
    """A provider type that can't be used here; the message is a finished sentence that says why."""


class Registry:
    """The provider types that are installed. One scan; classes are imported when asked for."""

    def __init__(self, found: Iterable[EntryPoint]) -> None:
        types: dict[str, list[EntryPoint]] = {}
        for point in found:
            types.setdefault(point.name, []).append(point)
        self._types: Mapping[str, list[EntryPoint]] = types

    @property
    def names(self) -> list[str]:
        return sorted(self._types)

    def names_from(self, distribution: str) -> list[str]:
        """The types that one distribution brings."""
        return sorted(n for n, points in self._types.items() if distribution in map(_distribution, points))

    def provider_class(self, name: str, *, ready: bool = True) -> ProviderClass:
        """The class of a type, or a `ProviderTypeError`.

        :param ready: whether everything that the class ``requires`` has to be installed.
        """
        point = self._point(name)
        found = _load(name, point)
        for module in found.requires if ready else ():
            if not _installed(module):
                raise ProviderTypeError(_needs(name, module, point))
        return found

    def _point(self, name: str) -> EntryPoint:
        points = self._types.get(name)
        if points is None:
            if _REFERENCE.fullmatch(name):
                return EntryPoint(name, name, GROUP)
            suggestion = did_you_mean(name, self._types) or "."
            raise ProviderTypeError(
                f"unknown provider type {quote(name)}{suggestion} Installed: {listing(self._types)}"
            )
        if len(points) > 1:
            sources = " and ".join(quote(source) for source in sorted(map(_distribution, points)))
            raise ProviderTypeError(f"provider type {quote(name)} is claimed by {sources}; uninstall one of them")
        return points[0]


def _load(name: str, point: EntryPoint) -> ProviderClass:
    try:
        found = point.load()
    except ModuleNotFoundError as error:
        own = point.module.partition(".")[0]
        missing = (error.name or "").partition(".")[0]
        if missing in ("", own):
            raise ProviderTypeError(f"provider type {quote(name)} can't be imported: {error}") from error
        raise ProviderTypeError(_needs(name, missing, point)) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ProviderTypeError(f"provider type {quote(name)} can't be imported: {reason}") from error
    if not (isinstance(found, type) and issubclass(found, Provider)):
        raise ProviderTypeError(f"provider type {quote(name)} is not a subclass of `imagerouter.Provider`")
    return found


def _installed(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _needs(name: str, module: str, point: EntryPoint) -> str:
    """An extra is only recommended where the distribution has one of the type's own name: no guesses."""
    message = f"provider type {quote(name)} needs {quote(module)}, which is not installed"
    extras = (point.dist.metadata.get_all("Provides-Extra") or []) if point.dist else []
    return f"{message}: pip install '{_distribution(point)}[{name}]'" if name in extras else message


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module


@cache
def installed() -> Registry:
    """What is installed in this environment; scanned once, since a scan takes tens of milliseconds."""
    return Registry(entry_points(group=GROUP))


def provider_class(name: str) -> ProviderClass:
    """The class of a provider type, or a `ProviderTypeError` that says what is missing."""
    return installed().provider_class(name)
