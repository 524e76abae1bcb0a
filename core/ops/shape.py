"""Operations that move elements about: views where NumPy can give them, copies elsewhere.

Example:
    >>> import nyala
    >>> x = nyala.arange(6).reshape(2, 3)
    >>> nyala.cat([x, x], dim=1).shape
    (2, 6)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..devices import module_of
from ..errors import ArgumentError, ShapeError
from ..operation import Operation
from ..tensor import Tensor
from .operands import axes_of, axis_of, require_tensors, shape_of
from .sum_to import sum_to


class Reshape(Operation):
    view = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.target = shape

    def forward(self, x: Any) -> Any:
        self.source = x.shape
        return x.reshape(self.target)

    def backward(self, g: Tensor) -> Tensor:
        return reshape(g, self.source)


def _filled(input: Tensor, shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    known = math.prod(n for n in shape if n != -1)
    gaps = sum(n == -1 for n in shape)
    size = input.array.size
    if gaps > 1 or (gaps == 0 and known != size) or (gaps == 1 and (known == 0 or size % known)) or any(n < -1 for n in shape):
        raise ShapeError(
            f"{what}: {tuple(input.shape)} with {size} elements cannot become {shape}",
            fix="the numbers must multiply to the same count; one of them may be -1",
        )
    return tuple(size // known if n == -1 else n for n in shape)


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one length may be -1. A view where the memory allows it.

    Raises:
        ShapeError: the element counts differ.
    """
    target = _filled(input, shape_of(shape, "reshape"), "reshape")
    return Reshape(target).apply(input)


def view(input: Tensor, *shape: Any) -> Tensor:
    """As ``reshape``, but never a copy: an error where the memory does not allow a view. A dtype reinterprets the bytes.

    Raises:
        ShapeError: the element counts differ, or only a copy could have this shape.
    """
    if len(shape) == 1 and isinstance(shape[0], (np.dtype, type, str)):
        return Reinterpret(dtypes.parse(shape[0])).apply(input.detach())
    target = _filled(input, shape_of(shape, "view"), "view")
    out = Reshape(target).apply(input)
    if input.array.size and not module_of(input.array).may_share_memory(out.array, input.array):
        raise ShapeError(
            f"view: a tensor of shape {input.shape} in another memory order cannot be seen as {target} without a copy",
            fix="use reshape, which copies, or contiguous() first",
        )
    return out


class Reinterpret(Operation):
    """The bytes read as another dtype; no gradient."""

    view = True

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype

    def forward(self, x: Any) -> Any:
        try:
            return x.view(self.dtype)
        except ValueError as error:
            raise ShapeError(
                f"view: {x.dtype} of shape {x.shape} as {self.dtype}: {error}", fix="call contiguous() first"
            ) from None


class Permute(Operation):
    view = True

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Any) -> Any:
        return x.transpose(self.axes)

    def backward(self, g: Tensor) -> Tensor:
        return Permute(tuple(int(i) for i in np.argsort(self.axes))).apply(g)


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order, as a view."""
    order = shape_of(dims, "permute")
    axes = tuple(axis_of(d, input.ndim, "permute") for d in order)
    if sorted(axes) != list(range(input.ndim)):
        raise ShapeError(f"permute: {order} does not name each of {input.ndim} dimensions once", fix="name every dimension once")
    return Permute(axes).apply(input)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged, as a view."""
    axes = list(range(input.ndim))
    a, b = axis_of(dim0, input.ndim, "transpose"), axis_of(dim1, input.ndim, "transpose")
    if not axes:
        return input
    axes[a], axes[b] = b, a
    return Permute(tuple(axes)).apply(input)


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector stays as it is."""
    if input.ndim > 2:
        raise ShapeError(f"t() of a tensor of shape {input.shape}", fix="use transpose(dim0, dim1) or mT")
    return transpose(input, 0, 1) if input.ndim == 2 else input


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places, the rest in their order."""
    n = input.ndim
    src = [axis_of(d, n, "movedim") for d in ((source,) if isinstance(source, int) else source)]
    dst = [axis_of(d, n, "movedim") for d in ((destination,) if isinstance(destination, int) else destination)]
    order = [i for i in range(n) if i not in src]
    for d, s in sorted(zip(dst, src, strict=True)):
        order.insert(d, s)
    return permute(input, *order)


