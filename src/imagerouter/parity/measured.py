"""What ``imagerouter parity-check`` has found out, kept in a file: it counts for more than what is assumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from imagerouter.config import Config, ProviderEntry, Server
from imagerouter.folders import user_folder
from imagerouter.jobs import Target
from imagerouter.logs import get_logger
from imagerouter.parity.profile import PROFILES
from imagerouter.provider import Model, ProviderConfig
from imagerouter.types import Tier

log = get_logger(__name__)

_FORMAT = 1


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One target's, with what it was taken of."""

    provider: str
    """Fingerprint of the provider's configuration."""
    version: int
    """Of the profile."""
    dtype: str = ""
    sha256: str = ""
    file_size: int = 0
    like: str
    """The first target that draws the same; its own name where none does."""
    tiers: dict[str, Tier] = {}
    """By feature."""

    def holds(self, model: Model) -> bool:
        """Whether it was taken of this model, as far as anybody can tell."""
        known = model.parity
        if known is None or (known.dtype, PROFILES[known.profile].version) != (self.dtype, self.version):
            return False
        digits = min(len(model.sha256), len(self.sha256))
        same_hash = model.sha256[:digits].casefold() == self.sha256[:digits].casefold()
        return same_hash and (not self.file_size or not model.file_size or self.file_size == model.file_size)


class _File(msgspec.Struct, kw_only=True):
    format: int = _FORMAT
    targets: dict[str, Measurement] = {}


class Measured:
    """All of them, by the names of targets."""

    def __init__(self, rows: Mapping[str, Measurement] | None = None) -> None:
        self._rows = dict(rows or {})

    def tiers_of(self, target: Target) -> Mapping[str, Tier]:
        """Feature → tier, of those that were looked at."""
        row = self._row(target)
        return {} if row is None else row.tiers

    def first_like(self, target: Target, siblings: Sequence[Target]) -> Target:
        """The first of the targets that were found to draw what ``target`` draws."""
        if (row := self._row(target)) is None:
            return target
        rows = ((each, self._row(each)) for each in siblings)
        return next((each for each, known in rows if known is not None and known.like == row.like), target)

    def _row(self, target: Target) -> Measurement | None:
        row = self._rows.get(target.name)
        return row if row is not None and row.holds(target.model) else None


def fingerprint(entry: ProviderEntry) -> str:
    """Of what a provider's configuration says about its pictures: all but what every provider has."""
    own = entry.config.model_dump_json(exclude=set(ProviderConfig.model_fields))
    return hashlib.sha256(f"{entry.type} {own}".encode()).hexdigest()[:16]


def file_of(server: Server) -> Path | None:
    """Where results are kept (``server.parity_file``); with ``auto`` in the user's state folder."""
    if server.parity_file is None:
        return None
    if server.parity_file != "auto":
        return Path(server.parity_file).expanduser()
    return user_folder("state") / "parity.json"


def known(config: Config) -> Measured:
    """What was measured of the providers of ``config``. A file that can't be read says nothing."""
    path = file_of(config.server)
    try:
        told = msgspec.json.decode(path.read_bytes(), type=_File) if path is not None and path.exists() else _File()
    except (OSError, msgspec.DecodeError) as failure:
        log.warning("parity.not_read", path=str(path), reason=str(failure))
        return Measured()
    prints = {name: fingerprint(entry) for name, entry in config.providers.items()}
    return Measured(
        {
            name: row
            for name, row in told.targets.items()
            if told.format == _FORMAT and prints.get(name.partition("/")[0]) == row.provider
        }
    )


def save(path: Path, rows: Mapping[str, Measurement]) -> None:
    """Put ``rows`` beside what the file tells of other targets. Raises `OSError`."""
    try:
        told = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError):
        told = _File()
    kept = told.targets if told.format == _FORMAT else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(_File(targets={**kept, **rows}))))
    fresh.replace(path)
