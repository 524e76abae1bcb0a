"""Pictures whose pixels are numbers of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError


def read_map(path: str | Path) -> np.ndarray[Any, Any]:
    """The numbers of a picture with a palette, or in greys of 8 or 16 bits: (H, W), uint8 or int32.

    Raises:
        DataError: no such file, damaged, or a picture in colours.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            mode, array = image.mode, np.asarray(image)
    except FileNotFoundError:
        raise DataError(f"there is no mask {path}", fix="check the path") from None
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is no picture of class numbers: {error}", fix="get the file again") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on damaged data
        raise DataError(f"{path} is damaged: {error}", fix="get the file again") from error
    if mode == "1":
        return array.astype(np.uint8)
    if mode not in ("P", "L", "I") and not mode.startswith("I;16"):
        raise DataError(
            f"{path} has colours ({mode})",
            why="each pixel of a mask is the number of its class",
            fix="save it with a palette (mode P) or in grey (mode L), 0 for the first class",
        )
    return array if array.dtype == np.uint8 else array.astype(np.int32)
