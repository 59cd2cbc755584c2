"""Simple sky-and-ground pictures: the other thing the model can draw."""

from __future__ import annotations

from random import Random

import numpy as np

from .captions import article
from .palette import COLOURS, Rgb, jitter, mix
from .scenes import Backdrop, Scene, Thing
from .shapes import SHAPES, Outline

SKIES: dict[str, tuple[Rgb, Rgb]] = {
    "blue sky": ((70, 140, 230), (150, 200, 245)),
    "sunset sky": ((90, 60, 130), (250, 150, 70)),
    "night sky": ((10, 12, 40), (30, 35, 85)),
    "grey sky": ((130, 138, 148), (180, 186, 192)),
    "pink sky": ((235, 130, 170), (250, 190, 205)),
}
SKY_WORDS: dict[str, tuple[str, ...]] = {
    "blue sky": ("a blue sky", "a clear sky", "a blue sky", "a sunny sky"),
    "sunset sky": ("a sunset sky", "an orange sky", "a sunset"),
    "night sky": ("a night sky", "a dark sky", "the night sky", "a starry sky"),
    "grey sky": ("a grey sky", "a cloudy sky", "a gray sky"),
    "pink sky": ("a pink sky", "a sunrise sky", "a sunrise"),
}
GROUNDS: dict[str, tuple[Rgb, Rgb]] = {
    "field": ((90, 175, 70), (60, 140, 50)),
    "sea": ((30, 95, 165), (15, 60, 120)),
    "desert": ((235, 205, 140), (215, 175, 105)),
    "snow": ((250, 250, 252), (225, 232, 242)),
    "hills": ((70, 150, 75), (45, 115, 55)),
    "mountains": ((105, 100, 115), (80, 120, 70)),
}
GROUND_WORDS: dict[str, tuple[str, ...]] = {
    "field": ("a green field", "a meadow", "green grass", "a field", "a green meadow"),
    "sea": ("the sea", "the ocean", "a blue sea", "the water"),
    "desert": ("a desert", "yellow sand", "a beach", "sand dunes"),
    "snow": ("snow", "a snowy field", "white snow"),
    "hills": ("green hills", "hills", "rolling hills"),
    "mountains": ("mountains", "grey mountains", "the mountains"),
}

PLASTER: Rgb = (238, 228, 205)
HOUSES: dict[str, Rgb] = {name: COLOURS[name] for name in ("red", "yellow", "blue", "white", "pink", "brown")}


def _disc(x: float, y: float, radius: float) -> Outline:
    return SHAPES["circle"].placed(x, y, radius)


def _ridge(random: Random, width: int, height: int, horizon: float, rise: float, jagged: bool) -> Outline:
    """A skyline from edge to edge: a sum of slow waves, or a zigzag of peaks."""
    if jagged:
        count = random.randint(4, 7)
        x = np.linspace(-0.1 * width, 1.1 * width, count * 2 + 1)
        y = horizon - rise * np.array([random.uniform(0.6, 1.3) if i % 2 else 0.0 for i in range(len(x))])
    else:
        x = np.linspace(0, width, 25)
        wave = np.sin(x / width * random.uniform(5, 9) + random.uniform(0, 6)) + 1
        y = horizon - rise * wave / 2
    top = np.stack([x, y], axis=1)
    bottom = np.array([[1.1 * width, height + 2], [-0.1 * width, height + 2]])
    return Outline(np.concatenate([top, bottom]).astype(np.float32))


def _ground(kind: str, horizon: float, scene: Scene, random: Random) -> None:
    """The ground covers whatever of the sky dips below the horizon, such as a setting sun."""
    width, height = scene.width, scene.height
    dim = 0.55 if scene.backdrop.above[2] < 60 else 0.0
    far, near = (mix(jitter(colour, random, 6), (5, 8, 30), dim) for colour in GROUNDS[kind])
    if kind in ("hills", "mountains"):
        rise = height * random.uniform(0.12, 0.2)
        scene.things.append(Thing(_ridge(random, width, height, horizon, rise, kind == "mountains"), far))
        scene.things.append(Thing(_ridge(random, width, height, horizon + rise * 0.6, rise * 0.5, False), near))
        return
    corners = np.array([(0, horizon), (width, horizon), (width, height), (0, height)], np.float32)
    scene.things.append(Thing(Outline(corners), near))


