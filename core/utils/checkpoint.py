"""Trade time for memory: do not keep a block's activations, compute them again in the backward pass."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import random
from ..autocast import Casting
from ..autograd import Function, enable_grad, grad
from ..errors import GradError
from ..graph import Node, last_sequence, state
from ..tensor import Tensor


class _Recomputed(Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], kwargs: dict[str, Any], count: int, *args: Any) -> Any:
        ctx.function, ctx.kwargs = function, kwargs
        ctx.random, ctx.autocast = random.ambient_state(), state.autocast
        # the last arguments are the parameters that the function uses without naming them
        ctx.plain = [None if isinstance(a, Tensor) else a for a in args[:count]]
        ctx.is_tensor = [isinstance(a, Tensor) for a in args[:count]]
        ctx.save_for_backward(*[a for a in args if isinstance(a, Tensor)])
        return function(*args[:count], **kwargs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        inputs = iter(ctx.saved_tensors)
        tensors = [next(inputs) if t else None for t in ctx.is_tensor]
        fresh = [t if t is None else _fresh(t) for t in tensors]
        args = [f if t else p for f, t, p in zip(fresh, ctx.is_tensor, ctx.plain, strict=True)]
        parameters = list(inputs)
        create_graph, start = state.grad, last_sequence()
        with enable_grad(), random.ambient_scope(ctx.random), _second_time(ctx.autocast):
            out = ctx.function(*args, **ctx.kwargs)
        outputs = [o for o in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(o, Tensor)]
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad and g is not None]
        wanted = [t for t in [*fresh, *parameters] if t is not None and t.requires_grad]
        _check_known([o for o, _ in pairs], wanted, start)
        found: dict[int, Any] = {}
        if pairs and wanted:
            results = grad([o for o, _ in pairs], wanted, [g for _, g in pairs], create_graph=create_graph, allow_unused=True)
            found = {id(t): r for t, r in zip(wanted, results, strict=True)}
        return (None, None, None, *[None if t is None else found.get(id(t)) for t in [*fresh, *parameters]])


@contextlib.contextmanager
def _second_time(casting: Casting | None) -> Iterator[None]:
    """As the first time, autocast included; but running statistics have seen this batch: batch norms leave theirs alone."""
    before = state.recomputing, state.autocast
    state.recomputing, state.autocast = True, casting and casting.fresh()
    try:
        yield
    finally:
        state.recomputing, state.autocast = before


def _fresh(t: Tensor) -> Tensor:
    """The same values as an input of the recomputation: tied to its past only where a graph of the gradient is wanted."""
    if state.grad:
        return t.alias() if t.requires_grad else t
    return t.detach().requires_grad_() if t.requires_grad else t


def _check_known(outputs: Sequence[Tensor], wanted: Sequence[Tensor], start: int) -> None:
    """Every way back from the outputs must end in a tensor whose gradient is passed on: none may be lost silently."""
    known = {id(t.grad_fn or t) for t in wanted}
    stack: list[Any] = [o.grad_fn or o for o in outputs]
    seen = set(known)
    while stack:
        edge = stack.pop()
        if id(edge) in seen:
            continue
        seen.add(id(edge))
        if isinstance(edge, Node) and edge.sequence > start:
            stack.extend(e for e in edge.edges if e is not None)
            continue
        shape = f" of shape {edge.shape}" if isinstance(edge, Tensor) else ""
        raise GradError(
            f"the checkpointed function uses a tensor{shape} that requires a gradient and is not among its arguments",
            why="its gradient would be lost: the function runs again in the backward pass, apart from the graph around it",
            fix="pass the tensor as an argument, or the module itself as the function",
        )


def _used_parameters(function: Callable[..., Any]) -> list[Tensor]:
    """Parameters that a function reaches by itself: a module's, its method's, those of a partial, those of a closure."""
    found: dict[int, Tensor] = {}
    for held in _held(function, 0):
        for p in held.parameters() if hasattr(held, "parameters") else (held,):
            if p.requires_grad and p.grad_fn is None:
                found.setdefault(id(p), p)
    return list(found.values())


def _held(function: Any, depth: int) -> Iterator[Any]:
    if isinstance(function, Tensor) or hasattr(function, "parameters"):
        yield function
        return
    inside: list[Any] = [getattr(function, "__self__", None)]
    if isinstance(function, functools.partial):
        inside += [function.func, *function.args, *function.keywords.values()]
    if inspect.isfunction(function) and function.__closure__:
        inside += [cell.cell_contents for cell in function.__closure__ if _is_filled(cell)]
    for thing in inside:
        if isinstance(thing, (list, tuple)):
            yield from (t for t in thing if isinstance(t, Tensor) or hasattr(t, "parameters"))
        elif thing is not None and depth < 3:
            yield from _held(thing, depth + 1)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that its function has not set yet
        return False


def checkpoint(function: Callable[..., Any], *args: Any, use_reentrant: bool = False, **kwargs: Any) -> Any:  # noqa: ARG001 - torch's
    """``function(*args, **kwargs)``, whose activations are computed again in the backward pass instead of kept.

    Dropout inside draws the same numbers both times, and the running statistics of batch norms take the batch in once.
    ``function`` may be a module, a module's method, or a function that closes over modules: their parameters get their gradients.

    Args:
        function: a module or function of tensors; tensors inside keyword arguments get no gradient.

    Raises:
        GradError: in the backward pass, where the function turns out to use a tensor that a gradient belongs to and that is
            neither an argument nor a parameter found as above.

    Example:
        >>> import nyala
        >>> x = nyala.ones(2, requires_grad=True)
        >>> checkpoint(lambda t: (t * t).exp(), x).sum().backward()
        >>> x.grad
        tensor([5.4366, 5.4366])
    """
    if not state.grad:
        return function(*args, **kwargs)
    mine = {id(a) for a in args}
    parameters = [p for p in _used_parameters(function) if id(p) not in mine]
    return _Recomputed.apply(function, kwargs, len(args), *args, *parameters)
