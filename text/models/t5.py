"""T5 (Raffel et al., arXiv:1910.10683): text in, text out; also T5 v1.1, Flan-T5 and mT5.

Loads checkpoints in transformers' layout: ``T5ForConditionalGeneration`` (``google-t5/t5-small``, ``google/flan-t5-small``,
``google/t5-v1_1-small``), ``MT5ForConditionalGeneration`` (``google/mt5-small``), ``T5Model``, and ``T5EncoderModel``
(``sentence-transformers/sentence-t5-base``). Our module names are the published ones.

The first T5 shares the head with the token table, and scales what goes into it; those after it do neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ...core import nn
from ...core.errors import ArgumentError, DataError
from ...core.keymap import Default, Ignore, KeyMap, Tied
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.nn.blocks import place
from ...core.nn.positions import first_cache
from ...core.tensor import Tensor
from .shared.seq2seq import Seq2Seq, Seq2SeqLM, as_added, check_ids, decoder_seen, where_seen


@dataclass(frozen=True)
class Config:
    """What shapes a T5; the defaults are transformers', of t5-small."""

    vocab_size: int = 32128
    """Rows of the token table."""
    d_model: int = 512
    """Width of the stream."""
    d_kv: int = 64
    """Width of a head."""
    d_ff: int = 2048
    """Width inside the feed-forward part."""
    num_layers: int = 6
    """Layers that read."""
    num_decoder_layers: int | None = None
    """Layers that write; as many as read where absent."""
    num_heads: int = 8
    """Heads of each layer."""
    relative_attention_num_buckets: int = 32
    """Groups of distances that share a learnt number."""
    relative_attention_max_distance: int = 128
    """From here on all distances share one."""
    dropout_rate: float = 0.1
    """Dropout everywhere."""
    layer_norm_epsilon: float = 1e-6
    """Added to mean squares in norms."""
    initializer_factor: float = 1.0
    """Factor of the standard deviations of new weights."""
    feed_forward_proj: str = "relu"
    """Activation of the feed-forward part, with "gated-" before it where a second layer opens and closes the first."""
    tie_word_embeddings: bool = True
    """Whether the head shares the token table."""
    scale_decoder_outputs: bool = True
    """Whether what goes into the head is divided by the root of the width."""
    pad_token_id: int | None = 0
    """The token that fills up batches."""
    eos_token_id: int | Sequence[int] | None = 1
    """The token that ends a text."""
    decoder_start_token_id: int | None = 0
    """The token that the decoder begins with."""
    model_type: str = "t5"
    """"t5" or "mt5"."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``, of version 4 or 5; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or a feed-forward part that is not known.
        """
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ArgumentError(f"T5 has no option {', '.join(map(repr, unknown))}", fix=f"it has {', '.join(sorted(known))}")
        given = {k: v for k, v in config.items() if k in known and v is not None}
        made = replace(Config(), **{**given, **_head(config), **overrides})
        if made.num_decoder_layers is None:
            made = replace(made, num_decoder_layers=made.num_layers)
        activation(made.activation)
        return made

    @property
    def gated(self) -> bool:
        """Whether a second layer opens and closes the first."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> str:
        """Of the feed-forward part; T5 v1.1's GELU is the approximate one."""
        name = self.feed_forward_proj.removeprefix("gated-")
        return "gelu_new" if self.gated and name == "gelu" else name

    @property
    def layers(self) -> tuple[int, int]:
        """Layers that read, and that write."""
        return self.num_layers, self.num_layers if self.num_decoder_layers is None else self.num_decoder_layers

    @property
    def max_tokens(self) -> int:
        """Longest input that it was trained on; it knows distances alone, and reads longer ones all the same."""
        return 512


def _head(config: Mapping[str, Any]) -> dict[str, bool]:
    """Whether the head shares the token table, and is scaled.

    Version 4 says both in one: ``tie_word_embeddings``. Version 5 writes that it is true for all, and whether the head is scaled;
    so one that is not scaled has a table of its own, which the key map fills where the file has none. mT5 is never scaled.
    """
    tied = config.get("tie_word_embeddings") is not False and config.get("model_type") != "mt5"
    scaled = config.get("scale_decoder_outputs", tied) is not False and config.get("model_type") != "mt5"
    return {"tie_word_embeddings": tied and scaled, "scale_decoder_outputs": scaled}


