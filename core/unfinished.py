"""Products and convolutions that wait for what comes after them.

Inside a module's forward, with no graph recorded, ``linear`` and the convolutions give an ``Unfinished`` tensor: its array is
computed when somebody reads it. A batch norm in evaluation mode or a factor for each feature, a residual and an activation that
follow join it instead, and the kernel does them while the result is in the cache. The numbers are the same, bit for bit, and
models are written as always; in half precision too, where each step rounds, but for what cuBLASLt and cuDNN do along with a
product: they round once.

Nothing waits longer than the outermost forward: ``finish_all`` runs when it ends, and before any write in place.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import devices
from .graph import state
from .kernels.reference.after import After
from .tensor import Tensor

_NOTHING = After()


class _Array:
    """``array`` of an unfinished tensor: computed when first read, an ordinary attribute from then on."""

    def __get__(self, tensor: Unfinished, owner: type | None = None) -> Any:
        return self if tensor is None else tensor.finish()


class Unfinished(Tensor):
    """A tensor outside every graph whose array has not been computed; once it has, it is a plain ``Tensor``.

    Made by ``postponed``. ``compute(after)`` gives the array.

    Attributes:
        operand: an array of the result's dtype on its device.
        channels: the dimension that a scale and a shift run along.
    """

    array = _Array()  # no __set__: what is stored in the instance comes first
    _compute: Callable[[After], Any]
    _shape: tuple[int, ...]
    operand: Any
    channels: int
    _after: After

    def finish(self) -> Any:
        """Compute the array."""
        array = self._compute(self._after)
        own = self.__dict__
        for name in ("_compute", "_shape", "operand", "channels", "_after"):
            del own[name]
        self.__class__ = Tensor  # type: ignore[assignment]
        self.array = array
        return array

    def with_scale(self, scale: Any, shift: Any) -> Unfinished | None:
        """The result times ``scale`` plus ``shift``, (channels,) each; None where something else was to come before."""
        if self._after is not _NOTHING:
            return None
        return self._then(After(scale, shift))

    def with_factors(self, factors: Tensor) -> Unfinished | None:
        """The result times a number for each place of its last dimension, (channels,); None where that does not fit."""
        if self._after is not _NOTHING or self.channels != len(self._shape) - 1 or factors.shape != self._shape[-1:]:
            return None
        if factors.dtype != self.dtype or factors.device != self.device or (state.grad and factors.requires_grad):
            return None
        wide = factors.array.astype(np.float32) if self.dtype.itemsize == 2 else factors.array
        return self._then(After(wide))

    def with_residual(self, other: Tensor) -> Unfinished | None:
        """The result plus ``other``; None where it does not fit, or an activation comes before."""
        after = self._after
        if after.residual is not None or after.activation != "none" or other.requires_grad or other is self:
            return None
        if other.shape != self._shape or other.dtype != self.dtype or other.device != self.device:
            return None
        return self._then(after._replace(residual=other.array))

    def with_activation(self, name: str) -> Unfinished | None:
        """The activation of the result; None where there is one already."""
        return self._then(self._after._replace(activation=name)) if self._after.activation == "none" else None

    def _then(self, after: After) -> Unfinished:
        return _made(self._compute, self._shape, self.operand, self.channels, after)

    # ---- what is known before the numbers are

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.operand.dtype

    @property
    def device(self) -> str:
        return devices.of(self.operand)

    @property
    def ndim(self) -> int:
        return len(self._shape)

    def size(self, dim: int | None = None) -> Any:
        return self._shape if dim is None else self._shape[dim]

    def dim(self) -> int:
        return len(self._shape)


def _made(compute: Callable[[After], Any], shape: tuple[int, ...], operand: Any, channels: int, after: After) -> Unfinished:
    t = Unfinished.__new__(Unfinished)
    t._compute, t._shape, t.operand, t.channels, t._after = compute, shape, operand, channels, after
    waiting = state.unfinished
    assert waiting is not None, "nothing may wait outside a forward"
    waiting.append(weakref.ref(t))
    return t


def waits(operand: Any) -> bool:
    """Whether a product of such an array is put off: inside a forward, where its kernel can do what follows along with it."""
    if state.unfinished is None:
        return False
    return operand.dtype == np.float32 or (operand.dtype.itemsize == 2 and not isinstance(operand, np.ndarray))


def postponed(compute: Callable[[After], Any], shape: tuple[int, ...], operand: Any, channels: int) -> Unfinished:
    """``compute`` put off: for use where it ``waits`` and nothing is recorded.

    Args:
        compute: gives the array, what comes after included.
        shape: of the result.
        operand: an array of the result's dtype, on its device.
        channels: the dimension that a scale and a shift run along.
    """
    return _made(compute, shape, operand, channels, _NOTHING)


def finish_all() -> None:
    """Compute everything that this thread has put off and that somebody still holds."""
    waiting = state.unfinished
    if waiting:
        for reference in waiting:
            tensor = reference()
            if type(tensor) is Unfinished:
                tensor.finish()
        waiting.clear()
