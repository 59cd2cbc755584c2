"""What the evaluation asks, by category: only combinations that training left out, each with a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from . import patterns
from .captions import article, plural
from .palette import COLOURS
from .shapes import SHAPES
from .wishes import Item, Pattern, Wish, single_wishes

ON = ("{obj} on {bg}", "{obj} on {bg_article} background", "{obj}, {bg} background")
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
AT = {
    "left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom",
    "centre": "in the centre",
}  # fmt: skip
RELATIONS = (
    ("{a} to the left of {b}", False, False), ("{a} to the right of {b}", False, True),
    ("{a} above {b}", True, False), ("{a} below {b}", True, True), ("{a} and {b}", False, False),
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    category: str
    prompt: str
    wish: Wish | Pattern
    seed: int


def _on(said: str, background: str, index: int) -> str:
    return ON[index % len(ON)].format(obj=said, bg=background, bg_article=article(background))


def _unseen(random: Random) -> Iterator[Wish]:
    """Held-out single objects, each once before any comes twice."""
    wishes = [wish for wish in single_wishes() if wish.held_out]
    while True:
        random.shuffle(wishes)
        yield from wishes


def _single(random: Random, count: int) -> Iterator[tuple[str, Wish]]:
    for index, wish in zip(range(count), _unseen(random), strict=False):
        item = wish.items[0]
        bare = f"{item.colour} {item.shape}"
        yield _on(bare if index // 110 % 3 == 2 else article(bare), wish.background, index // 110), wish


def _places(random: Random, count: int) -> Iterator[tuple[str, Wish]]:
    for index, wish in zip(range(count), _unseen(random), strict=False):
        place = list(AT)[index % len(AT)]
        item = replace(wish.items[0], place=place)
        said = f"{article(f'{item.colour} {item.shape}')} {AT[place]}"
        yield _on(said, wish.background, index // 5), replace(wish, items=(item,))


def _sizes(random: Random, count: int) -> Iterator[tuple[str, Wish]]:
    for index, wish in zip(range(count), _unseen(random), strict=False):
        word = ("small", "large", "small", "big")[index % 4]
        item = replace(wish.items[0], size="small" if word == "small" else "large")
        yield _on(f"a {word} {item.colour} {item.shape}", wish.background, index // 4), replace(wish, items=(item,))


def _counts(random: Random, count: int) -> Iterator[tuple[str, Wish]]:
    done = 0
    while done < count:
        number = done % 4 + 1
        colour, background = random.sample(list(COLOURS), 2)
        item = Item(colour, random.choice(list(SHAPES)))
        wish = Wish(background, (item,) * number)
        if wish.held_out:
            bare = f"{colour} {item.shape}"
            said = f"{NUMBERS[number]} {plural(bare) if number > 1 else bare}"
            yield _on(said, background, done // 4), wish
            done += 1


def _pairs(random: Random, count: int) -> Iterator[tuple[str, Wish]]:
    done = 0
    while done < count:
        relation, stacked, swapped = RELATIONS[done % len(RELATIONS)]
        one, two, background = random.sample(list(COLOURS), 3)
        items = (Item(one, random.choice(list(SHAPES))), Item(two, random.choice(list(SHAPES))))
        wish = Wish(background, items[::-1] if swapped else items, stacked)
        if wish.held_out:
            names = {name: article(f"{i.colour} {i.shape}") for name, i in zip("ab", items, strict=True)}
            yield _on(relation.format(**names), background, done // len(RELATIONS)), wish
            done += 1


def _patterns(random: Random, count: int) -> Iterator[tuple[str, Pattern]]:
    unseen = [wish for wish in patterns.wishes() if wish.held_out]
    for index, wish in enumerate(random.sample(unseen, min(count, len(unseen)))):
        first, second = wish.colours
        if wish.kind == "checkerboard":
            yield f"{article(first)} and {second} checkerboard", wish
        else:
            way = "" if wish.kind.startswith("vertical") and index % 2 else wish.kind.split()[0]
            yield f"{way} {first} and {second} stripes".strip(), wish


Category = Callable[[Random, int], Iterator[tuple[str, Wish | Pattern]]]
CATEGORIES: dict[str, Category] = {
    "one object": _single,
    "place": _places,
    "size": _sizes,
    "count": _counts,
    "two objects": _pairs,
    "pattern": _patterns,
}


def questions(count: int, seed: int, categories: tuple[str, ...] = tuple(CATEGORIES)) -> list[Question]:
    """`count` questions in each category, always the same ones for the same seed."""
    asked = []
    for category in categories:
        random = Random(f"{seed}/{category}")
        for prompt, wish in CATEGORIES[category](random, count):
            asked.append(Question(category, prompt, wish, random.randrange(2**32)))
    return asked
