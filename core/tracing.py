"""Whether this thread's array calls are being recorded, and by whom: what ``core/compile`` hangs itself on.

Engine code asks ``here`` in three places: which module makes new arrays (``devices.module_of``), which table of kernels is used
(``kernels.of``), and what an operation's inputs are (``Operation.apply``). Where nothing is recorded these are NumPy, the CPU's
table and the arrays themselves.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import IndexRangeError, NyalaError


class _Here(threading.local):
    module: Any = np  # what makes new arrays on the CPU
    table: Any = None  # the kernels that record; None for the CPU's own
    tracer: Any = None  # who records


here = _Here()


def as_one(function: Any = None, *, inside: Callable[..., str] | None = None, host: bool = False) -> Any:
    """Mark what a recording takes as one step, run again as it stands: what has a state in Python, as optimizers have.

    Where nothing is recorded the function is called as it is. A CUDA graph ends where such a call stands, unless one of the
    options says how the call becomes part of it.

    Args:
        inside: called with the same arguments; says why the call cannot be part of a graph, nothing where it can: then what
            it does on the device is captured, and ``held`` and ``again`` tell what it does on the host.
        host: it computes on the host alone, and is called again before each launch of a graph.
    """
    if function is None:
        return functools.partial(as_one, inside=inside, host=host)
    way = Way(inside, host)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        tracer = here.tracer
        return function(*args, **kwargs) if tracer is None else tracer.whole(function, args, kwargs, way)

    return called


class Way(NamedTuple):
    """How a call with a state in Python becomes part of a CUDA graph: see ``as_one``."""

    inside: Callable[..., str] | None
    host: bool


def held(numbers: Callable[[], Sequence[float]]) -> Any:
    """Numbers that kernels read from the device: in a call that is being captured, an array of float64 with what ``numbers``
    gives, which is asked again before each launch; None elsewhere, where kernels are passed the numbers themselves."""
    return None if here.tracer is None else here.tracer.held(numbers)


def again(function: Callable[[], Any], same: Callable[[], str] | None = None) -> None:
    """Call ``function`` before each later launch of what is being captured: it does on the host what this call has done.

    Args:
        same: asked before any of it; why what was captured does not hold any more, nothing where it does.
    """
    if here.tracer is not None:
        here.tracer.again(function, same)


def tells_later(wrong: Callable[[], Any], what: str, kind: type[NyalaError] = IndexRangeError) -> bool:
    """Whether the host cannot look at values now, as in a call that is being captured. Then a launch in which ``wrong()``, a bool
    array without dimensions, is true raises an error of this kind that begins with ``what``: where the host next
    waits for the GPU, as for a result that it reads, or where a later call begins."""
    return here.tracer is not None and here.tracer.tells_later(wrong, what, kind)


def may_look() -> bool:
    """Whether the host may look at values on a GPU now: not while a call is being captured."""
    return here.tracer is None or here.tracer.may_look


def keep(arrays: Any) -> Any:
    """The arrays, which a cache may let go of: a call that is being captured holds on to them, for its graph reads them."""
    if here.tracer is not None:
        here.tracer.keep(arrays)
    return arrays


def unready(reason: str) -> None:
    """In a call that is being captured: leave it to run as it stands, for it does what only a first call does."""
    if here.tracer is not None:
        here.tracer.unready(reason)
