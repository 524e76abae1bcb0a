"""What all decoders share: the stack of causal layers, its heads, and how a checkpoint's configuration becomes one of them.

An architecture's file in ``models`` has its ``Config``, how a layer is built, and where published files keep what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

from ....core import nn
from ....core.create import arange
from ....core.errors import ArgumentError, DataError, ShapeError
from ....core.keymap import Ignore, KeyMap, Prefix
from ....core.nn import functional as F
from ....core.nn.embedding import check_token_ids
from ....core.tensor import Tensor
from ....core.tracing import may_look
from ...pipelines.pooling import last_vectors


@dataclass(frozen=True)
class DecoderConfig:
    """What every decoder's ``config.json`` says; a family adds what shapes its layers."""

    family: ClassVar[str] = "a decoder"

    vocab_size: int = 32000
    """Rows of the token table."""
    initializer_range: float = 0.02
    """Standard deviation of new weights."""
    tie_word_embeddings: bool = False
    """Whether the head shares the token table."""
    bos_token_id: int | None = None
    """The token that begins a text."""
    eos_token_id: int | Sequence[int] | None = None
    """The token, or tokens, that end a text."""
    pad_token_id: int | None = None
    """The token that fills up batches, and is not trained."""
    num_labels: int = 2
    """Classes of the classifier."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **overrides: Any) -> Self:
        """Read transformers' ``config.json``, of version 4 or 5; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or heads that do not fit.
            DataError: a variant that is not built here.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ArgumentError(
                f"{cls.family} has no option {', '.join(map(repr, unknown))}", fix=f"it has {', '.join(sorted(known))}"
            )
        labels = {"num_labels": len(config["id2label"])} if config.get("id2label") else {}
        given = {**config, **cls.translated(config), **overrides}
        made = cls(**{**labels, **{k: v for k, v in given.items() if k in known}})
        made.check()
        return made

    @classmethod
    def translated(cls, config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003 - for families with several spellings
        """Fields that a ``config.json`` spells otherwise."""
        return {}

    def check(self) -> None:
        """Raise what makes building fail: now, and not in the middle of it."""

    def published(self) -> dict[str, Any]:
        """As in a ``config.json``, without the classes."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "num_labels"}

    @property
    def windows(self) -> list[int | None]:
        """For each layer how many steps a token sees, itself included; None for all before it."""
        return [None] * int(self.num_hidden_layers)  # type: ignore[attr-defined]  # which every family has


@dataclass(frozen=True)
class DecoderOutput:
    """What a decoder without head returns.

    Attributes:
        last_hidden_state: (N, T, D), one vector a token.
    """

    last_hidden_state: Tensor


class _Decoding(nn.Model):
    """What a decoder with and without head share."""

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the tables, 1.. for the layers, the last number for what follows."""
        parts = name.split(".")
        number = next((int(part) for part in parts if part.isdigit()), None)
        if number is not None:
            return number + 1
        return (
            0 if any(part in ("embed_tokens", "embed_in", "wte", "wpe") for part in parts) else self.config.num_hidden_layers + 1
        )

    def layer_windows(self) -> list[int | None]:
        """For each layer how many steps a token sees, itself included; None where it sees all: what a cache must hold."""
        return list(self.config.windows)

    def new_caches(self) -> list[nn.KVCache]:
        """An empty cache for each layer; one with a window keeps no more than it sees."""
        return [nn.KVCache() if window is None else nn.SlidingKVCache(window) for window in self.layer_windows()]


class Decoder(_Decoding):
    """A token table, layers, and a norm: a decoder without its head.

    Shape: ``input_ids`` (N, T) int64, ``attention_mask`` (N, T) with 1 for tokens and 0 for padding on either side ->
    :class:`DecoderOutput`. With ``caches``, one ``nn.KVCache`` a layer, the ids go on behind what the caches hold, and the mask
    covers all so far; there it may tell of tokens to come, so that one mask serves many steps. ``token_type_ids``, which
    tokenizers give, mean nothing here.

    Attributes:
        parts: names of table, layers and norm, as published.
    """

    parts: ClassVar[tuple[str, str, str]] = ("embed_tokens", "layers", "norm")

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        caches: Sequence[nn.KVCache] | None = None,
        *,
        token_type_ids: Tensor | None = None,  # noqa: ARG002 - see above
    ) -> DecoderOutput:
        return DecoderOutput(self.forward_features(input_ids, attention_mask, caches))

    def forward_features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, caches: Sequence[nn.KVCache] | None = None
    ) -> Tensor:
        """One vector a token: (N, T, D)."""
        check_ids(input_ids, self.config.vocab_size)
        behind = caches[0] if caches else nn.KVCache()
        mask = None if attention_mask is None else padding_mask(input_ids, attention_mask, behind)
        x = self.embed(input_ids, attention_mask, behind)
        _, layers, norm = self.parts
        for i, layer in enumerate(self._modules[layers]):  # type: ignore[arg-type]
            x = layer(x, mask=mask, cache=caches[i] if caches else None)
        return self._modules[norm](x)  # type: ignore[misc]

    def embed(self, input_ids: Tensor, attention_mask: Tensor | None, behind: nn.KVCache) -> Tensor:  # noqa: ARG002 - for absolute positions
        """(N, T) ids behind the steps that a cache holds -> (N, T, D), what the first layer gets."""
        return self.table(input_ids)

    @property
    def table(self) -> nn.Embedding:
        """The vectors of all tokens."""
        return self._modules[self.parts[0]]  # type: ignore[return-value]

    def initialise(self) -> None:
        """Draw the weights as the family was initialised."""
        initialise(self, self.config.initializer_range)


