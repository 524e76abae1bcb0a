"""Sequences of different lengths: padded, and packed as PyTorch packs them.

Recurrent layers also take padded sequences with ``lengths=``, which needs no packing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import devices
from ...errors import ArgumentError, ShapeError
from ...ops.index import index_put
from ...ops.pad import pad
from ...ops.shape import stack
from ...tensor import Tensor


class PackedSequence(NamedTuple):
    """Sequences without their padding, step by step, the longest first.

    Attributes:
        data: (sum of lengths, ...).
        batch_sizes: (T,), how many sequences reach each step; int64 on the CPU.
        sorted_indices: (N,), the order of the batch by length; None where it was in that order.
        unsorted_indices: (N,), the way back.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def lengths_of(lengths: Any, batch: int, longest: int) -> np.ndarray[Any, Any]:
    """Lengths (N,) from a tensor, an array or a list.

    Raises:
        ShapeError: not one for each sequence.
        ArgumentError: a length that is no whole number from 1 to ``longest``.
    """
    found = np.asarray(devices.move(lengths.array, "cpu") if isinstance(lengths, Tensor) else lengths)
    if found.shape != (batch,):
        raise ShapeError(f"lengths of shape {found.shape} for {batch} sequence(s)", fix="pass one for each")
    if found.dtype.kind not in "iu" or (batch and not (found.min() >= 1 and found.max() <= longest)):
        raise ArgumentError(
            f"lengths {found.tolist()} of sequences with {longest} step(s)", fix=f"use whole numbers from 1 to {longest}"
        )
    return found.astype(np.int64)


def _places(sizes: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Step and sequence of each row of packed data."""
    steps = np.repeat(np.arange(len(sizes)), sizes)
    return steps, np.concatenate([np.arange(s) for s in sizes]) if len(sizes) else steps


def _at(place: np.ndarray[Any, Any], like: Tensor) -> Tensor:
    return Tensor(devices.move(place, like.device))


def pack_padded_sequence(input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    """The steps that count, of padded sequences (T, N, ...), or (N, T, ...) with ``batch_first``.

    Raises:
        ArgumentError: ``enforce_sorted`` and the lengths do not fall.

    Example:
        >>> import nyala
        >>> packed = pack_padded_sequence(nyala.tensor([[1, 4], [2, 0], [3, 0]]), [3, 1])
        >>> packed.data.tolist(), packed.batch_sizes.tolist()
        ([1, 4, 2, 3], [2, 1, 1])
    """
    x = input.transpose(0, 1) if batch_first else input
    known = lengths_of(lengths, x.shape[1], x.shape[0])
    order = np.argsort(-known, kind="stable")
    if enforce_sorted and (order != np.arange(len(order))).any():
        raise ArgumentError(
            f"pack_padded_sequence: lengths {known.tolist()} do not fall", fix="sort them, or pass enforce_sorted=False"
        )
    sizes = (known[None] > np.arange(known.max(initial=0))[:, None]).sum(axis=1)
    steps, rows = _places(sizes)
    data = x[_at(steps, x), _at(order[rows], x)]
    if enforce_sorted:
        return PackedSequence(data, Tensor(sizes))
    return PackedSequence(data, Tensor(sizes), _at(order, x), _at(np.argsort(order, kind="stable"), x))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Padded sequences (T, N, ...), or (N, T, ...) with ``batch_first``, and their lengths (N,): undoes packing."""
    sizes, data = sequence.batch_sizes.numpy(), sequence.data
    longest = len(sizes) if total_length is None else total_length
    if longest < len(sizes):
        raise ArgumentError(f"total_length={total_length} is below the longest sequence, {len(sizes)}", fix="choose a larger one")
    steps, rows = _places(sizes)
    lengths = (sizes[None] > np.arange(sizes[0])[:, None]).sum(axis=1)
    if sequence.sorted_indices is not None:
        order = devices.move(sequence.sorted_indices.array, "cpu")
        rows, lengths = order[rows], lengths[np.argsort(order, kind="stable")]
    empty = data._like(data._module.full((longest, int(sizes[0]), *data.shape[1:]), padding_value, data.dtype))
    out = index_put(empty, (_at(steps, data), _at(rows, data)), data)
    return out.transpose(0, 1) if batch_first else out, Tensor(lengths)


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Tensors (L_i, ...) as one (T, N, ...), or (N, T, ...) with ``batch_first``, filled up to the longest.

    Example:
        >>> import nyala
        >>> pad_sequence([nyala.tensor([1, 2, 3]), nyala.tensor([4])], batch_first=True)
        tensor([[1, 2, 3],
                [4, 0, 0]])
    """
    if padding_side not in ("left", "right"):
        raise ArgumentError(f"padding_side={padding_side!r}", fix="use 'left' or 'right'")
    longest = max((len(s) for s in sequences), default=0)

    def filled(s: Tensor) -> Tensor:
        gap = longest - len(s)
        widths = (gap, 0) if padding_side == "left" else (0, gap)
        return pad(s, [0, 0] * (s.ndim - 1) + list(widths), value=padding_value) if gap else s

    return stack([filled(s) for s in sequences], 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The tensors (L_i, ...) that ``pad_sequence`` has put together."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [x[i, : int(n)] for i, n in enumerate(lengths_of(lengths, x.shape[0], x.shape[1]))]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors (L_i, ...) packed."""
    return pack_padded_sequence(pad_sequence(sequences), [len(s) for s in sequences], enforce_sorted=enforce_sorted)
