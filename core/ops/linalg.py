"""Products of vectors and matrices.

Example:
    >>> import nyala
    >>> nyala.einsum("ij,j->i", nyala.ones(2, 3), nyala.tensor([1.0, 2.0, 3.0]))
    tensor([6., 6.])
"""

from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from .. import dtypes, kernels
from ..autocast import in_low_precision, in_widest_precision
from ..devices import check_same
from ..errors import ArgumentError, ShapeError
from ..graph import state
from ..kernels.reference.after import After
from ..operation import Operation
from ..tensor import Tensor
from ..unfinished import postponed, waits
from .elementwise import _conj
from .operands import require_tensors
from .shape import broadcast_to, permute, reshape, transpose, unsqueeze
from .sum_to import sum_to


class Matmul(Operation):
    """(..., M, K) @ (..., K, N), both with at least two dimensions."""

    def keeping(self, needs: Any) -> tuple[int, ...]:
        self._order = tuple(i for i in (1, 0) if needs[1 - i])
        return self._order

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = a.shape, b.shape
        return kernels.of(a).matmul(a, b)

    def backward(self, g: Tensor) -> Any:
        kept = dict(zip(self._order, self.kept_tensors(), strict=True))
        ga = gb = None
        if self.edges[0] is not None:
            ga = sum_to(Matmul().apply(g, transpose(_conj(kept[1]), -2, -1)), self.shapes[0])
        if self.edges[1] is not None:
            gb = _right_gradient(_conj(kept[0]), g, self.shapes[1])
        return ga, gb


