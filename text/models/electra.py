"""ELECTRA (Clark, Luong, Le, Manning, arXiv:2003.10555): BERT, trained to find the tokens that a small generator has replaced.

Its token vectors may be narrower than the stream. Loads checkpoints in transformers' layout: ``ElectraForPreTraining``
(``google/electra-small-discriminator``, ``google/electra-base-discriminator``), ``ElectraForMaskedLM``
(``google/electra-small-generator``) and fine-tuned ones. Our module names are the published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.nn import encoding
from ...core.nn.activation import activation
from ...core.tensor import Tensor
from . import bert
from .shared import encoder


@dataclass(frozen=True)
class Config(bert.Config):
    """What shapes an ELECTRA; the defaults are transformers'."""

    embedding_size: int = 128
    """Width of the token vectors."""
    hidden_size: int = 256
    """Width of the stream."""
    num_attention_heads: int = 4
    """Heads of each layer; they share the width."""
    intermediate_size: int = 1024
    """Width inside the feed-forward part."""

    name: ClassVar[str] = "ELECTRA"


class ElectraModel(encoder.Encoder):
    """The encoder alone.

    Shape: as :class:`.encoder.Encoder`.

    Example:
        >>> import nyala
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        >>> model = ElectraModel(Config(vocab_size=9, embedding_size=4, **sizes)).eval()
        >>> model(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    stem = ("embeddings.", "embeddings_project.")

    def __init__(self, config: Config, pooler: bool = False) -> None:  # noqa: ARG002 - it has none
        super().__init__(config)
        self.embeddings = encoding.Embeddings(config, config.embedding_size)
        narrow = config.embedding_size != config.hidden_size
        self.embeddings_project: Any = nn.Linear(config.embedding_size, config.hidden_size) if narrow else None
        self.encoder = encoding.Layers(config)
        self._initialise(self)

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.encoder(x if self.embeddings_project is None else self.embeddings_project(x), mask)


class _WithElectra(encoder.WithHead):
    base_name, base_class, stem = "electra", ElectraModel, ElectraModel.stem


class ElectraForSequenceClassification(_WithElectra, encoder.ForSequenceClassificationDense):
    """The encoder, and a classifier of two layers on the first token's vector."""

    head_act = "gelu"


class ElectraForTokenClassification(_WithElectra, encoder.ForTokenClassification):
    """The encoder and a linear classifier on every token."""


class ElectraForQuestionAnswering(_WithElectra, encoder.ForQuestionAnswering):
    """The encoder, and where the answer begins and ends."""


class ElectraForMaskedLM(_WithElectra, encoder.ForMaskedLM):
    """The generator: the encoder and a head that says which token stands where."""

    dense, norm, head_act = "generator_predictions.dense", "generator_predictions.LayerNorm", "gelu"
    bias = "generator_lm_head.bias"


class ElectraForPreTraining(_WithElectra):
    """The discriminator: the encoder, and for every token whether it was replaced.

    Shape: as :class:`.encoder.Encoder` -> logits (N, T), above 0 where a token seems to be no original.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.discriminator_predictions = nn.Module()
        self.discriminator_predictions.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.discriminator_predictions.dense_prediction = nn.Linear(config.hidden_size, 1)
        self.act = activation(config.hidden_act)
        self._initialise(self.discriminator_predictions)

    @classmethod
    def head_tensors(cls) -> tuple[str, ...]:
        return ("discriminator_predictions.*",)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T)."""
        head = self.discriminator_predictions
        return head.dense_prediction(self.act(head.dense(hidden))).squeeze(-1)


FAMILY = encoder.Family(
    config=Config,
    kinds={"electra": "Electra"},
    classes={
        "Model": ElectraModel,
        "ForSequenceClassification": ElectraForSequenceClassification,
        "ForTokenClassification": ElectraForTokenClassification,
        "ForQuestionAnswering": ElectraForQuestionAnswering,
        "ForMaskedLM": ElectraForMaskedLM,
        "ForPreTraining": ElectraForPreTraining,
    },
    heads=("generator_*", "discriminator_predictions.*", "classifier.*", "qa_outputs.*"),
)
HEADS, build, key_map, export_config = FAMILY.tasks, FAMILY.build, FAMILY.key_map, FAMILY.export_config