class Expand(Operation):
    view = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.target = shape

    def forward(self, x: Any) -> Any:
        self.source = x.shape
        return module_of(x).broadcast_to(x, self.target)

    def backward(self, g: Tensor) -> Tensor:
        return sum_to(g, self.source)


def expand(input: Tensor, *shape: Any) -> Tensor:
    """Dimensions of length 1 repeated to ``shape`` without copying; -1 keeps a length."""
    target = list(shape_of(shape, "expand"))
    lead = len(target) - input.ndim
    for i, n in enumerate(target):
        have = input.shape[i - lead] if i >= lead else None
        if n == -1 and have is not None:
            target[i] = have
        elif lead < 0 or (have is not None and have not in (1, n)) or n < 0:
            raise ShapeError(
                f"expand: {input.shape} cannot become {tuple(target)}",
                why="only dimensions of length 1 can be repeated, and none can be dropped",
                fix="use repeat or squeeze",
            )
    if lead < 0:
        raise ShapeError(f"expand: {input.shape} cannot become {tuple(target)}", why="none can be dropped", fix="use squeeze")
    return input if tuple(target) == input.shape else Expand(tuple(target)).apply(input)


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """``expand`` to the shape of ``other``."""
    return expand(input, *other.shape)


def broadcast_to(input: Tensor, shape: Sequence[int]) -> Tensor:
    """``expand`` to ``shape``."""
    return expand(input, *shape)


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without its dimensions of length 1, or without those of ``dim`` that have length 1."""
    axes = () if dim == () else axes_of(dim, input.ndim, "squeeze")
    return reshape(input, tuple(n for i, n in enumerate(input.shape) if not (n == 1 and i in axes)))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new dimension of length 1 at ``dim``."""
    axis = axis_of(dim, input.ndim + 1, "unsqueeze")
    return reshape(input, (*input.shape[:axis], 1, *input.shape[axis:]))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from ``start_dim`` to ``end_dim`` as one."""
    if input.ndim == 0:
        return reshape(input, (1,))
    a, b = axis_of(start_dim, input.ndim, "flatten"), axis_of(end_dim, input.ndim, "flatten")
    if a > b:
        raise ShapeError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim}", fix="exchange them")
    return reshape(input, (*input.shape[:a], math.prod(input.shape[a : b + 1]), *input.shape[b + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension as several; one of ``sizes`` may be -1.

    Raises:
        ShapeError: the sizes do not multiply to the length.
    """
    axis = axis_of(dim, input.ndim, "unflatten")
    _some_dimension(input, "unflatten")
    known = math.prod(s for s in sizes if s != -1)
    filled = [input.shape[axis] // max(known, 1) if s == -1 else s for s in sizes]
    return reshape(input, (*input.shape[:axis], *filled, *input.shape[axis + 1 :]))


class Cat(Operation):
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays: Any) -> Any:
        self.lengths = [a.shape[self.axis] for a in arrays]
        return module_of(arrays[0]).concatenate(arrays, axis=self.axis)

    def backward(self, g: Tensor) -> Any:
        return tuple(
            part if edge is not None else None for part, edge in zip(split(g, self.lengths, self.axis), self.edges, strict=True)
        )


