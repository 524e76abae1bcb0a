"""Module hooks: what runs around ``forward`` and ``backward``, and what recomputes a block in place of keeping it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..autograd import Function
from ..errors import ArgumentError
from ..graph import state
from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

KINDS = ("forward_pre", "forward", "backward_pre", "backward")


class HookHandle:
    """What the ``register_*_hook`` methods give back; ``remove()`` takes the hook out, and so does leaving a ``with``."""

    def __init__(self, hooks: Hooks, kind: str, hook: Hook) -> None:
        self._hooks, self._kind, self._hook = hooks, kind, hook

    def remove(self) -> None:
        """Take the hook out; calling it again does nothing."""
        hooks = self._hooks.by_kind[self._kind]
        if self._hook in hooks:
            hooks.remove(self._hook)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class Hook:
    """A user's function and how it wants to be called."""

    def __init__(self, function: Callable[..., Any], with_kwargs: bool = False, always_call: bool = False) -> None:
        self.function, self.with_kwargs, self.always_call = function, with_kwargs, always_call


class Hooks:
    """All hooks of one module."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[Hook]] = {kind: [] for kind in KINDS}
        self.checkpointing = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to do around the module's forward."""
        return not self.checkpointing and not any(self.by_kind.values())

    def add(self, kind: str, hook: Hook, prepend: bool) -> HookHandle:
        """Register a hook behind, or with ``prepend`` before, those that are there."""
        if not callable(hook.function):
            raise ArgumentError(f"a {kind} hook must be a function, not {type(hook.function).__name__}", fix="pass a function")
        self.by_kind[kind].insert(0 if prepend else len(self.by_kind[kind]), hook)
        return HookHandle(self, kind, hook)

    def call(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``module.forward`` with every hook around it."""
        finished = False
        try:
            args, kwargs = self._before(module, args, kwargs)
            gates = self._gates(module)
            if gates is not None:
                args = gates.enter(args)
            if self.checkpointing and state.grad and module.training:
                result = _checkpointed(module, args, kwargs)
            else:
                result = module.forward(*args, **kwargs)
            result = self._after(module, args, kwargs, result)
            finished = True
        finally:
            if not finished:
                self._after_failure(module, args, kwargs)
        return result if gates is None else gates.leave(result)

    def _before(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for hook in tuple(self.by_kind["forward_pre"]):
            if hook.with_kwargs:
                changed = hook.function(module, args, kwargs)
                if changed is not None:
                    args, kwargs = changed
            else:
                changed = hook.function(module, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        return args, kwargs

    def _after(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        for hook in tuple(self.by_kind["forward"]):
            given = (module, args, kwargs, result) if hook.with_kwargs else (module, args, result)
            changed = hook.function(*given)
            result = result if changed is None else changed
        return result

    def _after_failure(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for hook in tuple(self.by_kind["forward"]):
            if hook.always_call:
                hook.function(*((module, args, kwargs, None) if hook.with_kwargs else (module, args, None)))

    def _gates(self, module: Module) -> _Gates | None:
        wanted = self.by_kind["backward"] or self.by_kind["backward_pre"]
        return _Gates(self, module) if wanted and state.grad else None


class _Gates:
    """Identities around a module that show its hooks the gradients on their way out and in."""

    def __init__(self, hooks: Hooks, module: Module) -> None:
        self.pre, self.post, self.module = tuple(hooks.by_kind["backward_pre"]), tuple(hooks.by_kind["backward"]), module
        self.grad_output: tuple[Tensor | None, ...] = ()
        self.inputs = 0
        self.entered = False

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, with the tensors that want gradients behind the gate where ``grad_input`` is seen."""
        places = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        self.inputs = len(args)
        if not places:
            return args
        self.entered = True
        passed = _Gate.apply(lambda grads: self._seen(grads, places), *[args[i] for i in places])
        out = list(args)
        for i, p in zip(places, passed, strict=True):
            out[i] = p
        return tuple(out)

    def leave(self, result: Any) -> Any:
        """The result, with its tensors behind the gate where ``grad_output`` is seen."""
        single = isinstance(result, Tensor)
        if not single and not isinstance(result, tuple):
            return result
        parts = [result] if single else list(result)
        places = [i for i, p in enumerate(parts) if isinstance(p, Tensor) and p.requires_grad]
        if not places:
            return result
        passed = _Gate.apply(lambda grads: self._arrived(grads, places, len(parts)), *[parts[i] for i in places])
        for i, p in zip(places, passed, strict=True):
            parts[i] = p
        return parts[0] if single else type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)

    def _arrived(self, grads: tuple[Tensor, ...], places: list[int], count: int) -> tuple[Tensor, ...]:
        full = _spread(grads, places, count)
        for hook in self.pre:
            changed = hook.function(self.module, full)
            if changed is not None:
                full = changed if isinstance(changed, tuple) else (changed,)
        self.grad_output = full
        if not self.entered:  # no input wants a gradient: nobody else would call the hooks
            for hook in self.post:
                hook.function(self.module, (None,) * self.inputs, full)
        return tuple(full[i] for i in places)

    def _seen(self, grads: tuple[Tensor, ...], places: list[int]) -> tuple[Tensor, ...]:
        full = _spread(grads, places, self.inputs)
        for hook in self.post:
            changed = hook.function(self.module, full, self.grad_output)
            if changed is not None:
                full = changed if isinstance(changed, tuple) else (changed,)
        self.grad_output = ()
        return tuple(full[i] for i in places)


def _spread(grads: tuple[Tensor, ...], places: list[int], count: int) -> tuple[Any, ...]:
    full: list[Tensor | None] = [None] * count
    for i, g in zip(places, grads, strict=True):
        full[i] = g
    return tuple(full)


class _Gate(Function):
    @staticmethod
    def forward(ctx: Any, look: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]], *tensors: Tensor) -> Any:
        ctx.look = look
        return tuple(t.detach() for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return (None, *ctx.look(grads))


class _Recomputed:
    """A module's forward over positional tensors alone: ``checkpoint`` sends gradients to those only."""

    def __init__(self, module: Module, count: int, names: tuple[str, ...]) -> None:
        self.module, self.count, self.names = module, count, names
        self.parameters = module.parameters  # checkpoint() asks for them

    def __call__(self, *values: Any) -> Any:
        named = dict(zip(self.names, values[self.count :], strict=True))
        return self.module.forward(*values[: self.count], **named)


def _checkpointed(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The forward of ``module``, whose activations are computed again in the backward pass."""
    from ..utils.checkpoint import checkpoint

    return checkpoint(_Recomputed(module, len(args), tuple(kwargs)), *args, *kwargs.values())
