"""ModernBERT (Warner et al., arXiv:2412.13663): rotary positions, gated layers, and windows of attention in most of the layers.

Loads checkpoints in transformers' layout: ``answerdotai/ModernBERT-base``, ``answerdotai/ModernBERT-large``,
``nomic-ai/modernbert-embed-base``, ``Alibaba-NLP/gte-modernbert-base``. Our module names are the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ...core import nn
from ...core.create import zeros
from ...core.errors import ArgumentError, DataError
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.tensor import Tensor
from .shared import encoder

_FULL, _WINDOW = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class Config(encoder.EncoderConfig):
    """What shapes a ModernBERT; the defaults are transformers'."""

    vocab_size: int = 50368
    """Rows of the token table."""
    hidden_size: int = 768
    """Width of the stream."""
    intermediate_size: int = 1152
    """Width inside the feed-forward part."""
    num_hidden_layers: int = 22
    """Layers."""
    num_attention_heads: int = 12
    """Heads of each layer; they share the width."""
    hidden_activation: str = "gelu"
    """Activation of the gate in the feed-forward part."""
    max_position_embeddings: int = 8192
    """Longest input that was trained, in tokens."""
    norm_eps: float = 1e-5
    """Added to variances in layer norms."""
    norm_bias: bool = False
    """Whether layer norms have biases."""
    pad_token_id: int | None = 50283
    """The token whose embedding is not trained."""
    layer_types: tuple[str, ...] | None = None
    """Of each layer: "full_attention", or "sliding_attention" for a window; None for every third one full."""
    local_attention: int = 128
    """Width of the windows: a token sees half of it on either side."""
    global_rope_theta: float = 160000.0
    """Base of the angles' geometric series where attention is full."""
    local_rope_theta: float = 10000.0
    """Base of the angles' geometric series where attention has a window."""
    attention_bias: bool = False
    """Whether the layers around attention have biases."""
    attention_dropout: float = 0.0
    """Dropout of the attention weights and of what attention adds to the stream."""
    embedding_dropout: float = 0.0
    """Dropout of the embeddings."""
    mlp_bias: bool = False
    """Whether the layers of the feed-forward part have biases."""
    mlp_dropout: float = 0.0
    """Dropout inside the feed-forward part."""
    decoder_bias: bool = True
    """Whether the masked-language head has a bias."""
    classifier_pooling: str = "cls"
    """What a classifier of texts sees: the first token's vector ("cls"), or the "mean" of all."""
    classifier_dropout: float = 0.0
    """Dropout before a classifier."""
    classifier_bias: bool = False
    """Whether the first layer of the heads has a bias."""
    classifier_activation: str = "gelu"
    """Activation of the heads."""

    name: ClassVar[str] = "ModernBERT"
    hidden_act = property(lambda self: self.hidden_activation)

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **overrides: Any) -> Self:
        """Read transformers' ``config.json`` in either of its spellings; ``overrides`` replace its values.

        Raises:
            DataError: a variant that is not this architecture.
            ArgumentError: an override that is not a field, or sizes that do not fit each other.
        """
        read = dict(config)
        angles = config.get("rope_parameters") or {}
        for field, kind in (("global_rope_theta", _FULL), ("local_rope_theta", _WINDOW)):
            of = angles.get(kind) or {}
            if of.get("rope_type", "default") != "default":
                raise DataError(f"ModernBERT with angles of the kind {of['rope_type']!r}", fix="choose weights with plain ones")
            read[field] = of.get("rope_theta", config.get(field, getattr(cls, field)))
        every = config.get("global_attn_every_n_layers", 3)
        layers = int(overrides.get("num_hidden_layers", config.get("num_hidden_layers", cls.num_hidden_layers)))
        read["layer_types"] = tuple(config.get("layer_types") or (_WINDOW if i % every else _FULL for i in range(layers)))
        return super().from_dict(read, **overrides)

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse other kinds of layers and of pooling too."""
        super().check(config)
        kinds = self.layer_types or ()
        if len(kinds) != self.num_hidden_layers or not set(kinds) <= {_FULL, _WINDOW}:
            raise DataError(
                f"layer_types names {len(kinds)} layers of {self.num_hidden_layers}: {', '.join(sorted(set(kinds)))}",
                fix=f"give each layer {_FULL!r} or {_WINDOW!r}",
            )
        if self.classifier_pooling not in ("cls", "mean"):
            raise DataError(f"classifier_pooling={self.classifier_pooling!r}", fix="use 'cls' or 'mean'")

    @property
    def head_dropout(self) -> float:
        """Dropout before a classifier."""
        return self.classifier_dropout


def _norm(config: Config, width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, config.norm_eps, bias=config.norm_bias)


class Embeddings(nn.Module):
    """Token vectors, normalised; positions come in with attention."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.norm = _norm(config, config.hidden_size)
        self.drop = nn.Dropout(config.embedding_dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None) -> Tensor:  # noqa: ARG002 - it has no segments
        """(N, T) ids -> (N, T, D)."""
        if position_ids is not None:
            raise ArgumentError("position_ids for ModernBERT", why="it counts positions itself, from 0", fix="leave them out")
        return self.drop(self.norm(self.tok_embeddings(input_ids)))


# Where the published checkpoints keep the layers of a block.
_NAMES = {
    "norm1": "attn_norm",
    "qkv": "attn.Wqkv",
    "out": "attn.Wo",
    "drop1": "attn.out_drop",
    "norm2": "mlp_norm",
    "fc1": "mlp.Wi",
    "fc2": "mlp.Wo",
}


