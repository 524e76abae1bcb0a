"""Results on texts as pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...hub.results import shortened

if TYPE_CHECKING:
    from PIL.Image import Image

_INK, _PALE, _PAPER, _BAR = "#1b1f24", "#6b7280", "#ffffff", "#3b82c4"


def similarity(cosines: np.ndarray[Any, Any], texts: Sequence[str]) -> Image:
    """A square for each pair of texts, the darker the nearer, with the cosine in it."""
    from PIL import Image as pil
    from PIL import ImageDraw, ImageFont

    font, side, left, top = ImageFont.load_default(14), 56, 330, 16
    count = len(texts)
    sheet = pil.new("RGB", (left + count * side + 16, top + count * side + 28), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, text in enumerate(texts):
        pen.text((12, top + i * side + side // 2 - 8), f"{i}  {shortened(text, 38)}", fill=_INK, font=font)
        pen.text((left + i * side + side // 2 - 5, top + count * side + 6), str(i), fill=_PALE, font=font)
        for j in range(count):
            c = float(np.clip(cosines[i, j], 0, 1))
            colour = tuple(round(a + (b - a) * c) for a, b in zip((255, 255, 255), (29, 78, 137), strict=True))
            x, y = left + j * side, top + i * side
            pen.rectangle((x, y, x + side - 2, y + side - 2), fill=colour)
            pen.text((x + 12, y + side // 2 - 8), f"{cosines[i, j]:.2f}", fill="#ffffff" if c > 0.5 else _INK, font=font)
    return sheet


def classification(rows: Sequence[tuple[str, Sequence[str], Sequence[float]]]) -> Image:
    """Each text over bars for its classes."""
    from PIL import Image as pil
    from PIL import ImageDraw, ImageFont

    font, width, bar = ImageFont.load_default(15), 680, 22
    heights = [34 + bar * min(5, len(labels)) for _, labels, _ in rows]
    sheet = pil.new("RGB", (width, 16 + sum(heights)), _PAPER)
    pen, y = ImageDraw.Draw(sheet), 12
    for (text, labels, scores), height in zip(rows, heights, strict=True):
        pen.text((14, y), shortened(text, 80), fill=_INK, font=font)
        for k, (label, score) in enumerate(list(zip(labels, scores, strict=True))[:5]):
            line = y + 24 + k * bar
            pen.text((28, line - 3), shortened(label, 22), fill=_PALE, font=font)
            pen.rectangle((210, line, 600, line + 12), fill="#e5e7eb")
            pen.rectangle((210, line, 210 + max(1, round(390 * score)), line + 12), fill=_BAR)
            pen.text((610, line - 3), f"{score:.3f}", fill=_PALE, font=font)
        y += height
    return sheet


_MARKERS = ("#fde68a", "#bfdbfe", "#bbf7d0", "#fecaca", "#ddd6fe", "#fbcfe8", "#fed7aa", "#a5f3fc")


def marked(rows: Sequence[tuple[str, Sequence[tuple[int, int, str]]]]) -> Image:
    """Each text with its marked stretches (start, end, label) on coloured ground, the label below, and words that wrap."""
    from PIL import Image as pil
    from PIL import ImageDraw, ImageFont

    font, small, width, line = ImageFont.load_default(16), ImageFont.load_default(11), 760, 42
    kinds = sorted({label for _, marks in rows for _, _, label in marks})
    colour = {kind: _MARKERS[i % len(_MARKERS)] for i, kind in enumerate(kinds)}
    placed, y = [], 14
    for text, marks in rows:
        spots, x = [], 16
        for word in re.finditer(r"\S+", text):
            wide = math.ceil(font.getlength(word.group()))
            if x + wide > width - 16 and x > 16:
                x, y = 16, y + line
            hit = next((m for m in marks if m[0] < word.end() and word.start() < m[1]), None)
            spots.append((x, y, wide, word, hit))
            x += wide + 8
        placed += spots
        y += line + 10
    sheet = pil.new("RGB", (width, y + 6), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for x, top, wide, word, hit in placed:
        if hit is not None:
            goes_on = word.end() < hit[1]
            pen.rectangle((x - 3, top - 2, x + wide + (8 if goes_on else 3), top + 20), fill=colour[hit[2]])
            if word.start() <= hit[0]:
                pen.text((x, top + 22), hit[2], fill=_PALE, font=small)
        pen.text((x, top), word.group(), fill=_INK, font=font)
    return sheet
