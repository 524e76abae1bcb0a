"""An exponential moving average of a model's weights: often better than the weights themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .. import devices
from ..errors import ArgumentError, CheckpointError, did_you_mean
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..nn import Module


class EMA:
    """``average <- decay * average + (1 - decay) * weights`` after each update (Polyak and Juditsky, 1992).

    Buffers in floating point, as running statistics are, are averaged too; whole numbers are copied.

    Args:
        model: whose parameters and persistent buffers are averaged; the average starts as them.
        decay: in [0, 1).
        warmup: let the decay rise as (1 + n) / (10 + n) in the first updates, so that the start is soon forgotten.

    Attributes:
        averages: name, as in ``model.state_dict()``, -> array; float32 for half precision.
        updates: how many there were.

    Example:
        >>> import nyala
        >>> model = nyala.nn.Linear(1, 1, bias=False)
        >>> ema = EMA(model, decay=0.5)
        >>> start = model.weight.item()
        >>> with nyala.no_grad():
        ...     model.weight.add_(1.0).shape
        (1, 1)
        >>> ema.update()
        >>> with ema.swapped():
        ...     round(model.weight.item() - start, 5)
        0.5
    """

    def __init__(self, model: Module, decay: float = 0.9999, warmup: bool = False) -> None:
        if not 0 <= decay < 1:
            raise ArgumentError(f"EMA: decay={decay}", fix="use a number in [0, 1)")
        self.model, self.decay, self.warmup, self.updates = model, decay, warmup, 0
        self.averages: dict[str, Any] = {name: _wide(t.array) for name, t in model.state_dict().items()}

    def current_decay(self) -> float:
        """The decay that the next update uses."""
        n = self.updates + 1
        return min(self.decay, (1 + n) / (10 + n)) if self.warmup else self.decay

    def update(self) -> None:
        """Take the model's weights as they are now into the average."""
        weight = 1 - self.current_decay()
        self.updates += 1
        for name, t in self.model.state_dict().items():
            mean = self.averages[name]
            if mean.dtype.kind in "fc":
                mean += (t.array - mean) * mean.dtype.type(weight)
            else:
                mean[...] = t.array

    def copy_to(self, model: Module | None = None) -> None:
        """Write the average into ``model`` (default: the one averaged), whose own weights are lost."""
        target = self.model if model is None else model
        for name, t in target.state_dict().items():
            if name not in self.averages:
                raise CheckpointError(f"the average has no {name!r}", fix=did_you_mean(name, self.averages))
            t.array[...] = devices.move(self.averages[name], t.device)
            t._bump()

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the model holds the average; afterwards its own weights again, bit for bit."""
        own = {name: t.array.copy() for name, t in self.model.state_dict().items()}
        self.copy_to()
        try:
            yield
        finally:
            for name, t in self.model.state_dict().items():
                t.array[...] = own[name]
                t._bump()

    def state_dict(self) -> dict[str, Any]:
        """The count of updates and the averages, as tensors that share their memory."""
        return {"updates": self.updates, "averages": {name: Tensor(a) for name, a in self.averages.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave.

        Raises:
            CheckpointError: names or shapes that are not the model's.
        """
        given = state_dict["averages"]
        if set(given) != set(self.averages):
            odd = sorted(set(given) ^ set(self.averages))[0]
            raise CheckpointError(f"the average and the model differ in {odd!r}", fix=did_you_mean(odd, self.averages))
        for name, mean in self.averages.items():
            value = given[name].array if isinstance(given[name], Tensor) else given[name]
            if value.shape != mean.shape:
                raise CheckpointError(f"the average of {name!r} has shape {value.shape}, the model's is {mean.shape}")
            mean[...] = devices.move(value, devices.of(mean))
        self.updates = int(state_dict["updates"])


def _wide(array: Any) -> Any:
    """A copy to average in: half precision would lose the small steps."""
    return array.astype("float32") if array.dtype.itemsize < 4 and array.dtype.kind in "fV" else array.copy()
