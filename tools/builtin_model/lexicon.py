"""Words that people use and training does not, with the nearest that it does; they travel beside the weights."""

from __future__ import annotations

# The nearest known words, then all that are read as them.
NEAREST = {
    "circle": "circular round sphere orb globe planet coin wheel pupil button bubble",
    "square": "rectangle cube block brick tile window quadratic",
    "triangle": "triangular tent cone wedge",
    "star": "asterisk starfish pentagram",
    "heart": "love-heart hearted valentine",
    "diamond": "gem jewel kite lozenge crystal",
    "cross": "crucifix",
    "ring": "annulus torus bagel doughnut tire tyre band halo",
    "crescent": "banana croissant",
    "arrow": "pointer cursor dart",
    "red": "ruby maroon cherry burgundy vermilion blood",
    "orange": "amber coral apricot peach copper",
    "yellow": "gold lemon mustard blond",
    "green": "lime olive mint jade",
    "cyan": "turquois",
    "blue": "navy sapphire indigo cobalt",
    "purple": "lilac lavender magenta mauve plum",
    "pink": "fuchsia salmon blush",
    "brown": "tan beige bronze wooden coffee",
    "black": "ebony jet",
    "grey": "silver slate ash charcoal",
    "white": "ivory cream blank",
    "one": "single",
    "two": "couple both double twin",
    "three": "triple trio",
    "four": "five six seven eight nine ten several many some quartet 5 6 7 8 9 10 11 12",
    "large": "giant enormous massive great gigantic",
    "small": "miniature mini minuscule short",
    "left": "west",
    "right": "east",
    "top": "north",
    "bottom": "south",
    "centre": "central",
    "below": "underneath down",
    "above": "atop up",
    "beside": "alongside near by nearby",
    "with": "plus containing having including",
    "and": "also then",
    "background": "backdrop canvas wallpaper paper wall",
    "stripes": "stripe striped lines bars",
    "checkerboard": "checkers chess checkered-board chequered chequerboard gingham",
    "dots": "spots spotted dotted speckles",
    "pattern": "texture motif",
    "horizontal": "sideways",
    "vertical": "upright",
    "field": "lawn pasture prairie garden park land ground farm",
    "sea": "lake river pond bay waves wave",
    "desert": "sahara dune",
    "snow": "winter ice arctic frozen",
    "hills": "hill valley landscape countryside",
    "mountains": "mountain peak alps volcano cliff",
    "night": "midnight evening space",
    "sunset": "dusk twilight",
    "sunrise": "dawn morning",
    "cloudy": "overcast rainy foggy stormy",
    "clouds": "cloud fog",
    "sunny": "bright summer daylight",
    "sun": "sunlight sunshine",
    "stars": "galaxy constellation",
    "house": "home cottage hut cabin barn building castle villa",
    "tree": "forest oak pine bush plant wood woods",
    "boat": "sailboat yacht vessel canoe",
    "sky": "heaven horizon air",
    "picture": "painting artwork graphic icon logo render scene sketch sign",
    "shape": "object form thing figure",
    "meadow": "spring",
}  # fmt: skip
# Words that add nothing here; nobody needs to be told that they were not read.
SILENT = """
the is are be it its it's this that these those there here very quite really please me my i we you your make draw
create generate show paint render give want would like can just so too as for from by be been being has have was were
simple minimal flat clean nice beautiful pretty lovely style quality best high detailed masterpiece hd 4k 8k sharp
vector art colour color coloured colored colours colors filled all only
"""


def means(known: set[str]) -> dict[str, str]:
    """Unknown word → the nearest of the known ones, empty for words that say nothing."""
    nearest = {word: name for name, words in NEAREST.items() for word in words.split()}
    table = dict.fromkeys(SILENT.split(), "") | nearest
    return {word: name for word, name in sorted(table.items()) if word not in known and name in known | {""}}
