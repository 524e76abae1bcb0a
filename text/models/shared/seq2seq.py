"""What all encoder-decoders on text share: how they are called, what they give, and what they check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core import nn
from ....core.errors import ArgumentError, ModuleError, ShapeError
from ....core.nn.embedding import check_token_ids
from ....core.ops.elementwise import where
from ....core.tensor import Tensor
from ....core.tracing import may_look


@dataclass(frozen=True)
class Seq2SeqOutput:
    """What a model without a head returns.

    Attributes:
        last_hidden_state: (N, T, D), the decoder's vectors.
        encoder_last_hidden_state: (N, S, D), the encoder's.
    """

    last_hidden_state: Tensor
    encoder_last_hidden_state: Tensor


class Seq2Seq(nn.Model):
    """Encoder and decoder; a subclass says how each runs in ``encode`` and ``decode``.

    Shape: ``input_ids`` (N, S) int64, ``attention_mask`` (N, S) with 1 for tokens and 0 for padding, ``decoder_input_ids`` (N, T)
    int64 -> :class:`Seq2SeqOutput`. ``encoder_outputs`` (N, S, D) stands in for ``input_ids`` where the encoder has run already.
    With ``caches`` the decoder's ids go on behind those that went before, and what is read from must be the same each time.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`states`: the decoder's and the encoder's vectors."""
        return Seq2SeqOutput(*self.states(*args, **kwargs))

    def forward_features(self, *args: Any, **kwargs: Any) -> Tensor:
        """The decoder's vectors: (N, T, D)."""
        return self.states(*args, **kwargs)[0]

    def states(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Tensor | None = None,
        caches: nn.EncoderDecoderCache | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The decoder's vectors (N, T, D), and the encoder's (N, S, D).

        Raises:
            ArgumentError: there is nothing to read, or nothing to begin with.
        """
        if decoder_input_ids is None:
            raise ArgumentError(
                f"{type(self).__name__} without decoder_input_ids",
                fix="pass the tokens so far, config.decoder_start_token_id at first; for training, shift_right(labels, ...)",
            )
        if (input_ids is None) == (encoder_outputs is None):
            raise ArgumentError(f"{type(self).__name__} takes input_ids or encoder_outputs", fix="pass one of them")
        read = self.encode(input_ids, attention_mask) if encoder_outputs is None else encoder_outputs  # type: ignore[arg-type]
        return self.decode(decoder_input_ids, read, attention_mask, decoder_attention_mask, caches), read

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:  # noqa: ARG002 - subclasses'
        """The encoder alone, (N, S, D): what to pass as ``encoder_outputs``."""
        raise ModuleError(f"{type(self).__name__} has no encode", fix="define it in the class")

    def decode(
        self,
        decoder_input_ids: Tensor,  # noqa: ARG002 - subclasses'
        encoder_outputs: Tensor,  # noqa: ARG002
        attention_mask: Tensor | None = None,  # noqa: ARG002
        decoder_attention_mask: Tensor | None = None,  # noqa: ARG002
        caches: nn.EncoderDecoderCache | None = None,  # noqa: ARG002
    ) -> Tensor:
        """The decoder alone, (N, T, D); ``attention_mask`` is that of the encoder's ids."""
        raise ModuleError(f"{type(self).__name__} has no decode", fix="define it in the class")

    def new_caches(self) -> nn.EncoderDecoderCache:
        """Empty caches, for a new text."""
        return nn.EncoderDecoderCache(self.config.layers[1])

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: tables 0, the encoder's layers 1.., then the decoder's, and the last number for the head."""
        first, second = self.config.layers
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        if number is not None:
            return number + 1 + (first if "decoder." in name else 0)
        if "encoder." in name and "embed" not in name:
            return first  # the norm behind the encoder
        return 0 if "embed" in name or "shared" in name else first + second + 1


class Seq2SeqLM(Seq2Seq):
    """With a head that says which token comes next.

    Shape: as :class:`Seq2Seq` -> logits (N, T, vocab_size); with ``last=True`` of the last place alone, (N, 1, vocab_size).
    """

    def forward(self, *args: Any, last: bool = False, **kwargs: Any) -> Tensor:
        hidden = self.forward_features(*args, **kwargs)
        return self.forward_head(hidden[:, -1:] if last else hidden)


def shift_right(labels: np.ndarray[Any, Any], start: int, pad: int) -> np.ndarray[Any, Any]:
    """What the decoder reads to say ``labels``: each token's forerunner, and ``start`` before the first. -100 becomes ``pad``.

    Example:
        >>> shift_right(np.array([[5, 6, 1], [7, 1, -100]]), start=0, pad=3)
        array([[0, 5, 6],
               [0, 7, 1]])
    """
    shifted = np.concatenate([np.full_like(labels[:, :1], start), labels[:, :-1]], 1)
    return np.where(shifted == -100, pad, shifted)


def check_ids(
    ids: Tensor, vocab_size: int, what: str = "input_ids", positions: int | None = None, behind: nn.KVCache | None = None
) -> None:  # fmt: skip
    """Refuse ids of another shape, too many, or outside the vocabulary, before anything is computed.

    Args:
        ids: (N, T) integers.
        vocab_size: rows of the token table.
        what: the argument's name.
        positions: how many tokens in a row the model has places for; None for any number.
        behind: a cache of the tokens that went before these.

    Raises:
        ShapeError: another shape, no token, or more than ``positions``.
        IndexRangeError: names the sample with an id outside the vocabulary.
    """
    if ids.ndim != 2 or not ids.shape[1]:
        raise ShapeError(f"{what} of shape {ids.shape}", why="it takes (N, T), T at least 1", fix="reshape them")
    behind = nn.KVCache() if behind is None else behind
    if positions is not None and not behind.fits(ids.shape[1], positions):
        raise ShapeError(
            f"{behind.length + ids.shape[1]} tokens in a row in {what}, the model has {positions} positions",
            fix="cut the text, e.g. with the tokenizer's max_length",
        )
    check_token_ids(ids, vocab_size, what)


def where_seen(attention_mask: Tensor | None, shape: Sequence[int], what: str = "attention_mask") -> Tensor | None:
    """True where a token may look, (N, 1, 1, T) of a mask of ``shape`` (N, T); None for everywhere.

    Raises:
        ShapeError: the mask has another shape.
    """
    if attention_mask is None:
        return None
    if attention_mask.shape != tuple(shape):
        raise ShapeError(f"{what} of shape {attention_mask.shape}", fix=f"pass one of shape {tuple(shape)}")
    seen = attention_mask != 0
    if may_look() and bool(seen.all().item()):
        return None
    return seen.unsqueeze(1).unsqueeze(2)


def decoder_seen(attention_mask: Tensor | None, batch: int, count: int, behind: nn.KVCache) -> Tensor | None:
    """``where_seen`` of a decoder's mask, of all tokens so far and ``count`` new ones."""
    if attention_mask is None:
        return None
    return where_seen(attention_mask, (batch, behind.length + count), "decoder_attention_mask")


def as_added(bias: Tensor, seen: Tensor | None) -> Tensor:
    """A bias on the scores that is -inf where nothing may be seen."""
    return bias if seen is None else where(seen, bias, -math.inf)
