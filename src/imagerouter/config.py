"""The YAML file as types. Pure data: what the keys mean is told here, `imagerouter.loader` reads the file.

Every field has a description; ``configs/reference.yaml`` and ``configs/schema.json`` are checked against them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from imagerouter.provider import ProviderConfig
from imagerouter.units import Bytes, Seconds


class Section(BaseModel):
    """A mapping of the file: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(Section):
    """One (provider, native model) that can serve a model.

    Further keys may define the native model, as the provider's adapter declares them; `imagerouter.definitions` has
    moved them to that provider's ``models`` by the time that this is built.
    """

    provider: str = Field(description="Name of a provider from `providers`.")
    model: str | None = Field(
        default=None,
        description="The provider's own name for the model; by default the one that matches the model's name.",
    )
    params: dict[str, Any] = Field(
        default={}, description="Canonical parameters forced on this target; they win over the client's."
    )


class ModelEntry(Section):
    """A public model name."""

    aliases: list[str] = Field(default=[], description="Other names that clients may send for it.")
    targets: list[Target] = Field(
        default=[],
        description="Where it can run, best first; by default every provider that has a model of this name.",
    )
    defaults: dict[str, Any] = Field(default={}, description="Canonical parameters used where the client gives none.")


class Limits(Section):
    """What a single request, and the queue as a whole, may ask for."""

    max_n: int = Field(default=10, ge=1, le=100, description="Images per request.")
    max_pixels: int = Field(default=4_194_304, ge=4096, description="Width times height of one image.")
    max_side: int = Field(default=8192, ge=64, description="Longest side of one image in pixels.")
    max_steps: int = Field(default=200, ge=1, description="Sampling steps.")
    max_prompt: int = Field(default=32_000, ge=1, description="Characters of prompt or negative prompt.")
    max_body: Bytes = Field(default=32 * 2**20, description="Bytes of one request body.")
    queue: int = Field(default=200, ge=1, description="Requests that may wait; one more gets a 429.")
    queue_timeout: Seconds = Field(default=300.0, description="Longest wait for a free provider before a 429 answer.")
    total_timeout: Seconds = Field(
        default=900.0, description="Longest time from arrival to answer, every fallback included."
    )
    quantum: int = Field(
        default=16,
        ge=1,
        description="How long a provider goes on with its loaded model while others wait: "
        "expected rendering, in loads of another model.",
    )


class Server(Section):
    """Where the server listens."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` for all interfaces.")
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port.")
    drain: Seconds = Field(default=60.0, description="How long running jobs may go on after SIGTERM.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json, console, or auto: console on a terminal, else json."
    )


class Config(Section):
    """The whole file.

    ``providers`` holds each provider's finished config object, of the class that its adapter declares; the
    loader builds them, since only the registry knows which class that is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    providers: dict[str, ProviderEntry] = Field(default={}, description="The backends, by name.")
    models: dict[str, ModelEntry] = Field(
        default={}, description="Public models; those that providers report need no entry here."
    )
    default_model: str | None = Field(
        default=None, description="Model for requests that name none; by default the first one there is."
    )
    defaults: dict[str, Any] = Field(
        default={}, description="Canonical parameters used for every model where nobody says otherwise."
    )
    limits: Limits = Limits()
    server: Server = Server()


class ProviderEntry(BaseModel):
    """One item of ``providers``: the key ``type`` names the adapter, all other keys are the adapter's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    type: str
    config: ProviderConfig


Config.model_rebuild()
