"""Modules that hold modules or parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from ..errors import ArgumentError, IndexRangeError, UnknownNameError, did_you_mean, kind_of
from ..tensor import Tensor
from .module import Module, indented
from .parameter import Parameter


def _position(index: Any, count: int, what: str) -> int:
    position = index.__index__()
    if not -count <= position < count:
        raise IndexRangeError(
            f"index {position} of a {what} with {count} member(s)", fix=f"use a number from {-count} to {count - 1}"
        )
    return position % count


class _Numbered(Module):
    """Modules under the names "0", "1", ..."""

    def _members(self) -> list[Module]:
        return list(self._modules.values())  # type: ignore[arg-type]  # a member is never None

    def _assign(self, members: Iterable[Module]) -> None:
        """Take ``members`` for all there is, numbered anew."""
        for name in list(self._modules):
            delattr(self, name)
        for i, module in enumerate(members):
            self.add_module(str(i), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._members())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: Any) -> Any:
        members = self._members()
        return self._part(index) if isinstance(index, slice) else members[_position(index, len(members), type(self).__name__)]

    def _part(self, index: slice) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(list(self._modules)[_position(index, len(self), type(self).__name__)], module)

    def __delitem__(self, index: int | slice) -> None:
        members = self._members()
        if isinstance(index, int):
            index = _position(index, len(members), type(self).__name__)
        del members[index]
        self._assign(members)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before position ``index``."""
        members = self._members()
        members.insert(index, module)
        self._assign(members)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take a module out and give it back."""
        module = self[index]
        del self[index]
        return module

    def __contains__(self, module: object) -> bool:
        return any(m is module for m in self._members())


class Sequential(_Numbered):
    """Modules run one after the other: positional, or a dict of named ones.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> nn.Sequential(nn.Linear(4, 3), nn.ReLU())(nyala.ones(2, 4)).shape
        (2, 3)
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = args[0].items() if len(args) == 1 and isinstance(args[0], Mapping) else ((str(i), m) for i, m in enumerate(args))
        for name, module in named:
            self.add_module(name, module)

    def _part(self, index: slice) -> Sequential:
        return Sequential(dict(list(self._modules.items())[index]))

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)  # type: ignore[misc]  # a member is never None
        return input


class ModuleList(_Numbered):
    """A list whose modules are registered."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _part(self, index: slice) -> ModuleList:
        return ModuleList(self._members()[index])

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """Equal neighbours are printed once, with their count."""
        runs: list[tuple[str, int]] = []
        for text in map(repr, self):
            runs = [*runs[:-1], (text, runs[-1][1] + 1)] if runs and runs[-1][0] == text else [*runs, (text, 1)]
        lines, start = [], 0
        for text, count in runs:
            names, times = (f"({start})", "") if count == 1 else (f"({start}-{start + count - 1})", f"{count} x ")
            lines.append(f"{names}: {times}{indented(text)}")
            start += count
        return "\n  ".join(["ModuleList(", *lines]) + "\n)" if lines else "ModuleList()"


class ModuleDict(Module):
    """A dict whose modules are registered."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        if key not in self._modules:
            raise UnknownNameError(
                f"no module {key!r}", fix=did_you_mean(key, self._modules) or f"there are {', '.join(self._modules)}"
            )
        return self._modules[key]  # type: ignore[return-value]  # a member is never None

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._modules.values()  # type: ignore[return-value]  # a member is never None

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names and modules."""
        return self._modules.items()  # type: ignore[return-value]  # a member is never None

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules by name."""
        for name, module in modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules:
            self.add_module(name, module)

    def pop(self, key: str) -> Module:
        """Take a module out and give it back."""
        module = self[key]
        del self[key]
        return module


def _parameter(value: Any) -> Parameter:
    if isinstance(value, Parameter):
        return value
    if isinstance(value, Tensor):
        return Parameter(value)
    raise ArgumentError(f"{kind_of(value)} among parameters", fix="pass Parameters or tensors")


class ParameterList(Module):
    """A list whose parameters are registered, as "0", "1", ...; tensors become parameters."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(list(self._parameters.values()))  # type: ignore[arg-type]  # a member is never None

    def __getitem__(self, index: Any) -> Any:
        members = list(self)
        return (
            ParameterList(members[index])
            if isinstance(index, slice)
            else members[_position(index, len(members), "ParameterList")]
        )

    def __setitem__(self, index: int, value: Any) -> None:
        self.register_parameter(str(_position(index, len(self), "ParameterList")), _parameter(value))

    def append(self, value: Any) -> Self:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add parameters at the end."""
        for value in values:
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n".join(f"({i}): Parameter of {p.dtype} {p.shape}" for i, p in enumerate(self))


class ParameterDict(Module):
    """A dict whose parameters are registered; tensors become parameters."""

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        for name, value in (parameters or {}).items():
            self[name] = value

    def __getitem__(self, key: str) -> Parameter:
        if key not in self._parameters:
            raise UnknownNameError(f"no parameter {key!r}", fix=did_you_mean(key, self._parameters))
        return self._parameters[key]  # type: ignore[return-value]  # a member is never None

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, _parameter(value))

    def __delitem__(self, key: str) -> None:
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, key: object) -> bool:
        return key in self._parameters

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._parameters.keys()

    def values(self) -> Iterable[Parameter]:
        """The parameters."""
        return self._parameters.values()  # type: ignore[return-value]  # a member is never None

    def items(self) -> Iterable[tuple[str, Parameter]]:
        """Names and parameters."""
        return self._parameters.items()  # type: ignore[return-value]  # a member is never None

    def extra_repr(self) -> str:
        return "\n".join(f"({name}): Parameter of {p.dtype} {p.shape}" for name, p in self.items())
