"""Extra networks in prompts: tags such as ``<lora:name:1>``, which load files of the server.

A server of AUTOMATIC1111's line reads them anywhere in a prompt (``modules/extra_networks.py``: ``<(\\w+):([^>]+)>``)
and says nothing about a name that it doesn't have. stable-diffusion.cpp's server knows a tag of its own, which
replaces any parameter of the request (``examples/server/routes_sdapi.cpp``).

The first also read brackets, by a grammar that tries every way to pair them, and every colon, before anything else of
the prompt is looked at (``modules/prompt_parser.py``: ``schedule_parser``). The time for that grows faster than the
square of their number, nobody can interrupt it, and the server answers nothing else meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from imagerouter import ImageRequest, InvalidParameterError, ProviderRejectedError
from imagerouter.names import candidates, close, demand
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.recipe import Stock

_HEAD = re.compile(r"<(\w+):(?!>)")
_LORA_TAGS = ("lora", "lyco")
_EXTRA_ARGS = "<sd_cpp_extra_args"
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_SYNTAX = re.compile(r"[\[\]():]")
_CLOSING = {"(": ")", "[": "]"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_OPEN = 50
_MOST_SYNTAX = 300
"""Brackets and colons in one text."""
_SHOWN = 60
"""Characters of a client's tag that are repeated."""


def check(text: str, param: str, stock: Stock, config: A1111Config) -> None:
    """Refuse what can't be sent, what the server can't read in reasonable time, and tags that it mustn't or can't use.

    Raises `InvalidParameterError` for a text that is no Unicode, else `ProviderRejectedError`.
    """
    check_unicode(text, param)
    if stock.dialect.loras == "tags":
        _check_syntax(text, param)
    if _EXTRA_ARGS in text.casefold():
        raise ProviderRejectedError(f"`{param}` can't hold `{_EXTRA_ARGS}>`", param=param)
    for kind, content in _tags(text):
        if not config.prompt_tags or stock.dialect.loras != "tags":
            shown = f"<{kind}:{content[:_SHOWN]}>"[:_SHOWN]
            message = f"`{param}` can't hold tags such as `{shown}`; use `loras` instead"
            raise ProviderRejectedError(message, param=param)
        if kind.casefold() in _LORA_TAGS:
            _check_name(content.partition(":")[0], param, stock)


def check_unicode(text: str, param: str) -> None:
    """Raises `InvalidParameterError` for a text that can't be written as UTF-8."""
    if _SURROGATE.search(text):
        raise InvalidParameterError(f"`{param}` can't hold half of a surrogate pair", param=param)


def _check_syntax(text: str, param: str) -> None:
    """In linear time. One backslash makes the next character text."""
    signs = _SYNTAX.findall(_ESCAPED.sub("", text))
    if _unclosed(signs) > _MOST_OPEN:
        message = (
            f"`{param}` can't have more than {_MOST_OPEN} brackets that are never closed; write `\\(` for a mere one"
        )
        raise ProviderRejectedError(message, param=param)
    if len(signs) > _MOST_SYNTAX:
        message = f"`{param}` can't have more than {_MOST_SYNTAX} brackets and colons; write `\\(` for a mere one"
        raise ProviderRejectedError(message, param=param)


def _unclosed(signs: Iterable[str]) -> int:
    still_open: list[str] = []
    for sign in signs:
        if sign in _CLOSING:
            still_open.append(_CLOSING[sign])
        elif still_open and still_open[-1] == sign:
            still_open.pop()
    return len(still_open)


def _tags(text: str) -> Iterator[tuple[str, str]]:
    """Kind and content of each tag, in linear time.

    The last one may be open: a style, or a script, that adds a tag of its own behind the prompt would close it.
    """
    end = 0
    for head in _HEAD.finditer(text):
        if head.start() < end:  # it stands inside a tag
            continue
        closing = text.find(">", head.end())
        end = len(text) if closing < 0 else closing
        yield head[1], text[head.end() : end]


def _check_name(name: str, param: str, stock: Stock) -> None:
    taken = tuple(stock.loras.values())
    if name not in taken:
        listed = candidates(name, stock.loras)
        hint = f"; write `{stock.loras[listed[0]]}`" if listed else close(name, taken)
        raise ProviderRejectedError(f"`{param}`: there is no LoRA `{name[:_SHOWN]}` here{hint}", param=param)


def is_writable(name: str) -> bool:
    """Whether a LoRA's name can stand in a tag, where ``=`` would make it an argument with a name of its own."""
    return bool(name) and not set(name) & set(":=<>")


def loras(request: ImageRequest, stock: Stock) -> tuple[tuple[str, float], ...]:
    """Names as the server takes them, and weights. Raises `ProviderRejectedError`."""
    found = []
    for index, lora in enumerate(request.loras):
        param = f"loras[{index}].name"
        meant = {stock.loras[key] for key in candidates(lora.name, stock.loras)}
        name = meant.pop() if len(meant) == 1 else stock.loras[demand(lora.name, stock.loras, param, "LoRA")]
        if stock.dialect.loras == "tags" and not is_writable(name):
            message = f"`{param}`: a LoRA with `:`, `=`, `<` or `>` in its name can't be used"
            raise ProviderRejectedError(message, param=param)
        found.append((name, lora.weight))
    return tuple(found)


def with_loras(prompt: str, loras: Iterable[tuple[str, float]]) -> str:
    """The prompt as it is sent where LoRAs are tags: ``"<lora:ink:0.8> a cat"``.

    They come first, since a ``#`` makes the rest of a line a comment (``modules/processing_scripts/comments.py``).
    """
    return "".join((*(f"<lora:{name}:{weight:g}> " for name, weight in loras), prompt))