def initialise(part: nn.Module, std: float) -> None:
    """Matrices and tables from N(0, std), biases 0."""
    for module in part.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, 0.0, std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class _WithHead(_Decoding):
    """A decoder under the name ``prefix``, and something on its vectors."""

    body_class: ClassVar[type[Decoder]]
    prefix: ClassVar[str] = "model"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.add_module(self.prefix, self.body_class(config))

    @property
    def body(self) -> Decoder:
        """The decoder without the head."""
        return self._modules[self.prefix]  # type: ignore[return-value]

    def forward_features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, caches: Sequence[nn.KVCache] | None = None
    ) -> Tensor:
        """One vector a token: (N, T, D)."""
        return self.body.forward_features(input_ids, attention_mask, caches)


class CausalLM(_WithHead):
    """A decoder and a head that says which token comes next.

    Shape: as :class:`Decoder` -> logits (N, T, vocab_size); with ``last=True`` of the last place alone, (N, 1, vocab_size).

    Attributes:
        head_name: what checkpoints call the head where it is not the token table.
    """

    head_name: ClassVar[str] = "lm_head"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if not config.tie_word_embeddings:
            head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
            initialise(head, config.initializer_range)
            self.add_module(self.head_name, head)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        caches: Sequence[nn.KVCache] | None = None,
        *,
        last: bool = False,
        token_type_ids: Tensor | None = None,  # noqa: ARG002 - see Decoder
    ) -> Tensor:
        hidden = self.forward_features(input_ids, attention_mask, caches)
        return self.forward_head(hidden[:, -1:] if last else hidden)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, vocab_size)."""
        head = self._modules.get(self.head_name)
        return F.linear(hidden, self.body.table.weight) if head is None else head(hidden)

    def tied_names(self) -> list[str]:
        """The token table, where it is the head too."""
        return [] if self.head_name in self._modules else [f"{self.prefix}.{self.body.parts[0]}.weight"]

    def untie(self) -> None:
        """The head as a layer, with the token table's numbers for now."""
        if self.head_name in self._modules:
            return
        with nn.init.skip_random():
            head = nn.Linear(self.config.hidden_size, self.config.vocab_size, bias=False)
        head.weight = nn.Parameter(self.body.table.weight.detach())
        self.add_module(self.head_name, head.train(self.training))
        self.config = self.body.config = replace(self.config, tie_word_embeddings=False)


