"""What a picture costs, in US dollars, where a provider isn't free: for ``max_price`` and ``sort: price``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Price(BaseModel):
    """Everything that applies is added up; a plain number in YAML is the price of an image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="US dollars for each request, whatever it draws."
    )
    image: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="US dollars for each image.")
    megapixel: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="US dollars for each megapixel of each image."
    )

    def of_image(self, megapixels: float) -> float:
        """What one image of that size costs."""
        return self.image + self.megapixel * megapixels

    def of_request(self, n: int, megapixels: float) -> float:
        """What ``n`` images of that size cost together."""
        return self.request + n * self.of_image(megapixels)


def _from_number(value: Any) -> Any:
    # A text is what a variable held.
    is_one = isinstance(value, int | float | str) and not isinstance(value, bool)
    return {"image": value} if is_one else value


AnyPrice = Annotated[Price, BeforeValidator(_from_number, json_schema_input_type=float | Price)]
"""A field that takes ``0.04`` or ``{image: 0.01, megapixel: 0.02}``."""

FREE = Price()
