"""Gradients: ``backward``, ``grad``, the switches around them, and ``Function`` for operations of your own.

Example:
    >>> import nyala
    >>> x = nyala.tensor(3.0, requires_grad=True)
    >>> (dy,) = nyala.autograd.grad(x**3, x, create_graph=True)
    >>> (d2y,) = nyala.autograd.grad(dy, x)
    >>> dy.item(), d2y.item()
    (27.0, 18.0)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import dtypes
from .errors import GradError, kind_of
from .graph import Node, Sink, Version, changed_in_place, check_grad_shape, run_backward, state
from .tensor import Tensor

__all__ = [
    "Function",
    "Node",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
]


class _Switch:
    """A context manager and decorator that sets a per-thread switch and puts it back."""

    _settings: dict[str, bool]

    def __enter__(self) -> _Switch:
        before = {k: getattr(state, k) for k in self._settings}
        self.__dict__.setdefault("_before", []).append(before)
        for k, v in self._settings.items():
            setattr(state, k, v)
        return self

    def __exit__(self, *exc: object) -> None:
        for k, v in self.__dict__["_before"].pop().items():
            setattr(state, k, v)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._copy():
                return function(*args, **kwargs)

        return wrapped

    def _copy(self) -> _Switch:
        """A switch for one call: a function may call itself, and threads may call it at once."""
        other = _Switch()
        other._settings = self._settings
        return other


class no_grad(_Switch):  # noqa: N801 - torch's name
    """Operations inside record no graph. Works as ``with no_grad():`` and as ``@no_grad()``.

    Example:
        >>> import nyala
        >>> x = nyala.ones(2, requires_grad=True)
        >>> with nyala.no_grad():
        ...     (x * 2).requires_grad
        False
    """

    def __init__(self) -> None:
        self._settings = {"grad": False}


class enable_grad(_Switch):  # noqa: N801 - torch's name
    """Operations inside record a graph again, within ``no_grad``."""

    def __init__(self) -> None:
        self._settings = {"grad": True}


class set_grad_enabled(_Switch):  # noqa: N801 - torch's name
    """``enable_grad`` or ``no_grad`` by a flag; takes effect at once, and is undone when used in a ``with``."""

    def __init__(self, mode: bool) -> None:
        self._settings = {"grad": bool(mode)}
        self._outer = state.grad
        state.grad = bool(mode)

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        state.grad = self._outer

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.grad = self._outer  # as a decorator it concerns the calls, not the rest of the module
        return super().__call__(function)


class inference_mode(_Switch):  # noqa: N801 - torch's name
    """``no_grad`` that also leaves out the bookkeeping of views: the quickest way to run a model."""

    def __init__(self, mode: bool = True) -> None:
        self._settings = {"grad": False, "inference": True} if mode else {"grad": True, "inference": False}


class detect_anomaly(_Switch):  # noqa: N801 - torch's name
    """Check every gradient for NaN and infinity; the error names the operation, its module path and source line.

    Slower: for hunting a fault, not for training.
    """

    def __init__(self, mode: bool = True) -> None:
        self._settings = {"anomaly": bool(mode)}


def set_detect_anomaly(mode: bool) -> None:
    """Turn anomaly mode on or off for this thread until further notice."""
    state.anomaly = bool(mode)


def is_grad_enabled() -> bool:
    """Whether operations of this thread record a graph now."""
    return state.grad


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return (x,) if isinstance(x, Tensor) or x is None else tuple(x)


def _first_grads(roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Tensor]:
    if len(grads) != len(roots):
        raise GradError(f"{len(grads)} gradient(s) for {len(roots)} tensor(s)", fix="pass one gradient for each output")
    filled = []
    for root, given in zip(roots, grads, strict=True):
        if not root.requires_grad:
            raise GradError(
                f"a tensor of shape {tuple(root.shape)} has no graph to go back through",
                why="nothing it was computed from has requires_grad=True, or it was made under no_grad",
                fix="set requires_grad=True on the parameters, and compute the loss outside no_grad",
            )
        if given is None:
            if root.array.size != 1:
                raise GradError(
                    f"backward from a tensor of shape {tuple(root.shape)} needs a gradient of that shape",
                    why="only a single number has an obvious gradient, 1",
                    fix="reduce it first, e.g. loss.mean().backward(), or pass gradient=",
                )
            given = root._like(root._module.ones(root.shape, root.dtype))
        check_grad_shape(root, given)
        filled.append(given)
    return filled


def _run(roots: Sequence[Tensor], grads: Sequence[Tensor], sink: Sink, retain_graph: bool | None, create_graph: bool) -> None:
    retain = create_graph if retain_graph is None else retain_graph
    sink.given.update(id(g.array) for g in grads)  # the caller's own memory
    before, state.grad = state.grad, create_graph
    try:
        run_backward(roots, grads, sink, retain)
    finally:
        state.grad = before


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradients of ``tensors`` to ``.grad`` of every leaf they were computed from.

    Args:
        tensors: one tensor or several.
        grad_tensors: the gradient of each, of its own shape; may be left out for single numbers.
        retain_graph: keep the graph for another backward pass. Default: the value of ``create_graph``.
        create_graph: record the backward pass itself, for derivatives of higher order.

    Raises:
        GradError: no graph behind a tensor, the graph was freed, or a kept tensor was changed in place.
        ShapeError: a gradient has another shape than its tensor.
    """
    roots = _as_tuple(tensors)
    grads = _first_grads(roots, (None,) * len(roots) if grad_tensors is None else _as_tuple(grad_tensors))
    _run(roots, grads, Sink(None, create_graph), retain_graph, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``; no ``.grad`` is touched.

    Args:
        outputs, inputs: one tensor or several; inputs may be leaves or results.
        grad_outputs: gradient of each output; may be left out for single numbers.
        retain_graph, create_graph: as for ``backward``.
        allow_unused: give None for an input the outputs do not depend on, instead of an error.
        materialize_grads: give zeros there.

    Raises:
        GradError: as ``backward``, or an input is not used.
    """
    roots, wanted = _as_tuple(outputs), _as_tuple(inputs)
    for t in wanted:
        if not t.requires_grad:
            raise GradError(
                f"an input of shape {tuple(t.shape)} does not require a gradient",
                fix="call requires_grad_() on it before computing the outputs",
            )
    grads = _first_grads(roots, (None,) * len(roots) if grad_outputs is None else _as_tuple(grad_outputs))
    sink = Sink(wanted, create_graph)
    _run(roots, grads, sink, retain_graph, create_graph)
    found = [sink.found[sink.wanted[(id(t.grad_fn), t._number) if t.grad_fn is not None else id(t)]] for t in wanted]  # type: ignore[index]
    for i, (t, g) in enumerate(zip(wanted, found, strict=True)):
        if g is None and materialize_grads:
            found[i] = t._like(t._module.zeros(t.shape, t.dtype))
        elif g is None and not allow_unused:
            raise GradError(
                f"input {i} of shape {tuple(t.shape)} was not used to compute the outputs",
                fix="pass allow_unused=True to get None for it, or look for a detach() on the way",
            )
    return tuple(found)


_KEPT = "kept"


class _FunctionNode(Node):
    """The graph node, and the ``ctx``, of a user's ``Function``."""

    def __init__(self, function: type[Function]) -> None:
        self._function = function
        self.name = function.__name__  # type: ignore[misc]  # one class serves all functions
        self.materialize = True
        self._saved: tuple[Any, ...] = ()
        self._saved_outputs: dict[int, Any] = {}
        self._plain: tuple[Tensor, ...] = ()
        self._dirty: tuple[Tensor, ...] = ()
        self._wants: tuple[bool, ...] = ()
        self._shapes: tuple[tuple[int, ...] | None, ...] = ()  # of the arguments, None for those that are no tensors

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep input or output tensors for ``backward``, where they are ``ctx.saved_tensors``."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        checked = iter(self.kept_tensors())
        return tuple(next(checked) if s is _KEPT else None if s is None else self._output(s) for s in self._saved)

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these outputs carry no gradient."""
        self._plain = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that these inputs were changed in place."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing output gradients arrive as zeros (the default) or None."""
        self.materialize = value

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        return self._wants

    def _output(self, number: int) -> Tensor:
        array, version, count = self._saved_outputs[number]
        if version.count != count:
            raise changed_in_place(self.name, array.shape, version.count - count)
        differentiable = self.outputs[number] is not None
        return Tensor._made(array, self if differentiable else None, number if differentiable else 0)

    def release(self) -> None:
        super().release()
        self._saved, self._saved_outputs = (), {}

    def backward(self, *grads: Tensor) -> tuple[Any, ...]:
        results = self._function.backward(self, *grads)
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != len(self._shapes):
            raise GradError(
                f"{self.name}.backward returned {len(results)} gradient(s) for {len(self._shapes)} argument(s) of forward",
                fix="return one for each argument, None for those that are not tensors",
            )
        kept = {id(t.array) for t, _ in self.kept}
        return tuple(self._checked(r, i, kept) for i, r in enumerate(results) if self._shapes[i] is not None)

    def _checked(self, grad: Any, number: int, kept: set[int]) -> Tensor | None:
        """A gradient of the argument's shape, in memory that belongs to nothing else."""
        if grad is None:
            return None
        if not isinstance(grad, Tensor) or tuple(grad.shape) != self._shapes[number]:
            what = f"a tensor of shape {tuple(grad.shape)}" if isinstance(grad, Tensor) else kind_of(grad)
            raise GradError(
                f"{self.name}.backward returned {what} for argument {number}, which has shape {self._shapes[number]}",
                fix="return a tensor of the argument's own shape, or None",
            )
        return grad.clone() if id(grad.array) in kept else grad


class Function:
    """An operation of your own, as in torch: static ``forward(ctx, ...)`` and ``backward(ctx, *grads)``.

    ``backward`` written with differentiable operations can itself be differentiated.

    Example:
        >>> import nyala
        >>> class Cube(nyala.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x**3
        ...
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         (x,) = ctx.saved_tensors
        ...         return grad * 3 * x**2
        >>> x = nyala.tensor(2.0, requires_grad=True)
        >>> Cube.apply(x).backward()
        >>> x.grad
        tensor(12.)
    """

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a Function needs a static forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("a Function needs a static backward(ctx, *grads) to be differentiated")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward`` and record it, so that ``backward`` is used in its place."""
        node = _FunctionNode(cls)
        tensors = [a for a in args if isinstance(a, Tensor)]
        node._shapes = tuple(tuple(a.shape) if isinstance(a, Tensor) else None for a in args)
        node._wants = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        recording = state.grad and any(node._wants)
        with no_grad():
            setup = getattr(cls, "setup_context", None)
            out = cls.forward(*args, **kwargs) if setup else cls.forward(node, *args, **kwargs)
            if setup:
                setup(node, args, out)
        for t in node._dirty:
            t._bump()
        outputs = tuple(out) if isinstance(out, (tuple, list)) else (out,)
        if recording:
            outputs = cls._record(node, tensors, outputs)
        return outputs if isinstance(out, (tuple, list)) else outputs[0]

    @staticmethod
    def _record(node: _FunctionNode, tensors: list[Tensor], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        node.connect(tensors)
        carries = [
            isinstance(o, Tensor) and dtypes.is_differentiable(o.dtype) and not any(o is p for p in node._plain) for o in outputs
        ]
        node.outputs = tuple((o._module, o.shape, o.dtype) if c else None for o, c in zip(outputs, carries, strict=True))
        made = tuple(Function._result(node, i, o, tensors) if carries[i] else o for i, o in enumerate(outputs))
        saved: list[Any] = []
        kept: list[Tensor] = []
        for s in node._saved:
            which = next((i for i, o in enumerate(outputs) if o is s and s is not None), None)
            if which is not None and not any(s is t for t in tensors):
                # an output that is kept is rebuilt from its array: keeping the tensor would tie it and the node in a cycle
                version = made[which]._version = made[which]._version or Version()
                node._saved_outputs[which] = (s.array, version, version.count)
                saved.append(which)
            else:
                saved.append(None if s is None else _KEPT)
                kept += [] if s is None else [s]
        node.keep(*kept)
        node._saved = tuple(saved)
        return made

    @staticmethod
    def _result(node: _FunctionNode, number: int, out: Tensor, inputs: list[Tensor]) -> Tensor:
        """The ``number``-th output as the user gets it."""
        if any(out is d for d in node._dirty):
            if out.requires_grad and out.grad_fn is None:
                raise GradError(
                    f"{node.name} marks a leaf that requires a gradient as dirty",
                    why="the value its gradient belongs to would be lost",
                    fix="do it under no_grad(), or return a new tensor",
                )
            return out._rebase(node, number)
        made = Tensor._made(out.array, node, number)
        if any(out is t for t in inputs):  # handed through: one memory under two names
            out._version = made._version = out._version or Version()
            out._version.viewed = made._is_view = True
        return made


class _Once(Node):
    """Stands behind gradients that cannot be differentiated again."""

    def __init__(self, name: str) -> None:
        self._of = name

    def backward(self, *grads: Tensor) -> Any:  # noqa: ARG002 - the interface of nodes
        raise GradError(
            f"{self._of}.backward is marked once_differentiable",
            fix="write it with differentiable operations to take higher derivatives",
        )


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a ``Function.backward`` as one that cannot be differentiated again: trying to is an error.

    Inside, nothing is recorded, so NumPy may be used.
    """

    @functools.wraps(function)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        recording = state.grad
        with no_grad():
            results = function(ctx, *grads)
        if not recording:
            return results
        node = _Once(ctx.name)
        node.connect([g for g in grads if isinstance(g, Tensor)])
        many = results if isinstance(results, tuple) else (results,)
        made = tuple(Tensor._made(r.array, node, 0) if isinstance(r, Tensor) else r for r in many)
        return made if isinstance(results, tuple) else made[0]

    return wrapped


def __getattr__(name: str) -> Any:
    """``gradcheck`` and ``gradgradcheck`` have their place in torch.autograd too."""
    if name in ("gradcheck", "gradgradcheck"):
        from . import testing

        return getattr(testing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
