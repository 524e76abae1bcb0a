"""What a function can reach: the modules, optimizers and tensors that it holds, by which its record is guarded."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from ..nn.module import Module
from ..optim.optimizer import Optimizer
from ..tensor import Tensor

_PLAIN = (bool, int, float, str)
_DEPTH = 4  # of lists, dicts and objects inside each other


class Reach:
    """The modules and tensors behind a function.

    Attributes:
        modules: every module, members included: whether they train is part of what a record is made for.
        tensors: parameters, buffers, and tensors that the function holds itself.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.modules: list[Module] = []
        self.tensors: list[Tensor] = []
        self._cells: list[Any] = []
        self._globals: list[tuple[dict[str, Any], str]] = []
        self._seen: set[int] = set()
        self._alive: list[Any] = []
        self._look(function, 0)

    def training(self) -> tuple[bool, ...]:
        """The training flag of every module."""
        return tuple([m.training for m in self.modules])

    def numbers(self) -> tuple[Any, ...]:
        """The plain values that functions read from closures and from their modules, as they are now."""
        found = [cell.cell_contents if _filled(cell) else None for cell in self._cells]
        found += [names.get(name) for names, name in self._globals]
        return tuple([(type(v), v) if isinstance(v, _PLAIN) else None for v in found])

    def _look(self, thing: Any, depth: int) -> None:
        if depth > _DEPTH or id(thing) in self._seen or isinstance(thing, (str, bytes, int, float, type, type(None))):
            return
        self._seen.add(id(thing))
        self._alive.append(thing)
        if isinstance(thing, Module):
            self._module(thing)
        elif isinstance(thing, Tensor):
            self.tensors.append(thing)
        elif isinstance(thing, Optimizer):
            for group in thing.param_groups:
                self._look(group["params"], depth)
        elif isinstance(thing, (list, tuple, set)):
            for part in thing:
                self._look(part, depth + 1)
        elif isinstance(thing, dict):
            for part in thing.values():
                self._look(part, depth + 1)
        else:
            if inspect.isfunction(thing):
                self._function(thing)
            for part in _parts(thing):
                self._look(part, depth + 1)

    def _function(self, function: Any) -> None:
        self._cells += [c for c in function.__closure__ or () if not _filled(c) or isinstance(c.cell_contents, _PLAIN)]
        names = function.__globals__
        self._globals += [(names, n) for n in function.__code__.co_names if isinstance(names.get(n), _PLAIN)]

    def _module(self, module: Module) -> None:
        for m in module.modules():
            self._seen.add(id(m))
            self.modules.append(m)
        for t in (*module.parameters(), *module.buffers()):
            if id(t) not in self._seen:
                self._seen.add(id(t))
                self.tensors.append(t)


def _parts(thing: Any) -> Iterator[Any]:
    """What a function, a method or an object of a user's class holds."""
    if isinstance(thing, functools.partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif inspect.ismethod(thing):
        yield from (thing.__self__, thing.__func__)
    elif inspect.isfunction(thing):
        yield from (cell.cell_contents for cell in thing.__closure__ or () if _filled(cell))
        yield from (thing.__globals__[n] for n in thing.__code__.co_names if n in thing.__globals__)
        yield thing.__defaults__ or ()
    elif not inspect.ismodule(thing) and hasattr(thing, "__dict__"):
        yield from vars(thing).values()


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - it raises where the variable has no value yet
    except ValueError:
        return False
    return True
