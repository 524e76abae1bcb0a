"""Image datasets: arrays of uint8 pictures and whole-number labels, or files that are read when they are asked for."""

from .ade20k import ADE20K
from .cifar import CIFAR10, CIFAR100
from .coco import COCO, CocoDetection
from .fashion_mnist import FashionMNIST
from .flowers import Flowers102
from .folder import ImageFolder
from .food import Food101
from .imagenet import ImageNet
from .mnist import KMNIST, MNIST
from .pets import OxfordPets
from .shapes import DrawnShapes
from .svhn import SVHN
from .table import ImageTable
from .voc import VOCDetection, VOCSegmentation

__all__ = [
    "ADE20K",
    "CIFAR10",
    "CIFAR100",
    "COCO",
    "KMNIST",
    "MNIST",
    "SVHN",
    "CocoDetection",
    "DrawnShapes",
    "FashionMNIST",
    "Flowers102",
    "Food101",
    "ImageFolder",
    "ImageNet",
    "ImageTable",
    "OxfordPets",
    "VOCDetection",
    "VOCSegmentation",
]
