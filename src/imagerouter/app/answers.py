"""What the routes answer, as types: the OpenAPI document is made from them, and tests hold real answers against them.

Times whose names don't say otherwise are in seconds, prices in US dollars.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from imagerouter.jobs import Attempt
from imagerouter.parameters import Descriptor
from imagerouter.routing.refusals import Kind
from imagerouter.types import Operation, Tier

Milliseconds = Annotated[float, Meta(ge=0, description="Milliseconds")]
Seconds = Annotated[float, Meta(ge=0, description="Seconds")]
Count = Annotated[int, Meta(ge=0)]


class ErrorObject(TypedDict):
    """What went wrong. ``param`` names the parameter at fault, as the client spelled it."""

    message: str
    type: str
    param: str | None
    code: str | None
    attempts: NotRequired[Annotated[list[Attempt], Meta(description="What was tried in vain.")]]


class Error(TypedDict):
    """Every failure has OpenAI's shape."""

    error: ErrorObject


class TokenDetails(TypedDict):
    """No picture is counted in tokens here."""

    image_tokens: int
    text_tokens: int


class Usage(TypedDict):
    """OpenAI's and OpenRouter's names at once, all of them 0 but ``cost``, in US dollars."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: TokenDetails
    prompt_tokens: int
    completion_tokens: int
    cost: Annotated[float, Meta(ge=0)]


class Reproducibility(TypedDict):
    """How near the pictures are to those of other backends."""

    tier: Tier
    key: Annotated[str | None, Meta(description="Pictures of one request under one key are the same.")]
    reasons: Annotated[list[str], Meta(description="Why the tier isn't `exact`.")]


class Report(TypedDict):
    """How the pictures came about."""

    id: str
    model: str
    provider: str
    target: str
    attempts: list[Attempt]
    queue_ms: Milliseconds
    load_ms: Milliseconds
    render_ms: Milliseconds
    overhead_ms: Milliseconds
    applied: Annotated[dict[str, Any], Meta(description="Parameters as they were really used.")]
    ignored: Annotated[list[str], Meta(description="Parameters that had no effect.")]
    notes: Annotated[list[str], Meta(description="What was understood in another way than it was written.")]
    reproducibility: Reproducibility


class Picture(TypedDict):
    """Either ``b64_json`` or ``url``."""

    b64_json: NotRequired[str]
    url: NotRequired[str]
    media_type: str
    seed: NotRequired[Annotated[int, Meta(description="Where the provider goes by it.")]]


class Pictures(TypedDict):
    """The answer to a request without ``stream``."""

    created: Annotated[int, Meta(description="Unix time in seconds")]
    data: list[Picture]
    output_format: str
    size: NotRequired[Annotated[str, Meta(description="`WIDTHxHEIGHT` in pixels")]]
    usage: Usage
    imagerouter: Report


class Architecture(TypedDict):
    """What goes in and comes out."""

    input_modalities: list[Literal["text", "image"]]
    output_modalities: list[Literal["image"]]


class ModelTarget(TypedDict):
    """One provider that has the model; ``order``, ``weight`` and ``price`` where they aren't 0, 1 and free."""

    provider: str
    model: str
    ready: bool
    resident: bool
    order: NotRequired[int]
    weight: NotRequired[float]
    price: NotRequired[dict[str, float]]


class Model(TypedDict):
    """A model, and what it can do."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    name: str
    description: str
    aliases: list[str]
    architecture: Architecture
    operations: list[Operation]
    size: str | None
    supported_parameters: dict[str, Descriptor]
    supports_streaming: bool
    targets: list[ModelTarget]


class ModelList(TypedDict):
    """All models."""

    object: Literal["list"]
    data: list[Model]


class Foreign(TypedDict):
    """Other people's work on the same backend."""

    jobs: Count


class Speed(TypedDict):
    """What was learned of one model; ``seconds`` are for 20 steps of one megapixel."""

    model: str
    seconds: Seconds
    load_seconds: Seconds
    jobs: Count


class Breaker(TypedDict):
    """``open``: it gets no job for that many seconds; ``half_open``: one, to see whether it works again."""

    state: Literal["closed", "open", "half_open"]
    failures: Count
    seconds: Seconds


class FailedTarget(Breaker):
    """A model that failed there the last time."""

    model: str
    reason: str


class LastError(TypedDict):
    """What went wrong there the last time."""

    message: str
    seconds_ago: Seconds


class Provider(TypedDict):
    """A provider, and what it is doing."""

    name: str
    type: str
    state: Literal["starting", "ready", "not_ready", "open", "half_open"]
    detail: str
    models: Count
    resident: list[str]
    concurrency: int
    running: Count
    waiting: Count
    foreign: Foreign
    speeds: list[Speed]
    breaker: Breaker
    targets: list[FailedTarget]
    last_error: LastError | None


class Queue(TypedDict):
    """The one queue of the server."""

    running: Count
    waiting: Count
    limit: int
    backlog_seconds: Seconds


class ProviderList(TypedDict):
    """All providers, in the order of the configuration."""

    object: Literal["list"]
    data: list[Provider]
    queue: Queue


class RouteTarget(TypedDict):
    """Who could serve the request, with what it would be sent; ``price`` where it costs something."""

    rank: int
    tier: int
    target: str
    provider: str
    model: str
    resident: bool
    queue_seconds: Seconds
    load_seconds: Seconds
    render_seconds: Seconds
    total_seconds: Seconds
    price: NotRequired[float]
    parameters: dict[str, Any]
    ignored: list[str]
    rules: list[str]


class Share(TypedDict):
    """How many of the images a target would draw."""

    target: str
    images: int


class Refusal(TypedDict):
    """Why a target can't serve the request."""

    target: str
    reason: str
    param: str | None
    kind: Kind


class ModelRoute(TypedDict):
    """What would become of the request with one model."""

    model: str
    asked: str | None
    default: bool
    targets: list[RouteTarget]
    spread: list[Share]
    refusals: list[Refusal]
    missing: list[str]


class WouldAnswer(TypedDict):
    """The error that drawing would give."""

    status: int
    code: str | None
    param: str | None
    message: str


class Route(ModelRoute):
    """What would become of the request; ``fallbacks`` are the others of its ``models``."""

    object: Literal["route"]
    operation: Operation
    n: int
    fallbacks: list[ModelRoute]
    would_answer: NotRequired[WouldAnswer]


class Liveness(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class ProviderReadiness(TypedDict):
    """Whether a provider takes jobs, and if not, why."""

    ready: bool
    detail: str
    models: Count


class Readiness(TypedDict):
    """Whether a job would find a provider."""

    status: Literal["ready", "not ready", "draining"]
    providers: dict[str, ProviderReadiness]
