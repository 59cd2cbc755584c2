"""What a ``.safetensors`` file is, told from its header alone: no weights are read, nothing is executed."""

from __future__ import annotations

import json
import struct
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

_MAX_HEADER = 100 * 2**20
_UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
_SD2_CONTEXT = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
_SDXL_TEXT = "conditioner.embedders.1."
_FLUX = "double_blocks.0.img_attn.norm.key_norm.scale"
_SD3 = "joint_blocks.0.context_block.adaLN_modulation.1.bias"


class FileKind(StrEnum):
    """Families of single checkpoint files, and files that are no pipeline of their own."""

    SD1 = "sd1"
    SD1_INPAINT = "sd1-inpaint"
    SD2 = "sd2"
    SDXL = "sdxl"
    SDXL_INPAINT = "sdxl-inpaint"
    SD3 = "sd3"
    FLUX = "flux"
    LORA = "lora"
    VAE = "vae"
    OTHER = "other"

    @property
    def is_pipeline(self) -> bool:
        return self not in (FileKind.LORA, FileKind.VAE, FileKind.OTHER)


def kind_of(path: Path) -> FileKind:
    """The kind of a ``.safetensors`` file; `FileKind.OTHER` for one that can't be read."""
    try:
        stat = path.stat()
        return _kind_of(path, stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError, struct.error):
        return FileKind.OTHER


@lru_cache(maxsize=4096)
def _kind_of(path: Path, size: int, modified: int) -> FileKind:  # noqa: ARG001 - they make the cache key
    return classify(read_header(path))


def read_header(path: Path) -> dict[str, Any]:
    """Tensor name → its dtype, shape and place."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _MAX_HEADER:
            raise ValueError("not a safetensors file")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("not a safetensors file")  # noqa: TRY004 - the value is wrong, not a caller's type
    return header


def classify(header: dict[str, Any]) -> FileKind:
    if _UNET_INPUT in header:
        return _classify_unet(header)
    # A bare transformer, without text encoders and VAE, is a part of a pipeline and can't run alone.
    is_complete = any(name.startswith("text_encoders.") for name in header)
    if is_complete and f"model.diffusion_model.{_FLUX}" in header:
        return FileKind.FLUX
    if is_complete and f"model.diffusion_model.{_SD3}" in header:
        return FileKind.SD3
    if any(".lora_" in name or "lora_unet" in name for name in header):
        return FileKind.LORA
    if any(name.startswith(("decoder.conv_in.", "first_stage_model.")) for name in header):
        return FileKind.VAE
    return FileKind.OTHER


def _classify_unet(header: dict[str, Any]) -> FileKind:
    inpaint = _shape(header, _UNET_INPUT)[1:2] == [9]
    if any(name.startswith(_SDXL_TEXT) for name in header):
        return FileKind.SDXL_INPAINT if inpaint else FileKind.SDXL
    if _shape(header, _SD2_CONTEXT)[-1:] == [1024]:
        return FileKind.SD2
    if any(name.startswith("cond_stage_model.") for name in header):
        return FileKind.SD1_INPAINT if inpaint else FileKind.SD1
    return FileKind.OTHER


def _shape(header: dict[str, Any], name: str) -> list[int]:
    shape = header.get(name, {}).get("shape", [])
    return shape if isinstance(shape, list) else []
