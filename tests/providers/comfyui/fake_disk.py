"""The stand-in's pictures: what was uploaded, and what was drawn."""

from __future__ import annotations

import io
import re

import PIL.Image


class Disk:
    """It outlives a restart of the server."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, bytes]] = {"input": {}, "output": {}, "temp": {}}
        """Pictures by kind and ``subfolder/name``."""

    def uploads(self) -> set[str]:
        """Names that `LoadImage` takes."""
        roots = {"input": "", "temp": " [temp]", "output": " [output]"}
        return {name + suffix for kind, suffix in roots.items() for name in self.folders[kind]}

    def input_file(self, name: str) -> bytes:
        match = re.fullmatch(r"(.*?)(?: \[(input|temp|output)\])?", name)
        assert match is not None
        return self.folders[match[2] or "input"][match[1]]

    def check_picture(self, name: str) -> None:
        """Raises what `LoadImage` raises for a file that is no picture."""
        try:
            PIL.Image.open(io.BytesIO(self.input_file(name))).load()
        except PIL.UnidentifiedImageError:
            raise PIL.UnidentifiedImageError(f"cannot identify image file '/comfyui/input/{name}'") from None

    def save(self, prefix: str, data: bytes, kind: str) -> dict[str, str]:
        """Where a picture was put, as ``executed`` tells it."""
        folder, _, name = prefix.rpartition("/")
        stem = f"{folder}/{name}" if folder else name
        taken = sum(path.startswith(f"{stem}_") for path in self.folders[kind])
        path = f"{stem}_{taken + 1:05}_.png"
        self.folders[kind][path] = data
        return {"filename": path.rpartition("/")[2], "subfolder": folder, "type": kind}
