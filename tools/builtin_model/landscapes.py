"""Simple sky-and-ground pictures: the other thing the model can draw."""

from __future__ import annotations

from random import Random

import numpy as np

from .objects import article, draw_object, draw_plain, jitter
from .palette import COLOURS, Rgb, mix
from .scenes import Band, Scene, Thing
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
    dim = 0.55 if scene.bands[0].above[2] < 60 else 0.0
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
    x, y = width * random.uniform(0.2, 0.8), horizon * random.uniform(0.25, 0.5)
    radius = side * random.uniform(0.08, 0.13)
    if kind == "sun":
        scene.things.append(Thing(_disc(x, y, radius), jitter((255, 222, 60), random, 6)))
    elif kind == "low sun":
        scene.things.append(Thing(_disc(x, horizon * random.uniform(0.8, 0.98), radius), (255, 205, 80)))
    elif kind == "moon":
        outline = _disc(x, y, radius) if random.random() < 0.6 else SHAPES["crescent"].placed(x, y, radius, -20)
        scene.things.append(Thing(outline, (240, 238, 215)))
    elif kind == "stars":
        for _ in range(random.randint(8, 14)):
            place = width * random.uniform(0.03, 0.97), horizon * random.uniform(0.04, 0.9)
            scene.things.append(Thing(_disc(*place, random.uniform(2.5, 4.5)), (245, 245, 225)))
    elif kind == "clouds":
        for _ in range(random.randint(2, 3)):
            _cloud(scene, width * random.uniform(0.15, 0.85), horizon * random.uniform(0.2, 0.65), side * 0.075)


def _cloud(scene: Scene, x: float, y: float, radius: float) -> None:
    for dx, dy, share in ((-1.1, 0.1, 0.75), (0, -0.25, 1.0), (1.1, 0.1, 0.8)):
        scene.things.append(Thing(_disc(x + dx * radius, y + dy * radius, radius * share), (248, 250, 252)))


def _foreground(kind: str, scene: Scene, horizon: float, random: Random) -> None:
    side = min(scene.width, scene.height)
    x, y = (
        scene.width * random.uniform(0.25, 0.75),
        horizon + (scene.height - horizon) * random.uniform(0.25, 0.5),
    )
    size = side * random.uniform(0.11, 0.15)
    if kind == "tree":
        trunk = SHAPES["square"].points * np.array([0.2, 0.75], np.float32) * size + np.array([x, y], np.float32)
        scene.things.append(Thing(Outline(trunk), COLOURS["brown"]))
        scene.things.append(Thing(_disc(x, y - size * 1.35, size), jitter((35, 110, 50), random)))
    elif kind == "house":
        scene.things.append(Thing(SHAPES["square"].placed(x, y, size), jitter((235, 225, 205), random)))
        roof = SHAPES["triangle"].points * np.array([1.1, 0.55], np.float32) * size
        scene.things.append(Thing(Outline(roof + np.array([x, y - size * 1.25], np.float32)), (190, 60, 45)))
    elif kind == "boat":
        hull = np.array([(-1, 0), (1, 0), (0.65, 0.45), (-0.65, 0.45)], np.float32) * size
        sail = np.array([(0, -1.6), (0.8, -0.15), (0, -0.15)], np.float32) * size
        move = np.array([x, y], np.float32)
        scene.things.append(Thing(Outline(hull + move), COLOURS["brown"]))
        scene.things.append(Thing(Outline(sail + move), COLOURS["white"]))


def _sky_extra(sky: str, random: Random) -> str:
    choices = {
        "blue sky": ("", "sun", "clouds", "sun"),
        "sunset sky": ("low sun", "low sun", ""),
        "night sky": ("moon", "stars", "moon"),
        "grey sky": ("clouds", ""),
        "pink sky": ("low sun", "", "clouds"),
    }
    return random.choice(choices[sky])


def _caption(sky: str, ground: str, extra: str, front: str, random: Random) -> str:
    sky_words, ground_words = random.choice(SKY_WORDS[sky]), random.choice(GROUND_WORDS[ground])
    if front:
        ground_words = f"{article(front)} {'on' if ground != 'hills' else 'in'} {ground_words}"
    named = {
        "sun": ("a yellow sun", "the sun", "a sun"), "low sun": ("the setting sun", "a low sun", "sun"),
        "moon": ("a moon", "the moon", "moon"), "stars": ("stars",), "clouds": ("white clouds", "clouds"),
    }  # fmt: skip
    plain_sky = sky_words.removeprefix("a ").removeprefix("the ")
    below = ground_words
    forms = [f"{below} under {sky_words}", f"{plain_sky} over {below}", f"{below}, {plain_sky}"]
    if sky == "sunset sky":
        forms += [f"sunset over {ground_words}", f"a sunset over {ground_words}"]
    if sky == "night sky":
        forms += [f"{ground_words} at night"]
    if not extra:
        return random.choice(forms)
    thing = random.choice(named[extra])
    forms = [f"{form} with {thing}" for form in forms]
    forms += [f"{thing} over {ground_words}", f"{plain_sky} with {thing} over {ground_words}"]
    return random.choice(forms)


def draw_landscape(random: Random, width: int, height: int) -> Scene:
    sky, ground = random.choice(list(SKIES)), random.choice(list(GROUNDS))
    extra = _sky_extra(sky, random)
    fronts = {"field": ("tree", "house"), "sea": ("boat",), "snow": ("tree", "house"), "hills": ("tree",)}
    front = random.choice(fronts[ground]) if ground in fronts and random.random() < 0.25 else ""
    horizon = round(height * random.uniform(0.5, 0.66))
    above, below = (jitter(colour, random, 6) for colour in SKIES[sky])
    scene = Scene(_caption(sky, ground, extra, front, random), width, height, [Band(0, above, below)])
    if extra:
        _sky_thing(extra, scene, horizon, random)
    _ground(ground, horizon, scene, random)
    if front:
        _foreground(front, scene, horizon, random)
    return scene


def draw_any(random: Random, width: int, height: int, simple: bool = False) -> Scene:
    """One training picture: seven in ten show a shape, most others a landscape."""
    kind = random.random()
    if kind < (0.88 if simple else 0.70):
        return draw_object(random, width, height, simple)
    if kind < 0.97:
        return draw_landscape(random, width, height)
    return draw_plain(random, width, height)
