"""Reading and writing at indices.

Example:
    >>> import nyala
    >>> x = nyala.arange(6).reshape(2, 3)
    >>> x[:, [2, 0]]
    tensor([[2, 0],
            [5, 3]])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, kernels
from ..devices import module_of
from ..errors import DtypeError, IndexRangeError, ShapeError
from ..operation import Operation
from ..tensor import Tensor
from .elementwise import where
from .operands import as_tensor, axis_of


def _plain_index(index: Any) -> Any:
    """The index with arrays in place of tensors and lists."""
    if isinstance(index, tuple):
        return tuple(_plain_index(i) for i in index)
    if isinstance(index, Tensor):
        if index.array.dtype.kind not in "iub":
            raise DtypeError(f"a tensor of {index.dtype} cannot be an index", fix="use integers or bools")
        return index.array if index.array.ndim or index.array.dtype.kind == "b" else int(index.array)
    if isinstance(index, list):
        return np.asarray(index) if index else np.zeros(0, np.int64)
    return index


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, (int, slice, np.integer)) and not isinstance(p, bool) for p in parts)


class GetItem(Operation):
    def __init__(self, index: Any, basic: bool) -> None:
        self.index, self.basic = index, basic
        self.view = basic  # type: ignore[misc] - basic indexing gives views, advanced indexing copies

    def forward(self, x: Any) -> Any:
        self.source, self.dtype = x.shape, x.dtype
        try:
            return module_of(x).asarray(x[self.index])
        except IndexError as error:
            raise IndexRangeError(f"index {_shown(self.index)} into a tensor of shape {x.shape}: {error}") from None

    def backward(self, g: Tensor) -> Tensor:
        return AddAt(self.source, self.index, self.basic).apply(g)


def _shown(index: Any) -> str:
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(f"array of shape {p.shape}" if hasattr(p, "shape") and getattr(p, "ndim", 0) else str(p) for p in parts)


class AddAt(Operation):
    """Zeros with values added at an index: the adjoint of reading there."""

    def __init__(self, shape: tuple[int, ...], index: Any, basic: bool) -> None:
        self.target, self.index, self.basic = shape, index, basic

    def forward(self, g: Any) -> Any:
        if self.basic:
            out = module_of(g).zeros(self.target, g.dtype)
            out[self.index] = g
            return out
        return kernels.of(g).add_at(self.target, g.dtype, self.index, g)

    def backward(self, g: Tensor) -> Tensor:
        return GetItem(self.index, self.basic).apply(g)


def getitem(input: Tensor, index: Any) -> Tensor:
    """``input[index]``: a view for numbers and slices, a copy for lists, tensors and masks."""
    index = _plain_index(index)
    return GetItem(index, _is_basic(index)).apply(input)


class IndexPut(Operation):
    """A copy of x with values written (or added) at an index."""

    def __init__(self, index: Any, accumulate: bool) -> None:
        self.index, self.accumulate = index, accumulate

    def forward(self, x: Any, value: Any) -> Any:
        self.value_shape = value.shape
        out = x.copy()
        try:
            if self.accumulate:
                out += kernels.of(x).add_at(x.shape, x.dtype, self.index, module_of(x).broadcast_to(value, x[self.index].shape))
            else:
                out[self.index] = value
        except IndexError as error:
            raise IndexRangeError(f"index {_shown(self.index)} into a tensor of shape {x.shape}: {error}") from None
        except ValueError:
            raise ShapeError(
                f"writing a value of shape {value.shape} at [{_shown(self.index)}] of {x.shape}, which has shape {x[self.index].shape}",
                fix="make the value broadcast to the place",
            ) from None
        return out

    def backward(self, g: Tensor) -> Any:
        from .elementwise import sum_to

        gx = g
        if not self.accumulate and self.edges[0] is not None:
            mask = g._module.ones(g.shape, bool)
            mask[self.index] = False
            gx = where(Tensor(mask), g, 0.0)
        gv = sum_to(getitem(g, self.index), self.value_shape) if self.edges[1] is not None else None
        return gx if self.edges[0] is not None else None, gv


def index_put(input: Tensor, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
    """A copy of ``input`` with ``values`` at ``indices`` (added where ``accumulate``)."""
    value = as_tensor(values, input).to(input.dtype)
    return IndexPut(_plain_index(tuple(indices) if isinstance(indices, list) else indices), accumulate).apply(input, value)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """``input[index] = value``, recorded where a gradient is wanted."""
    index = _plain_index(index)
    source = as_tensor(value, input)
    if dtypes.category(source.dtype) > dtypes.category(input.dtype) and not (
        isinstance(value, float) and value.is_integer() and input.dtype.kind in "iu"
    ):
        raise DtypeError(f"a value of {source.dtype} written to a tensor of {input.dtype}", fix="convert one of them")
    if input._check_writable("[...] = ", (source,)):
        input._write("[...] = ", lambda t: index_put(t, index, source), (source,))
        return
    try:
        input.array[index] = source.array
    except IndexError as error:
        raise IndexRangeError(f"index {_shown(index)} into a tensor of shape {input.shape}: {error}") from None
    except ValueError as error:
        raise ShapeError(
            f"writing a value of shape {source.shape} at [{_shown(index)}] of {input.shape}: {error}",
            fix="make the value broadcast to the place",
        ) from None
    input._bump()


def _grid(index: Any, axis: int) -> tuple[Any, ...]:
    """An index tuple that runs over all places of ``index`` and takes ``index`` itself along the axis."""
    xp = module_of(index)
    grid = list(xp.meshgrid(*[xp.arange(n) for n in index.shape], indexing="ij", sparse=True))
    grid[axis] = index
    return tuple(grid)


def _check_range(index: Any, size: int, what: str) -> None:
    if index.size and (int(index.min()) < 0 or int(index.max()) >= size):
        bad = int(index.max()) if int(index.max()) >= size else int(index.min())
        raise IndexRangeError(f"{what}: index {bad} in a dimension of length {size}", fix=f"use indices from 0 to {size - 1}")


class Gather(Operation):
    def __init__(self, axis: int, index: Any) -> None:
        self.axis, self.index = axis, index

    def forward(self, x: Any) -> Any:
        self.source = x.shape
        return x[_grid(self.index, self.axis)]

    def backward(self, g: Tensor) -> Tensor:
        return ScatterAdd(self.axis, self.index).apply(g._like(g._module.zeros(self.source, g.dtype)), g)


class ScatterAdd(Operation):
    def __init__(self, axis: int, index: Any) -> None:
        self.axis, self.index = axis, index

    def forward(self, x: Any, values: Any) -> Any:
        self.value_shape = values.shape
        return kernels.of(x).scatter_add(x, self.axis, self.index, values)

    def backward(self, g: Tensor) -> Any:
        gv = None
        if self.edges[1] is not None:
            gv = Gather(self.axis, self.index).apply(g)
            widths = tuple((0, n - m) for n, m in zip(self.value_shape, self.index.shape, strict=True))
            if any(after for _, after in widths):
                from .shape import ZeroPad

                gv = ZeroPad(widths).apply(gv)
        return g, gv


def _integer_index(index: Tensor, what: str) -> Any:
    if index.dtype.kind not in "iu":
        raise DtypeError(f"{what}: an index of {index.dtype}", fix="convert it with .long()")
    return index.array


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim=0, and so on; ``index`` has as many dimensions as ``input``.

    Raises:
        ShapeError: another number of dimensions, or longer than ``input`` in another dimension.
        IndexRangeError: an index outside the dimension.
    """
    axis, places = axis_of(dim, input.ndim, "gather"), _integer_index(index, "gather")
    if index.ndim != input.ndim or any(n > m for i, (n, m) in enumerate(zip(index.shape, input.shape, strict=False)) if i != axis):
        raise ShapeError(
            f"gather along dimension {dim}: index of shape {index.shape} for an input of {input.shape}",
            fix="give the index as many dimensions, none longer than the input's (but the gathered one)",
        )
    _check_range(places, input.shape[axis], "gather")
    return Gather(axis, places).apply(input)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of ``input`` with the values of ``src`` added at ``index`` along ``dim``; repeats add up in a fixed order."""
    axis, places = axis_of(dim, input.ndim, "scatter_add"), _integer_index(index, "scatter_add")
    if index.ndim != input.ndim or any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
        raise ShapeError(f"scatter_add: index {index.shape}, src {src.shape}, input {input.shape}", fix="index may not exceed src")
    _check_range(places, input.shape[axis], "scatter_add")
    return ScatterAdd(axis, places).apply(input, src.to(input.dtype))


def scatter(input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """A copy of ``input`` with the values of ``src`` (or one number) written at ``index`` along ``dim``."""
    axis, places = axis_of(dim, input.ndim, "scatter"), _integer_index(index, "scatter")
    _check_range(places, input.shape[axis], "scatter")
    value = as_tensor(src, input).to(input.dtype)
    if value.ndim:
        value = getitem(value, tuple(slice(0, n) for n in index.shape))
    return IndexPut(_grid(places, axis), False).apply(input, value)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of a dimension named by a vector of indices."""
    axis, places = axis_of(dim, input.ndim, "index_select"), _integer_index(index, "index_select")
    _check_range(places, input.shape[axis], "index_select")
    return getitem(input, (*[slice(None)] * axis, index))


