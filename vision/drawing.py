"""Results as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

_SIDE, _WIDTH, _GAP = 224, 640, 12
_INK, _PALE, _BAR, _PAPER = "#1b1f24", "#6b7280", "#3b82c4", "#ffffff"


def classification(rows: Sequence[tuple[Image, Sequence[str], Sequence[float]]]) -> Image:
    """Each picture with a bar for each of its classes, one row a picture."""
    from PIL import Image as pil
    from PIL import ImageDraw

    sheet = pil.new("RGB", (_WIDTH, _GAP + len(rows) * (_SIDE + _GAP)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (image, labels, scores) in enumerate(rows):
        top = _GAP + i * (_SIDE + _GAP)
        small = image.copy()
        small.thumbnail((_SIDE, _SIDE))
        if max(small.size) < _SIDE:  # tiny pictures are enlarged without smoothing
            factor = _SIDE // max(small.size)
            small = small.resize((small.width * factor, small.height * factor), pil.Resampling.NEAREST)
        sheet.paste(small, (_GAP + (_SIDE - small.width) // 2, top + (_SIDE - small.height) // 2))
        _bars(pen, top, labels, scores)
    return sheet


def _bars(pen: ImageDraw, top: int, labels: Sequence[str], scores: Sequence[float]) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(15)
    left, right = _SIDE + 3 * _GAP, _WIDTH - 64
    step = min(44, _SIDE // max(1, len(labels)))
    for k, (label, score) in enumerate(zip(labels, scores, strict=True)):
        y = top + k * step
        name = label if len(label) <= 42 else label[:39] + "..."
        pen.text((left, y), name, fill=_INK, font=font)
        pen.rectangle((left, y + 21, right, y + 29), fill="#e5e7eb")
        pen.rectangle((left, y + 21, left + max(1, round((right - left) * score)), y + 29), fill=_BAR)
        pen.text((right + 8, y + 15), f"{score:.3f}", fill=_PALE, font=font)
