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

from ...core.errors import DataError
from ...core.nn import encoding
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

    embeddings_class: ClassVar[type[encoding.Embeddings]] = encoding.Embeddings

    def __init__(self, config: Config, pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = self.embeddings_class(config)
        self.encoder = encoding.Layers(config)
        self.pooler = encoding.Pooler(config) if pooler else None
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
