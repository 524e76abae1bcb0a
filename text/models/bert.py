"""BERT (Devlin, Chang, Lee, Toutanova, arXiv:1810.04805), and what shares its shape: MiniLM, BGE, E5, cross-encoders.

Loads checkpoints in transformers' layout: ``BertModel`` (``sentence-transformers/all-MiniLM-L6-v2``),
``BertForSequenceClassification``, ``BertForTokenClassification`` (``dslim/bert-base-NER``), ``BertForMaskedLM``
(``google-bert/bert-base-uncased``). Our module names are the published ones; files with or without the prefix ``bert.``, with
old names (``LayerNorm.gamma``) or stored position ids are read alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ...core import nn
from ...core.create import arange, zeros
from ...core.errors import ArgumentError, DataError, IndexRangeError, ShapeError
from ...core.keymap import Alias, Ignore, KeyMap, Prefix
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.tensor import Tensor

_PREFIXED = ("classifier.*", "cls.*")


@dataclass(frozen=True)
class Config:
    """What shapes a BERT; the defaults are transformers'."""

    vocab_size: int = 30522
    """Rows of the token table."""
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
    max_position_embeddings: int = 512
    """Longest input in tokens."""
    type_vocab_size: int = 2
    """Kinds of segments."""
    layer_norm_eps: float = 1e-12
    """Added to variances in layer norms."""
    pad_token_id: int | None = 0
    """The token whose embedding is not trained."""
    initializer_range: float = 0.02
    """Standard deviation of new weights."""
    classifier_dropout: float | None = None
    """Dropout before the classifier; None for ``hidden_dropout_prob``."""
    tie_word_embeddings: bool = True
    """Whether the masked-language head shares the token table."""
    num_labels: int = 2
    """Classes of the classifier."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            DataError: a variant of BERT that is not this architecture.
            ArgumentError: an override that is not a field, or heads that do not divide the width.
        """
        if config.get("is_decoder") or config.get("add_cross_attention"):
            raise DataError("this BERT is a decoder", why="nyala builds the encoder", fix="load an encoder's checkpoint")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise DataError(
                f"position_embedding_type={config['position_embedding_type']!r}",
                why="nyala's BERT has absolute positions",
                fix="choose weights with absolute positions",
            )
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ArgumentError(f"BERT has no option {', '.join(map(repr, unknown))}", fix=f"it has {', '.join(sorted(known))}")
        labels = {"num_labels": len(config["id2label"])} if config.get("id2label") else {}
        made = replace(Config(), **{**labels, **{k: v for k, v in config.items() if k in known}, **overrides})
        if made.hidden_size % made.num_attention_heads:
            raise ArgumentError(
                f"hidden_size {made.hidden_size} is no multiple of num_attention_heads {made.num_attention_heads}",
                fix="correct the config.json",
            )
        activation(made.hidden_act)  # an unknown name is an error now, not in the middle of building
        return made


@dataclass(frozen=True)
class BertOutput:
    """What the bare model returns.

    Attributes:
        last_hidden_state: (N, T, D), one vector a token.
        pooler_output: (N, D), the first token's vector through a tanh layer; None where the model has no pooler.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None


class Embeddings(nn.Module):
    """Token, position and segment vectors, added, normalised."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None) -> Tensor:
        """(N, T) ids -> (N, T, D)."""
        length = input_ids.shape[1]
        if position_ids is None:
            if length > self.config.max_position_embeddings:
                raise ShapeError(
                    f"{length} tokens in a row, the model has {self.config.max_position_embeddings} positions",
                    fix="cut the text, e.g. with the tokenizer's max_length",
                )
            position_ids = arange(length, device=input_ids.device)
        x = self.word_embeddings(input_ids) + self.position_embeddings(position_ids)
        if token_type_ids is None:  # all of the first kind: one row is enough
            token_type_ids = zeros(1, 1, dtype="int64", device=input_ids.device)
        x = x + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x))


# Where the published checkpoints keep the layers of a block.
_NAMES = {
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


def _layer(config: Config) -> nn.TransformerBlock:
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
        names=_NAMES,
    )


class Encoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList([_layer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask=mask)
        return x


class Pooler(nn.Module):
    """The first token's vector through a layer with tanh."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.dense(hidden[:, 0]).tanh()


class _Initialised(nn.Model):
    """New weights as BERT was initialised."""

    def _initialise(self, part: nn.Module) -> None:
        std = self.config.initializer_range
        for module in part.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, 0.0, std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the embeddings, 1.. for the layers, the last number for what follows."""
        if "encoder.layer." in name:
            return int(name.partition("encoder.layer.")[2].partition(".")[0]) + 1
        return 0 if "embeddings." in name else self.config.num_hidden_layers + 1


class BertModel(_Initialised):
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

    def __init__(self, config: Config, pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler: Any = Pooler(config) if pooler else None
        self._initialise(self)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> BertOutput:
        hidden = self.forward_features(input_ids, attention_mask, token_type_ids, position_ids)
        return BertOutput(hidden, None if self.pooler is None else self.pooler(hidden))

    def forward_features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """One vector a token: (N, T, D)."""
        if input_ids.ndim != 2:
            raise ShapeError(
                f"input_ids of shape {input_ids.shape}", why="BERT takes (N, T)", fix="add a batch dimension with unsqueeze(0)"
            )
        if not input_ids.shape[1]:
            raise ShapeError(f"input_ids of shape {input_ids.shape} hold no token", fix="pass at least one token a text")
        _check_ids(input_ids, self.config.vocab_size)
        mask = None
        if attention_mask is not None:
            if attention_mask.shape != input_ids.shape:
                raise ShapeError(
                    f"attention_mask {attention_mask.shape} for input_ids {input_ids.shape}", fix="make their shapes equal"
                )
            mask = (attention_mask != 0).unsqueeze(1).unsqueeze(2)  # (N, T) -> (N, 1, 1, T)
        return self.encoder(self.embeddings(input_ids, token_type_ids, position_ids), mask)


def _check_ids(input_ids: Tensor, vocab_size: int) -> None:
    """Name the sample of a token that is not in the vocabulary, before anything is computed."""
    if not input_ids.numel():
        return
    low, high = int(input_ids.min().item()), int(input_ids.max().item())
    if low < 0 or high >= vocab_size:
        bad = low if low < 0 else high
        sample = int((input_ids == bad).any(dim=1).to("int64").argmax().item())
        raise IndexRangeError(
            f"token id {bad} in sample {sample}, the vocabulary has {vocab_size} tokens (0 to {vocab_size - 1})",
            why="the tokenizer belongs to another model",
            fix="use the tokenizer that came with these weights",
        )


class _WithHead(_Initialised):
    """The encoder as ``self.bert``, and ``forward_head`` on its vectors."""

    bert: BertModel

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        return self.forward_head(self.forward_features(input_ids, attention_mask, token_type_ids, position_ids))

    def forward_features(self, *args: Any, **kwargs: Any) -> Tensor:
        """One vector a token: (N, T, D)."""
        return self.bert.forward_features(*args, **kwargs)


class BertForSequenceClassification(_WithHead):
    """The encoder, its pooler, and a linear classifier.

    Shape: as :class:`BertModel` -> logits (N, num_labels).
    """

    classifier_name = "classifier"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        p = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if p is None else p)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self._initialise(self.classifier)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, num_labels)."""
        return self.classifier(self.dropout(self.bert.pooler(hidden)))


class BertForTokenClassification(_WithHead):
    """The encoder and a linear classifier on every token.

    Shape: as :class:`BertModel` -> logits (N, T, num_labels).
    """

    classifier_name = "classifier"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.bert = BertModel(config, pooler=False)
        p = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if p is None else p)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self._initialise(self.classifier)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, num_labels)."""
        return self.classifier(self.dropout(hidden))


class PredictionHead(nn.Module):
    """From a token's vector to a score for every token of the vocabulary."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.transform = nn.Module()
        self.transform.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.bias = nn.Parameter(zeros(config.vocab_size))
        self.activation = activation(config.hidden_act)

    def forward(self, hidden: Tensor, table: Tensor) -> Tensor:
        """(N, T, D) vectors, (V, D) table of tokens -> (N, T, V)."""
        return F.linear(self.transform.LayerNorm(self.activation(self.transform.dense(hidden))), table, self.bias)


class BertForMaskedLM(_WithHead):
    """The encoder and a head that says which token stands where; the head shares the token table.

    Shape: as :class:`BertModel` -> logits (N, T, vocab_size).
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.bert = BertModel(config, pooler=False)
        self.cls = nn.Module()
        self.cls.predictions = PredictionHead(config)
        self._initialise(self.cls)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, vocab_size)."""
        return self.cls.predictions(hidden, self.bert.embeddings.word_embeddings.weight)

    def tied_names(self) -> list[str]:
        """The token table, which is the head's too."""
        return ["bert.embeddings.word_embeddings.weight"]


CLASSES: dict[str, type[_Initialised]] = {
    "BertModel": BertModel,
    "BertForSequenceClassification": BertForSequenceClassification,
    "BertForTokenClassification": BertForTokenClassification,
    "BertForMaskedLM": BertForMaskedLM,
}

# The class that serves a task, whatever head the weights came with.
HEADS = {"text-classification": "BertForSequenceClassification", "token-classification": "BertForTokenClassification"}


def _class_of(config: Mapping[str, Any]) -> type[_Initialised]:
    """The class that the configuration names."""
    name = (config.get("architectures") or ["BertModel"])[0]
    if name not in CLASSES:
        raise DataError(
            f"the architecture {name!r} of BERT is not built", why=f"there are {', '.join(CLASSES)}", fix="pass num_classes="
        )
    return CLASSES[name]


def build(config: Mapping[str, Any], **overrides: Any) -> _Initialised:
    """The model that transformers' ``config.json`` describes; with ``num_labels`` a classifier of texts, where it has none."""
    described = _class_of(config)
    made = BertForSequenceClassification if "num_labels" in overrides and not described.classifier_name else described
    return made(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """Old names, the optional prefix, and what the model does not have: stored position ids, other heads, tied tables."""
    kind = _class_of(config)
    rules: list[Any] = [
        Alias("{rest...}.LayerNorm.gamma", "{rest...}.LayerNorm.weight"),
        Alias("{rest...}.LayerNorm.beta", "{rest...}.LayerNorm.bias"),
        Ignore("*embeddings.position_ids", "cls.seq_relationship.*", "cls.predictions.decoder.*"),
    ]
    if kind is BertModel:
        return KeyMap(*rules, Ignore(*_PREFIXED), Prefix("bert.", ours=False, written=False))
    others: dict[type[_Initialised], tuple[str, ...]] = {
        BertForSequenceClassification: ("cls.*",),
        BertForTokenClassification: ("cls.*", "*pooler.*"),
        BertForMaskedLM: ("classifier.*", "*pooler.*"),
    }
    return KeyMap(*rules, Ignore(*others[kind]), Prefix("bert.", ours=True, written=True, outside=_PREFIXED))


def export_config(model: _Initialised) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    plain = {f.name: getattr(model.config, f.name) for f in fields(Config) if f.name != "num_labels"}
    names = {str(i): f"LABEL_{i}" for i in range(model.config.num_labels)}
    labels = {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
    return {"model_type": "bert", "architectures": [type(model).__name__], **plain, **labels}
