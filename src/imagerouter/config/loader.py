"""Configuration file → `Config`. Every problem of a stage is reported at once, with its place in the file.

The stages: YAML with its variables, then the keys (each provider's by its adapter's own ``Config``), then
what refers to what. A later stage runs only once the earlier ones found nothing, so no problem is a mere
consequence of another.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from imagerouter.config import Config, ProviderEntry
from imagerouter.config.definitions import move_definitions
from imagerouter.config.positions import Document, document_of, read
from imagerouter.config.references import check_references
from imagerouter.config.validation import validate
from imagerouter.errors import ConfigError
from imagerouter.folders import user_folder
from imagerouter.logs import get_logger
from imagerouter.provider import Provider, ProviderConfig
from imagerouter.registry import ProviderTypeError, installed
from imagerouter.wording import listing

log = get_logger(__name__)

FILE_NAME = "imagerouter.yaml"
DISCOVERY_SECONDS = 2.0

_PROVIDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def find() -> Path | None:
    """The file to use when none is named: in the current folder, else in the user's configuration folder."""
    candidates = (Path(FILE_NAME), user_folder("config") / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


Given = Path | Mapping[str, Any] | Config
"""A configuration: its file, what such a file would say, or what has been read already."""


async def resolve(given: Given | None = None, search: Callable[[], Awaitable[Config]] | None = None) -> Config:
    """The configuration to run with: the given one, else the file that `find` finds, else no file at all.

    Whatever it says, without any provider in it the backends of this machine are used.

    :param search: finds these; `discover` by default.
    """
    config = _given(find() if given is None else given)
    if config.providers:
        return config
    return config.model_copy(update={"providers": (await (search or discover)()).providers})


def _given(given: Given | None) -> Config:
    if given is None:
        return Config()
    if isinstance(given, Config):
        return given
    return load_data(given) if isinstance(given, Mapping) else load(given)


def load(path: Path) -> Config:
    """Read a file. Raises `ConfigError` with one line per problem.

    Private adapters (``type: "my_module:MyProvider"``) are also looked for beside the file.
    """
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return load_text(_text(path), str(path))


def load_text(text: str, name: str = "configuration") -> Config:
    """The same for a text; ``name`` stands where messages name the file."""
    return _config(read(text, name))


def load_data(data: Mapping[str, Any], name: str = "configuration") -> Config:
    """The same for what a file would say. Nothing in it is a variable: ``${env.NAME}`` stands for itself."""
    return _config(document_of(data, name))


def _config(document: Document) -> Config:
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        document.report((), "must hold `key: value` pairs at its top level, such as `providers:`")
        document.close()
    # A section whose every line is commented out reads as null.
    data = {key: value for key, value in data.items() if value is not None}
    providers = dict(_providers(document, data.pop("providers", {})))
    if isinstance(data.get("models"), dict):
        data["models"] = {name: {} if entry is None else entry for name, entry in data["models"].items()}
    if "models" in data:
        data["models"] = move_definitions(document, data["models"], providers, installed())
    config = validate(document, Config, data, ())
    document.close()
    assert config is not None
    config = config.model_copy(update={"providers": providers})
    config = check_references(document, config)
    document.close()
    return config


async def discover() -> Config:
    """Ask every installed provider type which backends are here without configuration."""
    # Imported before anybody's time begins to run: it can take a second, and holds up the event loop.
    adapters = {kind: adapter for kind in installed().names if (adapter := _adapter(kind)) is not None}
    found = await asyncio.gather(*(_discovered(kind, adapter) for kind, adapter in adapters.items()))
    providers: dict[str, ProviderEntry] = {}
    for entry_name, entry in (item for entries in found for item in entries.items()):
        name = entry_name if entry_name not in providers else f"{entry.type}-{entry_name}"
        providers[name] = entry
    if not providers:
        raise ConfigError([f"no providers in {FILE_NAME}, and no backend found on this machine", *_unusable()])
    return Config(providers=providers)


def _adapter(kind: str) -> type[Provider[Any]] | None:
    try:
        return installed().provider_class(kind)
    except ProviderTypeError:
        return None
    except Exception:
        log.warning("discovery.failed", type=kind, exc_info=True)
        return None


async def _discovered(kind: str, adapter: type[Provider[Any]]) -> dict[str, ProviderEntry]:
    try:
        async with asyncio.timeout(DISCOVERY_SECONDS):
            found = await adapter.discover()
        return {
            name: ProviderEntry(type=kind, config=adapter.Config.model_validate(keys)) for name, keys in found.items()
        }
    except TimeoutError:
        return {}
    except Exception:
        log.warning("discovery.failed", type=kind, exc_info=True)
        return {}


def _unusable() -> Iterator[str]:
    for kind in installed().names:
        try:
            installed().provider_class(kind)
        except ProviderTypeError as error:
            yield str(error)


def _provider_entry(document: Document, name: str, keys: Mapping[str, Any]) -> ProviderEntry | None:
    """One provider from its YAML keys, or ``None`` if something was reported."""
    path = ("providers", name)
    kind = keys.get("type")
    if not isinstance(kind, str):
        what = "is missing" if kind is None else f"must be text, not {document.shown((*path, 'type'), kind)}"
        document.report((*path, "type"), f"{what}. Installed: {listing(installed().names)}")
        return None
    try:
        adapter = installed().provider_class(kind)
    except ProviderTypeError as error:
        document.report((*path, "type"), str(error))
        return None
    own = {key: value for key, value in keys.items() if key != "type"}
    config: ProviderConfig | None = validate(document, adapter.Config, own, path)
    return None if config is None else ProviderEntry(type=kind, config=config)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: can't be read: {(error.strerror or str(error)).lower()}"]) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        head = data[: error.start].decode("utf-8", "replace").split("\n")
        place = f"{len(head)}:{len(head[-1]) + 1}"
        raise ConfigError([f"{path}:{place}: not UTF-8 text: byte 0x{data[error.start]:02x}"]) from None


def _providers(document: Document, section: Any) -> Iterator[tuple[str, ProviderEntry]]:
    if not isinstance(section, dict):
        document.report(("providers",), "must be a mapping of names to providers")
        return
    for name, keys in section.items():
        path = ("providers", name)
        if not _PROVIDER_NAME.fullmatch(name):
            document.report(path, "a provider's name is made of letters, digits, `.`, `_` and `-`", at_key=True)
        elif not isinstance(keys, dict | None):
            document.report(path, "must be a mapping of keys to values, with at least `type`")
        elif (entry := _provider_entry(document, name, keys or {})) is not None:
            yield name, entry