def _sky_thing(kind: str, scene: Scene, horizon: float, random: Random) -> None:
    width, side = scene.width, min(scene.width, scene.height)
    x, y = width * random.choice((0.24, 0.76)) + side * random.gauss(0, 0.02), side * random.gauss(0.2, 0.01)
    radius = side * random.uniform(0.105, 0.13)
    if kind == "sun":
        scene.things.append(Thing(_disc(x, y, radius), jitter((255, 222, 60), random, 6)))
    elif kind == "low sun":
        x = width * random.gauss(0.5, 0.02)
        scene.things.append(Thing(_disc(x, horizon - radius * 0.2, radius * 1.3), (255, 205, 80)))
    elif kind == "moon":
        scene.things.append(Thing(_disc(x, y, radius), (240, 238, 215)))
    elif kind == "crescent moon":
        scene.things.append(Thing(SHAPES["crescent"].placed(x, y, radius), (240, 238, 215)))
    elif kind == "stars":
        for _ in range(random.randint(8, 12)):
            place = width * random.uniform(0.03, 0.97), horizon * random.uniform(0.04, 0.85)
            scene.things.append(Thing(_disc(*place, random.uniform(4.0, 5.5)), (245, 245, 225)))
    elif kind == "clouds":
        for at in (0.28, 0.72):
            _cloud(scene, width * random.gauss(at, 0.03), side * random.uniform(0.13, 0.25), side * 0.085)


def _cloud(scene: Scene, x: float, y: float, radius: float) -> None:
    for dx, dy, share in ((-1.1, 0.1, 0.75), (0, -0.25, 1.0), (1.1, 0.1, 0.8)):
        scene.things.append(Thing(_disc(x + dx * radius, y + dy * radius, radius * share), (248, 250, 252)))


def _moved(points: list[tuple[float, float]], x: float, y: float, size: float) -> Outline:
    return Outline(np.array(points, np.float32) * size + np.array([x, y], np.float32))


def _house(scene: Scene, x: float, y: float, size: float, colour: Rgb, random: Random) -> None:
    """`y` is where the house stands; it is two sizes wide."""
    roof = mix(colour, (70, 25, 20), 0.75) if colour != COLOURS["red"] else (90, 55, 40)
    if colour == PLASTER:
        roof = (190, 60, 45)
    scene.things.append(Thing(_moved([(-1, 0), (-1, -1.4), (1, -1.4), (1, 0)], x, y, size), jitter(colour, random, 6)))
    scene.things.append(Thing(_moved([(-1.25, -1.35), (0, -2.4), (1.25, -1.35)], x, y, size), roof))
    door = [(-0.25, 0.0), (-0.25, -0.8), (0.25, -0.8), (0.25, 0.0)]
    scene.things.append(Thing(_moved(door, x, y, size), COLOURS["brown"] if colour != COLOURS["brown"] else PLASTER))


def _tree(scene: Scene, x: float, y: float, size: float, random: Random) -> None:
    trunk = [(-0.22, 0.0), (-0.22, -1.2), (0.22, -1.2), (0.22, 0.0)]
    scene.things.append(Thing(_moved(trunk, x, y, size), COLOURS["brown"]))
    scene.things.append(Thing(_disc(x, y - size * 1.7, size), jitter((35, 110, 50), random)))


def _boat(scene: Scene, x: float, y: float, size: float) -> None:
    hull = [(-1.2, 0.0), (1.2, 0.0), (0.75, 0.55), (-0.75, 0.55)]
    scene.things.append(Thing(_moved(hull, x, y, size), COLOURS["brown"]))
    scene.things.append(Thing(_moved([(-0.1, -1.8), (0.9, -0.15), (-0.1, -0.15)], x, y, size), COLOURS["white"]))


