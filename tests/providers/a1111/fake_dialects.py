"""In what the servers of the family differ, as the stand-in needs it: lists, fields, names of models, bodies of errors.

Lists are those of AUTOMATIC1111 1.10.1 (and 1.7), SD.Next of July 2026 and stable-diffusion.cpp of August 2026.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imagerouter.testing.wire import Response

LISTS: dict[str, Any] = json.loads((Path(__file__).parent / "fake_lists.json").read_text(encoding="utf-8"))

Name = Literal["a1111", "a1111-old", "reforge", "forge", "sdnext", "sdcpp"]

FORGE_FIELDS = {"distilled_cfg_scale": 3.5, "hr_cfg": 1.0, "hr_distilled_cfg": 3.5, "hr_additional_modules": None}
FORGE_SETTINGS = {
    "forge_additional_modules": [],
    "forge_unet_storage_dtype": "Automatic",
    "forge_inference_memory": 1024,
    "forge_preset": "sd",
}


class Failure(Exception):
    """What a server answers with an error. ``status`` is set for what its own code refuses, else it is a crash."""

    def __init__(self, kind: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.kind, self.message, self.status = kind, message, status


def refused(status: int, detail: str) -> Failure:
    return Failure("HTTPException", detail, status)


@dataclass(frozen=True)
class Quirks:
    """One server of the family."""

    name: Name
    version: str = "v1.10.1"
    errors: Literal["errors", "code", "message"] = "errors"
    """Which key, next to ``error`` and ``detail``, gives a body of errors away."""
    restores: Literal["lazily", "eagerly", "unloading"] = "lazily"
    knows_any_sampler: bool = True
    """Whether an unknown sampler is replaced by the default one, rather than 404."""
    file_format: str = "png"
    multiple: int = 8
    zip_from: int | None = 1000
    """Bodies of so many bytes are compressed for who takes it."""
    loads_at_start: bool = True

    @property
    def is_web(self) -> bool:
        """Whether it descends from AUTOMATIC1111's code."""
        return self.name not in ("sdnext", "sdcpp")

    @property
    def has_schedulers(self) -> bool:
        return self.name in ("a1111", "reforge", "forge")


QUIRKS: dict[Name, Quirks] = {
    "a1111": Quirks("a1111"),
    "a1111-old": Quirks("a1111-old", version="1.7.0", knows_any_sampler=False),
    "reforge": Quirks("reforge"),
    "forge": Quirks("forge", version="f2.0.1v1.10.1", errors="message", restores="unloading", loads_at_start=False),
    "sdnext": Quirks(
        "sdnext", errors="code", restores="eagerly", knows_any_sampler=False, file_format="jpg", zip_from=2048
    ),
    "sdcpp": Quirks("sdcpp", version="stable-diffusion.cpp", multiple=64, zip_from=None),
}


def fields(dialect: Name, route: str) -> dict[str, Any]:
    """What a request has, and what it has if it doesn't say; as the answer echoes it."""
    found: dict[str, Any] = copy.deepcopy(LISTS[f"sdnext_{route}" if dialect == "sdnext" else route])
    if dialect == "a1111-old":
        for name in ("scheduler", "hr_scheduler"):
            found.pop(name, None)
    extra = FORGE_FIELDS if route == "txt2img" else {"distilled_cfg_scale": 3.5}
    return found | (extra if dialect == "forge" else {})


def settings(dialect: Name) -> dict[str, Any]:
    """Every setting that a server knows, with its default."""
    if dialect == "sdnext":
        labels: dict[str, Any] = dict.fromkeys(LISTS["sdnext_labels"])
        labels |= LISTS["sdnext_options"]
        return labels | {"samples_format": "jpg", "sd_vae": "Automatic"}
    known = {**LISTS["options"], "sd_model_checkpoint": None, "sd_checkpoint_hash": "", "samples_format": "png"}
    return known | (FORGE_SETTINGS if dialect == "forge" else {})


