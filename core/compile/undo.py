"""Python's share of what a call does, undone where the call could not be captured: then it runs again as it stands."""

from __future__ import annotations

import types
from typing import Any

import numpy as np

from ..nn.module import Module
from ..random import ambient_state, set_ambient_state
from ..tensor import Tensor

_KEPT = (Tensor, Module, type, types.ModuleType, types.FunctionType, str, bytes, int, float, np.ndarray, np.generic)


class Before:
    """How optimizers and the like stood: counts, rates, settings. The device has computed nothing in between.

    Example:
        >>> class Counter:
        ...     steps, groups = 0, ()
        >>> counter, before = Counter(), Before()
        >>> counter.groups = [{"lr": 1.0}]
        >>> before.remember(counter)
        >>> counter.steps, counter.groups[0]["lr"] = 5, 0.5
        >>> before.put_back()
        >>> counter.steps, counter.groups
        (0, [{'lr': 1.0}])
    """

    def __init__(self) -> None:
        self._random = ambient_state()
        self._kept: dict[int, tuple[Any, Any]] = {}

    def remember(self, thing: Any) -> None:
        """Keep what ``thing`` holds in dicts, lists and objects inside each other; not tensors' values, nor modules."""
        waiting = [thing]
        while waiting:
            one = waiting.pop()
            if isinstance(one, _KEPT) or id(one) in self._kept:
                continue
            if isinstance(one, tuple):
                waiting += one
                continue
            if not isinstance(one, (dict, list)):
                waiting += [vars(one)] if hasattr(one, "__dict__") else []
                continue
            self._kept[id(one)] = one, one.copy()
            waiting += one.values() if isinstance(one, dict) else one

    def put_back(self) -> None:
        """Everything as it was remembered."""
        set_ambient_state(self._random)
        for held, contents in self._kept.values():
            held.clear()
            if isinstance(held, dict):
                held.update(contents)
            else:
                held.extend(contents)
