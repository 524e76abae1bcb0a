"""``Module``: the base of everything with parameters, as PyTorch has it.

Parameters, buffers and child modules register themselves when they are assigned. They live in the instance's own
dictionary, so reading ``self.weight`` costs what any attribute costs, and by name in ``_parameters``, ``_buffers`` and
``_modules``.

Example:
    >>> import nyala
    >>> from nyala import nn
    >>> class Twice(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = nn.Linear(3, 3)
    ...
    ...     def forward(self, x):
    ...         return self.fc(self.fc(x))
    >>> sorted(Twice().state_dict())
    ['fc.bias', 'fc.weight']
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import devices, dtypes
from ..errors import ArgumentError, ModuleError, NyalaError, UnknownNameError, did_you_mean, kind_of
from ..graph import state
from ..tensor import Tensor
from ..unfinished import finish_all
from . import state as states
from .hooks import Hook, HookHandle, Hooks
from .parameter import Buffer, Parameter
from .select import select


class _Running(threading.local):
    """The modules whose forward is running, outermost first; followed in anomaly mode only."""

    stack: tuple[Module, ...] = ()


_running = _Running()
_NO_TENSORS = (np.ndarray, list, tuple, str, int, float, type(None))


class Module:
    """Base class of all layers and models.

    A subclass calls ``super().__init__()``, assigns its parameters and layers, and defines ``forward``.

    Attributes:
        training: whether dropout and batch statistics are on; set by ``train()`` and ``eval()``.
        fixed_dtypes: names of buffers that keep their dtype where the module is given another.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    fixed_dtypes: tuple[str, ...] = ()
    _hooks: Hooks | None = None

    def __init__(self) -> None:
        self.__dict__.update(_parameters={}, _buffers={}, _modules={}, _transient=set(), training=True)

    # ---- registration

    def __setattr__(self, name: str, value: Any) -> None:
        d = self.__dict__
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        elif isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
        elif "_parameters" in d and (name in d["_parameters"] or name in d["_modules"] or name in d["_buffers"]):
            self._replace(name, value)
        else:
            object.__setattr__(self, name, value)

    def _replace(self, name: str, value: Any) -> None:
        """A registered name gets a value that does not register itself."""
        if name in self._buffers and (value is None or isinstance(value, Tensor)):
            self._buffers[name] = value
        elif value is None:
            registry: dict[str, Any] = self._parameters if name in self._parameters else self._modules
            registry[name] = None
        else:
            kind = "a parameter" if name in self._parameters else "a module" if name in self._modules else "a buffer"
            raise ArgumentError(
                f"{type(self).__name__}.{name} is {kind} and cannot become {kind_of(value)}",
                fix="assign one of the same kind or None, write into it under no_grad(), or delete the attribute first",
            )
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        self._forget(name)
        object.__delattr__(self, name)

    def _forget(self, name: str) -> None:
        for registry in (self._parameters, self._buffers, self._modules):
            registry.pop(name, None)
        self.__dict__["_transient"].discard(name)

    def _register(self, registry: str, name: str, value: Any) -> None:
        d = self.__dict__
        if registry not in d:
            raise ModuleError(
                f"{type(self).__name__}.{name} is assigned before Module.__init__() has run",
                why="there is nothing yet to register it in",
                fix="call super().__init__() first in __init__",
            )
        if not name or "." in name:
            raise ArgumentError(f"{name!r} cannot name a parameter, buffer or module", fix="leave out the dot, which joins names")
        if name not in d[registry]:
            if name not in d and hasattr(type(self), name):
                raise ArgumentError(f"{type(self).__name__} has an attribute {name!r} of its own", fix="choose another name")
            self._forget(name)
        d[registry][name] = d[name] = value

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under ``name``; None keeps the name for later."""
        if param is not None and not isinstance(param, Parameter):
            raise ArgumentError(f"{name!r} is {kind_of(param)}, not a Parameter", fix="wrap it: Parameter(tensor)")
        if param is not None and param.grad_fn is not None:
            raise ArgumentError(
                f"parameter {name!r} is the result of {param.grad_fn.name}",
                why="only leaves can be trained",
                fix="use Parameter(t.detach())",
            )
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the state and is not learnt; ``persistent`` ones are in ``state_dict()``."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ArgumentError(f"buffer {name!r} is {kind_of(tensor)}, not a Tensor", fix="wrap it: nyala.tensor(...)")
        self._register("_buffers", name, tensor)
        (self.__dict__["_transient"].discard if persistent else self.__dict__["_transient"].add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under ``name``."""
        if module is not None and not isinstance(module, Module):
            raise ArgumentError(
                f"{name!r} is {kind_of(module)}, not a Module", fix="pass a Module, or set it as a plain attribute"
            )
        self._register("_modules", name, module)

    register_module = add_module

    # ---- calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - subclasses'
        """What the module computes. Every subclass defines it."""
        raise ModuleError(f"{type(self).__name__} has no forward", fix="define forward(self, ...) in the class")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not state.grad and state.unfinished is None:
            return self._outermost(args, kwargs)
        try:
            if self._hooks is None and not state.anomaly:
                return self.forward(*args, **kwargs)
            return self._followed(args, kwargs) if state.anomaly else self._hooked(args, kwargs)
        except NyalaError as error:
            self._passed_by(error)
            raise
        except AttributeError as error:
            if args and isinstance(args[0], _NO_TENSORS) and self._is_ours():
                raise self._no_tensor(args[0]) from error
            raise  # a mistake in somebody's forward

    def _outermost(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that no other forward surrounds, with no graph recorded: products inside may wait for what follows them."""
        state.unfinished = []
        try:
            result = self(*args, **kwargs)
            finish_all()
            return result
        finally:
            state.unfinished = None

    def _is_ours(self) -> bool:
        """Whether nyala wrote this forward, and it is not one that only hands its input on to its members."""
        module = type(self).__module__
        return module.startswith(__package__.rpartition("core.")[0]) and not (self._modules and module.startswith(__package__))

    def _no_tensor(self, given: Any) -> ArgumentError:
        """The error for a layer or model of ours that was called on an array, a list or None."""
        error = ArgumentError(f"the input is {kind_of(given)}, not a tensor", fix="wrap it: nyala.tensor(...)")
        self._passed_by(error)
        return error

    def _hooked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.forward(*args, **kwargs) if self._hooks is None else self._hooks.call(self, args, kwargs)

    def _followed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call in anomaly mode: what is recorded inside knows the module's path."""
        stack, names = _running.stack, state.modules
        name = stack[-1]._name_of(self) if stack else ""
        _running.stack, state.modules = (*stack, self), (*names, name)
        try:
            return self._hooked(args, kwargs)
        finally:
            _running.stack, state.modules = stack, names

    def _name_of(self, descendant: Module) -> str:
        return next((name for name, m in self.named_modules() if m is descendant), "")

    def _passed_by(self, error: NyalaError) -> None:
        """One step of the error's path: the name, inside this module, of the module that it left last."""
        inner = error.module
        error.through(self._name_of(inner) if isinstance(inner, Module) else "", type(self).__name__)
        error.module = self

    # ---- hooks

    def _add_hook(self, kind: str, hook: Hook, prepend: bool) -> HookHandle:
        if self._hooks is None:
            self.__dict__["_hooks"] = Hooks()
        assert self._hooks is not None
        return self._hooks.add(kind, hook, prepend)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args)`` before forward; what it returns replaces the arguments.

        With ``with_kwargs`` it is ``hook(module, args, kwargs)`` and may return both.
        """
        return self._add_hook("forward_pre", Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args, output)`` after forward; what it returns replaces the output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``; ``always_call`` runs it (with None) after an error too.
        """
        return self._add_hook("forward", Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_output)`` when the gradients of the outputs are known; it may return others."""
        return self._add_hook("backward_pre", Hook(hook), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are known; it may return others."""
        return self._add_hook("backward", Hook(hook), prepend)

    def checkpoint_(self, enable: bool = True) -> Self:
        """Keep none of this module's activations while training: compute them again in the backward pass."""
        if self._hooks is None:
            self.__dict__["_hooks"] = Hooks()
        assert self._hooks is not None
        self._hooks.checkpointing = enable
        return self

    # ---- going through it

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module (named "") and all inside it, parents first, each once unless ``remove_duplicate`` is False."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, each once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly inside this one."""
        return (m for _, m in self.named_children())

    def _named(self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in module.__dict__[registry].items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Names and parameters; a shared parameter comes once, under its first name."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, for an optimizer."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Names and buffers."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module called ``target``, e.g. ``"layer1.0.conv1"``; "" is this one.

        Raises:
            UnknownNameError: there is none; names the nearest.
        """
        module: Module | None = self
        for part in target.split(".") if target else ():
            module = module._modules.get(part) if module is not None else None
        if module is None:
            raise self._unknown("module", target, [n for n, _ in self.named_modules(remove_duplicate=False) if n])
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter called ``target``."""
        return self._get("_parameters", "parameter", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer called ``target``."""
        return self._get("_buffers", "buffer", target)

    def _get(self, registry: str, kind: str, target: str) -> Any:
        found = dict(self._named(registry, "", True, False))
        if target not in found:
            raise self._unknown(kind, target, list(found))
        return found[target]

    def set_submodule(self, target: str, module: Module) -> None:
        """Put ``module`` in the place called ``target``, whose parent must exist."""
        parent, _, name = target.rpartition(".")
        setattr(self.get_submodule(parent), name, module)

    def _unknown(self, kind: str, target: str, known: list[str]) -> UnknownNameError:
        return UnknownNameError(
            f"{type(self).__name__} has no {kind} {target!r}", fix=did_you_mean(target, known) or f"named_{kind}s() lists them"
        )

    # ---- state

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """All parameters and persistent buffers by name, sharing their memory.

        Args:
            prefix: put before every name.
            keep_vars: give the parameters themselves in place of detached tensors.
        """
        found: dict[str, Tensor] = {}
        for path, module in self.named_modules(prefix=prefix.removesuffix("."), remove_duplicate=False):
            transient = module.__dict__["_transient"]
            for name, value in (*module._parameters.items(), *module._buffers.items()):
                if value is not None and name not in transient:
                    found[f"{path}.{name}" if path else name] = value if keep_vars else value.detach()
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> states.IncompatibleKeys:
        """Take over the values of a state: tensors or arrays by name. Nothing is changed where something does not fit.

        Args:
            state_dict: as ``state_dict()`` or a checkpoint reader gives it.
            strict: whether every name must be on both sides. Shapes must always agree.
            assign: use the given arrays (their memory and dtype) in place of copying from them.

        Returns:
            The names that only one side had.

        Raises:
            CheckpointError: lists what is missing, unexpected (with the nearest names) and of another shape.
        """
        return states.load(self, state_dict, strict, assign)

    # ---- modes, dtype and device

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all inside it to training, or with False to evaluation."""
        if not isinstance(mode, bool):
            raise ArgumentError(f"train({mode!r})", why="the mode is True or False", fix="use train() or eval()")
        for module in self.modules():
            module.__dict__["training"] = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train all parameters, or with False none."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def freeze(self, *patterns: str) -> list[str]:
        """Stop training the parameters that a pattern fits, or all; gives back their names.

        A pattern is a shell pattern or a regular expression over parameter or module names; a module covers all inside it.

        Raises:
            UnknownNameError: a pattern fits nothing; names the nearest.

        Example:
            >>> from nyala import nn
            >>> nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).freeze("0", "*.bias")
            ['0.weight', '0.bias', '1.bias']
        """
        return self._set_trained(patterns, "freeze", False)

    def unfreeze(self, *patterns: str) -> list[str]:
        """Train the parameters that a pattern fits again, or all; gives back their names. See ``freeze``."""
        return self._set_trained(patterns, "unfreeze", True)

    def _set_trained(self, patterns: tuple[str, ...], what: str, value: bool) -> list[str]:
        named = dict(self.named_parameters(remove_duplicate=False))
        chosen = select(patterns or ("*",), named, what)
        for name in chosen:
            named[name].requires_grad_(value)
        return chosen

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or with ``set_to_none=False`` fill them with zeros."""
        for p in self.parameters():
            p.grad = None if set_to_none or p.grad is None else p.grad._like(p.grad._module.zeros_like(p.grad.array))

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` on every module inside, children first, then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, dtype: Any = None, device: str | None = None, non_blocking: bool = False) -> Self:  # noqa: ARG002 - torch's
        """Change dtype (of what is floating point) and/or device in place: ``to("cuda")``, ``to(nyala.float16)``.

        Buffers named in ``fixed_dtypes`` keep theirs.
        """
        for a in args:
            if isinstance(a, Tensor):
                dtype, device = a.dtype, a.device
            elif devices.is_name(a):
                device = a
            elif a is not None:
                dtype = a
        if dtype is not None and not dtypes.is_floating_point(dtype := dtypes.parse(dtype)):
            raise ArgumentError(f"a module cannot become {dtype}", fix="use a floating dtype: parameters need one")

        fixed = {id(m._buffers.get(name)) for m in self.modules() for name in m.fixed_dtypes}

        def moved(t: Tensor) -> Any:
            free = t.is_floating_point() and id(t) not in fixed
            return t.detach().to(device=device, dtype=dtype if free else None).array

        for t in (*self.parameters(), *self.buffers()):
            if (array := moved(t)) is not t.array:
                t.array = array
                t._bump()
            if t.grad is not None:
                t.grad = t._like(moved(t.grad))
        return self

    def float(self) -> Self:
        """To float32."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """To float64."""
        return self.to(dtypes.float64)

    def half(self) -> Self:
        """To float16."""
        return self.to(dtypes.float16)

    def bfloat16(self) -> Self:
        """To bfloat16."""
        return self.to(dtypes.bfloat16)

    def cpu(self) -> Self:
        """To the CPU."""
        return self.to(device="cpu")

    def cuda(self, device: str | int | None = None) -> Self:
        """To a CUDA device."""
        return self.to(device=f"cuda:{device}" if isinstance(device, int) else device or "cuda")

    # ---- printing

    def extra_repr(self) -> str:
        """What the printed module shows of its settings."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indented(repr(child))}" for name, child in self._modules.items()]
        name = type(self).__name__
        if not children and len(lines) <= 1:
            return f"{name}({extra})"
        return "\n  ".join([f"{name}(", *lines, *children]) + "\n)"

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self.__dict__})

    if TYPE_CHECKING:  # parameters and children that are registered by name

        def __getattr__(self, name: str) -> Any: ...


def indented(text: str) -> str:
    """All lines but the first moved right, as the members of a printed module are."""
    return text.replace("\n", "\n  ")