def take_along_dim(input: Tensor, indices: Tensor, dim: int) -> Tensor:
    """``gather`` with NumPy's name."""
    return gather(input, dim, indices)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``value`` where ``mask`` holds, ``input`` elsewhere."""
    if mask.dtype.kind != "b":
        raise DtypeError(f"masked_fill needs a bool mask, not {mask.dtype}", fix="compare first, e.g. mask == 0")
    filler = value if isinstance(value, Tensor) else input._like(input._module.asarray(value, input.dtype))
    return where(mask, filler.to(input.dtype), input)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` holds, as a vector."""
    return getitem(input.expand(mask.shape) if input.ndim < mask.ndim else input, mask.expand(input.shape))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """(...,) whole numbers -> (..., num_classes) with a 1 at each number's place, as int64."""
    places = _integer_index(tensor, "one_hot")
    count = num_classes if num_classes >= 0 else int(places.max()) + 1
    _check_range(places, count, "one_hot")
    xp = tensor._module
    return Tensor((places[..., None] == xp.arange(count)).astype(np.int64))


class Embedding(Operation):
    def __init__(self, index: Any, padding_idx: int | None) -> None:
        self.index, self.padding_idx = index, padding_idx

    def forward(self, weight: Any) -> Any:
        self.source = weight.shape
        return weight[self.index]

    def backward(self, g: Tensor) -> Tensor:
        return EmbeddingGrad(self.source, self.index, self.padding_idx).apply(g)


