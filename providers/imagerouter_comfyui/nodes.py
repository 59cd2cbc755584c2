"""What a server tells about its node classes: `GET /object_info`, in both of the forms that are in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_WIDGETS = frozenset(
    {
        *("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"),
        *("COLOR", "BOUNDING_BOX", "CURVE", "IMAGECOMPARE", "LOAD_3D", "LOAD_3D_ANIMATION", "WEBCAM", "AUDIO_RECORD"),
    }
)
"""Types that the editor draws a field for."""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a node class."""

    name: str
    type: str
    """``INT``, ``FLOAT``, ``STRING``, ``BOOLEAN``, ``COMBO``, or what a link must carry: ``MODEL``, ``LATENT``, …"""
    required: bool
    options: tuple[str, ...] | None = None
    """The choices of a ``COMBO``."""
    default: Any = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    variants: dict[str, dict[str, Input]] = {}
    """Of a dynamic combo: what each choice asks for in addition. A graph calls these inputs ``format.bit_depth``."""
    settings: dict[str, Any] = {}
    """Everything else that the server says about it (``multiline``, ``image_upload``, ``control_after_generate``…)."""

    @property
    def is_widget(self) -> bool:
        """Whether it takes a literal, as opposed to a link only."""
        drawn = self.type in _WIDGETS or self.default is not None or "socketless" in self.settings
        return drawn and not self.settings.get("forceInput")


class NodeClass(msgspec.Struct, frozen=True, kw_only=True):
    """One node class, inputs in the server's order (which is the order of the widgets in the editor's files)."""

    name: str
    inputs: dict[str, Input]
    outputs: tuple[str, ...] = ()
    """Types of the output slots."""
    output_names: tuple[str, ...] = ()
    is_output: bool = False
    """Whether it ends a graph: `SaveImage` and its like."""


NodeClasses = Mapping[str, NodeClass]


def parse(name: str, raw: Mapping[str, Any]) -> NodeClass:
    """One entry of `/object_info`."""
    outputs = tuple(str(kind) if isinstance(kind, str) else "COMBO" for kind in raw.get("output") or ())
    return NodeClass(
        name=name,
        inputs=_inputs(raw.get("input") or {}),
        outputs=outputs,
        output_names=tuple(map(str, raw.get("output_name") or outputs)),
        is_output=bool(raw.get("output_node")),
    )


def _inputs(sections: Mapping[str, Any]) -> dict[str, Input]:
    return {
        name: _input(name, spec, required=section == "required")
        for section in ("required", "optional")
        for name, spec in (sections.get(section) or {}).items()
    }


def _input(name: str, spec: Any, *, required: bool) -> Input:
    """A combo is ``[["a", "b"], {…}]`` in version 1 of ComfyUI's interface and ``["COMBO", {"options": …}]`` in 3."""
    kind = spec[0] if spec else "*"
    settings = dict(spec[1]) if len(spec) > 1 and isinstance(spec[1], dict) else {}
    variants = _variants(settings.pop("options", None)) if kind == "COMFY_DYNAMICCOMBO_V3" else {}
    options = kind if isinstance(kind, list) else settings.pop("options", None) if kind == "COMBO" else variants or None
    return Input(
        name=name,
        type="COMBO" if isinstance(kind, list) else str(kind),
        required=required,
        options=None if options is None else tuple(map(str, options)),
        default=settings.pop("default", None),
        min=_number(settings.pop("min", None)),
        max=_number(settings.pop("max", None)),
        step=_number(settings.pop("step", None)),
        variants=variants,
        settings=settings,
    )


def _variants(choices: Any) -> dict[str, dict[str, Input]]:
    return {str(choice["key"]): _inputs(choice.get("inputs") or {}) for choice in choices or ()}


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
