"""Request + offer → the bodies that are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from imagerouter import Hires, ImageRequest, Lora, Operation, ProviderRejectedError
from imagerouter.canvas import Size, fitted
from imagerouter_openai.api import Form
from imagerouter_openai.config import OpenAIConfig
from imagerouter_openai.offers import Offer
from imagerouter_openai.pictures import sent

GENERATIONS, EDITS = "images/generations", "images/edits"
PROGRESS_OF = {"stream": True, "stream_progress": True}
_CLIENT_NAMES = {"size": "size", "prompt": "prompt", "n": "n", "image": "images", "image[]": "images", "mask": "mask"}
"""The server's name → the client's, where it isn't about a value of a parameter."""


class Order(msgspec.Struct, frozen=True):
    """All that is sent for one request, but for the number of images and the seed."""

    request: ImageRequest
    offer: Offer
    size: Size | None
    """``None`` leaves it to the server."""
    values: Mapping[str, Any]
    """Canonical parameter → what is written for it."""
    fixed: Mapping[str, Any]
    """Keys of the body that aren't the request's parameters."""
    ignored: frozenset[str]
    """Parameters of the request that the model doesn't honour, or not in this request."""
    form: Form | None = None

    @property
    def path(self) -> str:
        return GENERATIONS if self.form is None else EDITS

    @property
    def is_plain(self) -> bool:
        """Whether JSON is sent and JSON is to come, all at once."""
        return self.form is None and not self.fixed.get("stream")

    @property
    def names(self) -> dict[str, str]:
        """The server's name → the client's, of all that was sent."""
        written = {self.offer.written[name].name: name for name in self.values}
        return {**_CLIENT_NAMES, **written, **{key: f"provider.options.{key}" for key in self.request.options}}

    def parts(self) -> Iterator[range]:
        """The images that each of its requests is about."""
        for first in range(0, self.request.n, self.offer.batch):
            yield range(first, min(first + self.offer.batch, self.request.n))

    def body(self, part: range) -> dict[str, Any]:
        """For one of `parts`."""
        values = dict(self.values)
        if "seed" in self.offer.written:
            values["seed"] = self.request.seed_of(part.start)
        size = {} if self.size is None else {"size": f"{self.size.canvas_width}x{self.size.canvas_height}"}
        written: dict[str, Any] = {}
        for name, value in values.items():
            _put(written, self.offer.written[name].name, value)
        prompt = self.request.prompt
        if (tag := self.offer.dialect.in_prompt) is not None:
            prompt = f"{prompt}<{tag}>{msgspec.json.encode(written).decode()}</{tag}>"
            written = {}
        return {"model": self.request.model, "prompt": prompt, "n": len(part), **size, **written, **self.fixed}

    @property
    def applied(self) -> dict[str, Any]:
        """What was sent, under canonical names."""
        return {**self.values, **({"seed": self.request.seed} if "seed" in self.offer.written else {})}


async def settle(request: ImageRequest, offer: Offer, config: OpenAIConfig) -> Order:
    """Raises `ProviderRejectedError` with ``param``."""
    dialect = offer.dialect
    if dialect.in_prompt is not None and f"<{dialect.in_prompt}" in request.prompt:
        message = f"`prompt`: this server would take `<{dialect.in_prompt}` for its own parameters"
        raise ProviderRejectedError(message, param="prompt")
    fixed = {**_delivery(request, offer), **_options(request, config), **config.extra_body}
    said, is_plain = request.parameters, request.operation is Operation.GENERATE
    given = {name: getattr(request, name) for name in offer.written.keys() & said}
    return Order(
        request=request,
        offer=offer,
        size=_size(request, offer),
        values={name: _value(offer, name, value) for name, value in sorted(given.items()) if name != "seed"},
        fixed={name: value for name, value in fixed.items() if value is not None},
        ignored=said - (offer.model.parameters.keys() - ({"strength"} if is_plain else set())),
        form=None if is_plain else await sent(request, dialect),
    )


def _size(request: ImageRequest, offer: Offer) -> Size | None:
    if request.width is None and request.height is None:
        return None
    model = offer.model
    multiple = 1 if offer.dialect.takes_anything else model.size_multiple
    return fitted(request.width or model.width, request.height or model.height, multiple)


def _value(offer: Offer, name: str, value: Any) -> Any:
    if isinstance(value, Hires):
        return {key: each for key, each in msgspec.structs.asdict(value).items() if each is not None}
    if isinstance(value, tuple):
        return [msgspec.structs.asdict(each) if isinstance(each, Lora) else each for each in value]
    return offer.written[name].spellings.get(value, value) if isinstance(value, str) else value


def _options(request: ImageRequest, config: OpenAIConfig) -> dict[str, Any]:
    for key in request.options:
        if key not in config.client_options:
            allowed = ", ".join(f"`{each}`" for each in config.client_options) or "none"
            param = f"provider.options.{key}"
            raise ProviderRejectedError(f"`{param}` isn't passed on to this provider; {allowed} are", param=param)
    return dict(request.options)


def _delivery(request: ImageRequest, offer: Offer) -> dict[str, Any]:
    wanted: dict[str, Any] = {} if offer.response_format is None else {"response_format": offer.response_format}
    if request.partial_images and "partial_images" in offer.model.parameters:
        wanted |= {"stream": True, "partial_images": request.partial_images}
    return wanted | PROGRESS_OF if offer.dialect.streams_progress else wanted


def _put(body: dict[str, Any], name: str, value: Any) -> None:
    *outer, last = name.split(".")
    for key in outer:
        body = body.setdefault(key, {})
    body[last] = value
