"""The YAML keys of a provider of AUTOMATIC1111's family."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from imagerouter.families import Name as Family
from imagerouter.remote import BaseUrl, RemoteConfig

DialectName = Literal["a1111", "reforge", "forge", "sdnext", "sdcpp"]

HARMLESS_SETTINGS = (
    "comma_padding_backtrack",
    "emphasis",
    "enable_quantization",
    "eta_ancestral",
    "eta_ddim",
    "eta_noise_seed_delta",
    "img2img_extra_noise",
    "img2img_fix_steps",
    "initial_noise_multiplier",
    "randn_source",
    "s_min_uncond",
    "sgm_noise_multiplier",
    "token_merging_ratio",
    "token_merging_ratio_hr",
    "token_merging_ratio_img2img",
)
"""Settings that change how a picture is drawn, and nothing that is on the server's disk."""


class A1111Model(BaseModel):
    """One model: a checkpoint with what belongs to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: str | None = Field(
        default=None,
        description="Checkpoint as the server lists it; by default the one that the model is called after.",
    )
    vae: str | None = Field(default=None, description="VAE that replaces the checkpoint's own.")
    modules: list[str] = Field(
        default=[],
        description="Forge: VAE and text encoders that the checkpoint comes without, as the server lists them.",
    )
    settings: dict[str, Any] = Field(
        default={}, description="Settings of the server (`override_settings`) for the jobs of this model."
    )
    family: Family | None = Field(
        default=None, description="Which family it is of, for size, steps and sampler; by default told from its name."
    )
    width: int | None = Field(default=None, ge=16, description="Native width in pixels.")
    height: int | None = Field(default=None, ge=16, description="Native height in pixels.")


class A1111Config(RemoteConfig):
    """Keys of ``type: a1111``."""

    base_url: BaseUrl = Field(
        default="http://127.0.0.1:7860",
        description="Where the server is; behind a proxy with the path that leads to it.",
    )
    dialect: Literal["auto", "a1111", "reforge", "forge", "sdnext", "sdcpp"] = Field(
        default="auto", description="Which of the family it is: auto (ask it), a1111, reforge, forge, sdnext or sdcpp."
    )
    keep_settings: bool = Field(
        default=True,
        description="Give the server's own user interface its settings back; false where nobody uses it.",
    )
    batch_size: int = Field(default=1, ge=1, le=64, description="Most images that are drawn at once, for `n` > 1.")
    mask_blur: int = Field(default=0, ge=0, le=64, description="Pixels by which the edge of a mask is softened.")
    prompt_tags: bool = Field(
        default=False, description="Let prompts load LoRAs and other networks by tags such as `<lora:name:1>`."
    )
    client_settings: list[str] = Field(
        default=list(HARMLESS_SETTINGS),
        description="Settings of the server that clients may send as `provider.options.<name>.override_settings`.",
    )
    allow_scripts: bool = Field(
        default=False, description="Let clients run one of the server's scripts (`script_name`, `script_args`)."
    )
    keep_metadata: bool = Field(
        default=False, description="Leave prompt and parameters in the picture files that clients get."
    )
    checkpoints: bool = Field(default=True, description="Offer every checkpoint that is there.")
    models: dict[str, A1111Model] = Field(default={}, description="Models by name, where a checkpoint needs more.")
