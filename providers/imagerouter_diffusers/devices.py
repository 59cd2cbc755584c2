"""Devices: which one, how much memory, which number format. Called on threads, since torch is heavy."""

from __future__ import annotations

import gc
import os
from typing import Any

_UNKNOWN_HOST = 8 * 2**30
"""Where the system doesn't say how much memory it has, as on Windows."""


def resolve(device: str) -> str:
    """``auto`` → the best device there is; ``cuda`` → ``cuda:0``, so that two spellings share one worker."""
    # What these libraries have to say at import is not for a server's log.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # On cores that others use too, threads that wait by spinning make everything several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    return "cuda:0" if device == "cuda" else device


def missing(device: str) -> str | None:
    """Why a device can't be used, or ``None``."""
    import torch

    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            return "this torch sees no CUDA device"
        if int(device.partition(":")[2] or 0) >= torch.cuda.device_count():
            return f"there are only {torch.cuda.device_count()} CUDA devices"
    if device == "mps" and not _has_mps():
        return "this torch sees no Apple GPU"
    return None


def _has_mps() -> bool:
    import torch

    return bool(torch.backends.mps.is_available())


def dtype(name: str, device: str) -> Any:
    import torch

    if name != "auto":
        return getattr(torch, name)
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    # Half precision on a CPU is many times slower than single.
    return torch.float16 if device == "mps" else torch.float32


def default_budget(device: str) -> int:
    """Bytes that loaded models may take; the rest is for the work itself."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[1] * 0.8)
    if device == "mps":
        return int(torch.mps.recommended_max_memory() * 0.8)
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.5)
    except (AttributeError, ValueError):
        return _UNKNOWN_HOST


def free_memory(device: str) -> None:
    """Give back what nothing refers to any more."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def images_at_once(device: str, pixels: int) -> int:
    """How many pictures of this size go through the model together.

    One on a CPU: more gain little there, and a batch differs from single pictures in the last bit.
    """
    return 1 if device == "cpu" else max(1, 4 * 2**20 // max(pixels, 1))
