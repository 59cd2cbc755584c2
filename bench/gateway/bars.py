"""A bar chart as SVG, legible on light and dark pages."""

from collections.abc import Mapping
from html import escape

WIDTH, LEFT, TOP, STEP, BAR = 640, 110, 36, 30, 18
OURS, OTHERS, GREY = "#2f6fde", "#9aa4b2", "#808080"


def bars(title: str, values: Mapping[str, float], ours: str = "imagerouter") -> str:
    """One bar for each name, the shortest first."""
    scale = (WIDTH - LEFT - 70) / max(values.values())
    height = TOP + STEP * len(values) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13" fill="{GREY}">',
        f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for place, (name, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        y, length = TOP + STEP * place, max(1.0, value * scale)
        color = OURS if name == ours else OTHERS
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{color}"/>',
            f'<text x="{LEFT + length + 6:.1f}" y="{y + 14}">{value:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
