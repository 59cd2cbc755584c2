"""A line chart as SVG, legible on light and dark pages."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 360, 56, 40, 130, 48
COLORS = ("#2f6fde", "#d9532c", "#3a9a5b")
GREY = "#808080"


def chart(title: str, across: str, xs: Sequence[float], lines: Mapping[str, Sequence[float]], top: float = 1.2) -> str:
    """Ratios from 0 to ``top`` over ``xs``, with a rule at 1."""

    def x(value: float) -> float:
        return LEFT + (value - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        text(LEFT, 20, title, weight="bold"),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, across, anchor="middle"),
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        dash = "" if tick in (0.0, 1.0) else ' stroke-dasharray="2 4"'
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{GREY}"{dash}/>'
        )
        parts.append(text(LEFT - 8, y(tick) + 4, f"{tick:g}", anchor="end"))
    parts += [text(x(value), HEIGHT - BOTTOM + 18, f"{value:g}", anchor="middle") for value in xs]
    parts.append(text(WIDTH - RIGHT + 8, y(1) + 4, "SwarmUI's rule"))
    ends = spread([y(values[-1]) for values in lines.values()], 15)
    for (name, values), color, end in zip(lines.items(), COLORS, ends, strict=False):
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, values, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        parts.append(text(WIDTH - RIGHT + 8, end + 4, name, color=color))
    return "\n".join([*parts, "</svg>", ""])


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The places of labels, moved down where they would overlap."""
    moved: dict[int, float] = {}
    last = float("-inf")
    for index in sorted(range(len(places)), key=lambda i: places[i]):
        last = moved[index] = max(places[index], last + gap)
    return [moved[index] for index in range(len(places))]


def text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal", color: str = GREY) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{color}">'
        f"{escape(words)}</text>"
    )
