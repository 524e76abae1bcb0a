"""``Operation``: what the differentiable operations of ``core/ops`` are made of.

``forward`` works on arrays, through the kernel table. ``backward`` works on tensors, with differentiable operations,
so derivatives of any order come free. Where a fused backward kernel exists it is used as long as nobody asks for a graph
of the gradient; ``Composite`` operations fall back on differentiating their own definition then.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .devices import mismatch, module_of, of, use
from .errors import ArgumentError, OutOfMemoryError, kind_of
from .graph import Node, Version, changed_in_place, state
from .tensor import Tensor
from .tracing import here


class Operation(Node):
    """One differentiable operation; an instance is one use of it.

    A subclass sets its parameters in ``__init__``, computes arrays in ``forward`` and gradients in ``backward``.

    Attributes:
        keeps: positions of the inputs whose values ``backward`` needs (``self.kept_tensors()``).
        keeps_output: whether ``backward`` needs the result, or the first of several (``self.output()``).
        view: whether the result may share memory with the first input.
    """

    keeps: ClassVar[tuple[int, ...]] = ()
    keeps_output: ClassVar[bool] = False
    view: ClassVar[bool] = False

    recording = False
    _output: Any = None
    _output_version: Version

    def forward(self, *arrays: Any, **nothing: Any) -> Any:
        """The result, an array or a tuple of arrays."""
        raise NotImplementedError

    def keeping(self, needs: Sequence[bool]) -> tuple[int, ...]:  # noqa: ARG002 - for subclasses to use
        """Positions of the inputs to keep, given which inputs want a gradient. Default: ``keeps``."""
        return self.keeps

    def apply(self, *inputs: Tensor) -> Any:
        """Compute, and record it if an input wants a gradient."""
        try:
            arrays = [t.array for t in inputs]
        except AttributeError:
            raise _no_tensor(self.name, inputs) from None
        if here.tracer is not None:
            arrays = here.tracer.operands(inputs)
        if len(arrays) > 1:
            _check_devices(self, arrays)
        if arrays and type(arrays[0]) is not np.ndarray:
            use(arrays[0])
        recording = False
        if state.grad:
            for t in inputs:
                if t.requires_grad:
                    recording = True
                    break
        self.recording = recording
        try:
            out = self.forward(*arrays)
        except MemoryError as error:
            raise _no_memory(self.name, arrays, error) from error
        if type(out) is tuple:
            return self._several(inputs, out, recording)
        if type(out) is not np.ndarray and isinstance(out, np.generic):
            out = np.asarray(out)
        if not recording:
            result = Tensor._made(out, None, 0)
            if self.view and not state.inference:
                _share(result, inputs[0], False)
            return result
        self._record(inputs)
        result = Tensor._made(out, self, 0)
        if self.view:
            _share(result, inputs[0], True)
        elif self.keeps_output:
            self._output = out
            self._output_version = result._version = Version()
        return result

    def _record(self, inputs: Sequence[Tensor]) -> None:
        self.connect(inputs)
        positions = self.keeping([t.requires_grad for t in inputs])
        if positions:
            self.keep(*[inputs[i] for i in positions])

    def _several(self, inputs: Sequence[Tensor], arrays: tuple[Any, ...], recording: bool) -> tuple[Tensor, ...]:
        if not recording:
            plain = tuple(Tensor._made(np.asarray(a) if isinstance(a, np.generic) else a, None, 0) for a in arrays)
            if self.view and not state.inference:
                for r in plain:
                    _share(r, inputs[0], False)
            return plain
        self._record(inputs)
        self.outputs = tuple((module_of(a), a.shape, a.dtype) for a in arrays)
        differentiable = [a.dtype.kind in "fcV" for a in arrays]
        results = tuple(
            Tensor._made(a, self if d else None, i) for i, (a, d) in enumerate(zip(arrays, differentiable, strict=True))
        )
        if self.keeps_output:
            self._output = arrays[0]
            self._output_version = results[0]._version = Version()
        if self.view:
            for r in results:
                _share(r, inputs[0], True)
        return results

    def output(self) -> Tensor:
        """The operation's own result, the first of several, with this node behind it."""
        if self.released:
            self.kept_tensors()  # raises: the graph has been freed
        if self._output_version.count:
            raise changed_in_place(self.name, self._output.shape, self._output_version.count)
        return Tensor._made(self._output, self, 0)

    def release(self) -> None:
        super().release()
        self._output = None


