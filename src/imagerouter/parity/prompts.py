r"""What a prompt means on one backend only. Canonical prompts are ComfyUI's: ``(a)``, ``(a:1.3)``, ``\(``.

Others have more, which is text to ComfyUI and to diffusers: A1111's ``[a]``, ``AND``, ``BREAK``, ``[a:b:0.5]``,
``<lora:a:1>`` and comments (its ``modules/prompt_parser.py``, ``extra_networks.py`` and
``processing_scripts/comments.py``). And some of ComfyUI's is text to A1111: ``embedding:a`` (``comfy/sd1_clip.py``).
"""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_REWRITTEN = "\u2018-\u201f\ufb00-\ufb06\uff01-\uff5e"
"""Typographic quotes, ligatures and wide letters, which A1111 makes plain ones (package ``ftfy``)."""
_SIGNS = re.compile(rf"[\[\]()<#&{_REWRITTEN}]|AND|BREAK|embedding:")
_FOREIGN = re.compile(rf"[\[\]#{_REWRITTEN}]|<\w+:|&#?\w+;|\bAND\b|\bBREAK\b|\bembedding:")
_WEIGHT = re.compile(r"\(")
_LONG = 200
"""Characters that may be more than one chunk of 75 tokens; what they really are, only a tokenizer can tell."""


def features(text: str) -> tuple[str, ...]:
    """Those of `imagerouter.parity.profile` that a prompt brings."""
    found: tuple[str, ...] = ("long_prompt",) if len(text) > _LONG else ()
    if _SIGNS.search(text) is None:
        return found
    plain = _ESCAPED.sub("", text)
    if _FOREIGN.search(plain) or _is_unbalanced(plain):
        found += ("syntax",)
    return (*found, "weights") if _WEIGHT.search(plain) else found


def _is_unbalanced(plain: str) -> bool:
    """Whether brackets are left open, which A1111 closes at the end and ComfyUI takes for text."""
    depth = 0
    for sign in re.findall(r"[()]", plain):
        depth += 1 if sign == "(" else -1
        if depth < 0:
            return True
    return depth != 0
