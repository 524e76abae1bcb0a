"""Classes of pixels as pictures: colour over the picture, and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .io import load_image
from .palette import colour

if TYPE_CHECKING:
    from PIL.Image import Image

    from .segmentation import Segmentation

_NOTHING = ("background", "unlabeled", "unlabelled")  # classes of what is nothing, which stays as it is
_INK, _PALE, _PAPER = "#1b1f24", "#6b7280", "#ffffff"
_SHORTEST, _LONGEST = 224, 960  # pixels of a picture's longer side, at least and at most
_LEGEND, _LINE, _GAP = 260, 24, 12  # pixels: of what stands beside a picture, of a line of it, of white between


def segmentation(found: Sequence[Segmentation]) -> Image:
    """Each picture with its classes in colour, and what the colours mean beside it, one row a picture."""
    from PIL import Image as pil

    rows = [_overlaid(one) for one in found]
    width = max(row.width for row in rows)
    sheet = pil.new("RGB", (width, _GAP + sum(row.height + _GAP for row in rows)), _PAPER)
    top = _GAP
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + _GAP
    return sheet


def tinted(source: Any, mask: np.ndarray[Any, Any], labels: Sequence[str]) -> Image:
    """A picture under its classes' colours, with white edges between them; what is called background stays as it is.

    Args:
        source: the picture.
        mask: (H, W) class numbers.
        labels: names of the classes.
    """
    from PIL import Image as pil

    image = load_image(source)
    size = _shown_size(image.size)
    kind = pil.Resampling.NEAREST if size > image.size else pil.Resampling.BILINEAR
    pixels = np.asarray(image.resize(size, kind), np.float32)
    mask = np.asarray(pil.fromarray(mask.astype(np.int32)).resize(size, pil.Resampling.NEAREST))
    tint = np.array([colour(k) for k in range(len(labels))], np.float32)[mask]
    mixed = np.where(_coloured(labels)[mask][..., None], 0.45 * pixels + 0.55 * tint, pixels)
    edge = np.zeros(mask.shape, bool)
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    mixed[edge] = 255
    return pil.fromarray(mixed.round().astype(np.uint8))


def _shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Large pictures are shown smaller, and tiny ones larger, by a whole number."""
    longest = max(size)
    if longest < _SHORTEST:
        return size[0] * (_SHORTEST // longest), size[1] * (_SHORTEST // longest)
    shrink = min(1.0, _LONGEST / longest)
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))


def _coloured(labels: Sequence[str]) -> np.ndarray[Any, Any]:
    return np.array([name.lower() not in _NOTHING for name in labels])


def _overlaid(found: Segmentation) -> Image:
    """One picture under its classes' colours, with edges, and a legend on its right."""
    from PIL import Image as pil

    shown = tinted(found.source, found.mask, found.labels)
    size = shown.size
    row = pil.new("RGB", (size[0] + 3 * _GAP + _LEGEND, max(size[1], _LINE * min(len(found.classes()), 40))), _PAPER)
    row.paste(shown, (_GAP, 0))
    _legend(row, size[0] + 2 * _GAP, found)
    return row


def _legend(row: Image, left: int, found: Segmentation) -> None:
    """The classes that are there, as many as there is room for: colour, name and share of the picture."""
    from PIL import ImageDraw, ImageFont

    pen, font, colours = ImageDraw.Draw(row), ImageFont.load_default(15), found.colours()
    present, coloured = found.classes(), _coloured(found.labels)
    room = max(1, row.height // _LINE)
    for line, k in enumerate(present[:room]):
        y = line * _LINE
        if line == room - 1 and len(present) > room:
            pen.text((left, y + 2), f"and {len(present) - line} more", fill=_PALE, font=font)
            return
        if coloured[k]:
            pen.rectangle((left, y + 4, left + 14, y + 18), fill=tuple(int(v) for v in colours[k]))
        else:
            pen.rectangle((left, y + 4, left + 14, y + 18), outline=_PALE)
        name = found.labels[k] if len(found.labels[k]) <= 22 else found.labels[k][:19] + "..."
        pen.text((left + 22, y + 2), name, fill=_INK, font=font)
        pen.text((left + _LEGEND - 52, y + 2), f"{100 * found.share(k):.1f} %", fill=_PALE, font=font)