def _no_memory(operation: str, arrays: Sequence[Any], error: MemoryError) -> MemoryError:
    from .memory import out_of_memory

    if isinstance(error, OutOfMemoryError):
        return error  # it came through an operation that this one is made of
    shapes = " and ".join(str(a.shape) for a in arrays[:3])
    return out_of_memory(f"{operation} of {shapes}", of(arrays[0]) if arrays else "cpu", error)


def _no_tensor(operation: str, inputs: Sequence[Any]) -> ArgumentError:
    number, wrong = next((i, x) for i, x in enumerate(inputs) if not isinstance(x, Tensor))
    return ArgumentError(f"{operation}: input {number} is {kind_of(wrong)}, not a tensor", fix="wrap it: nyala.tensor(...)")


def _share(result: Tensor, source: Tensor, recorded: bool) -> None:
    """A view writes to its source's memory: both count their writes together."""
    array = source.array
    if not _is_view(result.array, array):
        return  # a copy after all, as reshape of a transposed tensor is
    if source._version is None:
        source._version = Version()
    result._version = source._version
    result._is_view = True
    if recorded:
        source._version.viewed = True


def _is_view(result: Any, array: Any) -> bool:
    base = result.base
    if base is None:  # CuPy's as_strided names no base
        return result is not array and not isinstance(array, np.ndarray) and result.data.mem is array.data.mem
    if type(base) is not type(array):
        base = getattr(base, "base", base)  # NumPy's as_strided puts a holder between a view and its source
    return base is array or base is array.base or result is array


def _check_devices(operation: Operation, arrays: Sequence[Any]) -> None:
    first = type(arrays[0])
    for i, a in enumerate(arrays):
        if type(a) is first is np.ndarray:
            continue
        if of(a) != of(arrays[0]):
            names = [
                p.name for p in inspect.signature(operation.forward).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
            ]
            names += [f"input {k}" for k in range(len(names), i + 1)]
            raise mismatch(operation.name, names[0], arrays[0], names[i], a)


class Composite(Operation):
    """An operation with fused kernels and a plain definition.

    ``compose`` gives the same result as ``forward`` from differentiable operations. ``fused_backward`` computes the
    gradients with a kernel; where the gradient itself must be differentiable, ``compose`` is differentiated instead.
    All inputs are kept. ``saved`` is for arrays that ``forward`` leaves for ``fused_backward`` (where ``recording``).
    """

    saved: tuple[Any, ...] = ()

    def release(self) -> None:
        super().release()
        self.saved = ()

    def keeping(self, needs: Sequence[bool]) -> tuple[int, ...]:
        return tuple(range(len(needs)))

    def compose(self, *inputs: Any, **nothing: Any) -> Any:
        """The operation written with differentiable operations."""
        raise NotImplementedError

    def fused_backward(self, *arrays: Any, **nothing: Any) -> Any:
        """Gradients of the inputs as arrays, from arrays; None where there is none."""
        raise NotImplementedError

    def backward(self, *grads: Tensor) -> Any:
        inputs = self.kept_tensors()
        if not state.grad:
            found = self.fused_backward(*[g.array for g in grads], *[t.array for t in inputs])
            return tuple(None if f is None else Tensor(f) for f in found)
        return self._composed_backward(inputs, grads)

    def _composed_backward(self, inputs: Sequence[Tensor], grads: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        from .autograd import grad

        # the same values under new names: the walk below must end here, not run on into the inputs' own graphs
        fresh = [t.alias() if t.requires_grad else t for t in inputs]
        out = self.compose(*fresh)
        wanted = [t for t, need in zip(fresh, self.needs_input_grad, strict=True) if need]
        found = iter(grad(out, wanted, list(grads), create_graph=True, allow_unused=True))
        return tuple(next(found) if need else None for need in self.needs_input_grad)