def _listed(tensors: Sequence[Tensor], what: str) -> tuple[Tensor, ...]:
    if isinstance(tensors, Tensor):
        raise ArgumentError(f"{what} was given one tensor", why="it takes many", fix="put them in a list")
    listed = tuple(tensors)
    if not listed:
        raise ArgumentError(f"{what} of no tensors", fix="pass at least one")
    for i, one in enumerate(listed):
        if not isinstance(one, Tensor):
            require_tensors(what, **{f"member {i}": one})
    return listed


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along a dimension that exists; all other lengths must agree.

    Raises:
        ShapeError: the lengths of another dimension differ.
    """
    tensors = _listed(tensors, "cat")
    tensors = tuple(t for t in tensors if t.shape != (0,)) or tensors[:1]  # empty vectors go with anything, as in torch
    axis = axis_of(dim, tensors[0].ndim, "cat")
    rests = [(*t.shape[:axis], *t.shape[axis + 1 :]) for t in tensors]
    for i, (rest, one) in enumerate(zip(rests, tensors, strict=True)):
        if rest != rests[0] or one.ndim != tensors[0].ndim or one.ndim == 0:
            raise ShapeError(
                f"cat along dimension {dim}: tensor 0 has shape {tensors[0].shape}, tensor {i} has {one.shape}",
                why="all other dimensions must be equal",
                fix="reshape or pad them, or use stack for tensors without that dimension",
            )
    dtype = tensors[0].dtype
    for one in tensors[1:]:
        dtype = dtypes.promote(dtype, one.dtype)
    return Cat(axis).apply(*[one.to(dtype) for one in tensors])


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    tensors = _listed(tensors, "stack")
    for i, one in enumerate(tensors):
        if one.shape != tensors[0].shape:
            raise ShapeError(f"stack: tensor 0 has shape {tensors[0].shape}, tensor {i} has {one.shape}", fix="make them equal")
    return cat([unsqueeze(one, dim) for one in tensors], dim)


class Narrow(Operation):
    view = True

    def __init__(self, axis: int, start: int, length: int) -> None:
        self.axis, self.start, self.length = axis, start, length

    def forward(self, x: Any) -> Any:
        self.source = x.shape
        index = [slice(None)] * x.ndim
        index[self.axis] = slice(self.start, self.start + self.length)
        return x[tuple(index)]

    def backward(self, g: Tensor) -> Tensor:
        after = self.source[self.axis] - self.start - self.length
        widths = [(0, 0)] * len(self.source)
        widths[self.axis] = (self.start, after)
        return ZeroPad(tuple(widths)).apply(g)


class ZeroPad(Operation):
    """Zeros around; the adjoint of cutting out."""

    def __init__(self, widths: tuple[tuple[int, int], ...]) -> None:
        self.widths = widths

    def forward(self, x: Any) -> Any:
        out = module_of(x).zeros(tuple(n + a + b for n, (a, b) in zip(x.shape, self.widths, strict=True)), x.dtype)
        out[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, self.widths, strict=True))] = x
        return out

    def backward(self, g: Tensor) -> Tensor:
        for axis, (before, after) in enumerate(self.widths):
            if before or after:
                g = narrow(g, axis, before, g.shape[axis] - before - after)
        return g


def _some_dimension(input: Tensor, what: str) -> None:
    if input.ndim == 0:
        raise ShapeError(f"{what} of a tensor without dimensions", fix="use reshape(1) first")


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``length`` elements of a dimension from ``start``, as a view."""
    axis = axis_of(dim, input.ndim, "narrow")
    _some_dimension(input, "narrow")
    size = input.shape[axis]
    start = start + size if start < 0 else start
    if not 0 <= start <= start + length <= size:
        raise ShapeError(f"narrow: {start}..{start + length} of dimension {dim} with length {size}", fix="stay within the length")
    return Narrow(axis, start, length).apply(input)


class Split(Operation):
    """All pieces at once: one node, whose gradient is the pieces' gradients joined."""

    view = True

    def __init__(self, axis: int, lengths: Sequence[int]) -> None:
        self.axis, self.lengths = axis, lengths

    def forward(self, x: Any) -> Any:
        before, pieces, start = (slice(None),) * self.axis, [], 0
        for length in self.lengths:
            pieces.append(x[(*before, slice(start, start + length))])
            start += length
        return tuple(pieces)

    def backward(self, *grads: Tensor) -> Tensor:
        return Cat(self.axis).apply(*grads)


