"""What rules that are right key by key can still get wrong: whom they name, and whether they can do anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from imagerouter.auth import ADMIN, CREDENTIALS
from imagerouter.config import Config
from imagerouter.config.positions import Document, Path, spell
from imagerouter.config.yaml_parameters import typed_section
from imagerouter.parameters import CANONICAL_OF, DECLARABLE
from imagerouter.routing.patterns import is_like
from imagerouter.routing.rules import Range, Rule, When
from imagerouter.suggest import did_you_mean
from imagerouter.wording import listing, quote

CHOICES = ("only", "avoid", "prefer")
EFFECTS = (*CHOICES, "set", "deny")

_SEEN = DECLARABLE - {"partial_images"}
"""What a client's request may have among its parameters."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+")


def check_rules(document: Document, config: Config, path: Path, rules: Sequence[Rule]) -> list[Rule]:
    """The rules of one place, each with a name and with typed parameters; what is wrong is reported."""
    for index, rule in enumerate(rules):
        _check_effects(document, config, (*path, index), rule)
        _check_empty(document, (*path, index), rule)
        _check_when(document, config, (*path, index, "when"), rule)
        _check_reach(document, path, rules[:index], rule)
    return [_finished(document, config, (*path, index), rule) for index, rule in enumerate(rules)]


def _finished(document: Document, config: Config, path: Path, rule: Rule) -> Rule:
    typed = typed_section(document, config, (*path, "set"), rule.set)
    for name, value in rule.set.items():
        if name in DECLARABLE and name not in typed and value in (None, "auto", []):
            document.report((*path, "set", name), "sets nothing; a rule can't take away what the client sent")
    return rule.model_copy(update={"name": rule.name or spell(path), "set": typed})


def _check_effects(document: Document, config: Config, path: Path, rule: Rule) -> None:
    given = [name for name in EFFECTS if name in rule.model_fields_set and getattr(rule, name) is not None]
    allowed = ("set", "deny") if path[0] == "providers" else EFFECTS
    if not given:
        document.report(path, f"does nothing; it needs one of {', '.join(map(quote, allowed))}")
    for name in given:
        if name not in allowed:
            hint = "put it into `rules` or `models.NAME.rules`"
            document.report((*path, name), f"a provider's own rule can't choose between providers; {hint}", at_key=True)
        elif rule.deny is not None and name != "deny":
            document.report((*path, name), "has no effect beside `deny`", at_key=True)
    known = {*config.providers, *(entry.type for entry in config.providers.values())}
    for name in CHOICES:
        for place, word in _words(document, (*path, name), getattr(rule, name)):
            if word not in known:
                hint = did_you_mean(word, known) or f". Known here: {listing(known)}"
                document.report(place, f"no provider has the name or type {document.shown(place, word)}{hint}")


def _check_empty(document: Document, path: Path, section: Rule | When) -> None:
    """What is there and says nothing may be meant to say that nothing is allowed, or that everything is."""
    for name in section.model_fields_set:
        if getattr(section, name) in ((), {}, When()):
            document.report((*path, name), "is empty; leave it out")


def _check_when(document: Document, config: Config, path: Path, rule: Rule) -> None:
    when = rule.when
    _check_empty(document, path, when)
    keys = [*config.keys, ADMIN] if config.keys and config.server.admin_key else [*config.keys]
    for place, pattern in _words(document, (*path, "key"), when.key):
        if not any(is_like(key, pattern) for key in keys):
            hint = did_you_mean(pattern, keys) or f". Keys: {listing(keys)}"
            document.report(place, f"there is no API key {document.shown(place, pattern)}{hint}")
    for place, name in _words(document, (*path, "has"), when.has):
        if name not in _SEEN:
            document.report(place, f"unknown parameter{_instead(name)}")
    for name in ("megapixels", "steps", "n"):
        _check_range(document, (*path, name), getattr(when, name))
    _check_headers(document, (*path, "header"), when.header)


def _instead(name: str) -> str:
    canonical = CANONICAL_OF.get(name, name)
    if canonical in ("n", "size"):
        return f"; there is the condition `{canonical}` for it"
    if canonical != name:
        return f"; the parameter is called `{canonical}` here"
    return did_you_mean(name, _SEEN) or f". Known here: {listing(_SEEN)}"


def _check_range(document: Document, path: Path, numbers: Range | None) -> None:
    if numbers is None:
        return
    if numbers.min is None and numbers.max is None:
        document.report(path, "needs `min` or `max`")
    elif numbers.min is not None and numbers.max is not None and numbers.min > numbers.max:
        document.report((*path, "min"), f"must be at most `max`, {numbers.max:g}, not {numbers.min:g}")


def _check_headers(document: Document, path: Path, headers: Iterable[str]) -> None:
    taken: dict[str, str] = {}
    for name in headers:
        if not _HEADER_NAME.fullmatch(name):
            document.report((*path, name), f"{quote(name)} can't be the name of a header", at_key=True)
        if name.lower() in CREDENTIALS:
            document.report((*path, name), f"{quote(name)} is kept from rules; they may ask for the `key`", at_key=True)
        other = taken.setdefault(name.lower(), name)
        if other != name:
            document.report((*path, name), f"differs from the header {quote(other)} only in case", at_key=True)


def _check_reach(document: Document, path: Path, earlier: Sequence[Rule], rule: Rule) -> None:
    """A rule whose requests an earlier one of its place takes, all of them."""
    for index, other in enumerate(earlier):
        if other.when.covers(rule.when):
            same = "has the same conditions" if other.when == rule.when else "takes all of its requests"
            why = "always applies" if other.when == When() else same
            first = quote(other.name or spell((*path, index)))
            document.report((*path, len(earlier)), f"can never apply: {first} comes first and {why}")
            return


def _words(document: Document, path: Path, words: Sequence[str]) -> Iterable[tuple[Path, str]]:
    """Each word with its place: the item of a list, or the value that is the only one."""
    is_list = (*path, 0) in document.values
    return [((*path, index) if is_list else path, word) for index, word in enumerate(words)]
