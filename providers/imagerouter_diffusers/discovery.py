"""Which models, LoRAs and VAEs are on this machine: folders, the Hugging Face cache, ComfyUI's path file.

Reads directory entries and file headers only, so that it can be asked every minute. Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from imagerouter.logs import get_logger
from imagerouter_diffusers import extra_paths, headers
from imagerouter_diffusers.config import DiffusersConfig, ModelSource

log = get_logger("imagerouter.diffusers")

BUILTIN = "builtin"
BUILTIN_FOLDER = Path(__file__).parent / BUILTIN
INDEX = "model_index.json"
_SHA256 = re.compile(r"[0-9a-fA-F]{64}\b")
_SAFE = (".safetensors", ".sft")
_PICKLES = (".ckpt", ".pt", ".bin")
_DENOISERS = ("unet", "transformer", "prior", "decoder")


@dataclass(frozen=True)
class Source:
    """One model that can be loaded."""

    id: str
    path: Path | None = None
    """Folder or file; ``None`` while a configured hub repository is still to be downloaded."""
    repo: str | None = None
    variant: str | None = None
    dtype: str | None = None
    config: str | None = None
    custom_pipeline: str | None = None
    configured: bool = False
    """Whether a person named it, so that it's taken at its word."""

    @property
    def is_file(self) -> bool:
        return self.path is not None and self.path.is_file()

    @property
    def key(self) -> str:
        """What two names for the same weights have in common."""
        return os.path.realpath(self.path) if self.path else str(self.repo)


@dataclass(frozen=True)
class Library:
    """Everything one scan found; the keys are the names that requests use."""

    models: dict[str, Source]
    loras: dict[str, Path]
    vaes: dict[str, Path]
    problems: tuple[str, ...] = ()
    """Configured things that aren't there, each in one line without a path."""


def scan(config: DiffusersConfig) -> Library:
    """Configured models first, so that their names win over found ones."""
    models, problems = _configured(config)
    shared = _shared(config, problems)
    taken = {source.key for source in models.values()}
    for source in _found(config, shared):
        if source.key not in taken:
            taken.add(source.key)
            name = source.id if source.id not in models else _longer_name(source)
            models.setdefault(name, replace(source, id=name))
    return Library(
        models=models,
        loras=_files_by_stem(_paths(config.loras) + shared.get("loras", [])),
        vaes=_vaes(_paths(config.vaes) + shared.get("vae", [])),
        problems=tuple(problems),
    )


def _shared(config: DiffusersConfig, problems: list[str]) -> dict[str, list[Path]]:
    if config.extra_model_paths is None:
        return {}
    try:
        return extra_paths.read(Path(config.extra_model_paths).expanduser())
    except (OSError, ValueError, yaml.YAMLError) as error:
        problems.append(f"`extra_model_paths` can't be read: {type(error).__name__}")
        return {}


def _configured(config: DiffusersConfig) -> tuple[dict[str, Source], list[str]]:
    models: dict[str, Source] = {}
    problems = []
    if config.builtin and (BUILTIN_FOLDER / INDEX).is_file():
        models[BUILTIN] = Source(BUILTIN, BUILTIN_FOLDER, configured=True)
    for name, entry in config.models.items():
        try:
            models[name] = _resolve(name, entry, config)
        except FileNotFoundError as error:
            problems.append(f"model `{name}`: {error}")
    return models, problems


def _resolve(name: str, entry: ModelSource, config: DiffusersConfig) -> Source:
    path: Path | None = Path(entry.source).expanduser()
    assert path is not None
    repo = None
    if path.is_file() and path.suffix.lower() in _PICKLES and not config.allow_pickle:
        raise FileNotFoundError(f"a {path.suffix} file can run code; if you trust it, set `allow_pickle: true`")
    if not path.exists():
        if entry.source.count("/") != 1 or entry.source.startswith((".", "~", "/")):
            raise FileNotFoundError("there is no such file or folder")
        repo, path = entry.source, cached_snapshot(entry.source)
        if path is None and not config.allow_download:
            raise FileNotFoundError(
                "it isn't in the local Hugging Face cache; download it first, or set `allow_download: true`"
            )
    return Source(name, path, repo, entry.variant, entry.dtype, entry.config, entry.custom_pipeline, configured=True)


