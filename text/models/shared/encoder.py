"""What the encoders of text share: what they take and give, the usual heads, and how their published files are read.

An architecture's file says what is its own: the configuration, the embeddings, the layers, where checkpoints keep the parts of
the heads, and a :class:`Family` of its classes. An encoder is a subclass of :class:`Encoder`; a model with a head holds one under
the published name ``base_name`` and is a subclass of one of the ``For...`` classes here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from ....core import nn
from ....core.create import zeros
from ....core.errors import ArgumentError, DataError
from ....core.keymap import Alias, Ignore, KeyMap, Prefix
from ....core.nn import encoding
from ....core.nn import functional as F
from ....core.nn.activation import activation
from ....core.nn.blocks import place
from ....core.tensor import Tensor


@dataclass(frozen=True)
class EncoderConfig:
    """What every encoder's configuration has; sizes are the architecture's own."""

    vocab_size: int = 30522
    """Rows of the token table."""
    max_position_embeddings: int = 512
    """Positions that were trained."""
    pad_token_id: int | None = 0
    """The token whose embedding is not trained."""
    initializer_range: float = 0.02
    """Standard deviation of new weights."""
    tie_word_embeddings: bool = True
    """Whether the masked-language head shares the token table."""
    num_labels: int = 2
    """Classes of the classifier."""

    name: ClassVar[str] = "the encoder"
    """What messages call the architecture."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **overrides: Any) -> Self:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            DataError: a variant that is not this architecture.
            ArgumentError: an override that is not a field, or sizes that do not fit each other.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            options = ", ".join(sorted(known))
            raise ArgumentError(f"{cls.name} has no option {', '.join(map(repr, unknown))}", fix=f"it has {options}")
        labels = {"num_labels": len(config["id2label"])} if config.get("id2label") else {}
        made = replace(cls(), **{**labels, **{k: v for k, v in config.items() if k in known}, **overrides})
        made.check(config)
        return made

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse what this architecture is not; ``config`` is all that the ``config.json`` says."""
        sizes: Any = self
        if config.get("is_decoder") or config.get("add_cross_attention"):
            raise DataError(f"this {self.name} is a decoder", why="nyala builds the encoder", fix="load an encoder's checkpoint")
        if sizes.hidden_size % sizes.num_attention_heads:
            raise ArgumentError(
                f"hidden_size {sizes.hidden_size} is no multiple of num_attention_heads {sizes.num_attention_heads}",
                fix="correct the config.json",
            )
        activation(sizes.hidden_act)  # an unknown name is an error now, not in the middle of building

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens."""
        return self.max_position_embeddings

    @property
    def depth(self) -> int:
        """Layers with weights of their own."""
        own: Any = self
        return int(own.num_hidden_layers)

    @property
    def head_dropout(self) -> float:
        """Dropout before a classifier."""
        own: Any = self
        return float(own.hidden_dropout_prob if own.classifier_dropout is None else own.classifier_dropout)


