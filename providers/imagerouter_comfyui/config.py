"""The YAML keys of a ComfyUI provider."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from imagerouter.families import Name as Family
from imagerouter.remote import BaseUrl, RemoteConfig
from imagerouter.units import Seconds
from imagerouter_comfyui.graph import WorkflowError, is_ui_format, read_file

Transfer = Literal["view", "websocket"]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class Binding(BaseModel):
    """One input of a node that a parameter is written into."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: str = Field(pattern=r"^[^.\s]+\..+$", description="Node id and input name: `6.text`.")
    min: float | None = Field(default=None, description="Smaller numbers are raised to it.")
    max: float | None = Field(default=None, description="Larger numbers are lowered to it.")
    round_to: int | None = Field(default=None, ge=1, description="Numbers are rounded to a multiple of it.")
    map: dict[str, Any] = Field(default={}, description="Other values for some values, such as sampler names.")


def _as_binding(value: Any) -> Any:
    return {"to": value} if isinstance(value, str) else value


Bindings = Annotated[
    list[Annotated[Binding, BeforeValidator(_as_binding, json_schema_input_type=str | Binding)]],
    BeforeValidator(_as_list, json_schema_input_type=str | Binding | list[str | Binding]),
]


class ComfyModel(BaseModel):
    """One model: a workflow file, or model files with the family's template."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workflow: str | None = Field(
        default=None,
        description="Workflow file in API or editor format; a relative path is relative to the current directory.",
    )
    bindings: dict[str, Bindings] = Field(
        default={},
        description="Parameter → the inputs that it is written into, where the automatic rule gets it wrong.",
    )
    outputs: list[str] = Field(
        default=[], description="Ids of the nodes whose pictures are the result; by default those that save pictures."
    )
    checkpoint: str | None = Field(default=None, description="File in the server's `checkpoints` folder.")
    diffusion_model: str | None = Field(default=None, description="File in the server's `diffusion_models` folder.")
    text_encoders: list[str] = Field(default=[], description="Files in the server's `text_encoders` folder.")
    vae: str | None = Field(default=None, description="File in the server's `vae` folder.")
    weight_dtype: str | None = Field(default=None, description="Number format of a diffusion model: fp8_e4m3fn, …")
    family: Family | None = Field(
        default=None, description="Which template draws it; by default told from the file and its name."
    )
    width: int | None = Field(default=None, ge=16, description="Native width in pixels.")
    height: int | None = Field(default=None, ge=16, description="Native height in pixels.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> ComfyModel:
        kinds = [name for name in ("workflow", "checkpoint", "diffusion_model") if getattr(self, name)]
        if len(kinds) > 1:
            raise ValueError(f"`{kinds[0]}` and `{kinds[1]}` exclude each other")
        if self.workflow is None and (self.bindings or self.outputs):
            raise ValueError("`bindings` and `outputs` belong to a `workflow`")
        return self

    @model_validator(mode="after")
    def _leads_somewhere(self) -> ComfyModel:
        """What can be said without the server; every problem is told at its own key."""
        if self.workflow is not None and (problems := _problems(self.workflow, self)):
            details = [
                InitErrorDetails(
                    type=PydanticCustomError("value_error", "{error}", {"error": "; ".join(said)}),
                    loc=(key,),
                    input=getattr(self, key),
                )
                for key, said in problems.items()
            ]
            raise ValidationError.from_exception_data(type(self).__name__, details)
        return self


def _problems(path: str, model: ComfyModel) -> Mapping[str, list[str]]:
    """By the key that they are about. Only a file in API format has its final nodes already."""
    from imagerouter_comfyui.bind import check

    try:
        graph = read_file(Path(path))
    except WorkflowError as error:
        return {"workflow": [f"{path}: {problem}" for problem in error.problems]}
    return {} if is_ui_format(graph) else check(graph, model)


class ComfyConfig(RemoteConfig):
    """Keys of ``type: comfyui``."""

    base_url: BaseUrl = Field(
        default="http://127.0.0.1:8188",
        description="Where the server is; behind a proxy with the path that leads to it.",
    )
    queue_timeout: Seconds = Field(
        default=300.0, description="Longest wait in the server's own queue, behind other people's jobs."
    )
    load_timeout: Seconds = Field(default=300.0, description="Longest silence while models are loaded.")
    idle_timeout: Seconds = Field(default=120.0, description="Longest silence while a picture is drawn.")
    transfer: Transfer = Field(
        default="view",
        description="How pictures come: view (saved there and fetched) or websocket (never saved there).",
    )
    keep_metadata: bool = Field(
        default=False, description="Leave the workflow, prompt included, in the PNGs that clients get."
    )
    keep_history: bool = Field(default=False, description="Leave finished jobs in the server's history.")
    folder: str = Field(
        default="imagerouter",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Folder for pictures in the server's `input` and `output`.",
    )
    checkpoints: bool = Field(default=True, description="Offer every checkpoint and diffusion model that is there.")
    models: dict[str, ComfyModel] = Field(
        default={}, description="Models by name: workflows, and files that need more than their name."
    )
