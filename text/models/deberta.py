"""DeBERTa-v3 (He, Gao, Chen, arXiv:2111.09543): attention that weighs what a token is apart from how far away it stands.

Loads checkpoints of transformers' ``deberta-v2`` layout: ``microsoft/deberta-v3-small``, ``-base`` and ``-large``,
``microsoft/mdeberta-v3-base``, ``MoritzLaurer/DeBERTa-v3-base-mnli-fever-anli``, ``cross-encoder/nli-deberta-v3-base``,
``deepset/deberta-v3-base-squad2``. Our module names are the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ...core import nn
from ...core.devices import move_constant
from ...core.errors import DataError
from ...core.keymap import Alias, Ignore, KeyMap, Rename
from ...core.nn import encoding
from ...core.nn.activation import activation
from ...core.ops.attention import attend, join_heads, split_heads
from ...core.ops.elementwise import where
from ...core.tensor import Tensor
from . import bert
from .shared import encoder


@dataclass(frozen=True)
class Config(bert.Config):
    """What shapes a DeBERTa; the defaults are transformers' for ``deberta-v2``."""

    vocab_size: int = 128100
    """Rows of the token table."""
    hidden_size: int = 1536
    """Width of the stream."""
    num_hidden_layers: int = 24
    """Layers."""
    num_attention_heads: int = 24
    """Heads of each layer; they share the width."""
    intermediate_size: int = 6144
    """Width inside the feed-forward part."""
    type_vocab_size: int = 0
    """Kinds of segments."""
    layer_norm_eps: float = 1e-7
    """Added to variances in layer norms."""
    relative_attention: bool = False
    """Whether attention knows distances."""
    max_relative_positions: int = -1
    """Longest distance that is told apart from longer ones; below 1 for ``max_position_embeddings``."""
    position_buckets: int = -1
    """Kinds of distances on either side, long ones sharing by their logarithm; below 1 for one kind each."""
    norm_rel_ebd: str = "none"
    """"layer_norm" where the vectors of the distances are normalised."""
    share_att_key: bool = False
    """Whether distances go through the projections of the tokens."""
    pos_att_type: tuple[str, ...] = ()
    """What is weighed: a token's query with distances ("c2p"), distances with a token's key ("p2c")."""
    position_biased_input: bool = True
    """Whether positions are added to the embeddings."""
    pooler_dropout: float = 0.0
    """Dropout before the classifier's first layer."""
    pooler_hidden_act: str = "gelu"
    """Activation of the classifier's first layer."""
    cls_dropout: float | None = None
    """Dropout before the classifier's last layer; None for ``hidden_dropout_prob``."""
    legacy: bool = True
    """Whether the masked-language head is published as ``cls.predictions`` rather than ``lm_predictions.lm_head``."""

    name: ClassVar[str] = "DeBERTa"

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **overrides: Any) -> Self:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            DataError: a variant that is not this architecture.
            ArgumentError: an override that is not a field, or sizes that do not fit each other.
        """
        kinds = config.get("pos_att_type") or ()
        kinds = [kind.strip() for kind in kinds.lower().split("|")] if isinstance(kinds, str) else kinds
        return super().from_dict({**config, "pos_att_type": tuple(kinds)}, **overrides)

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse convolutions, and what else DeBERTa-v3 has not, too."""
        super().check(config)
        if config.get("conv_kernel_size", 0) > 0:
            raise DataError("a DeBERTa-v2 with a convolution", why="nyala builds DeBERTa-v3, which has none", fix="choose a v3")
        width = config.get("embedding_size", self.hidden_size), config.get("pooler_hidden_size", self.hidden_size)
        if set(width) != {self.hidden_size} or not set(self.pos_att_type) <= {"c2p", "p2c"}:
            raise DataError(
                f"a DeBERTa with embedding_size={width[0]}, pooler_hidden_size={width[1]}, pos_att_type={self.pos_att_type}",
                why=f"nyala builds those of one width, here {self.hidden_size}, that weigh 'c2p' and 'p2c'",
                fix="choose another checkpoint",
            )
        activation(self.pooler_hidden_act)

    @property
    def longest(self) -> int:
        """The longest distance that is told apart from longer ones."""
        return self.max_relative_positions if self.max_relative_positions > 0 else self.max_position_embeddings

    @property
    def span(self) -> int:
        """Kinds of distances on either side."""
        return self.position_buckets if self.position_buckets > 0 else self.longest

    @property
    def kinds_of_scores(self) -> int:
        """How many are added up."""
        return 1 + len(set(self.pos_att_type))