@dataclass(frozen=True)
class EncoderOutput:
    """What a bare encoder returns.

    Attributes:
        last_hidden_state: (N, T, D), one vector a token.
        pooler_output: (N, D), the first token's vector through a layer of its own; None where the model has none.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None


@dataclass(frozen=True)
class QuestionAnsweringOutput:
    """Where the answer to a question stands.

    Attributes:
        start_logits: (N, T), how much each token looks like the answer's first.
        end_logits: (N, T), how much each token looks like the answer's last.
    """

    start_logits: Tensor
    end_logits: Tensor


class _Model(nn.Model):
    """New weights as BERT was initialised, and how deep each parameter lies."""

    layer_prefix: ClassVar[str] = "encoder.layer."
    """What stands before a layer's number in the names of its parameters."""
    stem: ClassVar[tuple[str, ...]] = ("embeddings.",)
    """What parameters that come before the layers have in their names."""

    def _initialise(self, part: nn.Module) -> None:
        for module in part.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, 0.0, self.config.initializer_range)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the embeddings, 1.. for the layers, the last number for what follows."""
        if self.layer_prefix in name:
            return int(name.partition(self.layer_prefix)[2].partition(".")[0]) + 1
        return 0 if any(part in name for part in self.stem) else self.config.depth + 1


class Encoder(_Model):
    """A bare encoder: subclasses make ``embeddings`` and define ``encode``.

    Shape: ``input_ids`` (N, T) int64, ``attention_mask`` (N, T) with 1 for tokens and 0 for padding, ``token_type_ids`` (N, T)
    -> :class:`EncoderOutput`. Architectures without segments ignore ``token_type_ids``, which many tokenizers give.
    """

    embeddings: Any
    pooler: Any

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> EncoderOutput:
        hidden = self.forward_features(input_ids, attention_mask, token_type_ids, position_ids)
        pooler = getattr(self, "pooler", None)
        return EncoderOutput(hidden, None if pooler is None else pooler(hidden))

    def forward_features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """One vector a token: (N, T, D)."""
        mask = encoding.checked_mask(input_ids, attention_mask, self.config.vocab_size, self.config.name)
        return self.encode(self.embeddings(input_ids, token_type_ids, position_ids), mask)

    def settle(self, names: Collection[str], fresh: Collection[str]) -> set[str]:  # noqa: ARG002 - a head's part
        """Leave out the pooler where published weights, ``names``, have none: masked language models are trained without."""
        if getattr(self, "pooler", None) is not None and not any(name.startswith("pooler.") for name in names):
            self.pooler = None
        return set()

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The layers: (N, T, D) and a bool mask (N, 1, 1, T), True for tokens -> (N, T, D)."""
        raise NotImplementedError(f"{type(self).__name__}.encode")


# ---- models with heads


class WithHead(_Model):
    """An encoder under the name ``base_name``, and ``forward_head`` on its vectors."""

    base_name: ClassVar[str]
    """What checkpoints call the encoder."""
    base_class: ClassVar[type[Any]]
    """The encoder; it takes the configuration and ``pooler``."""
    with_pooler: ClassVar[bool] = False
    """Whether the head needs the encoder's pooler."""
    _new_pooler = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.add_module(self.base_name, self.base_class(config, pooler=self.with_pooler))

    @property
    def base(self) -> Any:
        """The encoder."""
        return getattr(self, self.base_name)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Any:
        return self.forward_head(self.forward_features(input_ids, attention_mask, token_type_ids, position_ids))

    def forward_features(self, *args: Any, **kwargs: Any) -> Tensor:
        """One vector a token: (N, T, D)."""
        hidden: Tensor = self.base.forward_features(*args, **kwargs)
        return hidden

    @classmethod
    def head_tensors(cls) -> tuple[str, ...]:
        """Patterns of the names of the head's tensors."""
        return (f"{cls.classifier_name}.weight", f"{cls.classifier_name}.bias")

    def settle(self, names: Collection[str], fresh: Collection[str]) -> set[str]:
        """Parameters that are new with a new head, as published weights, ``names``, have none of them: those of the pooler.

        Args:
            names: of the weights that are read.
            fresh: of the parameters that are declared new.
        """
        pooler = {name for name, _ in self.named_parameters() if name.startswith(f"{self.base_name}.pooler.")}
        self._new_pooler = pooler.isdisjoint(names) and set(self.head_names()) <= set(fresh)
        return pooler if self._new_pooler else set()

    def head_names(self) -> list[str]:
        """The names of all parameters that are not the encoder's, and of a pooler that is new with the head."""
        pooler = f"{self.base_name}.pooler."
        base = f"{self.base_name}."
        return [n for n, _ in self.named_parameters() if not n.startswith(base) or (self._new_pooler and n.startswith(pooler))]


class ForTokenClassification(WithHead):
    """The encoder and a linear classifier on every token.

    Shape: as :class:`Encoder` -> logits (N, T, num_labels).
    """

    classifier_name = "classifier"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self._initialise(self.classifier)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, num_labels)."""
        return self.classifier(self.dropout(hidden))


class ForSequenceClassification(WithHead):
    """The encoder, its pooler, and a linear classifier.

    Shape: as :class:`Encoder` -> logits (N, num_labels).
    """

    classifier_name = "classifier"
    with_pooler = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self._initialise(self.classifier)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, num_labels)."""
        return self.classifier(self.dropout(self.base.pooler(hidden)))


