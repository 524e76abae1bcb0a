"""The confusion matrix and the reliability diagram as inline SVG; colours are CSS variables, as in the charts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from ...core.scores.calibration import BINS, Reliability

_SIDE, _LEFT, _TOP, _BOTTOM = 300, 46, 12, 44


def reliability_diagram(found: Reliability) -> str:
    """Accuracy over confidence, a pillar a bin, with the gap to the diagonal: above it the model is too modest, below too sure.

    Example:
        >>> r = Reliability()
        >>> r.add(np.array([0.9, 0.8]), np.array([True, False]))
        >>> svg = reliability_diagram(r)
        >>> svg.count('class="pillar"'), svg.count('class="gap"'), svg.count('class="extra"')
        (2, 1, 1)
    """
    parts = [_axes()]
    for confidence, accuracy, count in found.bins():
        place = min(int(confidence * BINS), BINS - 1)
        x, width = _x(place / BINS) + 1, _SIDE / BINS - 2
        title = f"<title>{count} samples, {100 * confidence:.1f} % sure, {100 * accuracy:.1f} % right</title>"
        low, high = sorted((confidence, accuracy))
        pillar = f'x="{x:.1f}" y="{_y(low):.1f}" width="{width:.1f}" height="{low * _SIDE:.1f}"'
        gap = f'x="{x:.1f}" y="{_y(high):.1f}" width="{width:.1f}" height="{(high - low) * _SIDE:.1f}"'
        kind = "gap" if confidence > accuracy else "extra"
        parts.append(f'<g>{title}<rect class="pillar" {pillar}/><rect class="{kind}" {gap}/></g>')
    parts.append(f'<line class="even" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>')
    width, height = _LEFT + _SIDE + 24, _TOP + _SIDE + _BOTTOM
    svg = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="reliability diagram">{"".join(parts)}</svg>'
    named = (("a", "right"), ("gap", "more sure than right"), ("extra", "more right than sure"))
    legend = "".join(f'<span class="key {kind}">{name}</span>' for kind, name in named)
    return f'<figure class="chart"><figcaption>Reliability</figcaption><div class="legend">{legend}</div>{svg}</figure>'


def _x(value: float) -> float:
    return _LEFT + value * _SIDE


def _y(value: float) -> float:
    return _TOP + (1 - value) * _SIDE


def _axes() -> str:
    parts = []
    for tick in range(0, 101, 20):
        x, y = _x(tick / 100), _y(tick / 100)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _SIDE}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_tick(f"{tick} %", _LEFT - 6, y + 4, 'text-anchor="end"'))
        parts.append(_tick(f"{tick} %", x, _TOP + _SIDE + 18, 'text-anchor="middle"'))
    parts.append(_tick("how sure the model is", _LEFT + _SIDE / 2, _TOP + _SIDE + 38, 'text-anchor="middle"'))
    return "".join(parts)


def confusion_matrix(matrix: np.ndarray, labels: Sequence[str]) -> str:
    """Rows are true classes, columns predictions; shade by share of the row.

    Args:
        matrix: counts, (K, K), whole numbers.
        labels: K names.
    """
    k = len(labels)
    cell = 44 if k <= 12 else 30
    names = [escape(shortened(label)) for label in labels]
    longest = max(len(shortened(label)) for label in labels)
    margin = 14 + 7.2 * longest
    above = 20 + 5.2 * longest  # the names above the columns lean to the right
    parts = []
    for row in range(k):
        total = max(1, int(matrix[row].sum()))
        middle = row * cell + cell / 2
        parts.append(_tick(names[row], margin - 8, above + middle + 4, 'text-anchor="end"'))
        x = margin + middle
        parts.append(_tick(names[row], x, above - 8, f'transform="rotate(-45 {x:.0f} {above - 8:.0f})"'))
        parts += [_cell(int(matrix[row, column]), total, row, column, margin, above, cell, labels) for column in range(k)]
    width, height = margin + k * cell + 5.2 * longest, above + k * cell
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px; min-width:{min(width, 26 * k + margin):.0f}px"'
    return f'<div class="scroll"><svg class="matrix" {box} role="img" aria-label="confusion matrix">{"".join(parts)}</svg></div>'


def shortened(label: str) -> str:
    """A label cut to what fits beside the matrix.

    Example:
        >>> shortened("Carcharodon carcharias")
        'Carcharodon carch…'
    """
    return label if len(label) <= 18 else label[:17] + "…"


def _tick(text: str, x: float, y: float, more: str) -> str:
    return f'<text class="tick" x="{x:.0f}" y="{y:.0f}" {more}>{text}</text>'


def _cell(count: int, total: int, row: int, column: int, margin: float, above: float, cell: int, labels: Sequence[str]) -> str:
    share = count / total
    x, y = margin + column * cell, above + row * cell
    kind = "right" if row == column else "wrong"
    strong = " strong" if share > 0.3 else ""
    box = f'x="{x:.0f}" y="{y:.0f}" width="{cell - 2}" height="{cell - 2}" rx="3"'
    parts = [
        f"<title>{escape(labels[row])} taken for {escape(labels[column])}: {count} of {total}</title>",
        f'<rect class="empty" {box}/>',
        # The square root lets a rare mistake be seen beside a diagonal of nearly everything.
        f'<rect class="{kind}" {box} style="fill-opacity:{share**0.5:.2f}"/>',
        _number(count, x + cell / 2 - 1, y + cell / 2 + 4, strong) if count else "",
    ]
    return f"<g>{''.join(parts)}</g>"


def _number(count: int, x: float, y: float, strong: str) -> str:
    return f'<text class="count{strong}" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{count}</text>'
