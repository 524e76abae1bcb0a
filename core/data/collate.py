"""From a list of samples to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..devices import module_of
from ..errors import DataError, ShapeError
from ..tensor import Tensor


def default_collate(samples: Sequence[Any]) -> Any:
    """Samples of one structure as a batch of that structure: numbers and arrays are stacked, strings stay a list.

    Raises:
        DataError: samples of different structures, or of a kind that cannot be stacked.
        ShapeError: arrays of different shapes, named by sample.

    Example:
        >>> default_collate([{"x": 1.0, "name": "a"}, {"x": 2.0, "name": "b"}])
        {'x': tensor([1., 2.]), 'name': ['a', 'b']}
    """
    first = samples[0]
    if isinstance(first, Mapping):
        _same(samples, lambda s: sorted(s) if isinstance(s, Mapping) else type(s).__name__, "keys")
        return {name: default_collate([s[name] for s in samples]) for name in first}
    if isinstance(first, (tuple, list)):
        _same(samples, lambda s: len(s) if isinstance(s, (tuple, list)) else type(s).__name__, "lengths")
        parts = [default_collate(list(column)) for column in zip(*samples, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if isinstance(first, (str, bytes)):
        return list(samples)
    return stack(samples)


def _same(samples: Sequence[Any], of: Any, what: str) -> None:
    for i, s in enumerate(samples):
        if of(s) != of(samples[0]):
            raise DataError(
                f"sample 0 of the batch has the {what} {of(samples[0])}, sample {i} has {of(s)}", fix="make them equal"
            )


def stack(samples: Sequence[Any]) -> Tensor:
    """Numbers, arrays or tensors of one shape as one tensor with a new first dimension."""
    first = samples[0]
    if isinstance(first, (bool, int, float, np.generic)):
        kind = first.dtype if isinstance(first, np.generic) else dtypes.of_scalar(first)
        if kind == dtypes.int64 and any(isinstance(s, float) for s in samples):
            kind = dtypes.default_dtype()
        return Tensor(np.array(samples).astype(kind))
    if not isinstance(first, (np.ndarray, Tensor)):
        fix = "return arrays or numbers, or pass collate_fn"
        raise DataError(f"samples of type {type(first).__name__} cannot be stacked", fix=fix)
    arrays = [s.array if isinstance(s, Tensor) else s for s in samples]
    for i, a in enumerate(arrays):
        if a.shape != arrays[0].shape:
            raise ShapeError(
                f"sample 0 of the batch has shape {arrays[0].shape}, sample {i} has {a.shape}",
                fix="make them equal, or pad them with collate_fn=PadCollate()",
            )
    return Tensor(Tensor(arrays[0])._module.stack(arrays))


class PadCollate:
    """As ``default_collate``, but arrays of different lengths are padded to the longest.

    Args:
        pad_values: what to pad with: one number, or one for each name where samples are mappings.
        to_multiple_of: lengths are rounded up to a multiple of this.

    Example:
        >>> PadCollate(-1)([np.array([1, 2, 3]), np.array([4])])
        tensor([[ 1,  2,  3],
                [ 4, -1, -1]])
    """

    def __init__(self, pad_values: float | Mapping[str, float] = 0, to_multiple_of: int = 1) -> None:
        self.pad_values, self.to_multiple_of = pad_values, to_multiple_of

    def __call__(self, samples: Sequence[Any], name: str = "") -> Any:
        first = samples[0]
        if isinstance(first, Mapping):
            _same(samples, sorted, "keys")
            return {n: self([s[n] for s in samples], n) for n in first}
        if isinstance(first, tuple):
            _same(samples, len, "lengths")
            return tuple(self(list(column), name) for column in zip(*samples, strict=True))
        if isinstance(first, list):
            samples = [np.asarray(s) for s in samples]
        elif not isinstance(first, (np.ndarray, Tensor)) or not first.ndim:
            return default_collate(samples)
        return self._padded([s.array if isinstance(s, Tensor) else s for s in samples], name)

    def _padded(self, arrays: list[Any], name: str) -> Tensor:
        _same(arrays, lambda a: a.ndim, "numbers of dimensions")
        values = self.pad_values
        value = values.get(name, 0) if isinstance(values, Mapping) else values
        shape = [max(lengths) for lengths in zip(*[a.shape for a in arrays], strict=True)]
        shape[0] = -(-shape[0] // self.to_multiple_of) * self.to_multiple_of
        out = module_of(arrays[0]).full((len(arrays), *shape), value, arrays[0].dtype)
        for row, a in zip(out, arrays, strict=True):
            row[tuple(slice(0, n) for n in a.shape)] = a
        return Tensor(out)