def _foreground(front: tuple[str, ...], scene: Scene, horizon: float, random: Random) -> str:
    """Paints what stands on the ground, from left to right, and says it."""
    side, said = min(scene.width, scene.height), []
    middles = (0.5,) if len(front) == 1 else (0.3, 0.72)
    for kind, middle in zip(front, middles, strict=True):
        x = scene.width * random.gauss(middle, 0.02)
        y = horizon + (scene.height - horizon) * random.uniform(0.4, 0.55)
        size = side * random.uniform(0.14, 0.165)
        if kind == "house":
            colour = random.choice(list(HOUSES)) if random.random() < 0.5 else ""
            _house(scene, x, y, size, HOUSES.get(colour, PLASTER), random)
            said.append(article(f"{colour} house".strip()))
        elif kind == "tree":
            _tree(scene, x, y + side * 0.03, size * 0.9, random)
            said.append("a tree")
        else:
            _boat(scene, x, y, size)
            said.append(random.choice(("a boat", "a boat", "a sailing boat", "a ship")))
    if len(said) == 2 and random.random() < 0.2:
        said.reverse()
    return " and ".join(said).replace("a tree and a tree", random.choice(("two trees", "trees")))


SKY_EXTRAS = {
    "blue sky": ("", "sun", "clouds", "sun"),
    "sunset sky": ("low sun", "low sun", ""),
    "night sky": ("moon", "stars", "moon", "crescent moon"),
    "grey sky": ("clouds", ""),
    "pink sky": ("low sun", "", "clouds"),
}
EXTRA_WORDS: dict[str, tuple[str, ...]] = {
    "sun": ("a yellow sun", "the sun", "a sun"), "low sun": ("the setting sun", "a low sun", "the sun", "sun"),
    "moon": ("a moon", "the moon", "a full moon", "moon"), "crescent moon": ("a crescent moon", "a crescent moon"),
    "stars": ("stars",), "clouds": ("white clouds", "clouds"),
}  # fmt: skip
FRONTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "field": (("tree",), ("house",), ("house",), ("house", "tree"), ("tree", "house"), ("tree", "tree")),
    "sea": (("boat",),),
    "snow": (("tree",), ("house",), ("house", "tree")),
    "hills": (("tree",), ("house",)),
    "desert": (("house",),),
}


def _caption(sky: str, ground: str, extra: str, front: str, random: Random) -> str:
    sky_words, ground_words = random.choice(SKY_WORDS[sky]), random.choice(GROUND_WORDS[ground])
    if front:
        ground_words = f"{front} {'in' if ground == 'hills' else 'on'} {ground_words}"
    plain_sky = sky_words.removeprefix("a ").removeprefix("the ")
    forms = [f"{ground_words} under {sky_words}", f"{plain_sky} over {ground_words}", f"{ground_words}, {plain_sky}"]
    if sky == "sunset sky":
        forms += [f"sunset over {ground_words}", f"a sunset over {ground_words}"]
    if sky == "night sky":
        forms += [f"{ground_words} at night"]
    if not extra:
        return random.choice(forms)
    thing = random.choice(EXTRA_WORDS[extra])
    forms = [f"{form} with {thing}" for form in forms]
    forms += [f"{thing} over {ground_words}", f"{plain_sky} with {thing} over {ground_words}"]
    return random.choice(forms)


def draw_landscape(random: Random, size: tuple[int, int]) -> Scene:
    width, height = size
    sky, ground = random.choice(list(SKIES)), random.choice(list(GROUNDS))
    extra = random.choice(SKY_EXTRAS[sky])
    front = random.choice(FRONTS[ground]) if ground in FRONTS and random.random() < 0.55 else ()
    if front and random.random() < 0.15:
        sky, extra = "blue sky", ""
    horizon = round(height * random.uniform(0.54, 0.62))
    above, below = (jitter(colour, random, 6) for colour in SKIES[sky])
    scene = Scene("", width, height, Backdrop(above, below))
    if extra:
        _sky_thing(extra, scene, horizon, random)
    _ground(ground, horizon, scene, random)
    said = _foreground(front, scene, horizon, random) if front else ""
    alone = said and sky == "blue sky" and not extra and random.random() < 0.5
    scene.caption = said if alone else _caption(sky, ground, extra, said, random)
    return scene