def _names(config: Config, decoder: bool) -> dict[str, str]:
    """Where the published file keeps each layer of a block."""
    own, other, last = "layer.0", "layer.1", f"layer.{1 + decoder}"
    dense = f"{last}.DenseReluDense"
    return {
        **{role: f"{own}.SelfAttention.{role[0]}" for role in ("q", "k", "v", "out")},
        **{f"cross_{role}": f"{other}.EncDecAttention.{role[0]}" for role in ("q", "k", "v", "out")},
        "attn_drop": f"{own}.SelfAttention.dropout",
        "cross_attn_drop": f"{other}.EncDecAttention.dropout",
        "norm1": f"{own}.layer_norm",
        "norm_cross": f"{other}.layer_norm",
        "norm2": f"{last}.layer_norm",
        "drop1": f"{own}.dropout",
        "drop_cross": f"{other}.dropout",
        "drop2": f"{last}.dropout",
        "gate": f"{dense}.wi_0",
        "fc1": f"{dense}.wi_1" if config.gated else f"{dense}.wi",
        "fc2": f"{dense}.wo",
        "mlp_drop": f"{dense}.dropout",
    }


_BIAS = "layer.0.SelfAttention.relative_attention_bias"


def _block(config: Config, decoder: bool, first: bool) -> nn.TransformerBlock:
    """Norms first, no biases, scores that are not scaled; the first block has the numbers of distances for all."""
    attention = {"head_dim": config.d_kv, "bias": False, "dropout": config.dropout_rate, "scale": 1.0}
    block = nn.TransformerBlock(
        config.d_model,
        config.num_heads,
        config.d_ff,
        norm=lambda dim: nn.RMSNorm(dim, config.layer_norm_epsilon),
        dropout=config.dropout_rate,
        cross=attention if decoder else False,
        attention={**attention, "is_causal": decoder},
        mlp={"act": config.activation, "gated": config.gated, "bias": False, "dropout": config.dropout_rate},
        names=_names(config, decoder),
    )
    if first:
        buckets, distance = config.relative_attention_num_buckets, config.relative_attention_max_distance
        place(block, _BIAS, nn.RelativePositionBias(buckets, config.num_heads, distance, bidirectional=not decoder))
    return block


class Stack(nn.Module):
    """The blocks that read, or those that write.

    Shape: vectors of tokens (N, T, D) -> (N, T, D).
    """

    def __init__(self, config: Config, decoder: bool) -> None:
        super().__init__()
        self.decoder = decoder
        self.block = nn.ModuleList([_block(config, decoder, i == 0) for i in range(config.layers[decoder])])
        self.final_layer_norm = nn.RMSNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(
        self,
        x: Tensor,
        seen: Tensor | None = None,
        context: Tensor | None = None,
        context_seen: Tensor | None = None,
        caches: nn.EncoderDecoderCache | None = None,
    ) -> Tensor:
        behind, length = first_cache(caches), x.shape[1]
        start = behind.length if behind.place is None else behind.places(length, x.device)
        mask = as_added(self.block[0].get_submodule(_BIAS)(length, behind.span(length), start), seen)
        x = self.dropout(x)
        for i, block in enumerate(self.block):
            own, other = (caches.own[i], caches.context[i]) if caches else (None, None)
            x = block(x, context, mask=mask, context_mask=context_seen, cache=own, context_cache=other)
        return self.dropout(self.final_layer_norm(x))


class _Parts(Seq2Seq):
    """The token table, the encoder, and the decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = Stack(config, decoder=False)
        self.decoder = Stack(config, decoder=True)
        _initialise(self, config)

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The encoder alone: (N, S, D)."""
        check_ids(input_ids, self.config.vocab_size)
        return self.encoder(self.shared(input_ids), where_seen(attention_mask, input_ids.shape))

    def decode(
        self,
        decoder_input_ids: Tensor,
        encoder_outputs: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        caches: nn.EncoderDecoderCache | None = None,
    ) -> Tensor:
        """The decoder alone: (N, T, D)."""
        check_ids(decoder_input_ids, self.config.vocab_size, "decoder_input_ids")
        batch, length = decoder_input_ids.shape
        seen = decoder_seen(decoder_attention_mask, batch, length, first_cache(caches))
        context_seen = where_seen(attention_mask, (batch, encoder_outputs.shape[1]))
        return self.decoder(self.shared(decoder_input_ids), seen, encoder_outputs, context_seen, caches)


class T5Model(_Parts):
    """Encoder and decoder without a head; shapes as :class:`~nyala.text.models.shared.seq2seq.Seq2Seq`.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
        >>> model = T5Model(tiny).eval()
        >>> model(nyala.tensor([[5, 6, 1]]), decoder_input_ids=nyala.tensor([[0, 7]])).last_hidden_state.shape
        (1, 2, 8)
    """


