"""BART (Lewis et al., arXiv:1910.13461): text in, text out, pretrained to mend damaged text.

Loads checkpoints in transformers' layout: ``BartForConditionalGeneration`` (``facebook/bart-large-cnn``,
``sshleifer/distilbart-cnn-12-6``), ``BartForSequenceClassification`` (``facebook/bart-large-mnli``) and ``BartModel``
(``facebook/bart-base``). Our module names are the published ones. Marian is built from the same parts: see ``marian.py``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from ...core import nn
from ...core.create import arange, full, zeros
from ...core.errors import ArgumentError, DataError
from ...core.keymap import Default, Ignore, KeyMap, Prefix, Tied
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.nn.positions import first_cache
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from ...core.tracing import tells_later
from .shared.seq2seq import Seq2Seq, Seq2SeqLM, check_ids, decoder_seen, where_seen


@dataclass(frozen=True)
class Config:
    """What shapes a BART; the defaults are transformers', of bart-large."""

    vocab_size: int = 50265
    """Rows of the token table."""
    d_model: int = 1024
    """Width of the stream."""
    encoder_layers: int = 12
    """Layers that read."""
    encoder_attention_heads: int = 16
    """Heads of each of them."""
    encoder_ffn_dim: int = 4096
    """Width inside their feed-forward part."""
    decoder_layers: int = 12
    """Layers that write."""
    decoder_attention_heads: int = 16
    """Heads of each of them."""
    decoder_ffn_dim: int = 4096
    """Width inside their feed-forward part."""
    max_position_embeddings: int = 1024
    """Longest text in tokens, of either side."""
    activation_function: str = "gelu"
    """Activation of the feed-forward parts."""
    dropout: float = 0.1
    """Dropout of the embeddings and of what is added to the stream."""
    attention_dropout: float = 0.0
    """Dropout of the attention weights."""
    activation_dropout: float = 0.0
    """Dropout inside the feed-forward parts."""
    classifier_dropout: float = 0.0
    """Dropout around the classifier's first layer."""
    init_std: float = 0.02
    """Standard deviation of new weights."""
    scale_embedding: bool = False
    """Whether the tokens' vectors are multiplied by the root of the width."""
    tie_word_embeddings: bool = True
    """Whether the head shares the token table."""
    num_labels: int = 3
    """Classes of the classifier."""
    pad_token_id: int | None = 1
    """The token that fills up batches, and is not trained."""
    bos_token_id: int | None = 0
    """The token that begins a text."""
    eos_token_id: int | Sequence[int] | None = 2
    """The token that ends a text."""
    decoder_start_token_id: int | None = 2
    """The token that the decoder begins with."""

    name: ClassVar[str] = "BART"
    model_type: ClassVar[str] = "bart"

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **overrides: Any) -> Self:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or heads that do not divide the width.
            DataError: a relative of BART that is built in another way.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            options = ", ".join(sorted(known))
            raise ArgumentError(f"{cls.name} has no option {', '.join(map(repr, unknown))}", fix=f"it has {options}")
        other = next((k for k in ("normalize_before", "add_final_layer_norm") if config.get(k)), None)
        if other:
            raise DataError(
                f"{other} in the config.json", why=f"nyala's {cls.name} has its norms behind", fix="choose other weights"
            )
        labels = {"num_labels": len(config["id2label"])} if config.get("id2label") else {}
        made = replace(cls(), **{**labels, **{k: v for k, v in config.items() if k in known}, **overrides})
        for heads in (made.encoder_attention_heads, made.decoder_attention_heads):
            if made.d_model % heads:
                raise ArgumentError(f"d_model {made.d_model} is no multiple of {heads} heads", fix="correct the config.json")
        activation(made.activation_function)
        return made

    @property
    def layers(self) -> tuple[int, int]:
        """Layers that read, and that write."""
        return self.encoder_layers, self.decoder_layers

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens."""
        return self.max_position_embeddings


_NAMES = {
    **{role: f"self_attn.{role}_proj" for role in ("q", "k", "v", "out")},
    **{f"cross_{role}": f"encoder_attn.{role}_proj" for role in ("q", "k", "v", "out")},
    "attn_drop": "self_attn.dropout",
    "cross_attn_drop": "encoder_attn.dropout",
    "norm1": "self_attn_layer_norm",
    "norm_cross": "encoder_attn_layer_norm",
    "norm2": "final_layer_norm",
    "fc1": "fc1",
    "fc2": "fc2",
    "mlp_drop": "activation_dropout",
}


def _layer(config: Config, decoder: bool) -> nn.TransformerBlock:
    attention = {"dropout": config.attention_dropout}
    return nn.TransformerBlock(
        config.d_model,
        config.decoder_attention_heads if decoder else config.encoder_attention_heads,
        config.decoder_ffn_dim if decoder else config.encoder_ffn_dim,
        norm_first=False,
        dropout=config.dropout,
        cross=attention if decoder else False,
        attention={**attention, "is_causal": decoder},
        mlp={"act": config.activation_function, "dropout": config.activation_dropout},
        names=_NAMES,
    )


class LearnedPositions(nn.Embedding):
    """A vector for each place; the first two rows of the table are of no place."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.max_position_embeddings + 2, config.d_model)

    def forward(self, input: Tensor) -> Tensor:
        """(T,) places -> (T, D)."""
        return super().forward(input + 2)


