"""The YAML keys of a diffusers provider."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from imagerouter import ProviderConfig
from imagerouter.units import Bytes

Dtype = Literal["auto", "float32", "float16", "bfloat16"]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_source(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


Paths = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
"""One path or a list of them; a relative path is relative to the current directory."""


class ModelSource(BaseModel):
    """Where one model comes from, and how to load it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(
        min_length=1,
        description="A folder with `model_index.json`, a checkpoint file, or a Hugging Face repository id.",
    )
    variant: str | None = Field(
        default=None, description="File variant such as `fp16`; by default whichever the folder has."
    )
    dtype: Dtype | None = Field(default=None, description="Number format for this model; by default the provider's.")
    config: str | None = Field(
        default=None,
        description="For a single checkpoint file: a diffusers folder of the same architecture.",
    )
    custom_pipeline: str | None = Field(
        default=None,
        description="Python file with the pipeline's class, where diffusers has none; it runs inside the server.",
    )


Source = Annotated[ModelSource, BeforeValidator(_as_source, json_schema_input_type=str | ModelSource)]


class DiffusersConfig(ProviderConfig):
    """Keys of ``type: diffusers``."""

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where to compute: auto, cpu, cuda, cuda:N or mps.",
    )
    dtype: Dtype = Field(
        default="auto",
        description="Number format: float32, float16, bfloat16, or auto: what the device is fast at.",
    )
    memory: Bytes | None = Field(
        default=None,
        description="Memory that loaded models may take together; by default most of the device's.",
    )
    builtin: bool = Field(default=True, description="Offer the small model that comes with imagerouter.")
    models: dict[str, Source] = Field(
        default={}, description="Models by public name, each a source or a mapping with `source`."
    )
    folders: Paths = Field(
        default=[], description="Folders that are searched for checkpoint files and diffusers folders."
    )
    hub_cache: bool = Field(default=True, description="Offer the pipelines that are in the local Hugging Face cache.")
    extra_model_paths: str | None = Field(
        default=None, description="ComfyUI's `extra_model_paths.yaml`, to share its model folders."
    )
    loras: Paths = Field(default=[], description="Folders that are searched for LoRA files.")
    vaes: Paths = Field(default=[], description="Folders that are searched for VAEs.")
    allow_pickle: bool = Field(
        default=False,
        description="Accept `.ckpt`, `.pt` and `.bin` files, which can run code when they are loaded.",
    )
    allow_download: bool = Field(
        default=False, description="Let models from `models` be downloaded from the Hugging Face hub."
    )
    previews: bool = Field(default=True, description="Send previews to clients that ask for partial images.")
