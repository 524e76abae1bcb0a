"""Whether this thread's array calls are being recorded, and by whom: what ``core/compile`` hangs itself on.

Engine code asks ``here`` in three places: which module makes new arrays (``devices.module_of``), which table of kernels is used
(``kernels.of``), and what an operation's inputs are (``Operation.apply``). Where nothing is recorded these are NumPy, the CPU's
table and the arrays themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np


class _Here(threading.local):
    module: Any = np  # what makes new arrays on the CPU
    table: Any = None  # the kernels that record; None for the CPU's own
    tracer: Any = None  # who records


here = _Here()


def as_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark what a recording takes as one step, run again as it stands: what has a state in Python, as optimizers have.

    Where nothing is recorded the function is called as it is.
    """

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        tracer = here.tracer
        return function(*args, **kwargs) if tracer is None else tracer.whole(function, args, kwargs)

    return called