class ForSequenceClassificationDense(WithHead):
    """The encoder, and a classifier of two layers on the first token's vector.

    Shape: as :class:`Encoder` -> logits (N, num_labels).
    """

    classifier_name = "classifier.out_proj"
    head_act: ClassVar[str] = "tanh"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.classifier = nn.Module()
        self.classifier.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier.dropout = nn.Dropout(config.head_dropout)
        self.classifier.out_proj = nn.Linear(config.hidden_size, config.num_labels)
        self.act = activation(self.head_act)
        self._initialise(self.classifier)

    @classmethod
    def head_tensors(cls) -> tuple[str, ...]:
        return ("classifier.dense.*", "classifier.out_proj.*")

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, num_labels)."""
        head = self.classifier
        return head.out_proj(head.dropout(self.act(head.dense(head.dropout(hidden[:, 0])))))


class ForQuestionAnswering(WithHead):
    """The encoder, and for every token how much it looks like the first and the last of the answer.

    Shape: as :class:`Encoder` -> :class:`QuestionAnsweringOutput`.
    """

    linear: ClassVar[str] = "qa_outputs"
    """What checkpoints call the head."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(self.answer_dropout(config))
        self.add_module(self.linear, nn.Linear(config.hidden_size, 2))
        self._initialise(self.get_submodule(self.linear))

    def answer_dropout(self, config: Any) -> float:  # noqa: ARG002 - subclasses'
        """Dropout before the head."""
        return 0.0

    @classmethod
    def head_tensors(cls) -> tuple[str, ...]:
        return (f"{cls.linear}.*",)

    def forward_head(self, hidden: Tensor) -> QuestionAnsweringOutput:
        """(N, T, D) -> the answer's ends."""
        logits = self.get_submodule(self.linear)(self.dropout(hidden))  # (N, T, 2)
        return QuestionAnsweringOutput(logits[:, :, 0], logits[:, :, 1])


class ForMaskedLM(WithHead):
    """The encoder and a head that says which token stands where; the head shares the token table.

    Shape: as :class:`Encoder` -> logits (N, T, vocab_size).
    """

    dense: ClassVar[str]
    norm: ClassVar[str]
    bias: ClassVar[str]
    """Where checkpoints keep the three parts of the head."""
    table: ClassVar[str] = "embeddings.word_embeddings"
    """The token table, in the encoder."""
    head_act: ClassVar[str | None] = None
    """The head's activation where it is not the layers'."""

    def __init__(self, config: Any) -> None:
        require_tied(config)  # before the encoder is built
        super().__init__(config)
        width = self._table().shape[1]
        place(self, self.dense, nn.Linear(config.hidden_size, width))
        place(self, self.norm, nn.LayerNorm(width, config.layer_norm_eps))
        owner, _, name = self.bias.rpartition(".")
        if owner and owner not in dict(self.named_modules()):
            place(self, owner, nn.Module())
        self.get_submodule(owner).register_parameter(name, nn.Parameter(zeros(config.vocab_size)))
        self.act = activation(self.head_act or config.hidden_act)
        self._initialise(self.get_submodule(self.dense))

    @classmethod
    def head_tensors(cls) -> tuple[str, ...]:
        return (f"{cls.dense}.*", f"{cls.norm}.*", cls.bias)

    def _table(self) -> Tensor:
        return self.base.get_submodule(self.table).weight

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, vocab_size)."""
        x = self.get_submodule(self.norm)(self.act(self.get_submodule(self.dense)(hidden)))
        return F.linear(x, self._table(), self.get_parameter(self.bias))

    def tied_names(self) -> list[str]:
        """The token table, which is the head's too."""
        return [f"{self.base_name}.{self.table}.weight"]


