"""Reading pictures from whatever people have: a path, bytes, a PIL image, an array, an address where allowed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import DataError, kind_of
from ..core.tensor import Tensor
from .addresses import fetched, is_address

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs, made an error instead of a warning


def load_image(source: Any) -> Image:
    """A PIL image in RGB, turned upright as its EXIF data say.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array or tensor of uint8: (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4). Within ``addresses.urls_allowed()`` also an address, http:// or https://.

    Raises:
        NetworkError: an address from which nothing comes.
        DataError: no such file, not a picture, damaged, too large, or an array that is no picture.

    Example:
        >>> load_image(np.zeros((2, 3), np.uint8)).size
        (3, 2)
    """
    from PIL import Image, ImageOps

    if isinstance(source, Image.Image):
        image = source
    elif isinstance(source, (np.ndarray, Tensor)):
        image = _from_array(np.asarray(source))
    elif isinstance(source, (str, Path, bytes, bytearray)):
        image = _from_file(source)
    else:
        raise DataError(f"{kind_of(source)} is not a picture", fix="pass a path, bytes, a PIL image or a uint8 array")
    upright = _eight_bits(image, name_of(source))
    if upright is source:
        upright = ImageOps.exif_transpose(upright)  # a copy: the caller's picture stays as it is
    else:
        ImageOps.exif_transpose(upright, in_place=True)
    if upright.mode in ("RGBA", "LA", "PA") or (upright.mode == "P" and "transparency" in upright.info):
        upright = upright.convert("RGBA")  # what is transparent takes its own colour, as other libraries have it
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def name_of(source: Any) -> str:
    """What messages call a picture: its path, or what is known of it."""
    if isinstance(source, (bytes, bytearray)):
        return f"the picture of {len(source)} bytes"
    return str(source) or "''" if isinstance(source, (str, Path)) else "the picture"


def _eight_bits(image: Image, name: str) -> Image:
    """Greys of 16 or 32 bits on the scale of 8: Pillow alone would cut everything above 255 off to white."""
    from PIL import Image as pil

    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    array = np.asarray(image)
    low, high = float(array.min()), float(array.max())
    top = 65535 if high > 255 or image.mode.startswith("I;16") else 255
    if low < 0 or high > top or (image.mode == "F" and 0 < high <= 1):
        raise DataError(
            f"{name} holds {array.dtype} values from {low:g} to {high:g}",
            why="its black and white are not known",
            fix="scale it to 0..255 and save it as uint8",
        )
    return pil.fromarray((array * (255 / top)).round().astype(np.uint8))


def _from_array(array: np.ndarray[Any, Any]) -> Image:
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    good = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not good or array.dtype != np.uint8 or 0 in array.shape:
        raise DataError(
            f"an array of {array.dtype} and shape {array.shape} is not a picture",
            why="a picture is uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)",
            fix="transpose (C, H, W) to (H, W, C); scale floats in 0..1 with (x * 255).round().astype('uint8')",
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _from_file(source: str | Path | bytes | bytearray) -> Image:
    from PIL import Image, UnidentifiedImageError

    name = name_of(source)
    if isinstance(source, str) and is_address(source):
        source = fetched(source)
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, (bytes, bytearray)) else source)
        if image.width * image.height > MAX_PIXELS:
            raise DataError(
                f"{name} has {image.width} x {image.height} pixels", why="that is over the limit", fix="make it smaller"
            )
        image.load()
    except FileNotFoundError:
        raise DataError(f"there is no file {name}", fix="check the path") from None
    except IsADirectoryError:
        raise DataError(f"{name} is a folder, not a picture", fix="name the pictures in it") from None
    except UnidentifiedImageError:
        if (len(source) if isinstance(source, (bytes, bytearray)) else Path(source).stat().st_size) == 0:
            raise DataError(f"{name} is empty", fix="get the file again") from None
        raise DataError(f"{name} is not a picture in a format that Pillow reads", fix="convert it to PNG or JPEG") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: {error}", fix="make it smaller") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on damaged data
        raise DataError(f"{name} is damaged: {error}", fix="get the file again") from error
    return image
