"""Tables of vectors."""

from __future__ import annotations

from typing import Any, Self

from ..errors import ArgumentError, IndexRangeError
from ..tensor import Tensor
from ..tracing import tells_later
from . import functional as F
from . import init
from .linear import new_parameter
from .module import Module


class Embedding(Module):
    """Row i of a table for each number i: (...) of integers -> (..., embedding_dim).

    Args:
        num_embeddings: rows of the table.
        embedding_dim: their width.
        padding_idx: a row that starts at 0 and gets no gradient; negative counts from the end.
        max_norm: must be None: renormalising rows in the forward pass is not offered.

    Raises:
        IndexRangeError: a number outside the table.
        ArgumentError: a padding_idx outside the table.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> nn.Embedding(10, 3, padding_idx=0)(nyala.tensor([[0, 2]])).shape
        (1, 2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Tensor | None = None,
        _freeze: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if max_norm is not None or scale_grad_by_freq or sparse:
            raise ArgumentError(
                "Embedding with max_norm, scale_grad_by_freq or sparse", why="none of them is offered", fix="leave them out"
            )
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ArgumentError(
                f"Embedding: padding_idx={padding_idx} of {num_embeddings} rows", fix="choose a row that is there"
            )
        self.num_embeddings, self.embedding_dim, self.norm_type = num_embeddings, embedding_dim, norm_type
        self.padding_idx = padding_idx + num_embeddings if padding_idx is not None and padding_idx < 0 else padding_idx
        self.weight = new_parameter(num_embeddings, embedding_dim, device=device, dtype=dtype)
        if _weight is None:
            self.reset_parameters()
        else:
            self.weight.array[...] = _weight.array
        self.weight.requires_grad_(not _freeze)

    def reset_parameters(self) -> None:
        """Fill from N(0, 1), the padding row with 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.array[self.padding_idx] = 0

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None) -> Self:
        """A layer with a copy of the table ``embeddings`` (rows, width), not trained unless ``freeze`` is False."""
        if embeddings.ndim != 2:
            raise ArgumentError(f"from_pretrained: a table of shape {embeddings.shape}", fix="pass (rows, width)")
        rows, width = embeddings.shape
        return cls(rows, width, padding_idx, _weight=embeddings, _freeze=freeze, device=embeddings.device, dtype=embeddings.dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = f", padding_idx={self.padding_idx}" if self.padding_idx is not None else ""
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def check_token_ids(ids: Tensor, vocab_size: int, what: str = "") -> None:
    """Name the sample of a token that is not in the vocabulary, before anything is computed.

    Args:
        ids: (N, T) integers.
        vocab_size: rows of the token table.
        what: the argument's name, where a model takes several.

    Raises:
        IndexRangeError: an id below 0, or not below ``vocab_size``.
    """
    array = ids.array
    if not ids.numel() or tells_later(
        lambda: (array.min() < 0) | (array.max() >= vocab_size),
        f"a token id in {what or 'the texts'} that the vocabulary of {vocab_size} tokens has not",
    ):
        return
    low, high = int(ids.min().item()), int(ids.max().item())
    if low < 0 or high >= vocab_size:
        bad = low if low < 0 else high
        sample = int((ids == bad).any(dim=1).to("int64").argmax().item())
        place = f"sample {sample} of {what}" if what else f"sample {sample}"
        raise IndexRangeError(
            f"token id {bad} in {place}, the vocabulary has {vocab_size} tokens (0 to {vocab_size - 1})",
            why="the tokenizer belongs to another model",
            fix="use the tokenizer that came with these weights",
        )
