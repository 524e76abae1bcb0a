"""Layers, containers and the ``Module`` they are made of, under PyTorch's names."""

from __future__ import annotations

from .model import Model
from .module import Module
from .parameter import Buffer, Parameter

__all__ = ["Buffer", "Model", "Module", "Parameter"]
