"""The stand-in's settings and the checkpoint that they load, with what each server does about restoring them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.providers.a1111.fake_dialects import LISTS, Checkpoint, Failure, Quirks, settings

CHECKPOINT, MODULES, VAE = "sd_model_checkpoint", "forge_additional_modules", "sd_vae"


class Settings:
    """``opts``: what is known, and what the server's file or somebody's request has set (``data``)."""

    def __init__(self, labels: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        self.labels, self.data = dict(labels), dict(data)

    def get(self, name: str, default: Any = None) -> Any:
        return self.data.get(name, self.labels.get(name, default))

    def set(self, name: str, value: Any) -> bool:
        """Whether it changed. Raises the `KeyError` of a setting that nobody knows."""
        if name in self.data and self.data[name] == value:
            return False
        if name not in self.labels:
            raise Failure("KeyError", repr(name))
        self.data[name] = value
        return True


class Memory:
    """Files on the server's disk, and which of them it has loaded."""

    def __init__(self, quirks: Quirks, files: Iterable[str], *, hashed: bool, fresh: bool) -> None:
        self.quirks = quirks
        self.checkpoints = [Checkpoint(file, quirks.name, hashed) for file in files]
        self.vaes: list[str] = []
        """For Forge text encoders too."""
        self.loaded: list[str] = []
        """Checkpoints in the order in which they were loaded, the first one included."""
        self.unloads = 0
        """How often Forge threw everything out of the GPU, for a job that needed what was there already."""
        labels = settings(quirks.name)
        if quirks.name == "sdnext":
            labels.setdefault("sd_checkpoint_hash", None)
        first = {CHECKPOINT: self.checkpoints[0].title} if self.checkpoints else {}
        self.saved: dict[str, Any] = {} if fresh else (self._file(labels) | first)
        """``config.json``."""
        self.settings = Settings(labels, self.saved)
        self.forget()

    def _file(self, labels: dict[str, Any]) -> dict[str, Any]:
        """SD.Next's file has only what isn't as usual."""
        return dict(LISTS["sdnext_options"]) if self.quirks.name == "sdnext" else dict(labels)

    def forget(self) -> None:
        """The process has started anew."""
        self.settings.data = dict(self.saved)
        self.resident: Checkpoint | None = None
        self._unload_first = False
        if self.quirks.loads_at_start and self.checkpoints:
            self.load(self.selected())

    @property
    def swaps(self) -> int:
        """How often one checkpoint took another's place."""
        return max(0, len(self.loaded) - 1)

    @property
    def vae(self) -> str | None:
        """The one that replaces the checkpoint's own. Forge has it among its modules."""
        name = self.settings.get(VAE)
        return name if name in self.vaes and self.quirks.name != "forge" else None

    @property
    def modules(self) -> list[str]:
        return sorted(self.settings.get(MODULES) or ())

    def find(self, name: Any) -> Checkpoint | None:
        return next((checkpoint for checkpoint in self.checkpoints if name in checkpoint.aliases), None)

    def selected(self) -> Checkpoint:
        """What the settings name; the first one there is where they name nothing that is known."""
        if not self.checkpoints:
            raise Failure("FileNotFoundError", "No checkpoints found. When searching for checkpoints, looked at: ...")
        return self.find(self.settings.get(CHECKPOINT)) or self.checkpoints[0]

    def load(self, checkpoint: Checkpoint) -> None:
        if self.resident is checkpoint:
            return
        self.resident = checkpoint
        self.loaded.append(checkpoint.file)
        if self.quirks.name == "sdnext":
            self.settings.data |= {CHECKPOINT: checkpoint.title, "sd_checkpoint_hash": None}
        else:
            checkpoint.hashed = True
            self.settings.data |= {CHECKPOINT: checkpoint.title, "sd_checkpoint_hash": checkpoint.sha256}

    # Around a job

    def stored(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """What is given back after a job: only what was set before, where SD.Next gives everything back."""
        if self.quirks.name == "sdnext":
            return {name: self.settings.get(name) for name in overrides if name in self.settings.labels}
        return {name: self.settings.data[name] for name in overrides if name in self.settings.data}

    def override(self, overrides: dict[str, Any]) -> None:
        """A job's own settings. A checkpoint that isn't known is left out without a word."""
        if self.find(overrides.get(CHECKPOINT)) is None:
            overrides.pop(CHECKPOINT, None)
        if self.quirks.name == "sdnext":
            self.settings.data |= {name: value for name, value in overrides.items() if name in self.settings.labels}
        elif self.quirks.name == "forge":
            self.set_lazily(overrides)
            self._load_as_told()
            return
        else:
            for name, value in overrides.items():
                self.settings.set(name, value)
        self.load(self.selected())

    def restore(self, stored: Mapping[str, Any]) -> None:
        """``eagerly`` the owner's checkpoint comes back at once, ``lazily`` when somebody needs it."""
        if self.quirks.restores == "unloading":
            self.set_lazily(stored)
            return
        self.settings.data |= stored
        if self.quirks.restores == "eagerly" and CHECKPOINT in stored:
            self.load(self.selected())

    def set_lazily(self, values: Mapping[str, Any]) -> None:
        """Forge's ``set_config``: what is as it was is left alone, and models are loaded by the next job."""
        for name, value in values.items():
            if value == self.settings.data.get(name):
                continue
            if name == CHECKPOINT:
                if self.find(value) is None:
                    raise Failure("RuntimeError", f"model {value!r} not found")
                self._unload_first |= self.find(value) is not self.find(self.settings.get(CHECKPOINT))
            if name == MODULES:
                self._set_modules(value)
                continue
            self.settings.set(name, value)

    def _set_modules(self, paths: Iterable[str]) -> None:
        """Files of any folder; what isn't there is left out."""
        known = [str(path).rpartition("/")[2] for path in paths]
        found = [name for name in known if name in self.vaes]
        self._unload_first |= sorted(found) != self.modules
        self.settings.set(MODULES, found)

    def _load_as_told(self) -> None:
        wanted = self.selected()
        if self._unload_first and self.resident is wanted:
            self.unloads += 1
        self._unload_first = False
        self.load(wanted)

    def set_now(self, values: Mapping[str, Any]) -> Any:
        """``POST /sdapi/v1/options``, and its answer. A checkpoint is loaded before it comes, but for Forge's."""
        if self.quirks.name == "sdnext":
            return {"updated": [{name: self._set_next(name, value)} for name, value in values.items()]}
        name = values.get(CHECKPOINT)
        if name is not None and self.find(name) is None:
            raise Failure("RuntimeError", f"model {name!r} not found")
        if self.quirks.name == "forge":
            self.set_lazily(values)
        else:
            for key, value in values.items():
                self.settings.set(key, value)
            if CHECKPOINT in values:
                self.load(self.selected())
        self.saved = dict(self.settings.data)
        return None

    def _set_next(self, name: str, value: Any) -> bool:
        """SD.Next takes everything, and unloads its model for a name that it doesn't know."""
        if name not in self.settings.labels or self.settings.get(name) == value:
            return False
        self.settings.data[name] = value
        if name == CHECKPOINT:
            found = self.find(value)
            if found is None:
                self.resident = None
            else:
                self.load(found)
        self.saved = dict(self.settings.data)
        return True
