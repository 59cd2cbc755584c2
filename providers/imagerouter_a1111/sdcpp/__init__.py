"""Drawing over stable-diffusion.cpp's own jobs, which can be found again, and cancelled while they wait."""

from imagerouter_a1111.sdcpp.payload import FIELDS
from imagerouter_a1111.sdcpp.press import NativePress

__all__ = ["FIELDS", "NativePress"]
