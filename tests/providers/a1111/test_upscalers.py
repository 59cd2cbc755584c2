"""Names of upscalers, which each server spells in its own way."""

from __future__ import annotations

import pytest
from tests.providers.a1111.stocks import A1111_1_10, SDNEXT

from imagerouter_a1111.orders import upscaler
from imagerouter_a1111.recipe import Stock


@pytest.mark.parametrize(
    ("stock", "wanted", "found"),
    [
        (A1111_1_10, "esrgan_4x", "ESRGAN_4x"),
        (A1111_1_10, "latent", "Latent"),
        (SDNEXT, "Latent", "Latent Bilinear"),
        (SDNEXT, "latent (antialiased)", "Latent Bilinear antialias"),
        (SDNEXT, "Latent (nearest-exact)", "Latent Nearest exact"),
        (SDNEXT, "lanczos", "Resize Lanczos"),
    ],
)
def test_an_upscaler_comes_by_the_server_s_name(stock: Stock, wanted: str, found: str) -> None:
    assert upscaler(wanted, stock.upscalers) == found
