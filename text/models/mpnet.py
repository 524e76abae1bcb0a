"""MPNet (Song, Tan, Qin, Lu, Liu, arXiv:2004.09297): RoBERTa's embeddings without segments, and a bias for relative positions.

Loads checkpoints in transformers' layout: ``sentence-transformers/all-mpnet-base-v2``,
``sentence-transformers/paraphrase-mpnet-base-v2``, ``sentence-transformers/multi-qa-mpnet-base-dot-v1``,
``microsoft/mpnet-base``. Our module names are the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.errors import DataError
from ...core.nn import encoding
from ...core.ops.elementwise import where
from ...core.tensor import Tensor
from . import roberta
from .shared import encoder


@dataclass(frozen=True)
class Config(roberta.Config):
    """What shapes an MPNet; the defaults are transformers'."""

    vocab_size: int = 30527
    """Rows of the token table."""
    relative_attention_num_buckets: int = 32
    """Kinds of distances between tokens."""
    model_type: str = "mpnet"
    """Its name in the ``config.json``."""

    name: ClassVar[str] = "MPNet"

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse another token for padding, from whose number on positions count, too."""
        super().check(config)
        if self.pad_token_id != 1:
            raise DataError(
                f"pad_token_id={self.pad_token_id}", why="MPNet's is 1: its positions count up from there", fix="use 1"
            )


# Where the published checkpoints keep the layers of a block.
_NAMES = {
    **encoding.NAMES,
    "q": "attention.attn.q",
    "k": "attention.attn.k",
    "v": "attention.attn.v",
    "attn_drop": "attention.attn.dropout",
    "out": "attention.attn.o",
    "drop1": "attention.dropout",
    "norm1": "attention.LayerNorm",
}


class Layers(nn.Module):
    """The layers, one after the other; all add the same bias to their scores."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList([encoding.layer(config, _NAMES) for _ in range(config.num_hidden_layers)])
        buckets, heads = config.relative_attention_num_buckets, config.num_attention_heads
        self.relative_attention_bias = nn.RelativePositionBias(buckets, heads)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        bias = self.relative_attention_bias(x.shape[1], x.shape[1])  # (1, heads, T, T)
        if mask is not None:
            bias = where(mask, bias, -math.inf)
        for block in self.layer:
            x = block(x, mask=bias)
        return x


class MPNetModel(encoder.Encoder):
    """The encoder alone.

    Shape: as :class:`.encoder.Encoder`.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
        >>> MPNetModel(tiny).eval()(nyala.tensor([[0, 5, 2]])).last_hidden_state.shape
        (1, 3, 8)
    """

    stem = ("embeddings.", "relative_attention_bias")

    def __init__(self, config: Config, pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = encoding.CountedEmbeddings(config, segments=False)
        self.encoder = Layers(config)
        self.pooler = encoding.Pooler(config) if pooler else None
        self._initialise(self)
        nn.init.normal_(self.encoder.relative_attention_bias.weight, 0.0, config.initializer_range)

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.encoder(x, mask)


class _WithMPNet(encoder.WithHead):
    base_name, base_class, stem = "mpnet", MPNetModel, MPNetModel.stem


class MPNetForSequenceClassification(_WithMPNet, encoder.ForSequenceClassificationDense):
    """The encoder, and a classifier of two layers on the first token's vector."""


class MPNetForTokenClassification(_WithMPNet, encoder.ForTokenClassification):
    """The encoder and a linear classifier on every token."""


class MPNetForQuestionAnswering(_WithMPNet, encoder.ForQuestionAnswering):
    """The encoder, and where the answer begins and ends."""


class MPNetForMaskedLM(_WithMPNet, encoder.ForMaskedLM):
    """The encoder and a head that says which token stands where."""

    dense, norm, bias, head_act = "lm_head.dense", "lm_head.layer_norm", "lm_head.bias", "gelu"


FAMILY = encoder.Family(
    config=Config,
    kinds={"mpnet": "MPNet"},
    classes={
        "Model": MPNetModel,
        "ForSequenceClassification": MPNetForSequenceClassification,
        "ForTokenClassification": MPNetForTokenClassification,
        "ForQuestionAnswering": MPNetForQuestionAnswering,
        "ForMaskedLM": MPNetForMaskedLM,
    },
    heads=("lm_head.*", "classifier.*", "qa_outputs.*"),
)
HEADS, build, key_map, export_config = FAMILY.tasks, FAMILY.build, FAMILY.key_map, FAMILY.export_config
