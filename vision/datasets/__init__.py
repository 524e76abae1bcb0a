"""Image datasets: arrays of uint8 pictures and whole-number labels, or folders of files."""

from .fashion_mnist import FashionMNIST
from .folder import ImageFolder

__all__ = ["FashionMNIST", "ImageFolder"]
