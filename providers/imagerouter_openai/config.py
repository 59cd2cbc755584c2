"""The YAML keys of a provider that speaks OpenAI's images API."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from imagerouter.parameters import DECLARABLE
from imagerouter.provider import ProviderConfig
from imagerouter.remote import BaseUrl, HeaderName, HeaderValue
from imagerouter.types import Operation

DialectName = Literal["openai", "imagerouter", "vllm", "sglang", "localai", "sdcpp"]

HARMLESS_OPTIONS = ("complexity", "input_fidelity", "safety_identifier", "user")
"""Keys of OpenAI's that change how a picture is drawn, or say for whom, and nothing else."""
RESERVED = frozenset("model prompt n size seed image image[] images mask stream stream_progress partial_images".split())
"""Keys of a request that the adapter itself writes."""

_VERSION = re.compile(r"v\d+\w*")


def _as_nothing(value: Any) -> Any:
    """``${env.OPENAI_API_KEY:-}`` is empty where there is no key."""
    return None if value == "" else value


class OpenAIConfig(ProviderConfig):
    """Keys of ``type: openai``."""

    base_url: BaseUrl = Field(
        default="https://api.openai.com/v1", description="Where the API is; `/v1` is added where no version is in it."
    )
    api_key: Annotated[HeaderValue | None, BeforeValidator(_as_nothing)] = Field(
        default=None, description="Sent as `authorization: Bearer …`."
    )
    headers: dict[HeaderName, HeaderValue] = Field(default={}, description="Further headers for every request.")
    dialect: Literal["auto", "openai", "imagerouter", "vllm", "sglang", "localai", "sdcpp"] = Field(
        default="auto",
        description="Whose parameters it knows: auto (ask it), openai, imagerouter, vllm, sglang, localai or sdcpp.",
    )
    models: list[str] = Field(
        default=[], description="Models to offer; by default those of its list that draw, as far as it tells."
    )
    operations: list[Operation] = Field(
        default=[], description="What its models can do: generate, edit, inpaint; by default what is known of them."
    )
    parameters: dict[str, str] = Field(
        default={}, description="Further parameters that it understands: canonical name → its own name."
    )
    extra_body: dict[str, Any] = Field(
        default={},
        description="Further keys for the body of every request; null leaves one out, such as `response_format`.",
    )
    client_options: list[str] = Field(
        default=list(HARMLESS_OPTIONS),
        description="Keys that clients may send to it as `provider.options.<name>`.",
    )
    url_hosts: list[str] = Field(
        default=[], description="Hosts beside its own from which pictures that it answers with may be fetched."
    )

    @field_validator("parameters")
    @classmethod
    def _are_canonical(cls, names: dict[str, str]) -> dict[str, str]:
        taken = frozenset({"width", "height", "images", "mask", "partial_images"})
        if unknown := names.keys() - (DECLARABLE - taken):
            raise ValueError(f"not a canonical parameter that can be renamed: {', '.join(sorted(unknown))}")
        return names

    @field_validator("extra_body", "client_options")
    @classmethod
    def _are_free(cls, keys: Any) -> Any:
        if taken := RESERVED & set(keys):
            raise ValueError(f"written by imagerouter itself: {', '.join(sorted(taken))}")
        return keys

    @property
    def root(self) -> str:
        """The address that the API's paths follow, with its version and a slash at the end."""
        url = self.base_url.rstrip("/")
        segments = url.split("/")[3:]
        return f"{url}/" if any(_VERSION.fullmatch(segment) for segment in segments) else f"{url}/v1/"


def headers_of(config: OpenAIConfig) -> dict[str, str]:
    """What every request carries, credentials included."""
    # In small letters, as all that may replace each other: two of one name would both be sent.
    headers = {name.lower(): value.get_secret_value() for name, value in config.headers.items()}
    if config.api_key is not None:
        headers["authorization"] = f"Bearer {config.api_key.get_secret_value()}"
    return headers
