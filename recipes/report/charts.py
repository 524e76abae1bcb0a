"""Line charts as inline SVG. Colours are CSS variables, so one drawing serves light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 38


@dataclass(frozen=True)
class Line:
    """One curve: its name, its points, and how it is drawn (``style``, a CSS class: ``a``, ``b``, ``faint``, ``c0``)."""

    name: str
    points: Points
    style: str = "a"
    dots: bool = False


def line_chart(title: str, lines: Sequence[Line], x_label: str = "step") -> str:
    """A chart of curves over steps, with axes, a grid and a legend; hovering a dot shows its value.

    Args:
        title: the accessible name, also shown above.
        lines: at least one; points that are not finite are left out.

    Example:
        >>> svg = line_chart("loss", [Line("train", [(1, 2.0), (2, 1.0)])])
        >>> svg.startswith('<figure class="chart">') and "polyline" in svg
        True
    """
    lines = [Line(line.name, [p for p in line.points if math.isfinite(p[1])], line.style, line.dots) for line in lines]
    every = [p for line in lines for p in line.points]
    if not every:
        return f'<figure class="chart"><figcaption>{escape(title)}</figcaption><p class="quiet">nothing recorded</p></figure>'
    x_ticks = ticks(min(p[0] for p in every), max(p[0] for p in every))
    y_ticks = ticks(min(p[1] for p in every), max(p[1] for p in every))
    place = _Scale(x_ticks[0], x_ticks[-1], y_ticks[0], y_ticks[-1])
    parts = [_grid(place, x_ticks, y_ticks, x_label), *(_curve(place, line) for line in lines)]
    legend = "".join(f'<span class="key {line.style}">{escape(line.name)}</span>' for line in lines if line.name)
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption><div class="legend">{legend}</div>{svg}</figure>'


@dataclass(frozen=True)
class _Scale:
    """Data coordinates to SVG ones."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / (self.x1 - self.x0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (_HEIGHT - _TOP - _BOTTOM)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that enclose ``low`` and ``high``, about ``count`` of them.

    Example:
        >>> ticks(0.13, 0.91)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        spread = abs(low) or 1.0
        low, high = low - spread / 2, high + spread / 2
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * min(m for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def _grid(place: _Scale, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str) -> str:
    parts = []
    for value in y_ticks:
        y = place.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.6g}</text>')
    for value in x_ticks:
        parts.append(
            f'<text class="tick" x="{place.x(value):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{value:.6g}</text>'
        )
    parts.append(f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>')
    return "".join(parts)


def _curve(place: _Scale, line: Line) -> str:
    path = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in line.points)
    drawn = f'<polyline class="curve {line.style}" points="{path}"/>' if len(line.points) > 1 else ""
    if line.dots or len(line.points) == 1:
        for x, y in line.points:
            label = f"<title>{escape(line.name)} {y:.6g} at {x:g}</title>"
            drawn += f'<circle class="dot {line.style}" cx="{place.x(x):.1f}" cy="{place.y(y):.1f}" r="3.5">{label}</circle>'
    return drawn


def thinned(points: Points, limit: int = 400) -> Points:
    """At most ``limit`` points, evenly picked, the last one among them: a page stays small after a million steps."""
    if len(points) <= limit:
        return points
    picks = np.linspace(0, len(points) - 1, limit).round().astype(int)
    return [points[i] for i in picks]


def smoothed(points: Points, weight: float | None = None) -> Points:
    """An exponential average, unbiased at the start (as Adam's moments are).

    Args:
        points: the curve.
        weight: of what was before; left out, so much that about twenty averages fit into the curve.

    Example:
        >>> smoothed([(1, 4.0), (2, 4.0)])
        [(1, 4.0), (2, 4.0)]
    """
    weight = min(0.98, max(0.0, 1 - 20 / max(1, len(points)))) if weight is None else weight
    total, scale, result = 0.0, 0.0, []
    for x, y in points:
        if math.isfinite(y):
            total, scale = weight * total + (1 - weight) * y, weight * scale + (1 - weight)
            result.append((x, round(total / scale, 12)))
    return result
