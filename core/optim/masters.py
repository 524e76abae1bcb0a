"""Float32 master weights of parameters in half precision: what the optimizer updates, and rounds into the parameter.

A step of a float32 optimizer on the masters, bit for bit: gradients are widened, the masters get the update, and the parameter
is their rounding. The masters are part of the optimizer's state under the name ``master``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import devices, dtypes, kernels
from ..tensor import Tensor
from ..tracing import again, unready

if TYPE_CHECKING:
    from .optimizer import Group, Optimizer

KEY = "master"


class Master(Tensor):
    """A master for the length of a step, with its gradient; ``owner`` is the parameter that it stands for."""

    owner: Tensor


def has_master(p: Tensor, group: Group) -> bool:
    """Whether ``p`` is to be updated through a master."""
    return bool(group.get("master_weights")) and p.dtype.itemsize < 4


def owner_of(p: Tensor) -> Tensor:
    """The parameter itself that a master stands for."""
    return p.owner if isinstance(p, Master) else p


def _widened(array: Any) -> Any:
    return kernels.of(array).cast(array, dtypes.float32)


def new(p: Tensor, array: Any = None) -> Master:
    """A master of ``p``: ``array``, or the parameter as it is now."""
    master = Master(_widened(p.array) if array is None else array)
    master.owner = p
    return master


def begin(optimizer: Optimizer, p: Tensor) -> Master:
    """The master of ``p`` as the coming step needs it, gradient included.

    Where the parameter was written to since the last step, its new values are taken over; a value that is still the rounding of
    the master's leaves the master as exact as it is.
    """
    known = optimizer._states.get(p)
    if not known:
        unready("an optimizer makes the master of a parameter")
        master = new(p)
    else:
        held = known[KEY]
        held.array = devices.move(held.array, p.device)

        def refresh() -> None:
            if optimizer._rounded.get(id(p)) != _mark(p):
                _take_over(held.array, p.array)

        refresh()
        again(refresh)
        master = new(p, held.array)
    assert p.grad is not None, "only parameters with a gradient are updated"
    master.grad = Tensor(_widened(p.grad.array))
    return master


def _take_over(master: Any, array: Any) -> None:
    """Writes the parameter's values into the master wherever they are not the rounding of the master's own."""
    xp = devices.module_of(array)
    given, rounded = _widened(array), _widened(kernels.of(array).cast(master, array.dtype))
    master[...] = xp.where(given == rounded, master, given)


def end(master: Master) -> None:
    """Rounds the master into its parameter."""
    p = master.owner
    p.array[...] = kernels.of(master.array).cast(master.array, p.dtype)


def rounded(optimizer: Optimizer, master: Master) -> None:
    """Remembers that the parameter is its master's rounding."""
    p = master.owner
    p._bump()
    optimizer._rounded[id(p)] = _mark(p)


def _mark(p: Tensor) -> tuple[int, int]:
    """What changes when somebody else writes to the parameter."""
    return id(p.array), 0 if p._version is None else p._version.count
