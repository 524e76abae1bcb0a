"""RoBERTa (Liu et al., arXiv:1907.11692), XLM-RoBERTa (arXiv:1911.02116) and CamemBERT (arXiv:1911.03894).

BERT with other positions and other heads. Loads checkpoints in transformers' layout: ``FacebookAI/roberta-base``,
``FacebookAI/xlm-roberta-base``, ``BAAI/bge-m3``, ``BAAI/bge-reranker-v2-m3``, ``intfloat/multilingual-e5-base``,
``cardiffnlp/twitter-roberta-base-sentiment-latest``, ``deepset/roberta-base-squad2``, ``almanach/camembert-base``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...core.errors import DataError
from ...core.nn import encoding
from . import bert
from .shared import encoder


@dataclass(frozen=True)
class Config(bert.Config):
    """What shapes a RoBERTa; the defaults are transformers'."""

    vocab_size: int = 50265
    """Rows of the token table."""
    pad_token_id: int | None = 1
    """The token whose embedding is not trained; positions count up from behind its number."""
    model_type: str = "roberta"
    """"roberta", "xlm-roberta" or "camembert": their shapes are one."""

    name: ClassVar[str] = "RoBERTa"

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a configuration without a token for padding too."""
        super().check(config)
        if self.pad_token_id is None:
            raise DataError("pad_token_id is missing", why="RoBERTa's positions count up from it", fix="correct the config.json")

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens: the first rows of the table of positions are for padding."""
        return self.max_position_embeddings - (self.pad_token_id or 0) - 1


class RobertaModel(bert.BertModel):
    """The encoder alone.

    Shape: as :class:`.bert.BertModel`.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
        >>> RobertaModel(tiny).eval()(nyala.tensor([[0, 5, 2, 1]])).last_hidden_state.shape
        (1, 4, 8)
    """

    embeddings_class = encoding.CountedEmbeddings


class _WithRoberta(encoder.WithHead):
    base_name, base_class = "roberta", RobertaModel


class RobertaForSequenceClassification(_WithRoberta, encoder.ForSequenceClassificationDense):
    """The encoder, and a classifier of two layers on the first token's vector."""


class RobertaForTokenClassification(_WithRoberta, encoder.ForTokenClassification):
    """The encoder and a linear classifier on every token."""


class RobertaForQuestionAnswering(_WithRoberta, encoder.ForQuestionAnswering):
    """The encoder, and where the answer begins and ends."""


class RobertaForMaskedLM(_WithRoberta, encoder.ForMaskedLM):
    """The encoder and a head that says which token stands where."""

    dense, norm, bias, head_act = "lm_head.dense", "lm_head.layer_norm", "lm_head.bias", "gelu"


FAMILY = encoder.Family(
    config=Config,
    kinds={"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"},
    classes={
        "Model": RobertaModel,
        "ForSequenceClassification": RobertaForSequenceClassification,
        "ForTokenClassification": RobertaForTokenClassification,
        "ForQuestionAnswering": RobertaForQuestionAnswering,
        "ForMaskedLM": RobertaForMaskedLM,
    },
    heads=("lm_head.*", "classifier.*", "qa_outputs.*"),
)
HEADS, build, key_map, export_config = FAMILY.tasks, FAMILY.build, FAMILY.key_map, FAMILY.export_config
