"""The YAML file as types. Pure data: what the keys mean is told here, `imagerouter.config.loader` reads the file.

Every field has a description; ``configs/reference.yaml`` and ``configs/schema.json`` are checked against them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from imagerouter.provider import ProviderConfig
from imagerouter.routing.prices import AnyPrice
from imagerouter.routing.rules import Rule
from imagerouter.telemetry import LogLevel
from imagerouter.units import Bytes, Seconds


class Section(BaseModel):
    """A mapping of the file: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(Section):
    """One (provider, native model) that can serve a model.

    Further keys may define the native model, as the provider's adapter declares them; `definitions` has moved them to
    that provider's ``models`` by the time that this is built.
    """

    provider: str = Field(description="Name of a provider from `providers`.")
    model: str | None = Field(
        default=None,
        description="The provider's own name for the model; by default the one that matches the model's name.",
    )
    params: dict[str, Any] = Field(
        default={}, description="Canonical parameters forced on this target; they win over the client's."
    )
    order: int = Field(
        default=0, ge=0, description="Targets of a higher order get a request only when those of a lower one can't."
    )
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="How much it is favoured: with 2 it counts as twice as fast as it is."
    )
    price: AnyPrice | None = Field(
        default=None, description="US dollars for each image, or `{request, image, megapixel}`; else the provider's."
    )


class ModelEntry(Section):
    """A public model name."""

    aliases: list[str] = Field(
        default=[], description="Other names that clients may send for it; `dall-e-*` and `*` stand for all such names."
    )
    targets: list[Target] = Field(
        default=[],
        description="Where it can run, best first; by default every provider that has a model of this name.",
    )
    defaults: dict[str, Any] = Field(default={}, description="Canonical parameters used where the client gives none.")
    rules: list[Rule] = Field(default=[], description="Rules for requests for this model; the first match counts.")


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
    fan_out: bool = Field(
        default=True, description="Spread the images of one request over providers that have its model loaded."
    )
    retries: int = Field(
        default=2, ge=0, le=10, description="How often a request that surely wasn't begun is sent to a provider again."
    )
    hedge: float | None = Field(
        default=None,
        ge=1,
        description="Draw a request a second time elsewhere once it takes this many times the expected seconds; "
        "the first to finish counts.",
    )


class BreakerSettings(Section):
    """When a provider, or one model of it, gets no further requests for a while."""

    failures: int = Field(default=3, ge=1, description="Failures in a row after which it gets none.")
    cooldown: Seconds = Field(default=10.0, description="For how long, the first time; doubled each time after that.")
    longest: Seconds = Field(default=300.0, description="For how long at most.")


class Key(Section):
    """An API key."""

    secret: str = Field(min_length=8, repr=False, description="What clients send as `authorization: Bearer …`.")
    priority: int = Field(
        default=0, ge=-3, le=3, description="Priority of its requests, and the highest that they may ask for."
    )


class Inputs(Section):
    """Input pictures that are given by address."""

    allow_hosts: list[str] = Field(
        default=[], description="Hosts that pictures may be fetched from, with `*` and `?`; by default none."
    )
    allow_private: bool = Field(
        default=False, description="Fetch from allowed hosts in private networks and on this machine, too."
    )
    max_bytes: Bytes = Field(default=32 * 2**20, description="Bytes of all pictures that one request names.")
    timeout: Seconds = Field(default=20.0, description="How long fetching one picture may take.")


class Dialects(Section):
    """Whose APIs are served beside OpenAI's images API, for clients that speak nothing else."""

    openrouter: bool = Field(default=True, description="OpenRouter's images API, at `/api/v1` and as `/v1/images`.")
    chat: bool = Field(default=True, description="Pictures through `/v1/chat/completions`.")
    a1111: bool = Field(default=True, description="AUTOMATIC1111's API, at `/sdapi/v1`.")


class Results(Section):
    """What becomes of finished pictures."""

    metadata: Literal["strip", "embed"] = Field(
        default="strip", description="Leave prompt and parameters out of the files (strip), or write them in (embed)."
    )
    url: str = Field(
        default="auto",
        description="Where pictures for `response_format: url` are kept: a folder, or `s3://bucket/prefix`, `gs://…`, "
        "`az://…`; auto: in the user's cache folder.",
    )
    ttl: Seconds = Field(default=3600.0, description="How long their links hold; then the files are deleted.")
    secret: str | None = Field(
        default=None,
        min_length=16,
        repr=False,
        description="Signs the links; by default a random one, which is kept beside the files.",
    )


class Server(Section):
    """Where the server listens."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` for all interfaces.")
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port.")
    drain: Seconds = Field(default=60.0, description="How long running jobs may go on after SIGTERM.")
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json, console, or auto: console on a terminal, else json."
    )
    public_url: str | None = Field(
        default=None, description="How clients reach the server, for links, where they reach it in another way."
    )
    admin_key: str | None = Field(
        default=None, min_length=8, repr=False, description="API key for `POST /v1/reload`; without one it is refused."
    )
    costs_file: str | None = Field(
        default="auto",
        description="Where learned speeds outlive a restart; auto: in the user's state folder, null: nowhere.",
    )
    parity_file: str | None = Field(
        default="auto",
        description="Where `imagerouter parity-check` keeps what it measures; auto: in the user's state folder, "
        "null: nowhere.",
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
    rules: list[Rule] = Field(default=[], description="Rules for all requests; the first match counts.")
    keys: dict[str, Key] = Field(
        default={}, description="API keys by name; without any, requests need none and share as one."
    )
    limits: Limits = Limits()
    breaker: BreakerSettings = BreakerSettings()
    inputs: Inputs = Inputs()
    results: Results = Results()
    dialects: Dialects = Dialects()
    server: Server = Server()


class ProviderEntry(BaseModel):
    """One item of ``providers``: the key ``type`` names the adapter, all other keys are the adapter's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    type: str
    config: ProviderConfig


Config.model_rebuild()
