"""Texts as one stream of tokens, cut into windows of equal length; the stream lies in a file and may be larger than memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np

from ...core.atomic import storage_errors
from ...core.errors import ArgumentError

_CHUNK = 512  # texts that are encoded at once


class Packed(Sequence[np.ndarray[Any, Any]]):
    """Windows of equal length.

    Args:
        tokens: the stream, of any whole dtype.
        length: tokens of a window; what is left at the end is dropped.
        first, last: tokens that stand around every window, beside ``length``.

    Example:
        >>> [list(map(int, w)) for w in Packed(np.arange(7), 3, first=[100])]
        [[100, 0, 1, 2], [100, 3, 4, 5]]
    """

    def __init__(self, tokens: np.ndarray[Any, Any], length: int, first: Sequence[int] = (), last: Sequence[int] = ()) -> None:
        if length < 1:
            raise ArgumentError(f"windows of {length} tokens", fix="make the windows longer")
        self.tokens, self.length, self.first, self.last = tokens, length, list(first), list(last)

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    @overload
    def __getitem__(self, index: int) -> np.ndarray[Any, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray[Any, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """The window's tokens, int64."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        start = (index % len(self)) * self.length
        return np.concatenate([self.first, self.tokens[start : start + self.length], self.last]).astype(np.int64)


def pack(
    texts: Iterable[str],
    tokenizer: Any,
    length: int,
    *,
    between: int | None = None,
    around: tuple[Sequence[int], Sequence[int]] = ((), ()),
    special: bool = False,
) -> Packed:
    """Encode texts, one after the other, into windows of ``length`` tokens.

    Tokens are written to a temporary file as they are made, and the file is mapped: neither the texts nor the tokens have to fit
    into memory. The file has no name, and goes when the result does.

    Args:
        texts: any number of them.
        tokenizer: a :class:`~nyala.text.tokenizers.tokenizer.Tokenizer`.
        length: tokens of a window, those around it included.
        between: a token behind each text.
        around: tokens before and behind each window.
        special: whether each text has the special tokens that the tokenizer puts around it.

    Raises:
        ArgumentError: windows with no room for a token.
        StorageError: the disk is full.
    """
    inner = length - len(around[0]) - len(around[1])
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)
    after = [] if between is None else [between]
    count = 0
    with storage_errors(tempfile.gettempdir(), "write to"), tempfile.TemporaryFile() as file:
        for part in _parts(texts):
            rows = tokenizer.backend.encode_batch_fast(part, add_special_tokens=special)
            made = np.fromiter((t for row in rows for ids in (row.ids, after) for t in ids), dtype)
            file.write(made.tobytes())
            count += len(made)
        file.flush()
        tokens = np.memmap(file, dtype, "r", shape=(count,)) if count else np.zeros(0, dtype)
    return Packed(tokens, inner, *around)


def _parts(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while part := list(islice(rest, _CHUNK)):
        yield part
