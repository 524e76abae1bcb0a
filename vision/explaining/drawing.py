"""Pictures beside where a model looks in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from ..palette import scale

if TYPE_CHECKING:
    from PIL.Image import Image

    from .pipeline import Explanation

_SIDE, _GAP, _TITLE = 336, 12, 26  # pixels: the longer side of a picture as shown, white between, a line of text
_INK, _PAPER = "#1b1f24", "#ffffff"


def sheet(found: Sequence[tuple[str, Explanation]]) -> Image:
    """Each named picture, and beside it the same under its grid, with a line of text above; one row a picture."""
    from PIL import Image as pil
    from PIL import ImageDraw, ImageFont

    pairs = [(_shown(one.picture), overlaid(one)) for _, one in found]
    height = _GAP + sum(picture.height + _TITLE + _GAP for picture, _ in pairs)
    page = pil.new("RGB", (3 * _GAP + 2 * max(picture.width for picture, _ in pairs), height), _PAPER)
    pen, font, top = ImageDraw.Draw(page), ImageFont.load_default(15), _GAP
    for (name, one), (picture, looked) in zip(found, pairs, strict=True):
        about = "" if one.label is None else f" for {one.label}, {one.score:.3f}"
        nothing = ": nothing speaks for it" if one.method == "grad-cam" and one.peak is None else ""
        pen.text((_GAP, top), _cut(f"{PurePath(name).name}: {one.method}{about}{nothing}", 84), fill=_INK, font=font)
        page.paste(picture, (_GAP, top + _TITLE))
        page.paste(looked, (2 * _GAP + picture.width, top + _TITLE))
        top += picture.height + _TITLE + _GAP
    return page


def overlaid(one: Explanation) -> Image:
    """The picture in grey under its grid from dark to bright; components stand in their own colours."""
    from PIL import Image as pil

    picture = _shown(one.picture)
    if one.grid.ndim == 3:
        return _enlarged((one.grid * 255).round().astype(np.uint8), picture.size)
    grey = np.asarray(picture.convert("L"), np.float32)[..., None]
    top = float(np.percentile(one.grid, 99)) or 1.0  # one patch of many may outshine all else
    grid = np.asarray(_enlarged(np.minimum(one.grid / top, 1), picture.size), np.float32)
    mixed = 0.45 * grey + 0.55 * scale(grid).astype(np.float32)
    return pil.fromarray(mixed.round().astype(np.uint8))


def _enlarged(grid: np.ndarray[Any, Any], size: tuple[int, int]) -> Image:
    from PIL import Image as pil

    return pil.fromarray(grid).resize(size, pil.Resampling.BICUBIC)


def _shown(picture: np.ndarray[Any, Any]) -> Image:
    """A picture with its longer side at the size shown."""
    from PIL import Image as pil

    image = pil.fromarray(picture)
    share = _SIDE / max(image.size)
    new = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(new, pil.Resampling.NEAREST if share >= 4 else pil.Resampling.BICUBIC)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
