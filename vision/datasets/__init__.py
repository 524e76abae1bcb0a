"""Image datasets: arrays of uint8 pictures and whole-number labels, or files that are read when they are asked for."""

from .cifar import CIFAR10, CIFAR100
from .fashion_mnist import FashionMNIST
from .folder import ImageFolder
from .mnist import KMNIST, MNIST
from .svhn import SVHN

__all__ = ["CIFAR10", "CIFAR100", "KMNIST", "MNIST", "SVHN", "FashionMNIST", "ImageFolder"]
