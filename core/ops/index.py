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
from ..devices import check_same, module_of, move, of, use
from ..errors import ArgumentError, DtypeError, GradError, IndexRangeError, ShapeError
from ..operation import Operation
from ..tensor import Tensor
from ..tracing import tells_later
from .elementwise import where
from .operands import as_tensor, axis_of, broadcast_error, require_tensors
from .sum_to import sum_to


def _plain_index(index: Any, x: Any) -> Any:
    """The index with arrays on the device of ``x`` in place of tensors and lists."""
    if isinstance(index, tuple):
        return tuple(_plain_index(i, x) for i in index)
    if isinstance(index, Tensor):
        if index.array.dtype.kind not in "iub":
            raise DtypeError(f"a tensor of {index.dtype} cannot be an index", fix="use integers or bools")
        return move(index.array, of(x)) if index.array.ndim or index.array.dtype.kind == "b" else int(index.array)
    if isinstance(index, (list, np.ndarray)) and (isinstance(index, list) or not isinstance(x, np.ndarray)):
        return move(np.asarray(index) if len(index) else np.zeros(0, np.int64), of(x))
    return index


def _checked_index(index: Any, x: Any) -> Any:
    """``_plain_index``; on CUDA the numbers in its arrays are checked here, for there an index outside wraps around.

    Raises:
        IndexRangeError: an index outside its dimension.
    """
    index = _plain_index(index, x)
    if isinstance(x, np.ndarray):
        return index
    use(x)
    parts = index if isinstance(index, tuple) else (index,)
    widths = [p.ndim if _is_mask(p) else 0 if p is None or p is Ellipsis else 1 for p in parts]
    axis = 0
    for part, width in zip(parts, widths, strict=True):
        if hasattr(part, "dtype") and part.size and not _is_mask(part) and axis < x.ndim:
            _check_part(part, index, x.shape, axis)
        axis += x.ndim - sum(widths) if part is Ellipsis else width
    return index


def _check_part(part: Any, index: Any, shape: tuple[int, ...], axis: int) -> None:
    size = shape[axis]
    if tells_later(lambda: (part.min() < -size) | (part.max() >= size), f"an index outside axis {axis} of {shape}"):
        return
    low, high = int(part.min()), int(part.max())
    if low < -size or high >= size:
        bad = high if high >= size else low
        raise _index_error(index, shape, f"index {bad} is out of bounds for axis {axis} with size {size}")


def _is_mask(part: Any) -> bool:
    return hasattr(part, "dtype") and part.dtype.kind == "b"


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or (isinstance(p, (int, slice, np.integer)) and not isinstance(p, bool)) for p in parts)


class GetItem(Operation):
    def __init__(self, index: Any, basic: bool) -> None:
        self.index, self.basic = index, basic
        self.view = basic  # type: ignore[misc]  # basic indexing gives views, advanced indexing copies

    def forward(self, x: Any) -> Any:
        self.source, self.dtype = x.shape, x.dtype
        try:
            return module_of(x).asarray(x[self.index])
        except IndexError as error:
            raise _index_error(self.index, x.shape, error) from None

    def backward(self, g: Tensor) -> Tensor:
        return AddAt(self.source, self.index, self.basic).apply(g)


def _shown(index: Any) -> str:
    parts = index if isinstance(index, tuple) else (index,)
    parts = parts[:-1] if len(parts) > 1 and parts[-1] is Ellipsis else parts
    return ", ".join(f"array of shape {p.shape}" if hasattr(p, "shape") and np.ndim(p) else str(p) for p in parts)


def _index_error(index: Any, shape: tuple[int, ...], error: IndexError | str) -> IndexRangeError:
    return IndexRangeError(f"index [{_shown(index)}] into a tensor of shape {shape}: {error}", fix="check it against the shape")


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
    index = _checked_index(index, input.array)
    basic = _is_basic(index)
    if basic:  # the ellipsis makes NumPy give a view where the index leaves a single element, too
        parts = index if isinstance(index, tuple) else (index,)
        index = parts if Ellipsis in parts else (*parts, Ellipsis)
    return GetItem(index, basic).apply(input)


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
                kernels.of(x).put(out, self.index, value)
        except IndexError as error:
            raise _index_error(self.index, x.shape, error) from None
        except ValueError:
            raise _value_error(self.index, x, value) from None
        return out

    def backward(self, g: Tensor) -> Any:
        gx = g
        if not self.accumulate and self.edges[0] is not None:
            mask = g._module.ones(g.shape, bool)
            mask[self.index] = False
            gx = where(Tensor(mask), g, 0.0)
        gv = sum_to(getitem(g, self.index), self.value_shape) if self.edges[1] is not None else None
        return gx if self.edges[0] is not None else None, gv


