"""Boxes drawn into pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..palette import colour

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from .pipeline import Detections

_LONGEST, _SHORTEST, _GAP, _PAPER = 1280, 320, 12, "#ffffff"


def framed(image: Image, found: Detections) -> Image:
    """The picture with a frame around each object, its label and score at the frame's corner; a colour a class.

    Large pictures are scaled down, tiny ones up, so that the labels can be read.
    """
    from PIL import Image as pil
    from PIL import ImageDraw, ImageFont

    factor = min(_LONGEST / max(image.size), max(1.0, _SHORTEST / max(image.size)))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    filter_ = pil.Resampling.NEAREST if factor > 1 else pil.Resampling.LANCZOS  # tiny pictures are enlarged without smoothing
    sheet = image.convert("RGB").resize(size, filter_) if size != image.size else image.convert("RGB").copy()
    pen = ImageDraw.Draw(sheet)
    unit = max(size) / 640
    font = ImageFont.load_default(max(11, round(15 * unit)))
    for k in reversed(range(len(found))):  # the surest lie on top
        left, top, right, bottom = (round(v * factor) for v in found.boxes[k])
        left, right = sorted((min(max(left, 0), size[0] - 1), min(max(right, 0), size[0] - 1)))
        top, bottom = sorted((min(max(top, 0), size[1] - 1), min(max(bottom, 0), size[1] - 1)))
        ink = colour(found.indices[k])
        pen.rectangle((left, top, right, bottom), outline=ink, width=max(2, round(3 * unit)))
        _label(pen, font, f"{found.labels[k]} {found.scores[k]:.2f}", (left, top), size, ink)
    return sheet


def _label(
    pen: ImageDraw, font: FreeTypeFont | ImageFont, text: str, corner: tuple[int, int], size: tuple[int, int],
    ink: tuple[int, int, int],
) -> None:  # fmt: skip
    """A text on its colour, above the frame where there is room, and wholly inside the picture."""
    text = text if len(text) <= 40 else text[:37] + "..."
    box = pen.textbbox((0, 0), text, font=font)
    width, height = round(box[2]) + 6, round(box[3]) + 4
    left = max(0, min(corner[0], size[0] - width))
    top = corner[1] - height if corner[1] >= height else min(corner[1], size[1] - height)
    pen.rectangle((left, top, left + width, top + height), fill=ink)
    bright = (299 * ink[0] + 587 * ink[1] + 114 * ink[2]) / 1000 > 150
    pen.text((left + 3, top + 1), text, fill="#000000" if bright else "#ffffff", font=font)


def stacked(pictures: Sequence[Image]) -> Image:
    """Pictures below each other, with gaps between them; a single one as it is."""
    from PIL import Image as pil

    if len(pictures) == 1:
        return pictures[0]
    width = max((p.width for p in pictures), default=1)
    height = sum(p.height for p in pictures) + _GAP * max(0, len(pictures) - 1)
    sheet = pil.new("RGB", (width, max(1, height)), _PAPER)
    top = 0
    for picture in pictures:
        sheet.paste(picture, ((width - picture.width) // 2, top))
        top += picture.height + _GAP
    return sheet
