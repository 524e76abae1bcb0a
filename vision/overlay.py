"""Classes of pixels as pictures: colour over the picture, and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .io import load_image

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


def _overlaid(found: Segmentation) -> Image:
    """One picture under its classes' colours, with edges, and a legend on its right."""
    from PIL import Image as pil

    image = load_image(found.source)
    shrink = min(1.0, _LONGEST / max(image.size))
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    if max(size) < _SHORTEST:  # tiny pictures are enlarged without smoothing
        size = tuple(side * (_SHORTEST // max(size)) for side in size)
    pixels = np.asarray(image.resize(size, pil.Resampling.NEAREST if size > image.size else pil.Resampling.BILINEAR), np.float32)
    mask = np.asarray(pil.fromarray(found.mask).resize(size, pil.Resampling.NEAREST))
    coloured = np.array([name.lower() not in _NOTHING for name in found.labels])
    tint = found.colours().astype(np.float32)[mask]
    mixed = np.where(coloured[mask][..., None], 0.45 * pixels + 0.55 * tint, pixels)
    edge = np.zeros(mask.shape, bool)
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    mixed[edge] = 255
    shown = pil.fromarray(mixed.round().astype(np.uint8))
    row = pil.new("RGB", (size[0] + 3 * _GAP + _LEGEND, max(size[1], _LINE * min(len(found.classes()), 40))), _PAPER)
    row.paste(shown, (_GAP, 0))
    _legend(row, size[0] + 2 * _GAP, found, coloured)
    return row


def _legend(row: Image, left: int, found: Segmentation, coloured: np.ndarray[Any, Any]) -> None:
    """The classes that are there, as many as there is room for: colour, name and share of the picture."""
    from PIL import ImageDraw, ImageFont

    pen, font, colours = ImageDraw.Draw(row), ImageFont.load_default(15), found.colours()
    present = found.classes()
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