def _value_error(index: Any, x: Any, value: Any) -> ShapeError:
    return ShapeError(
        f"writing a value of shape {value.shape} at [{_shown(index)}] of {x.shape}, where there is {x[index].shape}",
        fix="make the value broadcast to the place",
    )


def index_put(input: Tensor, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
    """A copy of ``input`` with ``values`` at ``indices`` (added where ``accumulate``)."""
    value = _value_for(input, values)
    places = _checked_index(tuple(indices) if isinstance(indices, list) else indices, input.array)
    return IndexPut(places, accumulate).apply(input, value)


def _value_for(input: Tensor, value: Any) -> Tensor:
    """What is to be written into ``input``, as a tensor of its dtype.

    Raises:
        DtypeError: a value that the dtype cannot hold, such as a fraction among whole numbers.
    """
    if not isinstance(value, (Tensor, list, tuple)) and not hasattr(value, "dtype"):
        fits = dtypes.category(dtypes.of_scalar(value)) <= dtypes.category(input.dtype) or value == int(value.real)
        source = input._like(input._module.asarray(value, input.dtype)) if fits else as_tensor(value, input)
    else:
        source = as_tensor(value, input)
    if dtypes.category(source.dtype) > dtypes.category(input.dtype):
        raise DtypeError(f"a value of {source.dtype} written to a tensor of {input.dtype}", fix="convert one of them")
    return source.to(device=input.device, dtype=input.dtype)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """``input[index] = value``, recorded where a gradient is wanted."""
    index = _checked_index(index, input.array)
    source = _value_for(input, value)
    if input._check_writable("[...] = ", (source,)):
        input._write("[...] = ", lambda t: index_put(t, index, source), (source,))
        return
    try:
        kernels.of(input.array).put(input.array, index, source.array)
    except IndexError as error:
        raise _index_error(index, input.shape, error) from None
    except ValueError:
        raise _value_error(index, input.array, source) from None
    input._bump()


def _grid(index: Any, axis: int) -> tuple[Any, ...]:
    """An index tuple that runs over all places of ``index`` and takes ``index`` itself along the axis."""
    xp = module_of(index)
    grid = list(xp.meshgrid(*[xp.arange(n) for n in index.shape], indexing="ij", sparse=True))
    grid[axis] = index
    return tuple(grid)


def _check_range(index: Any, size: int, what: str) -> Any:
    """The index, all of it from 0 to ``size - 1``: a wrong one raises, or is brought there where that is told later."""
    if not index.size:
        return index
    if tells_later(lambda: (index.min() < 0) | (index.max() >= size), f"{what}: an index outside a dimension of length {size}"):
        return index.clip(0, size - 1)
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= size:
        bad = high if high >= size else low
        raise IndexRangeError(f"{what}: index {bad} in a dimension of length {size}", fix=f"use indices from 0 to {size - 1}")
    return index


def _check_fits(what: str, dim: int, index: Tensor, input: Tensor, src: Tensor | None = None) -> None:
    """An index must have the dimensions of the input, be no longer than it but along ``dim``, and no longer than ``src``."""
    check_same(what, input=input, index=index, src=src)
    axis = axis_of(dim, input.ndim, what)
    same = index.ndim == input.ndim and (src is None or src.ndim == input.ndim)
    if not same or any(n > m for i, (n, m) in enumerate(zip(index.shape, input.shape, strict=True)) if i != axis):
        beside = "" if src is None else f", values of {src.shape}"
        raise ShapeError(
            f"{what} along dimension {dim}: index of shape {index.shape} for an input of {input.shape}{beside}",
            fix="give the index as many dimensions, none longer than the input's (but the indexed one)",
        )
    if src is not None and any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
        raise ShapeError(f"{what}: index of shape {index.shape} for values of {src.shape}", fix="give a value for every index")


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
    if not isinstance(index, Tensor):
        require_tensors(what, index=index)
    if index.dtype.kind not in "iu":
        raise DtypeError(f"{what}: an index of {index.dtype}", fix="convert it with .long()")
    module_of(index.array)  # its device is the current one from here on
    return index.array


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim=0, and so on; ``index`` has as many dimensions as ``input``.

    Raises:
        ShapeError: another number of dimensions, or longer than ``input`` in another dimension.
        IndexRangeError: an index outside the dimension.
    """
    places = _integer_index(index, "gather")
    _check_fits("gather", dim, index, input)
    if input.ndim == 0:
        return gather(input.reshape(1), 0, index.reshape(1)).reshape(())
    axis = axis_of(dim, input.ndim, "gather")
    places = _check_range(places, input.shape[axis], "gather")
    return Gather(axis, places).apply(input)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of ``input`` with the values of ``src`` added at ``index`` along ``dim``; repeats add up in a fixed order.

    Raises:
        ShapeError: as for ``gather``, or an index longer than ``src``.
        IndexRangeError: an index outside the dimension.
    """
    places = _integer_index(index, "scatter_add")
    _check_fits("scatter_add", dim, index, input, src)
    if input.ndim == 0:
        return scatter_add(input.reshape(1), 0, index.reshape(1), src.reshape(1)).reshape(())
    axis = axis_of(dim, input.ndim, "scatter_add")
    places = _check_range(places, input.shape[axis], "scatter_add")
    return ScatterAdd(axis, places).apply(input, src.to(input.dtype))


def scatter(input: Tensor, dim: int, index: Tensor, src: Any, *, reduce: str | None = None) -> Tensor:
    """A copy of ``input`` with the values of ``src`` (or one number) written at ``index`` along ``dim``.

    Args:
        reduce: None to write (the last of repeated indices wins), "add" to add up, "multiply" to multiply.
        input, dim, index, src: as for ``scatter_add``, which names the errors.
    """
    if reduce not in (None, "add", "multiply"):
        raise ArgumentError(f"scatter: reduce={reduce!r}", fix="use None, 'add' or 'multiply', or scatter_reduce")
    value = _value_for(input, src)
    value = value if value.ndim else value.expand(index.shape)
    if reduce == "add":
        return scatter_add(input, dim, index, value)
    if reduce == "multiply":
        return scatter_reduce(input, dim, index, value, "prod")
    places = _integer_index(index, "scatter")
    _check_fits("scatter", dim, index, input, value)
    axis = axis_of(dim, input.ndim, "scatter")
    places = _check_range(places, input.shape[axis] if input.ndim else 1, "scatter")
    if input.ndim == 0:
        return value
    value = getitem(value, tuple(slice(0, n) for n in index.shape))
    return IndexPut(_grid(places, axis), False).apply(input, value)


_RANKED = {"amax": "maximum", "amin": "minimum", "prod": "multiply"}


class ScatterExtreme(Operation):
    """The largest, the smallest or the product of x and the values scattered to each place; equal extremes share the gradient."""

    keeps = (0, 1)
    keeps_output = True

    def __init__(self, axis: int, index: Any, how: str) -> None:
        self.axis, self.index, self.how = axis, index, how

    def forward(self, x: Any, values: Any) -> Any:
        return kernels.of(x).combine_at(x, _grid(self.index, self.axis), values, _RANKED[self.how])

    def backward(self, g: Tensor) -> Any:
        x, values = (t.detach() for t in self.kept_tensors())
        if self.how == "prod":
            raise GradError("scatter with products has no gradient here", fix="use 'sum', 'mean', 'amax' or 'amin'")
        best = self.output().detach()
        mine = (x == best).to(g.dtype)
        theirs = (values == Gather(self.axis, self.index).apply(best)).to(g.dtype)
        share = g / ScatterAdd(self.axis, self.index).apply(mine, theirs)
        return share * mine, Gather(self.axis, self.index).apply(share) * theirs


def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """``input`` with the values of ``src`` that ``index`` sends to each place taken in.

    Args:
        reduce: "sum", "mean", "amax", "amin", or "prod" (without gradient).
        include_self: whether the value of ``input`` at a place counts too; places that nothing is sent to always keep it.

    Example:
        >>> import nyala
        >>> scatter_reduce(nyala.zeros(2), 0, nyala.tensor([0, 0, 1]), nyala.tensor([1.0, 3.0, 5.0]), "amax")
        tensor([3., 5.])
    """
    if reduce not in ("sum", "mean", *_RANKED):
        raise ArgumentError(f"scatter_reduce: reduce={reduce!r}", fix="use 'sum', 'mean', 'amax', 'amin' or 'prod'")
    places = _integer_index(index, "scatter_reduce")
    _check_fits("scatter_reduce", dim, index, input, src)
    axis = axis_of(dim, input.ndim, "scatter_reduce")
    places = _check_range(places, input.shape[axis], "scatter_reduce")
    src = getitem(src, tuple(slice(0, n) for n in index.shape)).to(input.dtype)
    hits = scatter_add(input._like(input._module.zeros(input.shape, np.int64)), axis, index, Tensor(places * 0 + 1))
    start = input if include_self else where(hits > 0, _neutral(input, reduce), input)
    if reduce in _RANKED:
        return ScatterExtreme(axis, places, reduce).apply(start, src)
    total = ScatterAdd(axis, places).apply(start, src)
    if reduce == "sum":
        return total
    counts = (hits + 1 if include_self else hits.clamp(min=1)).to(input.dtype)
    return total.div(counts, rounding_mode="floor") if input.dtype.kind in "iu" else total / counts


def _neutral(input: Tensor, reduce: str) -> Tensor:
    """What changes nothing when it is taken in."""
    whole = input.array.dtype.kind in "iu"
    low, high = (np.iinfo(input.dtype).min, np.iinfo(input.dtype).max) if whole else (-np.inf, np.inf)
    value = {"amax": low, "amin": high, "prod": 1}.get(reduce, 0)
    return input._like(input._module.asarray(value, input.dtype))


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of a dimension named by a vector of indices (or one index)."""
    places = _integer_index(index, "index_select")
    check_same("index_select", input=input, index=index)
    axis = axis_of(dim, input.ndim, "index_select")
    if index.ndim > 1 or input.ndim == 0:
        raise ShapeError(f"index_select: index of shape {index.shape} for {input.shape}", fix="pass a vector, or use gather")
    places = _check_range(places, input.shape[axis], "index_select")
    return getitem(input, (*[slice(None)] * axis, index.reshape(-1)))


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """``gather`` whose other dimensions broadcast; without ``dim`` on the flat tensor."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    axis = axis_of(dim, input.ndim, "take_along_dim")
    if indices.ndim != input.ndim:
        raise ShapeError(
            f"take_along_dim: indices of shape {indices.shape} for {input.shape}", fix="give them equally many dimensions"
        )
    shape = [max(n, m) if 0 not in (n, m) else 0 for n, m in zip(input.shape, indices.shape, strict=True)]
    wide = input.expand(*[input.shape[axis] if i == axis else n for i, n in enumerate(shape)])
    return gather(wide, axis, indices.expand(*[indices.shape[axis] if i == axis else n for i, n in enumerate(shape)]))


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``value`` (one number) where ``mask`` holds, ``input`` elsewhere."""
    if mask.dtype.kind != "b":
        raise DtypeError(f"masked_fill needs a bool mask, not {mask.dtype}", fix="compare first, e.g. mask == 0")
    filler = _value_for(input, value)
    if filler.ndim:
        raise ShapeError(f"masked_fill with a value of shape {filler.shape}", why="it takes one number", fix="use where")
    return where(mask, filler, input)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` holds, as a vector; the two shapes broadcast."""
    if mask.dtype.kind != "b":
        raise DtypeError(f"masked_select needs a bool mask, not {mask.dtype}", fix="compare first, e.g. mask == 0")
    try:
        shape = np.broadcast_shapes(input.shape, mask.shape)
    except ValueError:
        raise broadcast_error("masked_select", input.shape, mask.shape) from None
    return getitem(input.expand(*shape), mask.expand(*shape))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """(...,) whole numbers -> (..., num_classes) with a 1 at each number's place, as int64."""
    places = _integer_index(tensor, "one_hot")
    if num_classes < 0 and not places.size:
        raise ArgumentError("one_hot of an empty tensor without num_classes", fix="pass num_classes")
    count = num_classes if num_classes >= 0 else int(places.max()) + 1
    places = _check_range(places, count, "one_hot")
    xp = tensor._module
    return Tensor((places[..., None] == xp.arange(count)).astype(np.int64))


class Embedding(Operation):
    def __init__(self, index: Any, padding_idx: int | None) -> None:
        self.index, self.padding_idx = index, padding_idx

    def forward(self, weight: Any) -> Any:
        self.source = weight.shape
        return kernels.of(weight).take_rows(weight, self.index)

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
    check_same("embedding", input=input, weight=weight)
    rows = weight.shape[0]

    def wrong() -> Any:
        return (places.min() < 0) | (places.max() >= rows)

    if places.size and tells_later(wrong, f"embedding: an index outside the table of {rows} rows"):
        places = places.clip(0, rows - 1)
    elif places.size and bool(wrong()):
        bad = (places < 0) | (places >= rows)
        where_bad = tuple(int(i[0]) for i in module_of(bad).nonzero(bad))
        raise IndexRangeError(
            f"embedding: index {int(places[where_bad])} at position {where_bad}, the table has {rows} rows",
            fix="check that the tokenizer (or the labels) belong to this model",
        )
    pad = None if padding_idx is None else padding_idx % rows
    return Embedding(places, pad).apply(weight)