def _found(config: DiffusersConfig, shared: dict[str, list[Path]]) -> Iterator[Source]:
    folders = _paths(config.folders) + shared.get("checkpoints", []) + shared.get("diffusers", [])
    for folder in folders:
        yield from _in_folder(folder, allow_pickle=config.allow_pickle)
    if config.hub_cache:
        yield from _in_hub_cache()


def _paths(folders: list[str]) -> list[Path]:
    return [Path(folder).expanduser() for folder in folders]


def _in_folder(folder: Path, *, allow_pickle: bool) -> Iterator[Source]:
    for here, subfolders, files in _walk(folder):
        if INDEX in files:
            # Its subfolders hold the parts of this pipeline, which aren't models of their own.
            subfolders.clear()
            yield Source(here.name, here)
            continue
        for file in files:
            path = here / file
            suffix = path.suffix.lower()
            if (suffix in _SAFE and headers.kind_of(path).is_pipeline) or (allow_pickle and suffix == ".ckpt"):
                yield Source(path.stem, path)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Like `os.walk`, in order of names, through links, but never in circles."""
    seen: set[str] = set()
    for parent, subfolders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()
        yield Path(parent), subfolders, sorted(files)


def _longer_name(source: Source) -> str:
    assert source.path is not None
    return f"{source.path.parent.name}/{source.path.stem if source.is_file else source.path.name}"


def hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached_snapshot(repo: str) -> Path | None:
    """The newest complete-looking snapshot of a repository in the local cache."""
    root = hub_cache() / f"models--{repo.replace('/', '--')}"
    try:
        revision = (root / "refs" / "main").read_text().strip()
        snapshots = [root / "snapshots" / revision]
    except OSError:
        snapshots = list((root / "snapshots").glob("*")) if root.is_dir() else []
    return next((path for path in snapshots if (path / INDEX).is_file()), None)


def _in_hub_cache() -> Iterator[Source]:
    for root in sorted(hub_cache().glob("models--*--*")):
        repo = root.name.removeprefix("models--").replace("--", "/", 1)
        path = cached_snapshot(repo)
        # A snapshot may hold nothing but configuration files, fetched for somebody's single checkpoint.
        if path is not None and _has_weights(path):
            yield Source(repo, path, repo)


def _has_weights(folder: Path) -> bool:
    return any(next((folder / part).glob("*.safetensors"), None) for part in _DENOISERS)


def _files_by_stem(folders: list[Path]) -> dict[str, Path]:
    """Stem → file, and relative name without its ending → file, so that equal stems stay reachable."""
    found: dict[str, Path] = {}
    for folder in folders:
        for here, _, files in _walk(folder):
            for file in files:
                path = here / file
                if path.suffix.lower() in _SAFE:
                    relative = path.relative_to(folder).with_suffix("").as_posix()
                    found.setdefault(path.stem if path.stem not in found else relative, path)
    return found


def _vaes(folders: list[Path]) -> dict[str, Path]:
    found = {
        stem: path for stem, path in _files_by_stem(folders).items() if not (path.parent / "config.json").is_file()
    }
    for folder in folders:
        for config in sorted(folder.glob("*/config.json")):
            found.setdefault(config.parent.name, config.parent)
    return found


def told_hash(path: Path) -> str:
    """SHA-256 of a file, where somebody has computed it: ``X.safetensors.sha256`` beside it, or the Hub's cache.

    Gigabytes aren't read for it.
    """
    try:
        beside = path.with_name(f"{path.name}.sha256").read_text(encoding="utf-8")
    except (OSError, ValueError):
        beside = Path(os.path.realpath(path)).name
    found = _SHA256.match(beside)
    return found[0].lower() if found else ""


def read_json(path: Path) -> dict[str, object]:
    """A configuration file, or an empty one where there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
