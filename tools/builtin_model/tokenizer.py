"""A byte-level BPE in which every word the model knows is one token, and any other text still works."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from . import captions
from .families import FAMILIES
from .palette import COLOUR_SYNONYMS, COLOURS
from .shapes import SHAPE_SYNONYMS, SHAPES

CONTEXT = 32
START, END, LAST = "<|startoftext|>", "<|endoftext|>", "</w>"


@cache
def words() -> list[str]:
    """Every word a training caption can hold, in a fixed order; the first ones matter most."""
    key = [*COLOURS, *SHAPES, *captions.SIZE_WORDS, *captions.SHADES]
    for group in (*captions.NUMBERS.values(), *captions.PLACE_WORDS.values()):
        key += [word for name in group for word in name.split()]
    for group in (*COLOUR_SYNONYMS.values(), *SHAPE_SYNONYMS.values()):
        key += [word for name in group for word in name.split()]
    rest = [*plurals()]  # some of them are rare
    random = Random(0)
    # Whatever the shares of the families: a vocabulary must outlive a change of curriculum.
    for _, draw in FAMILIES.values():
        for _ in range(1000):
            rest += draw(random, (256, 256)).caption.replace(",", " ").split()
    return list(dict.fromkeys(key + sorted(set(rest)) + [","]))


def likenesses() -> dict[str, str]:
    """Words that mean nearly the same as another: they start with its vector, so what one learns all know."""
    groups = (COLOUR_SYNONYMS, SHAPE_SYNONYMS, captions.SIZE_WORDS)
    like = {word: name for group in groups for name, words in group.items() for word in words if " " not in word}
    like |= {word: names[0] for names in captions.NUMBERS.values() for word in names if word.isdigit()}
    return {word: name for word, name in (like | {"center": "centre"}).items() if word != name}


def plurals() -> dict[str, str]:
    names = [*SHAPES, *(word for group in SHAPE_SYNONYMS.values() for word in group)]
    return {captions.plural(name): name for name in names if " " not in name}


def build() -> CLIPTokenizer:
    """Merges to completion, so no known word is left in pieces, and in an order that never varies."""
    # The usual trainer breaks ties at random, and weights are worth nothing under another numbering.
    pieces = [[*word[:-1], word[-1] + LAST] for word in words()]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in pieces for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = [_merged(word, best) for word in pieces]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # A lone last letter needs its own token, or unknown words would lose it.
    tokens = [START, END, *alphabet, *(symbol + LAST for symbol in alphabet), *(a + b for a, b in merges)]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def reload(tokenizer: CLIPTokenizer) -> CLIPTokenizer:
    """The tokenizer as users will load it, which is the one to train with."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return CLIPTokenizer.from_pretrained(Path(folder))


def check(tokenizer: CLIPTokenizer) -> None:
    for word in words():
        ids = tokenizer(word).input_ids
        if len(ids) != 3:
            raise ValueError(f"`{word}` is {len(ids) - 2} tokens, not one")
