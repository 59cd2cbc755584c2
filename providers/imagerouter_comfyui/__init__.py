"""ComfyUI: every checkpoint and every workflow of a server as a model."""

from imagerouter_comfyui.config import ComfyConfig, ComfyModel
from imagerouter_comfyui.provider import ComfyProvider

__all__ = ["ComfyConfig", "ComfyModel", "ComfyProvider"]
