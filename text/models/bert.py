"""BERT (Devlin, Chang, Lee, Toutanova, arXiv:1810.04805), and what shares its shape: MiniLM, BGE, E5, cross-encoders.

Loads checkpoints in transformers' layout: ``BertModel`` (``sentence-transformers/all-MiniLM-L6-v2``),
``BertForSequenceClassification``, ``BertForTokenClassification`` (``dslim/bert-base-NER``), ``BertForQuestionAnswering``,
``BertForMaskedLM`` and ``BertForPreTraining`` (``google-bert/bert-base-uncased``). Our module names are the published ones; files
with or without the prefix ``bert.``, with old names (``LayerNorm.gamma``) or stored position ids are read alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.create import arange, zeros
from ...core.errors import DataError, ShapeError
from ...core.tensor import Tensor
from .shared import encoder

BertOutput = encoder.EncoderOutput


@dataclass(frozen=True)
class Config(encoder.EncoderConfig):
    """What shapes a BERT; the defaults are transformers'."""

    hidden_size: int = 768
    """Width of the stream."""
    num_hidden_layers: int = 12
    """Layers."""
    num_attention_heads: int = 12
    """Heads of each layer; they share the width."""
    intermediate_size: int = 3072
    """Width inside the feed-forward part."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward part: "gelu" by erf, "gelu_new" by tanh, "relu", "silu"."""
    hidden_dropout_prob: float = 0.1
    """Dropout of the embeddings and of what is added to the stream."""
    attention_probs_dropout_prob: float = 0.1
    """Dropout of the attention weights."""
    type_vocab_size: int = 2
    """Kinds of segments."""
    layer_norm_eps: float = 1e-12
    """Added to variances in layer norms."""
    classifier_dropout: float | None = None
    """Dropout before the classifier; None for ``hidden_dropout_prob``."""

    name: ClassVar[str] = "BERT"

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse other kinds of positions too."""
        super().check(config)
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise DataError(
                f"position_embedding_type={config['position_embedding_type']!r}",
                why=f"nyala's {self.name} has absolute positions",
                fix="choose weights with absolute positions",
            )


class Embeddings(nn.Module):
    """Token, position and segment vectors, added, normalised.

    Args:
        config: a :class:`Config`, or what has its sizes.
        width: of the vectors, where it is not ``hidden_size``.
        segments: whether there are kinds of segments.
        positions: whether there are positions.
    """

    def __init__(self, config: Any, width: int | None = None, segments: bool = True, positions: bool = True) -> None:
        super().__init__()
        self.config, width = config, width or config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings: Any = nn.Embedding(config.max_position_embeddings, width) if positions else None
        self.token_type_embeddings: Any = nn.Embedding(config.type_vocab_size, width) if segments else None
        self.LayerNorm = nn.LayerNorm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

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


def layer(config: Config, names: Mapping[str, str] = NAMES) -> nn.TransformerBlock:
    """Attention, then feed-forward, each normalised behind its residual."""
    return nn.TransformerBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        norm_first=False,
        norm=lambda dim: nn.LayerNorm(dim, config.layer_norm_eps),
        dropout=config.hidden_dropout_prob,
        attention={"dropout": config.attention_probs_dropout_prob},
        mlp={"act": config.hidden_act},
        names=names,
    )


class Layers(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList([layer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.layer:
            x = block(x, mask=mask)
        return x


class Pooler(nn.Module):
    """The first token's vector through a layer with tanh."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.dense(hidden[:, 0]).tanh()


class BertModel(encoder.Encoder):
    """The encoder alone.

    Shape: ``input_ids`` (N, T) int64, ``attention_mask`` (N, T) with 1 for tokens and 0 for padding, ``token_type_ids`` (N, T)
    -> :class:`BertOutput`.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
        >>> model = BertModel(tiny).eval()
        >>> model(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    embeddings_class: ClassVar[type[Embeddings]] = Embeddings

    def __init__(self, config: Config, pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = self.embeddings_class(config)
        self.encoder = Layers(config)
        self.pooler = Pooler(config) if pooler else None
        self._initialise(self)

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.encoder(x, mask)


class _WithBert(encoder.WithHead):
    base_name, base_class = "bert", BertModel


class BertForSequenceClassification(_WithBert, encoder.ForSequenceClassification):
    """The encoder, its pooler, and a linear classifier."""


class BertForTokenClassification(_WithBert, encoder.ForTokenClassification):
    """The encoder and a linear classifier on every token."""


class BertForQuestionAnswering(_WithBert, encoder.ForQuestionAnswering):
    """The encoder, and where the answer begins and ends."""


class BertForMaskedLM(_WithBert, encoder.ForMaskedLM):
    """The encoder and a head that says which token stands where."""

    dense, norm = "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"
    bias = "cls.predictions.bias"


FAMILY = encoder.Family(
    config=Config,
    kinds={"bert": "Bert"},
    classes={
        "Model": BertModel,
        "ForSequenceClassification": BertForSequenceClassification,
        "ForTokenClassification": BertForTokenClassification,
        "ForQuestionAnswering": BertForQuestionAnswering,
        "ForMaskedLM": BertForMaskedLM,
    },
    heads=("cls.*", "classifier.*", "qa_outputs.*"),
    also={"ForPreTraining": "ForMaskedLM"},
)
HEADS, build, key_map, export_config = FAMILY.tasks, FAMILY.build, FAMILY.key_map, FAMILY.export_config
