"""YAML text → plain data that remembers where each value was written, so that messages can point at it.

Scalars follow YAML 1.2: `on`, `off`, `yes` and `no` are words, `22:30` and `2026-01-01` are text. Environment
variables are expanded in finished scalars, so what a variable holds can never become YAML.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from imagerouter.errors import ConfigError
from imagerouter.wording import printable, quote

Path = tuple[str | int, ...]
Place = tuple[int, int]
"""Line and column, from 1."""
NOWHERE: Place = (0, 0)
"""Of what no file holds."""

MAX_NODES = 100_000
"""Values in a file once its anchors are expanded; a dozen lines of YAML could otherwise fill the memory."""
LONGEST_NUMBER = 1000
"""Digits; Python refuses to convert more than a few thousand."""

_TAG = "tag:yaml.org,2002:"
_NUMBER = {
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Line breaks as PyYAML counts them."""
_ENVIRONMENT = re.compile(r"\$(\$?)\{([^}]*)\}")
_NAME = re.compile(r"env\.([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars by YAML 1.2's core schema instead of YAML 1.1."""


_Loader.yaml_implicit_resolvers = {}

for _kind, _pattern, _first in (
    ("null", re.compile(r"~|null|Null|NULL|"), [*"~nN", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), [*"tTfF"]),
    ("int", _NUMBER["int"], [*"-+0123456789"]),
    ("float", _NUMBER["float"], [*"-+.0123456789"]),
    ("merge", re.compile(r"<<"), ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern.pattern})\Z"), _first)


@dataclass
class Document:
    """One file: its data, where everything stands, and what has been found wrong with it so far."""

    name: str
    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    """Scalars as the file spells them: messages quote these, so they never show what a variable held."""
    _problems: list[tuple[Place, str]] = field(default_factory=list)

    def report(self, path: Path, what: str, *, at_key: bool = False) -> None:
        """Note a problem at the nearest thing to ``path`` that the file really has."""
        known = path
        while known and known not in self.values:
            known = known[:-1]
        first, second = (self.keys, self.values) if at_key or known != path else (self.values, self.keys)
        place = first.get(known) or second.get(known) or (1, 1)
        self.report_at(place, f"{spell(path)}: {what}" if path else what)

    def report_at(self, place: Place, what: str) -> None:
        self._problems.append((place, printable(what)))

    def close(self) -> None:
        """End of a stage: raise everything that was reported in it, in the file's order."""
        lines = [f"{self._spot(place)}: {what}" for place, what in sorted(self._problems)]
        if lines:
            raise ConfigError(list(dict.fromkeys(lines)))

    def _spot(self, place: Place) -> str:
        return self.name if place == NOWHERE else f"{self.name}:{place[0]}:{place[1]}"

    def is_variable(self, path: Path) -> bool:
        """Whether a variable took part in the value, which is text then."""
        return "${" in self.written.get(path, "")

    def shown(self, path: Path, value: object) -> str:
        """A value for a message, as the file spells it."""
        return quote(self.written.get(path, value))


def spell(path: Path) -> str:
    return ".".join(map(str, path))


def read(text: str, name: str, environment: Mapping[str, str] | None = None) -> Document:
    """Parse, and expand environment variables. Raises `ConfigError` with every problem found."""
    document = Document(name)
    try:
        root = _compose(text, document)
        if root is not None:
            reader = _Reader(document, os.environ if environment is None else environment)
            document.data = reader.value(root, ())
    except RecursionError:
        document.report_at((1, 1), "nested too deep")
    document.close()
    return document


def _compose(text: str, document: Document) -> Node | None:
    try:
        node: Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = "; YAML is indented with spaces" if r"'\t'" in what else ""
        document.report_at(place, f"not valid YAML: {what}{hint}")
    except yaml.reader.ReaderError as error:
        head = _BREAK.split(text[: error.position])
        what = f"character U+{ord(text[error.position]):04X} isn't allowed"
        document.report_at((len(head), len(head[-1]) + 1), f"not valid YAML: {what}")
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        document.report_at((1, 1), f"not valid YAML: {error}")
    else:
        return node
    return None


class _Reader:
    """Walks the nodes once: data comes out, positions and problems go into the document."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._open: set[int] = set()
        self._seen = 0

    def value(self, node: Node, path: Path) -> Any:
        self._document.values[path] = _place(node)
        self._count(node)
        if id(node) in self._open:
            self._document.report(path, "an anchor can't contain itself")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            if isinstance(node, MappingNode) and node.tag == _TAG + "map":
                return self._mapping(node, path)
        finally:
            self._open.discard(id(node))
        self._document.report(path, f"tag {quote(node.tag)} isn't supported")
        return None

    def _count(self, node: Node) -> None:
        self._seen += 1
        if self._seen > MAX_NODES:
            self._document.report_at(_place(node), f"more than {MAX_NODES} values once anchors are expanded")
            self._document.close()

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, item, own in self._pairs(node, path):
            if not isinstance(key, ScalarNode):
                self._document.report_at(_place(key), f"{spell(path) or 'file'}: a key must be a word")
                continue
            inner = (*path, key.value)
            self._check_text(key.value, inner, _place(key))
            if own and key.value in lines:
                first = f"duplicate key, first used on line {lines[key.value]}"
                self._document.report_at(_place(key), f"{spell(inner)}: {first}")
                continue
            if own:
                lines[key.value] = _place(key)[0]
            self._document.keys[inner] = _place(key)
            data[key.value] = self.value(item, inner)
        return data

    def _pairs(self, node: MappingNode, path: Path) -> Iterator[tuple[Node, Node, bool]]:
        """Pairs merged in by ``<<`` come first, so that the mapping's own ones overwrite them."""
        for key, item in node.value:
            if key.tag != _TAG + "merge":
                continue
            sources = item.value if isinstance(item, SequenceNode) else [item]
            for source in reversed(sources):
                self._count(source)
                if not isinstance(source, MappingNode) or id(source) in self._open:
                    self._document.report_at(_place(item), f"{spell((*path, '<<'))}: must name a mapping")
                    continue
                self._open.add(id(source))
                yield from ((k, v, False) for k, v, _ in self._pairs(source, path))
                self._open.discard(id(source))
        yield from ((key, item, True) for key, item in node.value if key.tag != _TAG + "merge")

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        self._document.written[path] = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return self._check_text(self._expand(node.value, path), path, _place(node))
        if kind == "null":
            return None
        if kind == "bool" and node.value.lower() in ("true", "false"):
            return node.value.lower() == "true"
        if kind in _NUMBER and _NUMBER[kind].fullmatch(node.value) and len(node.value) < LONGEST_NUMBER:
            return _number(kind, node.value.lower())
        self._document.report(path, f"{quote(node.value)} isn't a value of the tag `!!{kind}`")
        return None

    def _check_text(self, text: str, path: Path, place: Place) -> str:
        """YAML has escapes for half a character, which nothing behind the loader could write down."""
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._document.report_at(place, f"{spell(path)}: {quote(text)} isn't Unicode text")
        return text

    def _expand(self, text: str, path: Path) -> str:
        """``${env.NAME}`` and ``${env.NAME:-default}``, where the default replaces an empty value too."""

        def replace(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            name = _NAME.fullmatch(match[2])
            if name is None:
                hint = "write `${env.NAME}` for a variable, `$${` for a plain `${`"
                self._document.report(path, f"{quote(match[0])} isn't known; {hint}")
                return ""
            value = self._environment.get(name[1])
            if name[2] is not None:
                return value or name[2]
            if value is None:
                hint = f"write `${{env.{name[1]}:-default}}` to allow that"
                self._document.report(path, f"environment variable `{name[1]}` is not set; {hint}")
            return value or ""

        return _ENVIRONMENT.sub(replace, text)


def document_of(data: Mapping[str, Any], name: str) -> Document:
    """The same for what a program holds: nothing in it is a variable, and paths are texts."""
    document = Document(name)
    document.data = _plain_data(data, (), document)
    return document


def _plain_data(value: Any, path: Path, document: Document) -> Any:
    document.values[path] = NOWHERE
    if isinstance(value, Mapping):
        return {str(key): _plain_data(item, (*path, str(key)), document) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_data(item, (*path, index), document) for index, item in enumerate(value)]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def plain(text: str) -> Any:
    """A text as the scalar that it would be if it stood in the file without quotes."""
    for kind, pattern in _NUMBER.items():
        if pattern.fullmatch(text) and len(text) < LONGEST_NUMBER:
            return _number(kind, text.lower())
    return {"true": True, "false": False}.get(text.lower(), text)


def _number(kind: str, text: str) -> int | float:
    if kind == "float":
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    # Decimal numbers may start with zeros in YAML 1.2, which `int(…, 0)` refuses.
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1
