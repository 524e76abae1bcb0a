"""Marian (Junczys-Dowmunt et al., arXiv:1804.00344): translation; the models of OPUS-MT (Tiedemann and Thottingal, 2020).

Loads checkpoints in transformers' layout: ``MarianMTModel`` (``Helsinki-NLP/opus-mt-en-de``) and ``MarianModel``. It is a BART
whose positions are sines and cosines, without a norm of the embeddings; the two languages may have tables of their own. Our
module names are the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ...core import nn
from ...core.create import from_numpy
from ...core.keymap import Ignore, KeyMap, Prefix, Tied
from ...core.tensor import Tensor
from . import bart
from .bart import COPIES, HEAD_PARTS, Body, Coder, LanguageModel, class_of, initialise, no_bias
from .shared.seq2seq import Seq2Seq


@dataclass(frozen=True)
class Config(bart.Config):
    """What shapes a Marian; the defaults are transformers'."""

    vocab_size: int = 58101
    """Rows of the token table."""
    decoder_vocab_size: int | None = None
    """Rows of the decoder's own; ``vocab_size`` where absent."""
    share_encoder_decoder_embeddings: bool = True
    """Whether both sides have one token table."""
    pad_token_id: int | None = 58100
    """The token that fills up batches, and is not trained."""
    bos_token_id: int | None = None
    """There is none."""
    eos_token_id: int | Sequence[int] | None = 0
    """The token that ends a text."""
    decoder_start_token_id: int | None = 58100
    """The token that the decoder begins with."""

    name: ClassVar[str] = "Marian"
    model_type: ClassVar[str] = "marian"

    @property
    def target_vocab_size(self) -> int:
        """Rows of the table that the decoder has."""
        own = None if self.share_encoder_decoder_embeddings else self.decoder_vocab_size
        return self.vocab_size if own is None else own


class SinusoidalPositions(nn.Module):
    """Sines, then cosines, of turns that slow down from 1 to 1 / 10,000 per place; not trained, and in no file."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        count, width = config.max_position_embeddings, config.d_model
        turns = np.exp(-math.log(10_000) * np.arange(0, width, 2, dtype=np.float64) / width)
        angle = np.arange(count)[:, None] * turns
        table = np.concatenate([np.sin(angle), np.cos(angle)], 1)[:, :width].astype(np.float32)
        self.register_buffer("weight", from_numpy(table), persistent=False)

    def forward(self, places: Tensor) -> Tensor:
        """(T,) places -> (T, D)."""
        return self.weight[places]


class MarianModel(Body):
    """Encoder and decoder without a head; shapes as :class:`~nyala.text.models.shared.seq2seq.Seq2Seq`.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     vocab_size=9, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        ...     encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=6, pad_token_id=8)
        >>> model = MarianModel(tiny).eval()
        >>> model(nyala.tensor([[4, 5, 0]]), decoder_input_ids=nyala.tensor([[8, 7]])).last_hidden_state.shape
        (1, 2, 8)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = Coder(config, False, SinusoidalPositions(config), norm=False)
        self.decoder = Coder(config, True, SinusoidalPositions(config), norm=False)
        if config.share_encoder_decoder_embeddings:
            self.shared = self._table(config.vocab_size)
        else:
            self.encoder.embed_tokens = self._table(config.vocab_size)
            self.decoder.embed_tokens = self._table(config.target_vocab_size)
        initialise(self, config)

    def _table(self, count: int) -> nn.Embedding:
        return nn.Embedding(count, self.config.d_model, padding_idx=self.config.pad_token_id)

    def tables(self) -> tuple[nn.Embedding, nn.Embedding]:
        """The token tables of the encoder and of the decoder."""
        if self.config.share_encoder_decoder_embeddings:
            return self.shared, self.shared
        return self.encoder.embed_tokens, self.decoder.embed_tokens


class MarianMTModel(LanguageModel):
    """Encoder, decoder, and a head that says which token comes next -> logits (N, T, vocabulary of the target)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, MarianModel(config))


CLASSES: dict[str, type[Seq2Seq]] = {"MarianModel": MarianModel, "MarianMTModel": MarianMTModel}
HEADS = dict.fromkeys(("translation", "summarization", "text2text-generation"), "MarianMTModel")


def build(config: Mapping[str, Any], **overrides: Any) -> Seq2Seq:
    """The model that transformers' ``config.json`` describes."""
    return class_of(config, CLASSES, "MarianMTModel")(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """The optional prefix, copies of the token tables, positions that are computed, and a bias that may be missing."""
    made, language = Config.from_dict(config), class_of(config, CLASSES, "MarianMTModel") is MarianMTModel
    rules: list[Any] = [
        Ignore("*embed_positions.weight"),
        Prefix("model.", ours=True, written=language, outside=HEAD_PARTS),
    ]
    tied = ("lm_head.weight",) if made.tie_word_embeddings and language else ()
    if made.share_encoder_decoder_embeddings:
        rules += [Tied("model.shared.weight", *COPIES, *tied), Ignore(*COPIES, *tied)]
    else:
        rules += [Ignore("model.shared.weight"), *([Tied(COPIES[1], *tied), Ignore(*tied)] if tied else [])]
    if language:
        return KeyMap(*rules, no_bias(made.target_vocab_size))
    return KeyMap(*rules, Ignore("lm_head.weight", "final_logits_bias"), Prefix("model.", ours=False, written=True))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    skipped = ("num_labels", "classifier_dropout", "decoder_vocab_size")
    config = {f.name: getattr(model.config, f.name) for f in fields(Config) if f.name not in skipped}
    sizes = {"decoder_vocab_size": model.config.target_vocab_size, "is_encoder_decoder": True}
    return {"model_type": "marian", "architectures": [type(model).__name__], **config, **sizes}
