"""Resizing of pictures of bytes, equal to Pillow's to the bit, on any device and on many pictures at once.

Source: Pillow 13 (``Image.resize``): windows that grow with the scale, so that nothing is aliased. Before Pillow 13 columns came
first always; with those versions results differ by a level here and there where a picture is made much flatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core import kernels
from ...core.errors import ArgumentError, DataError
from ...core.kernels.reference.pictures import Taps
from ..memory import pixels_in_place
from .taps import FILTERS, taps_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FILTERS", "resize", "resize_image"]

Box = tuple[float, float, float, float]
Window = tuple[int, int, int, int]


def resize(images: Any, size: tuple[int, int], interpolation: str = "bilinear", box: Box | Sequence[Box] | None = None) -> Any:
    """Pictures, or parts of them, scaled to a size.

    Args:
        images: (H, W, C) or (N, H, W, C) uint8, a NumPy or a CuPy array; it may come back itself where nothing changes.
        size: (height, width) of the result, in pixels.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming".
        box: left, top, right and bottom of the part, in pixels, fractions too; for N pictures one for all or one each.

    Returns:
        (height, width, C) or (N, height, width, C) uint8.

    Raises:
        ArgumentError: another filter, a size below 1, or a part that is empty or not inside the picture.
        DataError: an array that holds no pictures.

    Example:
        >>> import numpy as np
        >>> resize(np.array([[[0], [100]]], np.uint8), (1, 4)).ravel().tolist()
        [0, 25, 75, 100]
    """
    if images.ndim not in (3, 4) or str(images.dtype) != "uint8" or 0 in images.shape[-3:]:
        raise DataError(
            f"an array of {images.dtype} and shape {images.shape} cannot be resized",
            why="pictures are uint8 of shape (H, W, C) or (N, H, W, C)",
            fix="scale floats in 0..1 with (x * 255).round().astype('uint8')",
        )
    many = images if images.ndim == 4 else images[None]
    resized = kernels.of(many).resample_bytes(many, *_tables(len(many), many.shape[1:3], size, interpolation, box))
    return resized if images.ndim == 4 else resized[0]


def resize_image(
    image: Image, size: tuple[int, int], interpolation: str = "bilinear", box: Box | None = None, window: Window | None = None
) -> np.ndarray[Any, Any]:
    """As ``resize``, of a Pillow picture in RGB, whose pixels are read where they lie.

    Args:
        image, size, interpolation, box: as there.
        window: top, left, height and width, in pixels, of the part of the result that is wanted.

    Returns:
        (height, width, 3) uint8 of the window, or of the whole result.

    Raises:
        ArgumentError: as there.

    Example:
        >>> from PIL import Image
        >>> resize_image(Image.new("RGB", (9, 6)), (4, 6), window=(1, 1, 2, 3)).shape
        (2, 3, 3)
    """
    rows, columns, rows_first = _tables(1, (image.height, image.width), size, interpolation, box)
    top, left, height, width = window or (0, 0, *size)
    if rows is None and columns is None:
        return np.asarray(image.crop((left, top, left + width, top + height)))
    pixels = pixels_in_place(image)[None]
    if rows is None:
        pixels = pixels[:, top : top + height]
    if columns is None:
        pixels = pixels[:, :, left : left + width]
    rows, columns = _window(rows, top, height), _window(columns, left, width)
    return kernels.of(pixels).resample_bytes(pixels, rows, columns, rows_first, channels=3)[0]


def _tables(
    count: int, sides: tuple[int, int], size: tuple[int, int], interpolation: str, box: Box | Sequence[Box] | None
) -> tuple[Taps | None, Taps | None, bool]:
    """The tables of rows and columns, and whether the rows come first."""
    if min(size) < 1:
        raise ArgumentError(f"a picture of {size[0]} x {size[1]} pixels", fix="give a height and a width of at least 1")
    height, width = sides
    boxes = _boxes(box, count, height, width)
    rows = taps_of(height, [(b[1], b[3]) for b in boxes], size[0], interpolation)
    columns = taps_of(width, [(b[0], b[2]) for b in boxes], size[1], interpolation)
    return rows, columns, size[0] < height and height - size[0] > 2 * (width - size[1])  # Pillow's order


def _window(taps: Taps | None, first: int, length: int) -> Taps | None:
    if taps is None or length == taps.start.shape[1]:
        return taps
    part = slice(first, first + length)
    return Taps(taps.start[:, part], taps.count[:, part], taps.weight[:, part])


def _boxes(box: Box | Sequence[Box] | None, count: int, height: int, width: int) -> list[Box]:
    if box is None:
        return [(0, 0, width, height)]
    boxes: list[Any] = list(box) if hasattr(box[0], "__len__") else [box]
    if len(boxes) not in (1, count):
        raise ArgumentError(f"{len(boxes)} parts of {count} pictures", fix="give one for all or one a picture")
    for left, top, right, bottom in boxes:
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ArgumentError(
                f"the part from ({left}, {top}) to ({right}, {bottom}) of a picture of {width} x {height} pixels",
                why="it is empty or reaches beyond the picture",
                fix="give left, top, right, bottom inside it",
            )
    return boxes
