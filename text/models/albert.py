"""ALBERT (Lan et al., arXiv:1909.11942): BERT with narrow token vectors, and one layer that runs many times.

Loads checkpoints in transformers' layout: ``albert/albert-base-v2``, ``albert/albert-xxlarge-v2``,
``textattack/albert-base-v2-imdb``, ``sentence-transformers/paraphrase-albert-small-v2``. Our module names are the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.errors import ArgumentError
from ...core.nn import encoding
from ...core.tensor import Tensor
from . import bert
from .shared import encoder


@dataclass(frozen=True)
class Config(bert.Config):
    """What shapes an ALBERT; the defaults are transformers'."""

    vocab_size: int = 30000
    """Rows of the token table."""
    embedding_size: int = 128
    """Width of the token vectors."""
    hidden_size: int = 4096
    """Width of the stream."""
    num_attention_heads: int = 64
    """Heads of each layer; they share the width."""
    intermediate_size: int = 16384
    """Width inside the feed-forward part."""
    num_hidden_groups: int = 1
    """Groups of layers with weights of their own; each runs several times in a row."""
    inner_group_num: int = 1
    """Layers of a group."""
    hidden_act: str = "gelu_new"
    """Activation of the feed-forward part."""
    hidden_dropout_prob: float = 0.0
    """Dropout of the embeddings and of what attention adds to the stream."""
    attention_probs_dropout_prob: float = 0.0
    """Dropout of the attention weights."""
    classifier_dropout_prob: float = 0.1
    """Dropout before the classifier."""

    name: ClassVar[str] = "ALBERT"

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse groups without layers and more groups than layers too."""
        super().check(config)
        if not 1 <= self.num_hidden_groups <= self.num_hidden_layers or self.inner_group_num < 1:
            raise ArgumentError(
                f"{self.num_hidden_groups} groups of {self.inner_group_num} layers, to run {self.num_hidden_layers} times",
                fix="correct the config.json",
            )

    @property
    def head_dropout(self) -> float:
        """Dropout before a classifier."""
        return float(self.classifier_dropout_prob)

    @property
    def depth(self) -> int:
        """Steps of depth: groups, as layers that share their weights learn at one rate."""
        return self.num_hidden_groups


# Where the published checkpoints keep the layers of a block.
_NAMES = {
    "q": "attention.query",
    "k": "attention.key",
    "v": "attention.value",
    "attn_drop": "attention.attention_dropout",
    "out": "attention.dense",
    "drop1": "attention.output_dropout",
    "norm1": "attention.LayerNorm",
    "fc1": "ffn",
    "mlp_drop": "ffn_dropout",
    "fc2": "ffn_output",
    "norm2": "full_layer_layer_norm",
}


class _Group(nn.Module):
    """Layers that run one after the other."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.albert_layers = nn.ModuleList([encoding.layer(config, _NAMES) for _ in range(config.inner_group_num)])
        for block in self.albert_layers:
            block.set_submodule("drop2", nn.Identity())  # what the feed-forward part gives is added as it is

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.albert_layers:
            x = block(x, mask=mask)
        return x


class _Layers(nn.Module):
    """From the width of the token vectors to that of the stream, and the groups, each as often as it is its turn."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding_hidden_mapping_in = nn.Linear(config.embedding_size, config.hidden_size)
        self.albert_layer_groups = nn.ModuleList([_Group(config) for _ in range(config.num_hidden_groups)])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.embedding_hidden_mapping_in(x)
        for i in range(self.config.num_hidden_layers):
            x = self.albert_layer_groups[i * self.config.num_hidden_groups // self.config.num_hidden_layers](x, mask)
        return x


class _Pooler(nn.Linear):
    """The first token's vector through a layer with tanh."""

    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden[:, 0]).tanh()


class AlbertModel(encoder.Encoder):
    """The encoder alone.

    Shape: as :class:`.encoder.Encoder`.

    Example:
        >>> import nyala
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
        >>> AlbertModel(Config(vocab_size=9, embedding_size=4, **sizes)).eval()(nyala.tensor([[1, 2, 3]])).pooler_output.shape
        (1, 8)
    """

    layer_prefix, stem = "encoder.albert_layer_groups.", ("embeddings.", "embedding_hidden_mapping_in.")

    def __init__(self, config: Config, pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = encoding.Embeddings(config, config.embedding_size)
        self.encoder = _Layers(config)
        self.pooler = _Pooler(config.hidden_size, config.hidden_size) if pooler else None
        self._initialise(self)

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.encoder(x, mask)


class _WithAlbert(encoder.WithHead):
    base_name, base_class = "albert", AlbertModel
    layer_prefix, stem = AlbertModel.layer_prefix, AlbertModel.stem


class AlbertForSequenceClassification(_WithAlbert, encoder.ForSequenceClassification):
    """The encoder, its pooler, and a linear classifier."""


class AlbertForTokenClassification(_WithAlbert, encoder.ForTokenClassification):
    """The encoder and a linear classifier on every token."""


class AlbertForQuestionAnswering(_WithAlbert, encoder.ForQuestionAnswering):
    """The encoder, and where the answer begins and ends."""


class AlbertForMaskedLM(_WithAlbert, encoder.ForMaskedLM):
    """The encoder and a head that says which token stands where."""

    dense, norm, bias = "predictions.dense", "predictions.LayerNorm", "predictions.bias"


FAMILY = encoder.Family(
    config=Config,
    kinds={"albert": "Albert"},
    classes={
        "Model": AlbertModel,
        "ForSequenceClassification": AlbertForSequenceClassification,
        "ForTokenClassification": AlbertForTokenClassification,
        "ForQuestionAnswering": AlbertForQuestionAnswering,
        "ForMaskedLM": AlbertForMaskedLM,
    },
    heads=("predictions.*", "sop_classifier.*", "classifier.*", "qa_outputs.*"),
    also={"ForPreTraining": "ForMaskedLM"},
)
HEADS, build, key_map, export_config = FAMILY.tasks, FAMILY.build, FAMILY.key_map, FAMILY.export_config
