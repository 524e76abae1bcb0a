"""What encoders of texts are built from since BERT: embeddings, layers with norms behind their parts, a pooler.

Sources: Devlin et al., arXiv:1810.04805; positions that count, Liu et al., arXiv:1907.11692. A ``config`` is any object with the
sizes under transformers' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..create import arange, zeros
from ..errors import ShapeError
from ..tensor import Tensor
from .blocks import TransformerBlock
from .container import ModuleList
from .dropout import Dropout
from .embedding import Embedding, check_token_ids
from .linear import Linear
from .module import Module
from .norm import LayerNorm


class Embeddings(Module):
    """Token, position and segment vectors, added, normalised.

    Args:
        config: has ``vocab_size``, ``hidden_size``, ``max_position_embeddings``, ``max_tokens`` and so on.
        width: of the vectors, where it is not ``hidden_size``.
        segments: whether there are kinds of segments.
        positions: whether there are positions.
    """

    def __init__(self, config: Any, width: int | None = None, segments: bool = True, positions: bool = True) -> None:
        super().__init__()
        self.config, width = config, width or config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings: Any = Embedding(config.max_position_embeddings, width) if positions else None
        self.token_type_embeddings: Any = Embedding(config.type_vocab_size, width) if segments else None
        self.LayerNorm = LayerNorm(width, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None) -> Tensor:
        """(N, T) ids -> (N, T, D)."""
        x = self.word_embeddings(input_ids)
        if self.position_embeddings is not None:
            x = x + self.position_embeddings(self._places(input_ids) if position_ids is None else position_ids)
        if self.token_type_embeddings is not None:
            if token_type_ids is None:  # all of the first kind: one row is enough
                token_type_ids = zeros(1, 1, dtype="int64", device=input_ids.device)
            x = x + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x))

    def _places(self, input_ids: Tensor) -> Tensor:
        if input_ids.shape[1] > self.config.max_tokens:
            raise ShapeError(
                f"{input_ids.shape[1]} tokens in a row, the model has {self.config.max_tokens} positions",
                fix="cut the text, e.g. with the tokenizer's max_length",
            )
        return self.positions(input_ids)

    def positions(self, input_ids: Tensor) -> Tensor:
        """The rows of the table of positions: 0, 1, ..."""
        return arange(input_ids.shape[1], device=input_ids.device)


class CountedEmbeddings(Embeddings):
    """The same, but positions count the tokens that are no padding, from behind the number of the token for padding (RoBERTa)."""

    def __init__(self, config: Any, segments: bool = True) -> None:
        super().__init__(config, segments=segments)
        rows, width = self.position_embeddings.weight.shape
        self.position_embeddings = Embedding(rows, width, padding_idx=config.pad_token_id)

    def positions(self, input_ids: Tensor) -> Tensor:
        pad = self.config.pad_token_id or 0
        real = (input_ids != pad).to("int64")
        return real.cumsum(1) * real + pad


# Where the published checkpoints keep the layers of a block.
NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "attn_drop": "attention.self.dropout",
    "out": "attention.output.dense",
    "drop1": "attention.output.dropout",
    "norm1": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "mlp_drop": "intermediate.dropout",
    "fc2": "output.dense",
    "drop2": "output.dropout",
    "norm2": "output.LayerNorm",
}


def layer(config: Any, names: Mapping[str, str] = NAMES) -> TransformerBlock:
    """Attention, then feed-forward, each normalised behind its residual."""
    return TransformerBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        norm_first=False,
        norm=lambda dim: LayerNorm(dim, config.layer_norm_eps),
        dropout=config.hidden_dropout_prob,
        attention={"dropout": config.attention_probs_dropout_prob},
        mlp={"act": config.hidden_act},
        names=names,
    )


class Layers(Module):
    """The layers, one after the other."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer = ModuleList([layer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.layer:
            x = block(x, mask=mask)
        return x


class Pooler(Module):
    """The first token's vector through a layer with tanh."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.dense(hidden[:, 0]).tanh()


def checked_mask(input_ids: Tensor, attention_mask: Tensor | None, vocab_size: int, name: str) -> Tensor | None:
    """The mask of padding as attention takes it, (N, 1, 1, T), True for tokens; all arguments are checked first.

    Args:
        input_ids: (N, T) int64.
        attention_mask: (N, T), 1 for tokens and 0 for padding; None for no padding.
        vocab_size: numbers that a token can have.
        name: what messages call the model.

    Raises:
        ShapeError: not (N, T), no token, or a mask of another shape.
        IndexRangeError: a token that is not in the vocabulary.
    """
    if input_ids.ndim != 2:
        why, fix = f"{name} takes (N, T)", "add a batch dimension with unsqueeze(0)"
        raise ShapeError(f"input_ids of shape {input_ids.shape}", why=why, fix=fix)
    if not input_ids.shape[1]:
        raise ShapeError(f"input_ids of shape {input_ids.shape} hold no token", fix="pass at least one token a text")
    check_token_ids(input_ids, vocab_size)
    if attention_mask is None:
        return None
    if attention_mask.shape != input_ids.shape:
        raise ShapeError(f"attention_mask {attention_mask.shape} for input_ids {input_ids.shape}", fix="make their shapes equal")
    return (attention_mask != 0).unsqueeze(1).unsqueeze(2)  # (N, T) -> (N, 1, 1, T)
