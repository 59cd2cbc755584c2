"""What ComfyUI says about a graph before it queues it: the same errors, in the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

Graph = dict[str, dict[str, Any]]
NodeInfo = dict[str, Any]


@dataclass
class Verdict:
    error: dict[str, Any] | None = None
    node_errors: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    """Output nodes that will be run."""

    @property
    def body(self) -> dict[str, Any]:
        return {"error": self.error, "node_errors": self.node_errors}


def problem(kind: str, message: str, details: str = "", **extra: Any) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def is_link(value: Any) -> bool:
    return isinstance(value, list)


def inputs_of(info: NodeInfo) -> Iterator[tuple[str, Any, dict[str, Any], bool]]:
    """Name, type (or list of choices), settings, and whether it is required."""
    for section in ("required", "optional"):
        for name, spec in (info["input"].get(section) or {}).items():
            settings = spec[1] if len(spec) > 1 else {}
            kind = settings.get("options", []) if spec[0] == "COMBO" else spec[0]
            yield name, kind, settings, section == "required"


class Validation:
    """One look at one graph."""

    def __init__(self, graph: Graph, info: Callable[[str], NodeInfo | None], uploads: Collection[str]) -> None:
        self.graph = graph
        self.info = info
        self.uploads = uploads
        self.errors: dict[str, list[dict[str, Any]]] = {}
        self._seen: set[str] = set()

    def verdict(self, targets: list[str] | None = None) -> Verdict:
        for node_id, node in self.graph.items():
            if (error := self._class_error(node_id, node)) is not None:
                return Verdict(error)
        outputs = [
            node_id
            for node_id, node in self.graph.items()
            if self._class(node_id)["output_node"] and (targets is None or node_id in targets)
        ]
        if not outputs:
            return Verdict(problem("prompt_no_outputs", "Prompt has no outputs"))
        good = [node_id for node_id in outputs if self._is_good(node_id)]
        verdict = Verdict(None, self._node_errors(outputs), good)
        if not good:
            verdict.error = problem("prompt_outputs_failed_validation", "Prompt outputs failed validation")
        return verdict

    def _class_error(self, node_id: str, node: dict[str, Any]) -> dict[str, Any] | None:
        name = node.get("class_type")
        if name is not None and self.info(name) is not None:
            return None
        message = (
            f"Node 'ID #{node_id}' has no class_type. The workflow may be corrupted or a custom node is missing."
            if name is None
            else f"Node '{name}' not found. The custom node may not be installed."
        )
        return problem(
            "missing_node_type", message, f"Node ID '#{node_id}'", node_id=node_id, class_type=name, node_title=name
        )

    def _class(self, node_id: str) -> NodeInfo:
        info = self.info(self.graph[node_id]["class_type"])
        assert info is not None
        return info

    def _node_errors(self, outputs: list[str]) -> dict[str, dict[str, Any]]:
        return {
            node_id: {
                "errors": errors,
                "dependent_outputs": [output for output in outputs if node_id in self._upstream(output)],
                "class_type": self.graph[node_id]["class_type"],
            }
            for node_id, errors in self.errors.items()
        }

    def _upstream(self, node_id: str) -> set[str]:
        found, left = set(), [node_id]
        while left:
            current = left.pop()
            if current in found or current not in self.graph:
                continue
            found.add(current)
            left += [str(value[0]) for value in self.graph[current]["inputs"].values() if is_link(value) and value]
        return found

    def _is_good(self, node_id: str) -> bool:
        try:
            self._check(node_id)
        except KeyError as error:
            self._add(node_id, "exception_during_validation", "Exception when validating node", str(error))
        return not self._upstream(node_id) & self.errors.keys()

    def _check(self, node_id: str) -> None:
        if node_id in self._seen:
            return
        self._seen.add(node_id)
        given = self.graph[node_id]["inputs"]
        for name, kind, settings, required in inputs_of(self._class(node_id)):
            if name not in given:
                if required:
                    self._add(node_id, "required_input_missing", "Required input is missing", name, input_name=name)
            elif is_link(given[name]):
                self._check_link(node_id, name, kind, settings, given[name])
            else:
                self._check_value(node_id, name, kind, settings, given[name])
        self._check_upload(node_id, given)

    def _check_link(self, node_id: str, name: str, kind: Any, settings: Any, link: list[Any]) -> None:
        config = [kind, settings]
        if len(link) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            self._add(
                node_id, "bad_linked_input", message, name, input_name=name, input_config=config, received_value=link
            )
            return
        source, slot = link
        sent = self._class(source)["output"][slot]
        if not _fits(sent, kind):
            details = f"{name}, received_type({sent}) mismatch input_type({kind})"
            self._add(
                node_id, "return_type_mismatch", "Return type mismatch between linked nodes", details,
                input_name=name, input_config=config, received_type=sent, linked_node=link,
            )  # fmt: skip
            return
        try:
            self._check(source)
        except KeyError as error:  # a link to a node that isn't there
            self._add(
                source, "exception_during_inner_validation", "Exception when validating inner node", str(error),
                input_name=name, input_config=config, exception_message=str(error), exception_type="KeyError",
                traceback=["<trimmed>"], linked_node=link,
            )  # fmt: skip

    def _check_value(self, node_id: str, name: str, kind: Any, settings: dict[str, Any], value: Any) -> None:
        told = {"input_name": name, "input_config": [kind, settings], "received_value": value}
        if isinstance(kind, list):
            if value not in kind and not settings.get("image_upload"):
                long = len(kind) > 20
                choices = f"(list of length {len(kind)})" if long else str(kind)
                told["input_config"] = None if long else told["input_config"]
                self._add(
                    node_id, "value_not_in_list", "Value not in list", f"{name}: '{value}' not in {choices}", **told
                )
            return
        if kind not in ("INT", "FLOAT"):
            return
        try:
            number = int(value) if kind == "INT" else float(value)
        except (TypeError, ValueError) as error:
            message = f"Failed to convert an input value to a {kind} value"
            details = f"{name}, {value}, {error}"
            self._add(node_id, "invalid_input_type", message, details, **told, exception_message=str(error))
            return
        if "min" in settings and number < settings["min"]:
            message = f"Value {number} smaller than min of {settings['min']}"
            self._add(node_id, "value_smaller_than_min", message, name, **told)
        if "max" in settings and number > settings["max"]:
            message = f"Value {number} bigger than max of {settings['max']}"
            self._add(node_id, "value_bigger_than_max", message, name, **told)

    def _check_upload(self, node_id: str, given: dict[str, Any]) -> None:
        name = given.get("image")
        if self.graph[node_id]["class_type"] in ("LoadImage", "LoadImageMask") and name not in self.uploads:
            details = f"image - Invalid image file: {name}"
            message = "Custom validation failed for node"
            self._add(node_id, "custom_validation_failed", message, details, input_name="image")

    def _add(self, node_id: str, kind: str, message: str, details: str, **extra: Any) -> None:
        self.errors.setdefault(node_id, []).append(problem(kind, message, details, **extra))


def _fits(sent: Any, wanted: Any) -> bool:
    if isinstance(sent, list) or isinstance(wanted, list) or "*" in (sent, wanted):
        return True
    if str(wanted).startswith("COMFY_"):
        return True
    return bool(set(str(sent).split(",")) & set(str(wanted).split(",")))
