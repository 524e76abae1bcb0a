"""An exponential moving average of the weights: what is evaluated and published where a recipe asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from ..core.nn import Module


class Average:
    """``average <- decay * average + (1 - decay) * weights`` after each update; statistics of norms likewise.

    The decay rises from 0 as ``(1 + n) / (10 + n)`` in the first updates, so that the start is soon forgotten.

    Args:
        model: whose weights are averaged, buffers included; the average starts as them.
        decay: in (0, 1).
    """

    def __init__(self, model: Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.arrays = {name: np.array(t.numpy()) for name, t in model.state_dict().items()}

    def update(self, model: Module) -> None:
        """Takes the weights after an update into account."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, tensor in model.state_dict().items():
            now, mean = tensor.numpy(), self.arrays[name]
            if np.issubdtype(mean.dtype, np.floating):
                mean += (now - mean) * mean.dtype.type(1 - decay)
            else:
                mean[...] = now

    @contextmanager
    def in_place_of(self, model: Module) -> Iterator[None]:
        """The average in the model for the block; then the model's own weights again."""
        own = {name: np.array(t.numpy()) for name, t in model.state_dict().items()}
        model.load_state_dict(self.arrays)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def load(self, arrays: Mapping[str, np.ndarray], updates: int) -> None:
        """Goes back to where a checkpoint was written."""
        self.updates = updates
        self.arrays = {name: np.array(arrays[name]) for name in self.arrays}