class Unbind(Operation):
    """All slices at once, without the dimension they lie along."""

    view = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        before = (slice(None),) * self.axis
        return tuple(module_of(x).asarray(x[(*before, i)]) for i in range(x.shape[self.axis]))

    def backward(self, *grads: Tensor) -> Tensor:
        return Cat(self.axis).apply(*[unsqueeze(g, self.axis) for g in grads])


def split(input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of one length (the last may be shorter), or of the lengths given, as views."""
    axis = axis_of(dim, input.ndim, "split")
    _some_dimension(input, "split")
    size = input.shape[axis]
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step <= 0:
            raise ArgumentError(f"split: piece length {step}", fix="use a positive length")
        lengths = [min(step, size - i) for i in range(0, size, step)] or [0]
    else:
        lengths = list(split_size_or_sections)
        if sum(lengths) != size:
            raise ShapeError(
                f"split: lengths {lengths} add up to {sum(lengths)}, dimension {dim} has {size}",
                fix="make the lengths add up to the dimension",
            )
    return Split(axis, lengths).apply(input)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` pieces of equal length (the last may be shorter)."""
    if chunks <= 0:
        raise ArgumentError(f"chunk: {chunks} pieces", fix="ask for at least one")
    axis = axis_of(dim, input.ndim, "chunk")
    _some_dimension(input, "chunk")
    if input.shape[axis] == 0:
        return split(input, [0] * chunks, axis)
    return split(input, -(-input.shape[axis] // chunks), axis)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dimension, which disappears."""
    axis = axis_of(dim, input.ndim, "unbind")
    _some_dimension(input, "unbind")
    return Unbind(axis).apply(input) if input.shape[axis] else ()


class Flip(Operation):
    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Any) -> Any:
        return module_of(x).flip(x, self.axes).copy()

    def backward(self, g: Tensor) -> Tensor:
        return Flip(self.axes).apply(g)


def flip(input: Tensor, *dims: Any) -> Tensor:
    """The order of the elements reversed along ``dims``."""
    named = shape_of(dims, "flip")
    return Flip(axes_of(named, input.ndim, "flip") if named else ()).apply(input)


class Roll(Operation):
    def __init__(self, shifts: tuple[int, ...], axes: tuple[int, ...]) -> None:
        self.shifts, self.axes = shifts, axes

    def forward(self, x: Any) -> Any:
        return module_of(x).roll(x, self.shifts, self.axes)

    def backward(self, g: Tensor) -> Tensor:
        return Roll(tuple(-s for s in self.shifts), self.axes).apply(g)


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Elements shifted along ``dims``, those that fall off come back at the other end; without ``dims`` on the flat tensor."""
    moves = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None:
        return reshape(Roll(moves, (0,)).apply(flatten(input)), input.shape)
    axes = tuple(axis_of(d, input.ndim, "roll") for d in ((dims,) if isinstance(dims, int) else dims))
    if len(axes) != len(moves):
        raise ArgumentError(f"roll: {len(moves)} shift(s) for {len(axes)} dimension(s)", fix="give one shift for each dimension")
    return Roll(moves, axes).apply(input)


def repeat(input: Tensor, *sizes: Any) -> Tensor:
    """The tensor laid side by side ``sizes`` times along each dimension (NumPy's tile)."""
    times = shape_of(sizes, "repeat")
    if len(times) < input.ndim:
        raise ShapeError(f"repeat: {len(times)} count(s) for {input.ndim} dimension(s)", fix="give one for each dimension")
    x = reshape(input, (1,) * (len(times) - input.ndim) + input.shape)
    shape = x.shape
    x = reshape(x, tuple(n for s in shape for n in (1, s)))
    x = expand(x, tuple(n for r, s in zip(times, shape, strict=True) for n in (r, s)))
    return reshape(x, tuple(r * s for r, s in zip(times, shape, strict=True)))


def repeat_interleave(input: Tensor, repeats: int | Tensor, dim: int | None = None) -> Tensor:
    """Each element repeated in a row along ``dim``, or of the flat tensor: ``repeats`` times, or as often as a vector says."""
    if dim is None:
        input, dim = flatten(input), 0
    axis = axis_of(dim, input.ndim, "repeat_interleave")
    shape = input.shape
    if isinstance(repeats, Tensor):
        if repeats.numel() not in (1, shape[axis]):
            raise ShapeError(
                f"repeat_interleave: {repeats.numel()} count(s) for a dimension of length {shape[axis]}",
                fix="give one count, or one for each element",
            )
        from .index import index_select

        counts = np.broadcast_to(devices.move(repeats.array, "cpu").reshape(-1), (shape[axis],))
        places = np.repeat(np.arange(shape[axis]), counts)  # on the CPU: the result's length must be known there
        return index_select(input, axis, Tensor(devices.move(places, input.device)))
    x = expand(unsqueeze(input, axis + 1), (*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    return reshape(x, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))


class Contiguous(Operation):
    """A copy in C order; also what clone() is."""

    def forward(self, x: Any) -> Any:
        return x.copy(order="C")

    def backward(self, g: Tensor) -> Tensor:
        return g


def contiguous(input: Tensor) -> Tensor:
    """The tensor itself where its memory is in C order, else a copy that is."""
    return input if input.array.flags.c_contiguous else Contiguous().apply(input)


def clone(input: Tensor) -> Tensor:
    """A copy with memory of its own; gradients pass through."""
    return Contiguous().apply(input)


class Alias(Operation):
    """The same values under another name in the graph."""

    view = True

    def forward(self, x: Any) -> Any:
        return x.view()

    def backward(self, g: Tensor) -> Tensor:
        return g


def alias(input: Tensor) -> Tensor:
    """A view of all of it: a new place in the graph for the same memory."""
    return Alias().apply(input)


class Diagonal(Operation):
    view = True

    def __init__(self, offset: int, axis1: int, axis2: int) -> None:
        self.where = offset, axis1, axis2

    def forward(self, x: Any) -> Any:
        self.source = x.shape
        out = module_of(x).diagonal(x, *self.where)
        if isinstance(out, np.ndarray):
            out = out.view()
            out.flags.writeable = x.flags.writeable  # NumPy hands its diagonals out read-only
        return out

    def backward(self, g: Tensor) -> Tensor:
        return DiagonalScatter(self.source, self.where).apply(g)


class DiagonalScatter(Operation):
    def __init__(self, shape: tuple[int, ...], place: tuple[int, int, int]) -> None:
        self.target, self.where = shape, place

    def forward(self, g: Any) -> Any:
        xp = module_of(g)
        places = xp.diagonal(xp.arange(math.prod(self.target)).reshape(self.target), *self.where)
        out = xp.zeros(math.prod(self.target), g.dtype)
        out[places] = g
        return out.reshape(self.target)

    def backward(self, g: Tensor) -> Tensor:
        return Diagonal(*self.where).apply(g)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, which come out as the last one."""
    first, second = axis_of(dim1, input.ndim, "diagonal"), axis_of(dim2, input.ndim, "diagonal")
    if input.ndim < 2 or first == second:
        raise ShapeError(f"diagonal of dimensions {dim1} and {dim2} of {input.shape}", fix="name two different dimensions")
    return Diagonal(offset, first, second).apply(input)


def _triangle(input: Tensor, diagonal: int, lower: bool) -> Tensor:
    if input.ndim < 2:
        raise ShapeError(
            f"a triangle of a tensor of shape {input.shape}", why="it needs two dimensions", fix="add a dimension with unsqueeze"
        )
    xp = input._module
    mask = xp.tri(input.shape[-2], input.shape[-1], diagonal if lower else diagonal - 1, dtype=bool)
    from .elementwise import where

    return where(Tensor(mask if lower else ~mask), input, 0)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two dimensions, zeros above."""
    return _triangle(input, diagonal, True)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two dimensions, zeros below."""
    return _triangle(input, diagonal, False)
