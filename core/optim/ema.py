"""An exponential moving average of a model's weights: often better than the weights themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import devices, dtypes, kernels
from ..errors import CheckpointError, did_you_mean
from ..tensor import Tensor
from ..tracing import again, as_one, held, here
from . import checks

if TYPE_CHECKING:
    from ..nn import Module


class EMA:
    """``average <- decay * average + (1 - decay) * weights`` after each update (Polyak and Juditsky 1992).

    Floating-point buffers, as running statistics are, are averaged too; whole numbers are copied.

    Args:
        model: whose parameters and persistent buffers are averaged; the average starts as them.
        decay: in [0, 1).
        warmup: let the decay rise as (1 + n) / (10 + n) in the first updates, so that the start is soon forgotten.

    Attributes:
        averages: name, as in ``model.state_dict()``, -> array; float32 for half precision.
        updates: how many there were.

    Raises:
        ArgumentError: a decay out of range.

    Example:
        >>> import nyala
        >>> model = nyala.nn.Linear(1, 1, bias=False)
        >>> ema, start = EMA(model, decay=0.75), model.weight.item()
        >>> with nyala.no_grad():
        ...     _ = model.weight.add_(1.0)
        >>> ema.update()
        >>> with ema.swapped():
        ...     round(model.weight.item() - start, 5)
        0.25
        >>> round(model.weight.item() - start, 5)
        1.0
    """

    def __init__(self, model: Module, decay: float = 0.9999, warmup: bool = False) -> None:
        checks.number("decay", decay, below=1.0)
        self.model, self.decay, self.warmup, self.updates = model, decay, warmup, 0
        self.averages: dict[str, Any] = {name: _start(t.array) for name, t in model.state_dict().items()}

    def current_decay(self) -> float:
        """The decay that the next update uses."""
        n = self.updates + 1
        return min(self.decay, (1 + n) / (10 + n)) if self.warmup else self.decay

    def _why_outside(self) -> str:
        """Why an update cannot be part of a CUDA graph; nothing where it can."""
        return "an EMA has averages on the CPU" if any(isinstance(a, np.ndarray) for a in self.averages.values()) else ""

    @as_one(inside=_why_outside)
    def update(self) -> None:
        """Take the model's weights, as they are now, into the average."""
        state = self.model.state_dict()
        self._check(state, "the model")
        moving: dict[str, tuple[list[Any], list[Any]]] = {}  # by device
        for name, mean in self.averages.items():
            if dtypes.is_floating_point(mean.dtype):
                averages, values = moving.setdefault(devices.of(mean), ([], []))
                averages.append(mean)
                values.append(state[name].array)
            else:
                mean[...] = state[name].array
        for averages, values in moving.values():
            numbers = held(lambda: (1 - self.current_decay(),))
            if numbers is None:
                kernels.of(averages[0]).ema_steps(averages, values, 1 - self.current_decay())
            else:
                kernels.of(averages[0]).ema_held(averages, values, numbers)
        self._count()
        if here.tracer is not None:
            again(self._count, self._unchanged(state))

    def _count(self) -> None:
        self.updates += 1

    def _unchanged(self, state: Mapping[str, Any]) -> Callable[[], str]:
        """What a graph of this update asks before it is launched: why it does not hold any more, nothing where it does."""
        averages, arrays = list(self.averages.items()), [t.array for t in state.values()]

        def why() -> str:
            same = all(self.averages.get(name) is mean for name, mean in averages)
            now = self.model.state_dict().values()
            if same and len(now) == len(arrays) and all(t.array is a for t, a in zip(now, arrays, strict=True)):
                return ""
            return "the average of a model was replaced, or what it is the average of"

        return why

    def copy_to(self, model: Module | None = None) -> None:
        """Write the average into ``model`` (left out: the one averaged), whose own weights are lost.

        Raises:
            CheckpointError: a model with other weights; nothing is written then.
        """
        state = (self.model if model is None else model).state_dict()
        self._check(state, "the model")
        for name, mean in self.averages.items():
            _write(state[name], mean)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the model holds the average; afterwards its own weights again, bit for bit."""
        own = {name: t.detach().clone().array for name, t in self.model.state_dict().items()}
        self.copy_to()
        try:
            yield
        finally:
            for name, t in self.model.state_dict().items():
                _write(t, own[name])

    def state_dict(self) -> dict[str, Any]:
        """``updates`` and ``averages``, as tensors that share the average's memory."""
        return {"updates": self.updates, "averages": {name: Tensor(a) for name, a in self.averages.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave; ``averages`` may be tensors or arrays, and is copied.

        Raises:
            CheckpointError: names or shapes that are not the model's; nothing is changed then.
        """
        given = state_dict["averages"]
        self._check(given, "the state")
        for name, mean in self.averages.items():
            value = given[name].array if isinstance(given[name], Tensor) else given[name]
            mean[...] = devices.move(value, devices.of(mean)).astype(mean.dtype, copy=False)
        self.updates = int(state_dict["updates"])

    def _check(self, given: Mapping[str, Any], what: str) -> None:
        """Asks for the names and shapes of the average."""
        odd = sorted(set(given) ^ set(self.averages))
        if odd:
            where = what if odd[0] in given else "the average"
            other = self.averages if odd[0] in given else given
            raise CheckpointError(
                f"{what} and the average differ: {odd[0]!r} is only in {where} ({len(odd)} such names)",
                fix=did_you_mean(odd[0], other) or "use the model that the average was made of",
            )
        for name, mean in self.averages.items():
            if tuple(given[name].shape) != mean.shape:
                raise CheckpointError(
                    f"{name!r} has shape {tuple(given[name].shape)} in {what}, and {mean.shape} in the average",
                    fix="use the model that the average was made of",
                )


def _start(array: Any) -> Any:
    """A copy to average in: half precision would lose the small steps."""
    devices.module_of(array)  # its device is the current one from here on
    half = dtypes.is_floating_point(array.dtype) and array.dtype.itemsize < 4
    return array.astype(dtypes.float32) if half else array.copy(order="K")


def _write(target: Tensor, array: Any) -> None:
    target.array[...] = devices.move(array, target.device).astype(target.dtype, copy=False)
    target._bump()