class EmbeddingGrad(Operation):
    def __init__(self, shape: tuple[int, ...], index: Any, padding_idx: int | None) -> None:
        self.target, self.index, self.padding_idx = shape, index, padding_idx

    def forward(self, g: Any) -> Any:
        out = kernels.of(g).add_rows(self.target[0], self.index.reshape(-1), g.reshape(-1, self.target[1]))
        if self.padding_idx is not None:
            out[self.padding_idx] = 0
        return out

    def backward(self, g: Tensor) -> Tensor:
        if self.padding_idx is not None:
            g = index_put(g, (self.padding_idx,), 0.0)
        return Embedding(self.index, None).apply(g)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of ``weight`` (V, D) named by ``input`` (...): (..., D). The row ``padding_idx`` gets no gradient.

    Raises:
        IndexRangeError: an index outside 0..V-1, named with its place.
    """
    places = _integer_index(input, "embedding")
    if places.size:
        bad = (places < 0) | (places >= weight.shape[0])
        if bool(bad.any()):
            where_bad = tuple(int(i[0]) for i in module_of(bad).nonzero(bad))
            raise IndexRangeError(
                f"embedding: index {int(places[where_bad])} at position {where_bad}, the table has {weight.shape[0]} rows",
                fix="check that the tokenizer (or the labels) belong to this model",
            )
    pad = None if padding_idx is None else padding_idx % weight.shape[0]
    return Embedding(places, pad).apply(weight)
