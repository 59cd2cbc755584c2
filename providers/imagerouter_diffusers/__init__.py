"""Local diffusers as a provider: any `DiffusionPipeline` on this machine's own CPU or accelerator.

Importing this package must stay cheap: torch and diffusers are imported on the device's worker thread only.
"""

from imagerouter_diffusers.config import DiffusersConfig
from imagerouter_diffusers.provider import DiffusersProvider

__all__ = ["DiffusersConfig", "DiffusersProvider"]
