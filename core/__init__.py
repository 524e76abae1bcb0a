"""The engine: tensors, gradients, layers, optimizers, data loading, weight files. It knows no model."""

from . import methods  # noqa: F401 - whoever reaches into the engine finds tensors with their methods
