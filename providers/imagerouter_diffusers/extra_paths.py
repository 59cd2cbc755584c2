"""ComfyUI's ``extra_model_paths.yaml``: the same semantics, but lenient where ComfyUI crashes.

ComfyUI fails on an empty file and on lists; both are accepted here, and lines are stripped. The order is
ComfyUI's to the letter, including that several lines under ``is_default`` end up reversed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

_LEGACY = {"unet": "diffusion_models", "clip": "text_encoders"}
_RESERVED = frozenset({"base_path", "is_default"})


def read(path: Path) -> dict[str, list[Path]]:
    """Kind of file (``checkpoints``, ``loras``, …) → folders, first match wins."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(document or {}, dict):
        raise ValueError("not a mapping")  # noqa: TRY004 - the file is wrong, not a caller's type
    found: dict[str, list[Path]] = {}
    for section in (document or {}).values():
        if isinstance(section, dict):
            _add_section(found, section, path.parent)
    return found


def _add_section(found: dict[str, list[Path]], section: dict[str, Any], home: Path) -> None:
    # Only the base path is expanded; in the lines below it ~ and $VAR are ordinary characters.
    base_path = os.path.expandvars(os.path.expanduser(str(section.get("base_path") or "")))
    root = home / base_path
    default = bool(section.get("is_default"))
    for key, value in section.items():
        if key in _RESERVED:
            continue
        folders = found.setdefault(_LEGACY.get(key, key), [])
        for line in _lines(value):
            _place(folders, Path(os.path.normpath(root / line)), default=default)


def _lines(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split("\n")
    return [stripped for part in parts if (stripped := str(part).strip())]


def _place(folders: list[Path], folder: Path, *, default: bool) -> None:
    if folder in folders:
        if not default:
            return
        folders.remove(folder)
    if default:
        folders.insert(0, folder)
    else:
        folders.append(folder)
