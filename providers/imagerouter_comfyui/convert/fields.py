"""What the fields ("widgets") of a drawn node hold. The file has bare values; their names are the server's to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from imagerouter_comfyui.convert.editor import Node
from imagerouter_comfyui.nodes import Input, NodeClass

_CONTROLS = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
_UPLOADS = ("image", "video", "audio", "file")
_BLANK: dict[str, Any] = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False, "IMAGECOMPARE": []}

Take = Callable[[str, Input], Any]
Field = tuple[str, Input, Any]
"""Full name, what the server says about it, and the value; `None` where only a link will do."""


def fields(node_class: NodeClass, node: Node) -> list[Field]:
    """All inputs that a node has with the choices that it has made.

    Fields that the file says nothing of, because the class got them later, have the server's default.
    """
    named = node.widgets_values_named or node.widgets_values
    if isinstance(named, dict):
        return list(_read(node_class.inputs, lambda name, _: named.get(name)))
    everything = _ByPosition(named or [])
    result = list(_read(node_class.inputs, everything))
    known = {str(slot.widget.get("name")) for slot in node.inputs or () if slot.widget is not None}
    if everything.missed and known:
        restricted = _ByPosition(named or [], known)
        other = list(_read(node_class.inputs, restricted))
        if not restricted.missed and not restricted.left:
            return other
    return result


class _ByPosition:
    """Hands out values in the order of the fields, without those of the buttons that the editor adds."""

    def __init__(self, values: list[Any], known: set[str] | None = None) -> None:
        """``known``: the names of all fields that the file has, if it tells them; others were added later."""
        self.left, self._known = list(reversed(values)), known
        self.missed, self._uploads = False, False

    def __call__(self, name: str, field: Input) -> Any:
        if self._known is not None and name not in self._known:
            return None
        if not field.required and self._uploads:
            self._skip(_UPLOADS)
        if not self.left:
            self.missed = True
            return None
        value = self.left.pop()
        if field.settings.get("control_after_generate") or field.name in ("seed", "noise_seed"):
            self._skip(_CONTROLS)
        self._uploads = self._uploads or any(name.endswith("_upload") for name in field.settings)
        return value

    def _skip(self, markers: tuple[str, ...]) -> None:
        if self.left and self.left[-1] in markers:
            self.left.pop()


def _read(inputs: Mapping[str, Input], take: Take, prefix: str = "") -> Iterator[Field]:
    for field in inputs.values():
        name = prefix + field.name
        value = take(name, field) if field.is_widget else None
        if value is None and field.is_widget:
            value = _default(field)
        yield name, field, value
        yield from _read(field.variants.get(str(value), {}), take, f"{name}.")


def _default(field: Input) -> Any:
    if field.default is not None:
        return field.default
    return field.options[0] if field.options else _BLANK.get(field.type)


def custom_index(node: Node, choice: Any) -> dict[str, int]:
    """The place of a `CustomCombo`'s choice among its own choices.

    Its second output is that place, but only the drawing knows the choices: they follow the choice as values.
    """
    values = node.widgets_values_named or node.widgets_values or []
    listed = list(values.values() if isinstance(values, dict) else values)[1:]
    choices = [value for value in listed if isinstance(value, str)]
    return {"index": choices.index(choice)} if choice in choices else {}