class Coder(nn.Module):
    """The layers that read, or those that write, with the positions before them.

    Shape: vectors of tokens (N, T, D) -> (N, T, D).
    """

    def __init__(self, config: Config, decoder: bool, positions: nn.Module, norm: bool = True) -> None:
        super().__init__()
        self.embed_positions = positions
        self.layernorm_embedding: Any = nn.LayerNorm(config.d_model) if norm else None
        self.layers = nn.ModuleList([_layer(config, decoder) for _ in range(config.layers[decoder])])
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        seen: Tensor | None = None,
        context: Tensor | None = None,
        context_seen: Tensor | None = None,
        caches: nn.EncoderDecoderCache | None = None,
    ) -> Tensor:
        x = x + self.embed_positions(first_cache(caches).places(x.shape[1], x.device))
        x = self.dropout(x if self.layernorm_embedding is None else self.layernorm_embedding(x))
        for i, layer in enumerate(self.layers):
            own, other = (caches.own[i], caches.context[i]) if caches else (None, None)
            x = layer(x, context, mask=seen, context_mask=context_seen, cache=own, context_cache=other)
        return x


class Body(Seq2Seq):
    """Encoder and decoder; ``tables`` gives what their tokens are looked up in."""

    encoder: Coder
    decoder: Coder

    def tables(self) -> tuple[nn.Embedding, nn.Embedding]:
        """The token tables of the encoder and of the decoder."""
        shared = self.get_submodule("shared")
        return shared, shared  # type: ignore[return-value]

    def _embed(self, ids: Tensor, decoder: bool, what: str, behind: nn.KVCache | None = None) -> Tensor:
        table = self.tables()[decoder]
        check_ids(ids, table.num_embeddings, what, self.config.max_position_embeddings, behind)
        return table(ids) * math.sqrt(self.config.d_model) if self.config.scale_embedding else table(ids)

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The encoder alone: (N, S, D)."""
        return self.encoder(self._embed(input_ids, False, "input_ids"), where_seen(attention_mask, input_ids.shape))

    def decode(
        self,
        decoder_input_ids: Tensor,
        encoder_outputs: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        caches: nn.EncoderDecoderCache | None = None,
    ) -> Tensor:
        """The decoder alone: (N, T, D)."""
        behind = first_cache(caches)
        x = self._embed(decoder_input_ids, True, "decoder_input_ids", behind)
        batch, length = decoder_input_ids.shape
        seen = decoder_seen(decoder_attention_mask, batch, length, behind)
        context_seen = where_seen(attention_mask, (batch, encoder_outputs.shape[1]))
        return self.decoder(x, seen, encoder_outputs, context_seen, caches)


class BartModel(Body):
    """Encoder and decoder without a head; shapes as :class:`~nyala.text.models.shared.seq2seq.Seq2Seq`.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     vocab_size=9, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        ...     encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=6)
        >>> model = BartModel(tiny).eval()
        >>> model(nyala.tensor([[0, 5, 2]]), decoder_input_ids=nyala.tensor([[2, 7]])).last_hidden_state.shape
        (1, 2, 8)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_token_id)
        self.encoder = Coder(config, False, LearnedPositions(config))
        self.decoder = Coder(config, True, LearnedPositions(config))
        initialise(self, config)


class Delegating(Seq2Seq):
    """A model with a head around ``self.model``."""

    model: Body

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The encoder alone: (N, S, D)."""
        return self.model.encode(input_ids, attention_mask)

    def decode(self, *args: Any, **kwargs: Any) -> Tensor:
        """The decoder alone: (N, T, D)."""
        return self.model.decode(*args, **kwargs)


class LanguageModel(Seq2SeqLM, Delegating):
    """Encoder, decoder, and a head that says which token comes next, with a bias that is not trained."""

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__(config)
        self.model = body
        count = body.tables()[1].num_embeddings
        self.register_buffer("final_logits_bias", zeros(1, count))
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.d_model, count, bias=False)
            initialise(self.lm_head, config)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, vocab_size)."""
        tied = self.config.tie_word_embeddings
        scores = F.linear(hidden, self.model.tables()[1].weight) if tied else self.lm_head(hidden)
        return scores + self.final_logits_bias

    def tied_names(self) -> list[str]:
        """The decoder's token table, where it is the head too."""
        table = self.model.tables()[1].weight
        return [n for n, p in self.named_parameters() if p is table] if self.config.tie_word_embeddings else []