def require_tied(config: EncoderConfig) -> None:
    """Refuse a masked-language head that has a table of its own.

    Raises:
        DataError: it has.
    """
    if not config.tie_word_embeddings:
        raise DataError(
            f"this {config.name} has a table of tokens of its own in its head (tie_word_embeddings=false)",
            why="nyala builds heads that share the encoder's",
            fix="load the encoder alone, with task='sentence-embedding'",
        )


# ---- published files

_TASKS = {
    "text-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "fill-mask": "ForMaskedLM",
    "sentence-embedding": "Model",
}


@dataclass(frozen=True)
class Family:
    """The classes of an architecture, and with them what its module offers to the hub.

    Attributes:
        config: the configuration's class.
        kinds: ``model_type`` -> what its class names begin with, e.g. ``{"bert": "Bert"}``; the first is the default.
        classes: what class names end with -> the class, e.g. ``{"Model": BertModel}``.
        heads: patterns of the names of all heads' tensors, as published.
        also: endings of class names that are read as another one's, e.g. ``{"ForPreTraining": "ForMaskedLM"}``.
    """

    config: type[EncoderConfig]
    kinds: Mapping[str, str]
    classes: Mapping[str, type[Any]]
    heads: tuple[str, ...]
    also: Mapping[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> dict[str, str]:
        """Task -> the name of the class that serves it, whatever head the weights came with."""
        first = next(iter(self.kinds.values()))
        return {task: first + ending for task, ending in _TASKS.items() if ending in self.classes}

    def _class_of(self, config: Mapping[str, Any]) -> type[Any]:
        """The class that the configuration names."""
        name = (config.get("architectures") or ["Model"])[0]
        start = max((s for s in self.kinds.values() if name.startswith(s)), key=len, default="")
        ending = name.removeprefix(start)
        ending = self.also.get(ending, ending)
        if ending not in self.classes:
            first = next(iter(self.kinds.values()))
            raise DataError(
                f"the architecture {name!r} of {self.config.name} is not built",
                why="there are " + ", ".join(first + e for e in self.classes),
                fix="name another head by task=, or take the encoder alone: task='sentence-embedding'",
            )
        return self.classes[ending]

    def build(self, config: Mapping[str, Any], **overrides: Any) -> Any:
        """The model that transformers' ``config.json`` describes; with ``num_labels`` a text classifier, where it has none."""
        described = self._class_of(config)
        new_head = "num_labels" in overrides and not described.classifier_name
        made = self.classes["ForSequenceClassification"] if new_head else described
        return made(self.config.from_dict(config, **overrides))

    def key_map(self, config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG002 - one map serves all
        """Old names, the optional prefix, and what the model does not have: stored position ids, other heads, tied tables."""
        kind = self._class_of(config)
        old = [
            Alias("{x...}.LayerNorm.gamma", "{x...}.LayerNorm.weight"),
            Alias("{x...}.LayerNorm.beta", "{x...}.LayerNorm.bias"),
        ]
        with_head, any_head = issubclass(kind, WithHead), next(c for c in self.classes.values() if issubclass(c, WithHead))
        idle = [] if not with_head or kind.with_pooler else ["pooler.*", f"{any_head.base_name}.pooler.*"]
        return KeyMap(
            *old,
            Ignore("*embeddings.position_ids", *idle),
            Ignore(*self.heads, but=kind.head_tensors() if with_head else ()),
            Prefix(f"{any_head.base_name}.", ours=with_head, written=with_head, outside=self.heads),
        )

    def export_config(self, model: Any) -> dict[str, Any]:
        """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
        kind = getattr(model.config, "model_type", next(iter(self.kinds)))
        ending = next(e for e, c in self.classes.items() if c is type(model))
        plain = {
            f.name: getattr(model.config, f.name) for f in fields(model.config) if f.name not in ("num_labels", "model_type")
        }
        names = {str(i): f"LABEL_{i}" for i in range(model.config.num_labels)}
        labels = {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
        return {"model_type": kind, "architectures": [self.kinds[kind] + ending], **plain, **labels}
