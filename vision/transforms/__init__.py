"""Changes of pictures together with what is known about places in them."""

from .resizing import resize
from .sample import Sample

__all__ = ["Sample", "resize"]
