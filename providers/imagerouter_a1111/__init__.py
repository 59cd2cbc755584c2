"""Adapter for AUTOMATIC1111's web UI and its family: Forge, reForge, SD.Next and stable-diffusion.cpp's server."""

from imagerouter_a1111.config import A1111Config, A1111Model
from imagerouter_a1111.provider import A1111Provider

__all__ = ["A1111Config", "A1111Model", "A1111Provider"]
