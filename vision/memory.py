"""The pixels of Pillow's pictures where they lie, through Arrow's interface: nothing is copied.

Source: Arrow's C data interface, whose layout is fixed, as Pillow from 11.3 on offers it.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_PITCH = 4  # bytes from pixel to pixel: Pillow leaves one unused in RGB


class _Array(ctypes.Structure):
    """Arrow's ``ArrowArray``."""


_Array._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    *((name, ctypes.c_void_p) for name in ("dictionary", "release", "private_data")),
]

_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


def pixels_in_place(image: Image) -> np.ndarray[Any, Any]:
    """The bytes of a picture in RGB: (H, W, 4), of which the first three are red, green and blue, or (H, W, 3).

    It shows what the picture holds, cannot be written to, and keeps the memory; do not write to the picture meanwhile. Where
    Pillow cannot show its memory (an old one, or a picture of so many pixels that they lie in several places) it is a copy.

    Example:
        >>> from PIL import Image
        >>> pixels_in_place(Image.new("RGB", (3, 2), (1, 2, 3)))[1, 2, :3].tolist()
        [1, 2, 3]
    """
    try:
        capsule = image.__arrow_c_array__()[1]  # type: ignore[attr-defined]  # since Pillow 11.2
    except (AttributeError, ValueError, MemoryError):
        return np.asarray(image)
    array = ctypes.cast(_pointer(capsule, b"arrow_array"), ctypes.POINTER(_Array)).contents
    child = array.children[0].contents if array.n_children == 1 else array
    if child.length != _PITCH * image.width * image.height or child.n_buffers != 2 or child.offset:
        return np.asarray(image)
    memory = (ctypes.c_uint8 * child.length).from_address(child.buffers[1])
    memory._owner = capsule  # the array below keeps `memory`, and this the picture's memory
    pixels = np.frombuffer(memory, np.uint8).reshape(image.height, image.width, _PITCH)
    pixels.flags.writeable = False
    return pixels