def buckets(distance: np.ndarray[Any, Any], config: Config) -> np.ndarray[Any, Any]:
    """The row of each distance (place that looks minus place that is looked at) in the table of distances, int64.

    Distances up to half the kinds of a side have a row each, longer ones share them by their logarithm.

    Example:
        >>> buckets(np.array([-600, -100, 0, 3, 600]), Config(position_buckets=32, max_relative_positions=128))
        array([ 0,  2, 32, 35, 63])
    """
    rows = distance
    if config.position_buckets > 0:
        middle = config.position_buckets // 2
        far = np.where(np.abs(distance) < middle, middle - 1, np.abs(distance)).astype(np.float32)
        # in float32, as the models were trained: the borders between buckets depend on it
        share = np.log(far / np.float32(middle)) / np.log(np.float32((config.longest - 1) / middle))
        steps = np.ceil(share * np.float32(middle - 1)) + middle
        rows = np.where(far <= middle, distance, steps * np.sign(distance)).astype(np.int64)
    return np.clip(rows + config.span, 0, 2 * config.span - 1)


class DisentangledSelfAttention(nn.Module):
    """Attention whose scores are what tokens say of each other, and what they say of the distance between them.

    ``forward(x, mask, distances)``: (N, T, D), a bool mask (N, 1, 1, T) and (2T - 1, D), the vectors of what stands -(T - 1) to
    T - 1 places after a query -> (N, T, D).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, kinds = config.hidden_size, set(config.pos_att_type) if config.relative_attention else set()
        self.width = width // config.num_attention_heads
        self.scale = 1.0 / math.sqrt(self.width * config.kinds_of_scores)
        self.query_proj, self.key_proj, self.value_proj = (nn.Linear(width, width) for _ in range(3))
        self.pos_key_proj: Any = nn.Linear(width, width) if "c2p" in kinds and not config.share_att_key else None
        self.pos_query_proj: Any = nn.Linear(width, width) if "p2c" in kinds and not config.share_att_key else None
        self.kinds, self.shared = kinds, config.share_att_key
        self.pos_dropout, self.dropout = nn.Dropout(config.hidden_dropout_prob), nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, x: Tensor, mask: Tensor | None, distances: Tensor | None) -> Tensor:
        q, k, v = (split_heads(project(x), self.width) for project in (self.query_proj, self.key_proj, self.value_proj))
        bias = self._bias(q, k, distances) if self.kinds and distances is not None else None
        if bias is not None and mask is not None:
            bias = where(mask, bias, -math.inf)
        p = self.dropout.p if self.dropout.training else 0.0
        return join_heads(attend(q, k, v, mask if bias is None else bias, None, self.scale, dropout_p=p))

    def _bias(self, q: Tensor, k: Tensor, distances: Tensor) -> Tensor:
        """What queries and keys say of distances, (N, heads, T, T)."""
        from_query = self.pos_dropout(distances).unsqueeze(0)
        from_key, found = from_query.flip(1), []
        if "c2p" in self.kinds:
            table = split_heads((self.key_proj if self.shared else self.pos_key_proj)(from_query), self.width)
            found.append(_by_place(q @ table.transpose(-1, -2)))
        if "p2c" in self.kinds:
            table = split_heads((self.query_proj if self.shared else self.pos_query_proj)(from_key), self.width)
            found.append(_by_place(k @ table.transpose(-1, -2)).transpose(-1, -2))
        return sum(found[1:], found[0]) * self.scale


def _by_place(scores: Tensor) -> Tensor:
    """(..., T, 2T - 1) scores of a place's distances -(T - 1), ..., T - 1 -> (..., T, T), of its distances to the places.

    Row i begins T - 1 - i further right: in a row of 2T - 2, each row starts where it should.
    """
    steps = scores.shape[-2]
    if steps == 1:
        return scores
    line = scores.flatten(-2)[..., steps - 1 : steps - 1 + steps * (2 * steps - 2)]
    return line.reshape(*scores.shape[:-2], steps, 2 * steps - 2)[..., :steps]


class _Result(nn.Module):
    """A layer whose result is added to the stream, which is then normalised."""

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, inner: Tensor, x: Tensor) -> Tensor:
        return self.LayerNorm(x + self.dropout(self.dense(inner)))


class _Layer(nn.Module):
    """Attention, then feed-forward, each normalised behind its residual."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention, self.intermediate = nn.Module(), nn.Module()
        self.attention.add_module("self", DisentangledSelfAttention(config))
        self.attention.output = _Result(config, config.hidden_size)
        self.intermediate.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = _Result(config, config.intermediate_size)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor, mask: Tensor | None, distances: Tensor | None) -> Tensor:
        attention: Any = self.attention.get_submodule("self")
        x = self.attention.output(attention(x, mask, distances), x)
        return self.output(self.act(self.intermediate.dense(x)), x)