def samplers(dialect: Name) -> list[dict[str, Any]]:
    if dialect == "sdcpp":
        return [{"aliases": [name], "name": name, "options": {}} for name in LISTS["sdcpp_samplers"]]
    names = {"a1111-old": "old_samplers", "sdnext": "sdnext_samplers"}
    rows: list[dict[str, Any]] = LISTS[names.get(dialect, "samplers")]
    return rows


@dataclass
class Checkpoint:
    """A file, or with ``Diffusers/`` in front a folder in the cache of SD.Next."""

    file: str
    dialect: Name = "a1111"
    hashed: bool = True

    @property
    def is_folder(self) -> bool:
        return self.file.startswith("Diffusers/")

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256(self.file.encode()).hexdigest()
        return digest[:40] if self.is_folder else digest

    @property
    def stem(self) -> str:
        return self.file.rpartition("/")[2].rpartition(".")[0] or self.file.rpartition("/")[2]

    @property
    def name(self) -> str:
        """``model_name``."""
        without = self.file if self.is_folder else self.file.rpartition(".")[0]
        return without if self.dialect == "sdnext" else without.replace("/", "_")

    @property
    def title(self) -> str:
        name = self.name if self.dialect == "sdnext" else self.file
        return f"{name} [{self.sha256[:10]}]" if self.hashed else name

    @property
    def path(self) -> str:
        if self.dialect == "sdnext" and self.is_folder:
            folder = self.file.removeprefix("Diffusers/").replace("/", "--")
            return f"/srv/sdnext/models/Diffusers/models--{folder}/snapshots/{self.sha256}"
        return f"/srv/webui/models/Stable-diffusion/{self.file}"

    @property
    def aliases(self) -> set[str]:
        """Names that are taken for it: these and no others, to the letter."""
        short = self.sha256[:10]
        if self.dialect == "sdnext":
            return {self.name, self.title, self.path} | ({short} if self.hashed else set())
        known = {self.title, self.file, self.name, self.stem}
        if self.hashed:
            known |= {short, self.sha256, f"{self.file} [{short}]", f"{self.stem} [{short}]"}
        return known

    @property
    def row(self) -> dict[str, Any]:
        """As ``/sdapi/v1/sd-models`` lists it."""
        sha256 = self.sha256 if self.hashed else None
        if self.dialect == "sdcpp":
            row = {"config": None, "filename": self.file.rpartition("/")[2], "hash": "8" * 10, "sha256": "8" * 64}
            return row | {"model_name": self.stem, "title": self.stem}
        row = {"title": self.title, "model_name": self.name, "filename": self.path}
        if self.dialect == "sdnext":
            kind = "diffusers" if self.is_folder else "safetensors"
            return row | {"type": kind, "sha256": sha256, "hash": sha256 and sha256[:10], "config": None}
        config = f"{self.path.rpartition('.')[0]}.yaml"
        return row | {"hash": sha256 and sha256[:10], "sha256": sha256, "config": config}


def error_body(quirks: Quirks, failure: Failure) -> Response:
    """An exception as the server's middleware writes it."""
    status, own = failure.status or 500, failure.status is not None
    detail, text = (failure.message, "") if own else ("", failure.message)
    body: dict[str, Any] = {"error": failure.kind, "detail": detail, "body": ""}
    if quirks.errors == "message":
        return Response(status=status, json={"detail": detail} if own else body | {"message": text})
    if quirks.errors == "code" and failure.kind == "TypeError":
        return Response(status=500, json=failure.message)
    if quirks.errors == "code":
        text = f"{status}: {detail}" if own else text
        body = {"error": failure.kind, "code": status, "detail": detail, "body": ""}
    return Response(status=status, json=body | {"errors": text})


def no_route(method_only: bool = False) -> Response:
    """The router's own answer, which no middleware touches."""
    status, detail = (405, "Method Not Allowed") if method_only else (404, "Not Found")
    return Response(status=status, json={"detail": detail})
