"""What all pieces of a template share while a graph is put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from imagerouter_comfyui.families.draft import Added, Draft
from imagerouter_comfyui.families.kit import Kit
from imagerouter_comfyui.families.settings import Settings
from imagerouter_comfyui.recipe import Sources


@dataclass(frozen=True)
class Scene:
    """One image of one request."""

    kit: Kit
    settings: Settings
    sources: Sources
    draft: Draft = field(default_factory=Draft)

    def add(self, node_id: str, class_type: str, /, **inputs: Any) -> Added:
        """See `Draft.add`."""
        return self.draft.add(node_id, class_type, **inputs)
