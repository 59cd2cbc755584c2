"""What all pieces of a template share while a graph is put together."""

from __future__ import annotations

from dataclasses import dataclass

from imagerouter_comfyui.families.draft import Draft
from imagerouter_comfyui.families.kit import Kit
from imagerouter_comfyui.families.settings import Settings
from imagerouter_comfyui.recipe import Sources


@dataclass(kw_only=True)
class Scene(Draft):
    """The graph of one image of one request, with what it is made from."""

    kit: Kit
    settings: Settings
    sources: Sources
