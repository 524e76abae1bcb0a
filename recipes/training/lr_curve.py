"""The curve of a learning-rate sweep as an SVG picture that needs nothing else, readable on light and dark."""

from __future__ import annotations

import math
from html import escape

from .lr_finder import Curve, Point, ceiling

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 40, 48
_STYLE = """text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:15px;font-weight:600}.grid{stroke:#ddd}
.raw{fill:none;stroke:#9ab;stroke-width:1}.smooth{fill:none;stroke:#06c;stroke-width:2.5}.pick{stroke:#c30;stroke-dasharray:5 4}
.back{fill:#fff}.chosen{fill:#c30}
@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.raw{stroke:#678}.smooth{stroke:#6bf}.pick{stroke:#f96}
.back{fill:#181a1b}.chosen{fill:#f96}}"""


def svg(curve: Curve, title: str) -> str:
    """The smoothed loss over the rate (logarithmic), the losses behind it, and the suggestion.

    Args:
        curve: with at least two points.
        title: stands above the picture.
    """
    points = curve.points
    low, high = math.log10(points[0].lr), math.log10(points[-1].lr)
    least, most = min(p.smoothed for p in points), ceiling(points)
    room = 0.08 * (most - least or 1.0)
    bottom, top = least - room, most + room

    def x(rate: float) -> float:
        return LEFT + (math.log10(rate) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(loss: float) -> float:
        inside = min(max(loss, bottom), top)  # single losses, and the explosion, may lie far outside
        return HEIGHT - BOTTOM - (inside - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    def line(kind: str, values: list[tuple[float, float]]) -> str:
        path = " ".join(f"{x(rate):.1f},{y(loss):.1f}" for rate, loss in values)
        return f'<polyline class="{kind}" points="{path}"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
        f'<style>{_STYLE}</style><rect class="back" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>',
    ]
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = x(10.0**power)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">1e{power}</text>')
    for loss in _ticks(bottom, top):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(loss):.1f}" y2="{y(loss):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss:.4g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">learning rate</text>')
    parts += [line("raw", [(p.lr, p.loss) for p in points]), line("smooth", [(p.lr, p.smoothed) for p in points])]
    if curve.suggestion is not None:
        parts += _mark(x(curve.suggestion), y(_nearest(points, curve.suggestion).smoothed), curve.suggestion)
    return "\n".join([*parts, "</svg>\n"])


def _mark(x: float, y: float, rate: float) -> list[str]:
    side, anchor = (-8, "end") if x > WIDTH * 0.7 else (8, "start")
    return [
        f'<line class="pick" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>',
        f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
        f'<text class="chosen" x="{x + side:.1f}" y="{TOP + 14}" text-anchor="{anchor}">suggested {rate:.2g}</text>',
    ]


def _nearest(points: list[Point], rate: float) -> Point:
    return min(points, key=lambda p: abs(math.log(p.lr / rate)))


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between two.

    Example:
        >>> _ticks(0.3, 2.6)
        [0.5, 1.0, 1.5, 2.0, 2.5]
    """
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = min((unit * k for k in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
    first = math.ceil(low / step)
    return [round(k * step, 12) for k in range(first, math.floor(high / step) + 1)]
