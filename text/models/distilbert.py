"""DistilBERT (Sanh, Debut, Chaumond, Wolf, arXiv:1910.01108): BERT with half the layers, without segments and without a pooler.

Loads checkpoints in transformers' layout: ``distilbert/distilbert-base-uncased``,
``distilbert/distilbert-base-uncased-finetuned-sst-2-english``, ``distilbert/distilbert-base-cased-distilled-squad``,
``elastic/distilbert-base-uncased-finetuned-conll03-english``. Our module names are the published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.nn import encoding
from ...core.nn import functional as F
from ...core.tensor import Tensor
from .shared import encoder


@dataclass(frozen=True)
class Config(encoder.EncoderConfig):
    """What shapes a DistilBERT, by the names in its ``config.json``; the defaults are transformers'."""

    dim: int = 768
    """Width of the stream."""
    n_layers: int = 6
    """Layers."""
    n_heads: int = 12
    """Heads of each layer; they share the width."""
    hidden_dim: int = 3072
    """Width inside the feed-forward part."""
    activation: str = "gelu"
    """Activation of the feed-forward part."""
    dropout: float = 0.1
    """Dropout of the embeddings and of the feed-forward part's result."""
    attention_dropout: float = 0.1
    """Dropout of the attention weights."""
    qa_dropout: float = 0.1
    """Dropout before the head for question answering."""
    seq_classif_dropout: float = 0.2
    """Dropout before the classifier of texts."""

    name: ClassVar[str] = "DistilBERT"

    hidden_size = property(lambda self: self.dim)
    num_hidden_layers = property(lambda self: self.n_layers)
    num_attention_heads = property(lambda self: self.n_heads)
    hidden_act = property(lambda self: self.activation)
    hidden_dropout_prob = head_dropout = property(lambda self: self.dropout)
    layer_norm_eps: ClassVar[float] = 1e-12


# Where the published checkpoints keep the layers of a block.
_NAMES = {
    "q": "attention.q_lin",
    "k": "attention.k_lin",
    "v": "attention.v_lin",
    "attn_drop": "attention.dropout",
    "out": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "fc1": "ffn.lin1",
    "mlp_drop": "ffn.inner_dropout",
    "fc2": "ffn.lin2",
    "drop2": "ffn.dropout",
    "norm2": "output_layer_norm",
}


def _layer(config: Config) -> nn.TransformerBlock:
    block = nn.TransformerBlock(
        config.dim,
        config.n_heads,
        config.hidden_dim,
        norm_first=False,
        norm=lambda dim: nn.LayerNorm(dim, config.layer_norm_eps),
        dropout=config.dropout,
        attention={"dropout": config.attention_dropout},
        mlp={"act": config.activation},
        names=_NAMES,
    )
    block.set_submodule("drop1", nn.Identity())  # what attention gives is added as it is
    return block


class DistilBertModel(encoder.Encoder):
    """The encoder alone.

    Shape: as :class:`.encoder.Encoder`.

    Example:
        >>> import nyala
        >>> model = DistilBertModel(Config(vocab_size=9, dim=8, n_layers=1, n_heads=2, hidden_dim=16)).eval()
        >>> model(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    layer_prefix = "transformer.layer."

    def __init__(self, config: Config, pooler: bool = False) -> None:  # noqa: ARG002 - it has none
        super().__init__(config)
        self.embeddings = encoding.Embeddings(config, segments=False)
        self.transformer = nn.Module()
        self.transformer.layer = nn.ModuleList([_layer(config) for _ in range(config.n_layers)])
        self._initialise(self)

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.transformer.layer:
            x = block(x, mask=mask)
        return x


class _WithDistilBert(encoder.WithHead):
    base_name, base_class = "distilbert", DistilBertModel
    layer_prefix = DistilBertModel.layer_prefix


class DistilBertForSequenceClassification(_WithDistilBert):
    """The encoder, and a classifier of two layers on the first token's vector.

    Shape: as :class:`.encoder.Encoder` -> logits (N, num_labels).
    """

    classifier_name = "classifier"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.classifier = nn.Linear(config.dim, config.num_labels)
        self._initialise(self.pre_classifier)
        self._initialise(self.classifier)

    @classmethod
    def head_tensors(cls) -> tuple[str, ...]:
        return ("pre_classifier.*", "classifier.*")

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, num_labels)."""
        return self.classifier(self.dropout(F.relu(self.pre_classifier(hidden[:, 0]))))


class DistilBertForTokenClassification(_WithDistilBert, encoder.ForTokenClassification):
    """The encoder and a linear classifier on every token."""


class DistilBertForQuestionAnswering(_WithDistilBert, encoder.ForQuestionAnswering):
    """The encoder, and where the answer begins and ends."""

    def answer_dropout(self, config: Any) -> float:
        return float(config.qa_dropout)


class DistilBertForMaskedLM(_WithDistilBert, encoder.ForMaskedLM):
    """The encoder and a head that says which token stands where."""

    dense, norm, bias = "vocab_transform", "vocab_layer_norm", "vocab_projector.bias"


FAMILY = encoder.Family(
    config=Config,
    kinds={"distilbert": "DistilBert"},
    classes={
        "Model": DistilBertModel,
        "ForSequenceClassification": DistilBertForSequenceClassification,
        "ForTokenClassification": DistilBertForTokenClassification,
        "ForQuestionAnswering": DistilBertForQuestionAnswering,
        "ForMaskedLM": DistilBertForMaskedLM,
    },
    heads=("vocab_*", "pre_classifier.*", "classifier.*", "qa_outputs.*"),
)
HEADS, build, key_map, export_config = FAMILY.tasks, FAMILY.build, FAMILY.key_map, FAMILY.export_config