def _layer(config: Config, number: int, angles: Mapping[str, nn.Rotary]) -> nn.TransformerBlock:
    """Norm and attention, to all tokens or to those near, then norm and a gated feed-forward part."""
    kind = (config.layer_types or ())[number]
    block = nn.TransformerBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        norm=lambda dim: _norm(config, dim),
        dropout=config.attention_dropout,
        attention={
            "bias": config.attention_bias,
            "fused": True,
            "dropout": config.attention_dropout,
            "position": angles[kind],
            "window": None if kind == _FULL else config.local_attention // 2 + 1,
        },
        mlp={
            "act": config.hidden_activation,
            "gated": True,
            "fused": True,
            "bias": config.mlp_bias,
            "dropout": config.mlp_dropout,
        },
        names=_NAMES,
    )
    block.set_submodule("drop2", nn.Identity())
    if number == 0:  # the embeddings are normalised already
        block.set_submodule("attn_norm", nn.Identity())
    return block


class ModernBertModel(encoder.Encoder):
    """The encoder alone.

    Shape: as :class:`.encoder.Encoder`.

    Example:
        >>> import nyala
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        >>> model = build({"model_type": "modernbert", "vocab_size": 9, "pad_token_id": 0, **sizes}).eval()
        >>> model(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    layer_prefix = "layers."

    def __init__(self, config: Config, pooler: bool = False) -> None:  # noqa: ARG002 - it has none
        super().__init__(config)
        width = config.hidden_size // config.num_attention_heads
        bases = {_FULL: config.global_rope_theta, _WINDOW: config.local_rope_theta}
        angles = {kind: nn.Rotary(width, base) for kind, base in bases.items()}
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList([_layer(config, i, angles) for i in range(config.num_hidden_layers)])
        self.final_norm = _norm(config, config.hidden_size)
        self._initialise(self)

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.layers:
            x = block(x, mask=mask)
        return self.final_norm(x)


class _Head(nn.Module):
    """What all heads do first: a layer, its activation, a norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.classifier_bias)
        self.act = activation(config.classifier_activation)
        self.norm = _norm(config, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.norm(self.act(self.dense(hidden)))


class _WithModernBert(encoder.WithHead):
    base_name, base_class, layer_prefix = "model", ModernBertModel, ModernBertModel.layer_prefix

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.head = _Head(config)
        self._initialise(self.head)

    @classmethod
    def head_tensors(cls) -> tuple[str, ...]:
        return ("head.*", *super().head_tensors())

    def forward_head(self, hidden: Tensor) -> Any:
        """(..., D) -> what the class gives."""
        return super().forward_head(self.head(hidden))


class ModernBertForSequenceClassification(_WithModernBert, encoder.ForTokenClassification):
    """The encoder, and a classifier on the first token's vector or on the mean of all.

    Shape: as :class:`.encoder.Encoder` -> logits (N, num_labels).
    """

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        hidden = self.forward_features(input_ids, attention_mask, token_type_ids, position_ids)
        return self.forward_head(hidden, attention_mask)

    def forward_head(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(N, T, D), and the mask of padding where the mean is to leave it out -> (N, num_labels)."""
        if self.config.classifier_pooling == "cls":
            return super().forward_head(hidden[:, 0])
        if attention_mask is None:
            return super().forward_head(hidden.mean(dim=1))
        real = attention_mask.to(hidden.dtype).unsqueeze(-1)
        return super().forward_head((hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1))


class ModernBertForTokenClassification(_WithModernBert, encoder.ForTokenClassification):
    """The encoder and a classifier on every token."""


class ModernBertForQuestionAnswering(_WithModernBert, encoder.ForQuestionAnswering):
    """The encoder, and where the answer begins and ends."""

    linear = "classifier"

    def answer_dropout(self, config: Any) -> float:
        return float(config.classifier_dropout)


class _Vocabulary(encoder.WithHead):
    """A score for every token of the vocabulary, by the token table."""

    def __init__(self, config: Config) -> None:
        encoder.require_tied(config)
        super().__init__(config)
        self.decoder = nn.Module()
        self.decoder.bias = nn.Parameter(zeros(config.vocab_size)) if config.decoder_bias else None

    @classmethod
    def head_tensors(cls) -> tuple[str, ...]:
        return ("decoder.bias",)

    def forward_head(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.model.embeddings.tok_embeddings.weight, self.decoder.bias)

    def tied_names(self) -> list[str]:
        """The token table, which is the head's too."""
        return ["model.embeddings.tok_embeddings.weight"]


class ModernBertForMaskedLM(_WithModernBert, _Vocabulary):
    """The encoder and a head that says which token stands where.

    Shape: as :class:`.encoder.Encoder` -> logits (N, T, vocab_size).
    """


FAMILY = encoder.Family(
    config=Config,
    kinds={"modernbert": "ModernBert"},
    classes={
        "Model": ModernBertModel,
        "ForSequenceClassification": ModernBertForSequenceClassification,
        "ForTokenClassification": ModernBertForTokenClassification,
        "ForQuestionAnswering": ModernBertForQuestionAnswering,
        "ForMaskedLM": ModernBertForMaskedLM,
    },
    heads=("head.*", "decoder.*", "classifier.*"),
)
HEADS, build, key_map, export_config = FAMILY.tasks, FAMILY.build, FAMILY.key_map, FAMILY.export_config
