"""How a backend's kernels are found and what they must look like.

The reference functions in ``reference/`` are the contract: their names, parameters, shapes and dtypes. A backend
(``cpu/``, ``cuda/``) lists in ``KERNELS`` the names it computes better, each with the place of its function; everything
else falls through to the reference, which is written over the array module and so runs on NumPy and CuPy arrays alike.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from . import reference

NAMES: tuple[str, ...] = tuple(sorted(reference.KERNELS))


class Kernels:
    """The kernels of one backend, each looked up when it is first used."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._own: dict[str, str] = importlib.import_module(f".{backend}", __package__).KERNELS

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        function = self._resolve(name)
        setattr(self, name, function)  # next time it is an ordinary attribute
        return function

    def _resolve(self, name: str) -> Callable[..., Any]:
        if name not in reference.KERNELS:
            raise AttributeError(f"there is no kernel {name!r}")
        place = self._own.get(name)
        if place is None:
            return reference.KERNELS[name]
        module, _, attribute = place.partition(":")
        package = f"{__package__}.{self._backend}" if module.startswith(".") else None
        return getattr(importlib.import_module(module, package), attribute)


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """Names and defaults of a kernel's parameters, to compare a backend's with the reference's."""
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]