class _Layers(nn.Module):
    """The layers, one after the other, and the table of distances that they share."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.ModuleList([_Layer(config) for _ in range(config.num_hidden_layers)])
        self.rel_embeddings: Any = nn.Embedding(2 * config.span, config.hidden_size) if config.relative_attention else None
        normed = config.relative_attention and "layer_norm" in config.norm_rel_ebd
        self.LayerNorm: Any = nn.LayerNorm(config.hidden_size, config.layer_norm_eps) if normed else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        distances = self._distances(x.shape[1]) if self.config.relative_attention else None
        for layer in self.layer:
            x = layer(x, mask, distances)
        return x

    def _distances(self, steps: int) -> Tensor:
        """The vectors of what stands -(T - 1), ..., T - 1 places after a query."""
        rows = buckets(np.arange(steps - 1, -steps, -1), self.config)
        vectors = self.rel_embeddings(Tensor(move_constant(rows, self.rel_embeddings.weight.device)))
        return vectors if self.LayerNorm is None else self.LayerNorm(vectors)


class DebertaV2Model(encoder.Encoder):
    """The encoder alone.

    Shape: as :class:`.encoder.Encoder`.

    Example:
        >>> import nyala
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        >>> tiny = Config(vocab_size=9, relative_attention=True, position_buckets=4, pos_att_type=("c2p", "p2c"), **sizes)
        >>> DebertaV2Model(tiny).eval()(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    stem = ("embeddings.", "encoder.LayerNorm.")

    def __init__(self, config: Config, pooler: bool = False) -> None:  # noqa: ARG002 - it has none
        super().__init__(config)
        self.embeddings = encoding.Embeddings(config, segments=config.type_vocab_size > 0, positions=config.position_biased_input)
        self.encoder = _Layers(config)
        self._initialise(self)

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.encoder(x, mask)


class _WithDeberta(encoder.WithHead):
    base_name, base_class, stem = "deberta", DebertaV2Model, DebertaV2Model.stem


class DebertaV2ForSequenceClassification(_WithDeberta):
    """The encoder, and a classifier of two layers on the first token's vector.

    Shape: as :class:`.encoder.Encoder` -> logits (N, num_labels).
    """

    classifier_name, with_pooler = "classifier", True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.pooler = nn.Module()
        self.pooler.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.pooler.dropout = nn.Dropout(config.pooler_dropout)
        self.act = activation(config.pooler_hidden_act)
        self.dropout = nn.Dropout(config.hidden_dropout_prob if config.cls_dropout is None else config.cls_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self._initialise(self.pooler)
        self._initialise(self.classifier)

    @classmethod
    def head_tensors(cls) -> tuple[str, ...]:
        return ("pooler.*", "classifier.*")

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, num_labels)."""
        return self.classifier(self.dropout(self.act(self.pooler.dense(self.pooler.dropout(hidden[:, 0])))))


class DebertaV2ForTokenClassification(_WithDeberta, encoder.ForTokenClassification):
    """The encoder and a linear classifier on every token."""


class DebertaV2ForQuestionAnswering(_WithDeberta, encoder.ForQuestionAnswering):
    """The encoder, and where the answer begins and ends."""


class DebertaV2ForMaskedLM(_WithDeberta, encoder.ForMaskedLM):
    """The encoder and a head that says which token stands where."""

    dense, norm = "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"
    bias = "cls.predictions.bias"


FAMILY = encoder.Family(
    config=Config,
    kinds={"deberta-v2": "DebertaV2"},
    classes={
        "Model": DebertaV2Model,
        "ForSequenceClassification": DebertaV2ForSequenceClassification,
        "ForTokenClassification": DebertaV2ForTokenClassification,
        "ForQuestionAnswering": DebertaV2ForQuestionAnswering,
        "ForMaskedLM": DebertaV2ForMaskedLM,
    },
    heads=("cls.*", "mask_predictions.*", "pooler.*", "classifier.*", "qa_outputs.*"),
)
HEADS, build, export_config = FAMILY.tasks, FAMILY.build, FAMILY.export_config

# The masked-language head as it was first published, and as transformers calls it by default.
_HEAD = {
    "lm_predictions.lm_head.dense.{p}": "cls.predictions.transform.dense.{p}",
    "lm_predictions.lm_head.LayerNorm.{p}": "cls.predictions.transform.LayerNorm.{p}",
    "lm_predictions.lm_head.bias": "cls.predictions.bias",
}


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """As of all encoders; both names of the masked-language head are read, and ``legacy`` says which is written."""
    rule = Alias if config.get("legacy", True) else Rename
    # the published v3 files have a table of positions that no layer uses
    idle = [] if config.get("position_biased_input", True) else [Ignore("*embeddings.position_embeddings.weight")]
    return KeyMap(*(rule(*pair) for pair in _HEAD.items()), *idle, *FAMILY.key_map(config, published_names).rules)