def _right_gradient(a: Tensor, g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """a^T g summed to the shape of b; one product over the flattened batch where b has none."""
    if len(shape) == 2 and a.ndim > 2 and a.shape[:-2] == g.shape[:-2]:
        a, g = reshape(a, -1, a.shape[-1]), reshape(g, -1, g.shape[-1])
    return sum_to(Matmul().apply(transpose(a, -2, -1), g), shape)


def _product_error(what: str, a: Tensor, b: Tensor) -> ShapeError:
    return ShapeError(
        f"{what}: {a.shape} @ {b.shape}",
        why="the last dimension of the first must equal the second last of the second, and the rest must broadcast",
        fix="transpose or reshape one of them",
    )


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a == b or all(n == m or 1 in (n, m) for n, m in zip(a[::-1], b[::-1], strict=False))


@in_low_precision
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product; vectors and batches as torch and NumPy have them.

    Raises:
        ShapeError: the shapes do not go together.
    """
    if not isinstance(input, Tensor) or not isinstance(other, Tensor):
        require_tensors("matmul", input=input, other=other)
    if input.dtype != other.dtype:
        dtype = dtypes.promote(input.dtype, other.dtype)
        input, other = input.to(dtype), other.to(dtype)
    if input.ndim == 0 or other.ndim == 0:
        raise ShapeError(f"matmul: {input.shape} @ {other.shape}", why="a number has no matrix product", fix="use *")
    a = unsqueeze(input, 0) if input.ndim == 1 else input
    b = unsqueeze(other, 1) if other.ndim == 1 else other
    if a.shape[-1] != b.shape[-2] or (a.ndim > 2 and b.ndim > 2 and not _broadcast(a.shape[:-2], b.shape[:-2])):
        raise _product_error("matmul", input, other)
    out = Matmul().apply(a, b)
    if input.ndim == 1:
        out = out.squeeze(-2)
    return out.squeeze(-1) if other.ndim == 1 else out


def _strict(what: str, dims: tuple[int, int], input: Tensor, other: Tensor) -> Tensor:
    if (input.ndim, other.ndim) != dims or (dims == (3, 3) and input.shape[0] != other.shape[0]):
        why = f"it takes tensors of {dims[0]} and {dims[1]} dimensions{' of one batch size' if dims[0] == 3 else ''}"
        raise ShapeError(f"{what}: {input.shape} and {other.shape}", why=why, fix="use matmul, which broadcasts")
    return matmul(input, other)


@in_low_precision
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """(M, K) @ (K, N)."""
    return _strict("mm", (2, 2), input, mat2)


@in_low_precision
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """(B, M, K) @ (B, K, N)."""
    return _strict("bmm", (3, 3), input, mat2)


@in_low_precision
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """(M, K) @ (K,)."""
    return _strict("mv", (2, 1), input, vec)


@in_widest_precision
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors."""
    return _strict("dot", (1, 1), input, tensor)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """(M,) and (N,) -> (M, N)."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise ShapeError(f"outer: {input.shape} and {vec2.shape}", why="it takes two vectors", fix="use input[..., None] * vec2")
    return unsqueeze(input, 1) * vec2


class Linear(Operation):
    """(..., in) by a weight (out, in), and a bias (out,) where there is one."""

    def keeping(self, needs: Any) -> tuple[int, ...]:
        self._order = tuple(i for i in (1, 0) if needs[1 - i])
        return self._order

    def forward(self, x: Any, weight: Any, bias: Any = None) -> Any:
        return kernels.of(x).linear(x, weight, bias)

    def backward(self, g: Tensor) -> Any:
        kept = dict(zip(self._order, self.kept_tensors(), strict=True))
        gx = Matmul().apply(g, kept[1]) if self.edges[0] is not None else None
        if g.ndim != 2:
            g = reshape(g, -1, g.shape[-1])
        gw = None
        if self.edges[1] is not None:
            x = kept[0]
            gw = Matmul().apply(transpose(g, 0, 1), x if x.ndim == 2 else reshape(x, -1, x.shape[-1]))
        gb = [g.sum(0) if edge is not None else None for edge in self.edges[2:]]
        return gx, gw, *gb


@in_low_precision
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias: (..., in) -> (..., out), weight (out, in), bias (out,).

    Raises:
        ShapeError: the last dimension of the input is not the weight's second.
    """
    if not isinstance(input, Tensor):
        require_tensors("linear", input=input)
    if input.ndim == 0 or weight.ndim not in (1, 2) or input.shape[-1] != weight.shape[-1]:
        raise ShapeError(
            f"linear: input (..., in={input.shape[-1] if input.ndim else '-'}) of shape {input.shape}, "
            f"weight (out, in) = {weight.shape} expects in={weight.shape[-1] if weight.ndim else '-'}",
            fix="check the width of the layer before, or the model these weights belong to",
        )
    if type(input.array) is not type(weight.array):
        check_same("linear", input=input, weight=weight)
    if weight.ndim == 1 or input.dtype != weight.dtype or (bias is not None and bias.dtype != input.dtype):
        out = matmul(input, transpose(weight, 0, 1) if weight.ndim == 2 else weight)
        return out if bias is None else out + bias
    if bias is not None and bias.shape != (weight.shape[0],):
        raise ShapeError(
            f"linear: bias of shape {bias.shape} for a weight (out, in) = {weight.shape}", fix="give it shape (out,)"
        )
    if not state.grad:
        return _unrecorded(input, weight, bias)
    return Linear().apply(input, weight) if bias is None else Linear().apply(input, weight, bias)


def _unrecorded(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """With the weight as the kernel packed it before; inside a module's forward, waiting for what follows."""
    x, w, b, packs = input.array, weight.array, None if bias is None else bias.array, weight.packs()
    if not isinstance(x, np.ndarray) or (b is not None and not isinstance(b, np.ndarray)):
        check_same("linear", input=input, weight=weight, bias=bias)

    def compute(after: After | None) -> Any:
        return kernels.of(x).linear(x, w, b, after, packs)

    if not waits(x):
        return Tensor._made(compute(None), None, 0)
    return postponed(compute, (*x.shape[:-1], w.shape[0]), x, x.ndim - 1)


@in_low_precision
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2); with beta=0 the input is ignored, NaN and all."""
    return _added(input, bmm(batch1, batch2), beta, alpha)


@in_low_precision
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2); with beta=0 the input is ignored, NaN and all."""
    return _added(input, mm(mat1, mat2), beta, alpha)


def _added(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product


@in_low_precision
def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products by letters, as NumPy's einsum: "bij,bjk->bik". Ellipses and repeated letters are understood.

    Raises:
        ArgumentError: the equation does not fit the operands.
    """
    tensors = list(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else list(operands)
    terms, out = _parse_equation(equation, tensors)
    terms, tensors = map(list, zip(*[_diagonals(term, t) for term, t in zip(terms, tensors, strict=True)], strict=True))
    while len(tensors) > 1:
        a, b = tensors.pop(0), tensors.pop(0)
        ta, tb = terms.pop(0), terms.pop(0)
        still_used = set(out).union(*terms) if terms else set(out)
        term, result = _contract(ta, a, tb, b, still_used)
        terms.insert(0, term)
        tensors.insert(0, result)
    term, result = terms[0], tensors[0]
    gone = [i for i, c in enumerate(term) if c not in out]
    if gone:
        result, term = result.sum(gone), "".join(c for c in term if c in out)
    return permute(result, *[term.index(c) for c in out]) if term else result


def _parse_equation(equation: str, tensors: list[Tensor]) -> tuple[list[str], str]:
    """Terms and result with the ellipsis written out in letters of its own."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise ArgumentError(
            f"einsum {equation!r}: {len(terms)} term(s) for {len(tensors)} tensor(s)",
            fix="write one term a tensor, with commas between them",
        )
    free = [c for c in string.ascii_letters if c not in equation]
    widths = [t.ndim - len(term.replace("...", "")) for term, t in zip(terms, tensors, strict=True)]
    for term, width, t in zip(terms, widths, tensors, strict=True):
        letters = term.replace("...", "")
        if width < 0 or (width > 0 and "..." not in term) or (letters and not letters.isalpha()):
            raise ArgumentError(
                f"einsum {equation!r}: term {term!r} does not fit a tensor of shape {t.shape}",
                fix="write one letter a dimension, or ... for the rest",
            )
    dots = "".join(free[: max(widths, default=0)])
    terms = [term.replace("...", dots[len(dots) - w :] if w else "") for term, w in zip(terms, widths, strict=True)]
    if not arrow:
        once = sorted(c for c in set("".join(terms)) - set(dots) if "".join(terms).count(c) == 1)
        return terms, dots + "".join(once)
    out = right.replace("...", dots)
    unknown = set(out) - set("".join(terms))
    if unknown or len(set(out)) != len(out):
        what = f"{sorted(unknown)}, which no tensor has" if unknown else "a letter twice"
        raise ArgumentError(f"einsum {equation!r}: the result names {what}", fix="name each letter of the tensors once")
    return terms, out


def _diagonals(term: str, t: Tensor) -> tuple[str, Tensor]:
    """A term without repeated letters: their diagonal is taken."""
    for c in sorted(set(term)):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            t = t.diagonal(0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    return term, t


def _contract(ta: str, a: Tensor, tb: str, b: Tensor, keep: set[str]) -> tuple[str, Tensor]:
    """The product of two terms, summed over letters that nobody needs any more: one batched matrix product."""
    for name, term, t in (("a", ta, a), ("b", tb, b)):
        other = tb if name == "a" else ta
        alone = [i for i, c in enumerate(term) if c not in other and c not in keep]
        if alone:
            t, term = t.sum(alone), "".join(c for i, c in enumerate(term) if i not in alone)
            if name == "a":
                ta, a = term, t
            else:
                tb, b = term, t
    shared = [c for c in ta if c in tb]
    batch = [c for c in shared if c in keep]
    summed = [c for c in shared if c not in keep]
    rows, columns = [c for c in ta if c not in tb], [c for c in tb if c not in ta]
    sizes = _sizes(ta, a, tb, b)
    am = _matrix(ta, _stretch(ta, a, summed, sizes), batch, rows, summed)
    bm = _matrix(tb, _stretch(tb, b, summed, sizes), batch, summed, columns)
    out = matmul(am, bm)
    return "".join(batch + rows + columns), reshape(out, tuple(sizes[c] for c in batch + rows + columns))


def _sizes(ta: str, a: Tensor, tb: str, b: Tensor) -> dict[str, int]:
    sizes = dict(zip(ta, a.shape, strict=True))
    for c, n in zip(tb, b.shape, strict=True):
        if sizes.get(c, n) not in (n, 1) and n != 1:
            raise ShapeError(
                f"einsum: letter {c!r} has length {sizes[c]} in one tensor and {n} in another",
                fix="give dimensions of different length different letters",
            )
        sizes[c] = max(n, sizes.get(c, 1))
    return sizes


def _stretch(term: str, t: Tensor, summed: list[str], sizes: dict[str, int]) -> Tensor:
    """A letter of length 1 goes with any length of the other tensor's."""
    shape = tuple(sizes[c] if c in summed else n for c, n in zip(term, t.shape, strict=True))
    return t if shape == t.shape else broadcast_to(t, shape)


def _matrix(term: str, t: Tensor, batch: list[str], first: list[str], second: list[str]) -> Tensor:
    """(batch, first, second), the groups flattened."""
    t = permute(t, *[term.index(c) for c in batch + first + second]) if term else t
    nb, nf = len(batch), len(first)
    shape = t.shape
    return reshape(t, (*shape[:nb], math.prod(shape[nb : nb + nf]), math.prod(shape[nb + nf :])))
