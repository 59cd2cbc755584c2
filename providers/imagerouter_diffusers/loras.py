"""LoRAs: put on for one request, taken off after it, whatever happens in between.

One that isn't here, or doesn't fit, is no error of the client's: the next provider may have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagerouter import Lora, ProviderRejectedError


def find(name: str, known: Mapping[str, Path], index: int) -> Path:
    """By stem, or by relative path; an ending and backslashes are forgiven."""
    plain = name.replace("\\", "/").removesuffix(".safetensors")
    path = known.get(plain) or known.get(plain.rpartition("/")[2])
    if path is None:
        raise ProviderRejectedError(f"there is no LoRA `{name}` on this provider", param=f"loras[{index}].name")
    return path


@contextmanager
def applied(pipe: Any, loras: tuple[Lora, ...], known: Mapping[str, Path]) -> Iterator[None]:
    """The pipeline with these LoRAs; afterwards its weights are what they were."""
    if not loras:
        yield
        return
    paths = [find(lora.name, known, index) for index, lora in enumerate(loras)]
    if not hasattr(pipe, "load_lora_weights"):
        raise ProviderRejectedError("this model takes no LoRAs", param="loras")
    try:
        for index, path in enumerate(paths):
            _put_on(pipe, path, index, loras[index].name)
        pipe.set_adapters([f"lora{index}" for index in range(len(loras))], [lora.weight for lora in loras])
        yield
    finally:
        pipe.unload_lora_weights()


def _put_on(pipe: Any, path: Path, index: int, name: str) -> None:
    try:
        pipe.load_lora_weights(
            str(path.parent), weight_name=path.name, adapter_name=f"lora{index}", local_files_only=True
        )
    except (ValueError, RuntimeError, KeyError) as error:
        raise ProviderRejectedError(f"LoRA `{name}` doesn't fit this model", param=f"loras[{index}].name") from error
    if not any(f"lora{index}" in names for names in pipe.get_list_adapters().values()):
        raise ProviderRejectedError(f"LoRA `{name}` doesn't fit this model", param=f"loras[{index}].name")