class BartForConditionalGeneration(LanguageModel):
    """Encoder, decoder, and a head that says which token comes next -> logits (N, T, vocab_size)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, BartModel(config))


class BartForSequenceClassification(Delegating):
    """Encoder and decoder read the same text, and a head judges the vector of the token that ends it.

    Shape: ``input_ids`` (N, T) int64, ``attention_mask`` (N, T) -> logits (N, num_labels).
    """

    classifier_name = "classification_head.out_proj"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model = BartModel(config)
        self.classification_head = nn.Module()
        self.classification_head.dense = nn.Linear(config.d_model, config.d_model)
        self.classification_head.out_proj = nn.Linear(config.d_model, config.num_labels)
        self.dropout = nn.Dropout(config.classifier_dropout)
        initialise(self.classification_head, config)

    def head_names(self) -> list[str]:
        """All that the bare model does not have."""
        return [n for n, _ in self.named_parameters() if n.startswith("classification_head.")]

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.forward_head(self.forward_features(input_ids, attention_mask))

    def forward_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """The vectors of the tokens that end the texts: (N, D).

        Raises:
            DataError: a text without such a token.
        """
        first = full((input_ids.shape[0], 1), self.config.decoder_start_token_id, dtype="int64", device=input_ids.device)
        hidden = self.states(input_ids, attention_mask, cat([first, input_ids[:, :-1]], 1))[0]
        ends = input_ids == self.config.eos_token_id
        missing = (~ends.any(dim=1)).to("int64")
        told = tells_later(lambda: missing.any().array, "the classifier: a text that does not end", DataError)
        if not told and bool(missing.any().item()):
            raise DataError(
                f"sample {int(missing.argmax().item())} does not end",
                why=f"the classifier looks at token {self.config.eos_token_id}, which ends a text",
                fix="use the tokenizer that came with these weights",
            )
        places = arange(input_ids.shape[1], device=input_ids.device)
        last = (ends.to("int64") * places).max(dim=1).values
        return hidden[arange(input_ids.shape[0], device=input_ids.device), last]

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, D) -> (N, num_labels)."""
        head = self.classification_head
        return head.out_proj(self.dropout(F.tanh(head.dense(self.dropout(hidden)))))


def initialise(part: nn.Module, config: Config) -> None:
    """New weights from N(0, init_std), biases and the padding's vector 0."""
    for module in part.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)) and module.weight.requires_grad:
            nn.init.normal_(module.weight, 0.0, config.init_std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.weight.array[module.padding_idx] = 0


CLASSES: dict[str, type[Seq2Seq]] = {
    "BartModel": BartModel,
    "BartForConditionalGeneration": BartForConditionalGeneration,
    "BartForSequenceClassification": BartForSequenceClassification,
}
HEADS = {
    "summarization": "BartForConditionalGeneration",
    "translation": "BartForConditionalGeneration",
    "text2text-generation": "BartForConditionalGeneration",
    "text-classification": "BartForSequenceClassification",
}


def class_of(config: Mapping[str, Any], classes: Mapping[str, type[Seq2Seq]], usual: str) -> type[Any]:
    """The class that a configuration names.

    Raises:
        DataError: one that is not built here.
    """
    name = (config.get("architectures") or [usual])[0]
    if name not in classes:
        raise DataError(f"the architecture {name!r} is not built", why=f"there are {', '.join(classes)}", fix="choose one")
    return classes[name]


def build(config: Mapping[str, Any], **overrides: Any) -> Seq2Seq:
    """The model that transformers' ``config.json`` describes."""
    return class_of(config, CLASSES, "BartForConditionalGeneration")(Config.from_dict(config, **overrides))


COPIES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
HEAD_PARTS = ("lm_head.weight", "final_logits_bias", "classification_head.*")


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """The optional prefix, copies of the token table, a bias that may be missing, and heads that the model does not have."""
    kind, made = class_of(config, CLASSES, "BartForConditionalGeneration"), Config.from_dict(config)
    rules: list[Any] = [
        Ignore("*encoder.version", "*decoder.version"),
        Prefix("model.", ours=True, written=kind is not BartModel, outside=HEAD_PARTS),
    ]
    language = kind is BartForConditionalGeneration
    tied = ("lm_head.weight",) if language and made.tie_word_embeddings else ()
    rules += [Tied("model.shared.weight", *COPIES, *tied), Ignore(*COPIES, *tied)]
    if language:
        return KeyMap(*rules, Ignore("classification_head.*"), no_bias(made.vocab_size))
    unused = Ignore("lm_head.weight", "final_logits_bias")
    if kind is BartForSequenceClassification:
        return KeyMap(*rules, unused)
    return KeyMap(*rules, unused, Ignore("classification_head.*"), Prefix("model.", ours=False, written=True))


def no_bias(count: int) -> Default:
    """Files of a bare model have no bias for the head: 0 it is."""
    return Default("final_logits_bias", lambda _: np.zeros((1, count), np.float32))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    config = {f.name: getattr(model.config, f.name) for f in fields(Config) if f.name != "num_labels"}
    names = {str(i): f"LABEL_{i}" for i in range(model.config.num_labels)}
    labels = {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
    return {"model_type": "bart", "architectures": [type(model).__name__], "is_encoder_decoder": True, **config, **labels}
