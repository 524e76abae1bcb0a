"""Trade time for memory: do not keep a block's activations, compute them again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import random
from ..autograd import Function, enable_grad, grad
from ..graph import state
from ..tensor import Tensor


class _Recomputed(Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], kwargs: dict[str, Any], count: int, *args: Any) -> Any:
        ctx.function, ctx.kwargs, ctx.count = function, kwargs, count
        ctx.random = random.ambient_state()
        # the last arguments are the parameters that the function uses without naming them
        ctx.plain = [None if isinstance(a, Tensor) else a for a in args[:count]]
        ctx.is_tensor = [isinstance(a, Tensor) for a in args[:count]]
        ctx.save_for_backward(*[a for a in args if isinstance(a, Tensor)])
        return function(*args[:count], **kwargs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        saved = list(ctx.saved_tensors)
        inputs = iter(saved)
        tensors = [next(inputs) if t else None for t in ctx.is_tensor]
        fresh = [t if t is None else _fresh(t) for t in tensors]
        args = [f if t else p for f, t, p in zip(fresh, ctx.is_tensor, ctx.plain, strict=True)]
        parameters = list(inputs)
        create_graph = state.grad
        with enable_grad(), random.ambient_scope(ctx.random):
            out = ctx.function(*args, **ctx.kwargs)
        outputs = [o for o in (out if isinstance(out, tuple) else (out,)) if isinstance(o, Tensor)]
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=False) if o.requires_grad and g is not None]
        wanted = [t for t in [*fresh, *parameters] if t is not None and t.requires_grad]
        found: dict[int, Any] = {}
        if pairs and wanted:
            results = grad([o for o, _ in pairs], wanted, [g for _, g in pairs], create_graph=create_graph, allow_unused=True)
            found = {id(t): r for t, r in zip(wanted, results, strict=True)}
        return (None, None, None, *[None if t is None else found.get(id(t)) for t in [*fresh, *parameters]])


def _fresh(t: Tensor) -> Tensor:
    """The same values as an input of the recomputation: tied to its past only where a graph of the gradient is wanted."""
    if state.grad:
        return t.alias() if t.requires_grad else t
    return t.detach().requires_grad_() if t.requires_grad else t


def checkpoint(function: Callable[..., Any], *args: Any, use_reentrant: bool = False, **kwargs: Any) -> Any:  # noqa: ARG001 - torch's
    """``function(*args, **kwargs)``, whose activations are computed again in the backward pass instead of kept.

    Dropout inside draws the same numbers both times. ``function`` may be a module: its parameters get their gradients.

    Args:
        function: a module or function of tensors; tensors inside keyword arguments get no gradient.

    Example:
        >>> import nyala
        >>> x = nyala.ones(2, requires_grad=True)
        >>> checkpoint(lambda t: (t * t).exp(), x).sum().backward()
        >>> x.grad
        tensor([5.4366, 5.4366])
    """
    if not state.grad:
        return function(*args, **kwargs)
    parameters = [p for p in function.parameters() if p.requires_grad] if hasattr(function, "parameters") else []
    return _Recomputed.apply(function, kwargs, len(args), *args, *parameters)
