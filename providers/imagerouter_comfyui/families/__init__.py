"""Templates of our own, so that every checkpoint and diffusion model is a model without a workflow.

`kits.make` says what a file is and what it needs, `Template` draws it.
"""

from imagerouter_comfyui.families.family import FAMILIES, Family
from imagerouter_comfyui.families.kit import Kit
from imagerouter_comfyui.families.template import Template

__all__ = ["FAMILIES", "Family", "Kit", "Template"]
