"""Results as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .palette import scale

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


_LARGE = 480  # longer side of a picture that is looked at pixel by pixel


def fitted(image: Image, side: int = _LARGE) -> Image:
    """The picture with its longer side at ``side`` pixels; enlarged by whole numbers alone, without smoothing."""
    from PIL import Image as pil

    factor = side // max(image.size)
    if factor > 1:
        return image.resize((image.width * factor, image.height * factor), pil.Resampling.NEAREST)
    small = image.copy()
    small.thumbnail((side, side))
    return small


def depths(rows: Sequence[tuple[Image, np.ndarray[Any, Any], tuple[str, str]]]) -> Image:
    """Each picture beside its nearness (H, W) from 0 to 1, and a scale with what its ends are called; one row a picture."""
    from PIL import Image as pil
    from PIL import ImageDraw, ImageFont

    strip = pil.fromarray(np.ascontiguousarray(np.broadcast_to(scale(np.linspace(0, 1, 160)), (12, 160, 3))))
    font, foot = ImageFont.load_default(15), 34
    pairs = [(fitted(image), fitted(pil.fromarray(scale(near)))) for image, near, _ in rows]
    width = 3 * _GAP + 2 * max((picture.width for picture, _ in pairs), default=0)
    sheet = pil.new("RGB", (max(width, 360), _GAP + sum(p.height + foot for p, _ in pairs)), _PAPER)
    pen, top = ImageDraw.Draw(sheet), _GAP
    for (picture, depth), (_, _, (far, near)) in zip(pairs, rows, strict=True):
        sheet.paste(picture, (_GAP, top))
        sheet.paste(depth, (2 * _GAP + picture.width, top))
        y = top + picture.height + 9
        pen.text((_GAP, y - 3), far, fill=_INK, font=font)
        left = 2 * _GAP + int(pen.textlength(far, font))
        sheet.paste(strip, (left, y))
        pen.text((left + strip.width + _GAP, y - 3), near, fill=_INK, font=font)
        top += picture.height + foot
    return sheet