class T5ForConditionalGeneration(Seq2SeqLM, _Parts):
    """Encoder, decoder, and a head that says which token comes next -> logits (N, T, vocab_size)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
            nn.init.normal_(self.lm_head.weight, 0.0, config.initializer_factor)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, vocab_size)."""
        if self.config.scale_decoder_outputs:
            hidden = hidden * self.config.d_model**-0.5
        return F.linear(hidden, self.shared.weight) if self.config.tie_word_embeddings else self.lm_head(hidden)

    def tied_names(self) -> list[str]:
        """The token table, where it is the head too."""
        return ["shared.weight"] if self.config.tie_word_embeddings else []


class MT5ForConditionalGeneration(T5ForConditionalGeneration):
    """T5 v1.1 of many languages."""


@dataclass(frozen=True)
class EncoderOutput:
    """What the encoder alone returns.

    Attributes:
        last_hidden_state: (N, T, D), one vector a token.
    """

    last_hidden_state: Tensor


class T5EncoderModel(nn.Model):
    """The encoder alone.

    Shape: ``input_ids`` (N, T) int64, ``attention_mask`` (N, T) with 1 for tokens and 0 for padding -> :class:`EncoderOutput`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = Stack(config, decoder=False)
        _initialise(self, config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> EncoderOutput:
        return EncoderOutput(self.forward_features(input_ids, attention_mask))

    def forward_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """One vector a token: (N, T, D)."""
        check_ids(input_ids, self.config.vocab_size)
        return self.encoder(self.shared(input_ids), where_seen(attention_mask, input_ids.shape))


def _initialise(model: nn.Module, config: Config) -> None:
    """As published: widths of what comes in make up for scores that are not scaled."""
    factor, inner = config.initializer_factor, config.num_heads * config.d_kv
    spread = {
        ".q": (config.d_model * config.d_kv) ** -0.5,
        ".o": inner**-0.5,
        ".wo": config.d_ff**-0.5,
        "shared": 1.0,
    }
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Embedding, nn.RelativePositionBias)):
            usual = config.d_model**-0.5
            std = next((s for end, s in spread.items() if name.endswith(end)), usual)
            nn.init.normal_(module.weight, 0.0, factor * std)


CLASSES: dict[str, type[nn.Model]] = {
    "T5Model": T5Model,
    "T5ForConditionalGeneration": T5ForConditionalGeneration,
    "T5WithLMHeadModel": T5ForConditionalGeneration,  # of the first published files
    "T5EncoderModel": T5EncoderModel,
    "MT5ForConditionalGeneration": MT5ForConditionalGeneration,
}
HEADS = {
    "summarization": "T5ForConditionalGeneration",
    "translation": "T5ForConditionalGeneration",
    "text2text-generation": "T5ForConditionalGeneration",
}


def _class_of(config: Mapping[str, Any]) -> type[nn.Model]:
    name = (config.get("architectures") or ["T5ForConditionalGeneration"])[0]
    if name not in CLASSES:
        raise DataError(f"the architecture {name!r} of T5 is not built", why=f"there are {', '.join(CLASSES)}", fix="choose one")
    return CLASSES[name]


def build(config: Mapping[str, Any], **overrides: Any) -> nn.Model:
    """The model that transformers' ``config.json`` describes."""
    return _class_of(config)(Config.from_dict(config, **overrides))


def _table(arrays: Mapping[str, Any]) -> Any:
    """A head of its own that the file does not hold is the token table, as version 5 writes it."""
    return arrays["shared.weight"].copy() if "shared.weight" in arrays else None


_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """Copies of the token table, a head that is tied or missing, and what an encoder alone does not have."""
    made, kind = Config.from_dict(config), _class_of(config)
    head = ("lm_head.weight",)
    unused = Ignore("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight")
    if kind is T5EncoderModel:
        return KeyMap(Ignore("decoder.*", *head), Tied("shared.weight", _COPIES[0]), Ignore(_COPIES[0]))
    if kind is T5Model:
        return KeyMap(unused, Ignore(*head), Tied("shared.weight", *_COPIES), Ignore(*_COPIES))
    if made.tie_word_embeddings:
        return KeyMap(unused, Tied("shared.weight", *_COPIES, *head), Ignore(*_COPIES, *head))
    return KeyMap(unused, Tied("shared.weight", *_COPIES), Ignore(*_COPIES), Default(*head, _table))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    config = {f.name: getattr(model.config, f.name) for f in fields(Config)}
    seq2seq = {"is_encoder_decoder": not isinstance(model, T5EncoderModel)}
    return {"architectures": [type(model).__name__], **config, **seq2seq}
