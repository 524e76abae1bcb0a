"""Gradients against finite differences.

For each output a fixed random direction u is chosen, and the gradient of L = sum(u * output) (for complex outputs the real
part of sum(conj(u) * output)) is compared, element by element, with central differences of L. A wrong gradient cannot
hide behind a random direction, and one backward pass an output is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import random
from ..autograd import grad
from ..errors import ArgumentError, DtypeError
from ..graph import state
from ..tensor import Tensor


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of ``func`` agree with central differences.

    Args:
        func: takes ``inputs``, gives a tensor or a tuple of tensors; must give the same result every time.
        inputs: one tensor or several arguments. Tensors that require a gradient are checked, and must be float64 or
            complex128; they are changed in place while the check runs, and put back.
        eps: half the distance of the two points of a difference.
        atol, rtol: tolerated absolute difference, and relative to the finite difference.
        raise_exception: raise on disagreement; otherwise return False.

    Raises:
        AssertionError: a gradient is wrong; names the input, the element and both values.
        DtypeError: a checked input has less than double precision.
        ArgumentError: no input requires a gradient, or one repeats its own memory.

    Example:
        >>> import nyala
        >>> x = nyala.tensor([[0.3, -1.2]], dtype="float64", requires_grad=True)
        >>> gradcheck(lambda t: (t * t).sum(), (x,))
        True
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = _checked(args)
    try:
        outputs = _outputs(func, args)
        _assert_repeatable(outputs, _outputs(func, args))
        for number, out in enumerate(outputs):
            if out.requires_grad:
                _check_output(func, args, checked, number, out, eps, atol, rtol)
        if not any(out.requires_grad for out in outputs):
            raise AssertionError("no output requires a gradient: the graph is cut between the inputs and the outputs")
    except AssertionError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether second derivatives agree: ``gradcheck`` of the gradient, by the inputs and by the incoming gradient.

    Args:
        grad_outputs: incoming gradients, one an output that requires a gradient. Default: fixed random numbers.
        func, inputs, eps, atol, rtol, raise_exception: as for ``gradcheck``, whose errors it raises.

    Example:
        >>> import nyala
        >>> x = nyala.tensor([0.3, 1.2], dtype="float64", requires_grad=True)
        >>> gradgradcheck(nyala.sin, x)
        True
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    positions = _checked(args)
    outputs = [out for out in _outputs(func, args) if out.requires_grad]
    if grad_outputs is None:
        given = [Tensor(_direction(out, i), requires_grad=True) for i, out in enumerate(outputs)]
    else:
        given = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)

    def gradients(*both: Any) -> tuple[Tensor, ...]:
        mine, incoming = both[: len(args)], both[len(args) :]
        results = [out for out in _outputs(func, mine) if out.requires_grad]
        wanted = [mine[i] for i in positions]
        return grad(results, wanted, list(incoming), create_graph=True, materialize_grads=True)  # type: ignore[return-value]

    return gradcheck(gradients, (*args, *given), eps, atol, rtol, raise_exception)


def _checked(args: Sequence[Any]) -> list[int]:
    """Positions of the inputs to check."""
    positions = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
    if not positions:
        raise ArgumentError("gradcheck: no input requires a gradient", fix="make the inputs with requires_grad=True")
    for i in positions:
        x = args[i].array
        if x.dtype not in (np.float64, np.complex128):
            raise DtypeError(
                f"gradcheck: input {i} is {x.dtype}",
                why="differences of single precision are too coarse to judge a gradient",
                fix="use float64 or complex128",
            )
        if x.size and any(stride == 0 and n > 1 for stride, n in zip(x.strides, x.shape, strict=True)):
            raise ArgumentError(f"gradcheck: input {i} repeats its memory (an expanded tensor)", fix="pass a contiguous copy")
    return positions


def _outputs(func: Callable[..., Any], args: Sequence[Any]) -> list[Tensor]:
    """The differentiable results of one call, recorded."""
    before, state.grad = state.grad, True
    try:
        result = func(*args)
    finally:
        state.grad = before
    results = (result,) if isinstance(result, Tensor) else tuple(result)
    return [r for r in results if isinstance(r, Tensor) and r.dtype.kind in "fcV"]


def _assert_repeatable(first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
    for number, (a, b) in enumerate(zip(first, second, strict=True)):
        if not np.array_equal(a.detach().cpu().array, b.detach().cpu().array, equal_nan=True):
            raise AssertionError(f"output {number} differs between two calls with the same inputs: fix its randomness")


def _direction(out: Tensor, number: int) -> Any:
    """A fixed random direction in the space of an output: away from 0, so that no element is overlooked."""
    key = random.key(0, "gradcheck", number)
    kind = np.float64 if out.dtype.kind != "c" else np.complex128
    size = key.uniform(out.shape, 0.5, 1.5, dtype=np.float64)
    value = np.where(key.fold("sign").bernoulli(0.5, out.shape), size, -size).astype(kind)
    if kind is np.complex128:
        value = value + 1j * key.fold("imaginary").uniform(out.shape, -1.0, 1.0, dtype=np.float64)
    return out._module.asarray(value)


def _check_output(
    func: Callable[..., Any],
    args: Sequence[Any],
    checked: Sequence[int],
    number: int,
    out: Tensor,
    eps: float,
    atol: float,
    rtol: float,
) -> None:
    direction = _direction(out, number)
    found = grad(out, [args[i] for i in checked], Tensor(direction.astype(out.dtype)), retain_graph=True, allow_unused=True)

    def value() -> float:
        y = _outputs(func, args)[number].array
        return float((direction.conj() * y).real.sum())

    for i, gradient in zip(checked, found, strict=True):
        x = args[i].array
        if gradient is not None and (gradient.shape != x.shape or gradient.dtype != x.dtype):
            raise AssertionError(
                f"the gradient of input {i} is {gradient.dtype} of shape {gradient.shape}, the input {x.dtype} of {x.shape}"
            )
        analytic = np.zeros(x.shape, x.dtype) if gradient is None else gradient.cpu().array
        _compare(analytic, x, value, eps, atol, rtol, f"output {number}, input {i} of shape {tuple(x.shape)}")


def _compare(analytic: Any, x: Any, value: Callable[[], float], eps: float, atol: float, rtol: float, what: str) -> None:
    for place in np.ndindex(*x.shape):
        difference = _difference(x, place, value, eps)
        mine = analytic[place]
        if not abs(mine - difference) <= atol + rtol * abs(difference):
            raise AssertionError(
                f"wrong gradient: {what}, element {place}: backward says {mine:.8g}, central differences say {difference:.8g} "
                f"(tolerated: {atol:g} + {rtol:g} relative)"
            )


def _difference(x: Any, place: tuple[int, ...], value: Callable[[], float], eps: float) -> Any:
    """The derivative by one element; for a complex one by its real part + i times by its imaginary part."""
    before = x[place].item()

    def slope(step: complex) -> float:
        ends = []
        for sign in (1, -1):
            x[place] = before + sign * step
            ends.append(value())
        return (ends[0] - ends[1]) / (2 * eps)

    try:
        return slope(eps) if x.dtype.kind != "c" else slope(eps) + 1j * slope(1j * eps)
    finally:
        x[place] = before
