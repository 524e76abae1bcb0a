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
        raise DataError(f"there is no file {path}", fix="check the path") from None
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is no picture of class numbers: {error}", fix="get the file again") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on damaged data
        raise DataError(f"{path} is damaged: {error}", fix="get the file again") from error
    if mode == "1":
        return array.astype(np.uint8)
    if mode not in ("P", "L", "I") and not mode.startswith("I;16"):
        raise DataError(
            f"{path} is a picture of mode {mode}", why="class numbers are stored with a palette or in greys", fix="convert it"
        )
    return array if array.dtype == np.uint8 else array.astype(np.int32)
