"""Pictures inside of texts. Texts may hold megabytes of base64, and what was written to keep a server busy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, pairwise

from imagerouter.storage.links import parts

_HEAD = re.compile(r"!\[[^\[\]]*\]\(\s*<?(?=data:image/|https?://)", re.ASCII)
"""What stands before an address. The address itself is searched for its end: a pattern takes ten times as long."""


def picture(address: str) -> str:
    """A text that every chat client shows as the picture."""
    return f"![image]({address})"


def split(text: str) -> tuple[str, list[str]]:
    """What a text says, and the pictures in it that count: data URLs, and links of this server's own."""
    said, found, start = list[str](), list[str](), 0
    for begin, end, address in _pictures(text):
        if address.startswith("data:") or parts(address) is not None:
            said.append(text[start:begin])
            found.append(address)
            start = end
    said.append(text[start:])
    return "".join(said).strip(), found


def _pictures(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each picture begins and ends, and its address. No part of a text is looked at more often than twice."""
    end = -1
    for head, following in pairwise(chain(_HEAD.finditer(text), (None,))):
        assert head is not None
        if end < head.end():
            end = text.find(")", head.end())
        if end < 0:
            return
        if following is None or end < following.start():
            address = text[head.end() : end].partition(" ")[0]  # a title may follow
            yield head.start(), end + 1, address.rstrip(">")