class SequenceClassifier(_WithHead):
    """A decoder and a linear classifier of the last token, which has seen all others.

    Shape: as :class:`Decoder` -> logits (N, num_labels). Without a mask, the last token is the last that is not padding by the
    configuration's ``pad_token_id``, and the last of the row where there is none.
    """

    classifier_name = "score"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        initialise(self.score, config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        token_type_ids: Tensor | None = None,  # noqa: ARG002 - see Decoder
    ) -> Tensor:
        hidden = self.forward_features(input_ids, attention_mask)
        pad = self.config.pad_token_id
        if attention_mask is None and pad is not None:
            attention_mask = input_ids != pad
        return self.forward_head(hidden, attention_mask)

    def forward_head(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(N, T, D), and (N, T) with 0 at padding -> (N, num_labels)."""
        return self.score(hidden[:, -1] if attention_mask is None else last_vectors(hidden, attention_mask))


def padding_mask(input_ids: Tensor, attention_mask: Tensor, behind: nn.KVCache) -> Tensor | None:
    """True where a token may look among all so far: (N, 1, 1 or T, ``behind.span(T)``); None where nothing is padding.

    That a token sees none behind it is the attention's own affair. A row of padding sees itself, so that nothing is divided by 0.
    """
    count = input_ids.shape[1]
    if behind.place is None:
        _check_mask(input_ids, attention_mask, behind.length)
    seen = fitted(attention_mask, behind.span(count)) != 0
    if may_look() and bool(seen.all().item()):
        return None
    place = arange(seen.shape[1], device=input_ids.device)
    own = place.reshape(1, -1) == behind.places(count, input_ids.device).reshape(-1, 1)  # (T, span)
    return seen.unsqueeze(1).unsqueeze(2) | own.unsqueeze(0).unsqueeze(0)


def _check_mask(input_ids: Tensor, attention_mask: Tensor, before: int) -> None:
    """Raises where a mask is not of the tokens behind ``before`` others and of these; then it may be of later ones too."""
    rows, length = input_ids.shape[0], before + input_ids.shape[1]
    longer = before > 0 and attention_mask.ndim == 2 and len(attention_mask) == rows and attention_mask.shape[1] > length
    if attention_mask.shape != (rows, length) and not longer:
        raise ShapeError(
            f"attention_mask {attention_mask.shape} for input_ids {input_ids.shape} behind {before} cached token(s)",
            fix=f"pass one of shape {(rows, length)}{', or one that tells of tokens to come too' if before else ''}",
        )


def fitted(attention_mask: Tensor, span: int) -> Tensor:
    """The mask cut to so many tokens, or with further ones that are no padding."""
    return F.pad(attention_mask[:, :span], (0, max(0, span - attention_mask.shape[1])), value=1)


def check_ids(input_ids: Tensor, vocab_size: int) -> None:
    """Name the sample of a token that is not in the vocabulary, before anything is computed.

    Raises:
        ShapeError: not (N, T), or no token.
        IndexRangeError: a token of another vocabulary.
    """
    if input_ids.ndim != 2 or not input_ids.shape[1]:
        raise ShapeError(f"input_ids of shape {input_ids.shape}", why="a decoder takes (N, T), T at least 1", fix="reshape them")
    check_token_ids(input_ids, vocab_size)


# ---- from a configuration to a model ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """The classes of an architecture, and what the hub asks of its module.

    Attributes:
        model_type: as in ``config.json``.
        config: class of the configuration.
        body, lm, classifier: the decoder alone, with the head of language, with a classifier.
    """

    model_type: str
    config: type[DecoderConfig]
    body: type[Decoder]
    lm: type[CausalLM]
    classifier: type[SequenceClassifier]

    @property
    def classes(self) -> dict[str, type[nn.Model]]:
        """By published name."""
        return {made.__name__: made for made in (self.body, self.lm, self.classifier)}

    @property
    def heads(self) -> dict[str, str]:
        """The class that serves a task, whatever head the weights came with."""
        bare = dict.fromkeys(("feature-extraction", "sentence-embedding"), self.body.__name__)
        return {"text-generation": self.lm.__name__, "text-classification": self.classifier.__name__, **bare}

    def class_of(self, config: Mapping[str, Any]) -> type[nn.Model]:
        """The class that a ``config.json`` names; with the head of language where it names none.

        Raises:
            DataError: a class that is not built here.
        """
        name = (config.get("architectures") or [self.lm.__name__])[0]
        if name not in self.classes:
            raise DataError(
                f"the architecture {name!r} of {self.config.family} is not built",
                why=f"there are {', '.join(self.classes)}",
                fix="choose one",
            )
        return self.classes[name]

    def build(self, config: Mapping[str, Any], **overrides: Any) -> nn.Model:
        """The model that transformers' ``config.json`` describes; with ``num_labels`` a classifier of texts."""
        made = self.classifier if "num_labels" in overrides else self.class_of(config)
        return made(self.config.from_dict(config, **overrides))

    def key_map(self, config: Mapping[str, Any], *rules: Any) -> KeyMap:
        """``rules``, then what differs by the head: a prefix that files may lack, other heads, a tied head all the same.

        Args:
            config: of the model that is filled.
            rules: the family's own, to names with the prefix.
        """
        kind, prefix = self.class_of(config), f"{self.lm.prefix}."
        head, score = f"{self.lm.head_name}.*", f"{self.classifier.classifier_name}.*"
        if kind is self.body:
            return KeyMap(*rules, Ignore(head, score), Prefix(prefix, ours=False, written=False))
        tied = self.config.from_dict(config).tie_word_embeddings
        others = [head] if kind is self.classifier else [score, *([head] if tied else [])]
        return KeyMap(*rules, Ignore(*others), Prefix(prefix, ours=True, written=True, outside=(head, score)))

    def export_config(self, model: nn.Model) -> dict[str, Any]:
        """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
        config = model.config.published()
        if isinstance(model, self.classifier):
            names = {str(i): f"LABEL_{i}" for i in range(model.config.num_labels)}
            config |= {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
        return {"model_type": self.model_type, "architectures": [type(model).__name__], **config}
