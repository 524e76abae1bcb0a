"""Whisper (Radford et al., arXiv:2212.04356): sound in, text out; all sizes, Distil-Whisper and turbo.

Loads checkpoints in transformers' layout: ``WhisperForConditionalGeneration`` (``openai/whisper-tiny.en`` to
``openai/whisper-large-v3-turbo``, ``distil-whisper/distil-small.en``), ``WhisperModel``, and ``WhisperForAudioClassification``,
whose encoder may come from any of them; and CTranslate2's files, as faster-whisper has them. Our module names are the published
ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ...core import nn
from ...core.create import arange, from_numpy
from ...core.errors import ArgumentError, DataError, ShapeError
from ...core.keymap import Ignore, KeyMap, Prefix
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.nn.embedding import check_token_ids
from ...core.nn.positions import first_cache
from ...core.tensor import Tensor
from .whisper_ctranslate2 import FromCTranslate2, config_from_ctranslate2

__all__ = [
    "CLASSES",
    "HEADS",
    "Caches",
    "Config",
    "WhisperForAudioClassification",
    "WhisperForConditionalGeneration",
    "WhisperModel",
    "build",
    "config_from_ctranslate2",
    "export_config",
    "key_map",
    "sinusoids",
]


@dataclass(frozen=True)
class Config:
    """What shapes a Whisper; the defaults are transformers', of tiny but for the tokens."""

    vocab_size: int = 51865
    """Rows of the token table."""
    num_mel_bins: int = 80
    """Bands of the log-mel pictures."""
    d_model: int = 384
    """Width of the stream."""
    encoder_layers: int = 4
    """Layers that look at the sound."""
    encoder_attention_heads: int = 6
    """Heads of each of them."""
    encoder_ffn_dim: int = 1536
    """Width inside their feed-forward part."""
    decoder_layers: int = 4
    """Layers that write the text."""
    decoder_attention_heads: int = 6
    """Heads of each of them."""
    decoder_ffn_dim: int = 1536
    """Width inside their feed-forward part."""
    max_source_positions: int = 1500
    """Places of the encoder, two frames each."""
    max_target_positions: int = 448
    """Longest text in tokens."""
    activation_function: str = "gelu"
    """Activation of the feed-forward parts."""
    dropout: float = 0.0
    """Dropout of what is added to the stream."""
    attention_dropout: float = 0.0
    """Dropout of the attention weights."""
    activation_dropout: float = 0.0
    """Dropout inside the feed-forward parts."""
    init_std: float = 0.02
    """Standard deviation of new weights."""
    pad_token_id: int | None = 50256
    """The token that fills up batches."""
    bos_token_id: int | None = 50256
    """The token that begins a text, where there is one."""
    eos_token_id: int | None = 50256
    """The token that ends a text."""
    decoder_start_token_id: int | None = 50257
    """The token that the decoder begins with."""
    classifier_proj_size: int = 256
    """Width of what a classifier looks at."""
    num_labels: int = 2
    """Classes of a classifier."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or heads that do not divide the width.
        """
        known = {f.name for f in fields(Config)}
        if config.get("use_weighted_layer_sum"):
            raise DataError("a Whisper that looks at the sum of its layers is not built", fix="train one that looks at the last")
        labels = {"num_labels": len(config["id2label"])} if config.get("id2label") else {}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ArgumentError(
                f"Whisper has no option {', '.join(map(repr, unknown))}", fix=f"it has {', '.join(sorted(known))}"
            )
        made = replace(Config(), **{**labels, **{k: v for k, v in config.items() if k in known}, **overrides})
        for heads in (made.encoder_attention_heads, made.decoder_attention_heads):
            if made.d_model % heads:
                raise ArgumentError(f"d_model {made.d_model} is no multiple of {heads} heads", fix="correct the config.json")
        if made.d_model % 2 or made.d_model < 4:
            raise ArgumentError(
                f"d_model {made.d_model}", why="positions are sines and cosines", fix="use an even number from 4 on"
            )
        activation(made.activation_function)
        return made

    @property
    def frames(self) -> int:
        """Frames of the log-mel pictures: 3000, which is 30 seconds."""
        return 2 * self.max_source_positions


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


def _layer(config: Config, heads: int, inner: int, decoder: bool) -> nn.TransformerBlock:
    """Norms first; keys have no bias, which would shift all scores of a query alike."""
    attention = {"bias": {"k": False}, "dropout": config.attention_dropout}
    return nn.TransformerBlock(
        config.d_model,
        heads,
        inner,
        dropout=config.dropout,
        cross=attention if decoder else False,
        attention={**attention, "is_causal": decoder},
        mlp={"act": config.activation_function, "dropout": config.activation_dropout},
        names=_NAMES,
    )


def sinusoids(length: int, width: int) -> np.ndarray[Any, Any]:
    """(length, width) float32: sines, then cosines, of turns that slow down from 1 to 1 / 10,000 per place.

    Example:
        >>> sinusoids(2, 4).round(4).tolist()[1]
        [0.8414999842643738, 9.999999747378752e-05, 0.5403000116348267, 1.0]
    """
    turns = np.exp(-math.log(10_000) / (width // 2 - 1) * np.arange(width // 2, dtype=np.float64))
    angle = np.arange(length)[:, None] * turns
    return np.concatenate([np.sin(angle), np.cos(angle)], 1).astype(np.float32)


class WhisperEncoder(nn.Module):
    """Log-mel pictures -> one vector for each 20 ms.

    Shape: (N, num_mel_bins, 2 * max_source_positions) -> (N, max_source_positions, d_model).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.d_model, 3, padding=1)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, config.d_model)
        heads, inner = config.encoder_attention_heads, config.encoder_ffn_dim
        self.layers = nn.ModuleList([_layer(config, heads, inner, False) for _ in range(config.encoder_layers)])
        self.layer_norm = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_features: Tensor) -> Tensor:
        _check_features(input_features, self.config)
        x = F.gelu(self.conv2(F.gelu(self.conv1(input_features))))
        places = self.embed_positions(arange(self.config.max_source_positions, device=x.device))
        x = self.dropout(x.transpose(1, 2) + places)  # (N, D, T) -> (N, T, D)
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


class Caches:
    """What the decoder keeps while it writes a text: keys and values of its tokens, and of the sound.

    Attributes:
        own, sound: one cache a layer.
    """

    def __init__(self, layers: int) -> None:
        self.own = [nn.KVCache() for _ in range(layers)]
        self.sound = [nn.KVCache() for _ in range(layers)]

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self.own[0].length if self.own else 0

    def select(self, rows: Sequence[int], *, own_alone: bool = False) -> None:
        """Go on with these texts of the batch, in this order; one may be taken several times, as in beam search.

        Args:
            rows: numbers of texts.
            own_alone: all texts are of one sound, so its keys and values stay as they are.
        """
        for cache in self.own if own_alone else [*self.own, *self.sound]:
            cache.select(rows)


class WhisperDecoder(nn.Module):
    """Tokens so far, and the encoder's vectors -> one vector a token.

    Shape: ``input_ids`` (N, T) int64, ``encoder_hidden_states`` (N, S, d_model) -> (N, T, d_model). With ``caches`` the ids go on
    behind those that went before, and the encoder's vectors must be the same each time.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_token_id)
        self.embed_positions = nn.Embedding(config.max_target_positions, config.d_model)
        heads, inner = config.decoder_attention_heads, config.decoder_ffn_dim
        self.layers = nn.ModuleList([_layer(config, heads, inner, True) for _ in range(config.decoder_layers)])
        self.layer_norm = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        input_ids: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        caches: Caches | None = None,
    ) -> Tensor:
        behind = first_cache(caches)
        _check_ids(input_ids, self.config, behind)
        x = self.embed_tokens(input_ids)
        x = self.dropout(x + self.embed_positions(behind.places(input_ids.shape[1], input_ids.device)))
        mask = _mask(input_ids, attention_mask, behind)
        for i, layer in enumerate(self.layers):
            own, sound = (caches.own[i], caches.sound[i]) if caches else (None, None)
            x = layer(x, encoder_hidden_states, mask=mask, cache=own, context_cache=sound)
        return self.layer_norm(x)


@dataclass(frozen=True)
class WhisperOutput:
    """What the model without a head returns.

    Attributes:
        last_hidden_state: (N, T, D), the decoder's vectors.
        encoder_last_hidden_state: (N, S, D), the encoder's.
    """

    last_hidden_state: Tensor
    encoder_last_hidden_state: Tensor


class WhisperModel(nn.Model):
    """Encoder and decoder without a head.

    Shape: ``input_features`` (N, num_mel_bins, 2 * max_source_positions), ``decoder_input_ids`` (N, T) int64 ->
    :class:`WhisperOutput`. ``encoder_outputs`` (N, S, D) stands in for the features where the encoder has run already.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     vocab_size=9, num_mel_bins=4, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        ...     decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=3, pad_token_id=0)
        >>> WhisperModel(tiny).eval()(nyala.zeros(1, 4, 6), nyala.tensor([[1, 2]])).last_hidden_state.shape
        (1, 2, 8)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = WhisperEncoder(config)
        self.decoder = WhisperDecoder(config)
        _initialise(self, config)

    def forward(
        self,
        input_features: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Tensor | None = None,
        caches: Caches | None = None,
    ) -> WhisperOutput:
        if decoder_input_ids is None:
            raise ArgumentError("Whisper without decoder_input_ids", fix="pass the tokens so far, e.g. decoder_start_token_id")
        if (input_features is None) == (encoder_outputs is None):
            raise ArgumentError("Whisper takes input_features or encoder_outputs", fix="pass one of them")
        sound = self.encoder(input_features) if encoder_outputs is None else encoder_outputs
        return WhisperOutput(self.decoder(decoder_input_ids, sound, decoder_attention_mask, caches), sound)

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: the encoder's front and the tables 0, the layers 1.., the last number for what follows."""
        depth = self.config.encoder_layers
        if "layers." in name:
            return int(name.partition("layers.")[2].partition(".")[0]) + 1 + (depth if "decoder." in name else 0)
        if "encoder.layer_norm" in name:
            return depth
        last = depth + self.config.decoder_layers + 1
        return 0 if any(part in name for part in ("conv", "embed_positions", "embed_tokens")) else last


class WhisperForConditionalGeneration(nn.Model):
    """Encoder, decoder, and a head that says which token comes next; the head shares the token table.

    Shape: as :class:`WhisperModel` -> logits (N, T, vocab_size); with ``last=True`` of the last place alone, (N, 1, vocab_size).
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model = WhisperModel(config)

    def forward(
        self,
        input_features: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Tensor | None = None,
        caches: Caches | None = None,
        *,
        last: bool = False,
    ) -> Tensor:
        hidden = self.forward_features(input_features, decoder_input_ids, decoder_attention_mask, encoder_outputs, caches)
        return self.forward_head(hidden[:, -1:] if last else hidden)

    def forward_features(self, *args: Any, **kwargs: Any) -> Tensor:
        """The decoder's vectors: (N, T, D)."""
        return self.model(*args, **kwargs).last_hidden_state

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, vocab_size)."""
        return F.linear(hidden, self.model.decoder.embed_tokens.weight)

    def encode(self, input_features: Tensor) -> Tensor:
        """The encoder alone: what to pass as ``encoder_outputs``."""
        return self.model.encoder(input_features)

    def tied_names(self) -> list[str]:
        """The token table, which is the head's too."""
        return ["model.decoder.embed_tokens.weight"]

    def new_caches(self) -> Caches:
        """Empty caches, for a new text."""
        return Caches(len(self.model.decoder.layers))

    def layer_of(self, name: str) -> int:
        """As :meth:`WhisperModel.layer_of`."""
        return self.model.layer_of(name)


class WhisperForAudioClassification(nn.Model):
    """The encoder, and a linear classifier on the mean of its vectors, made narrower.

    Shape: ``input_features`` (N, num_mel_bins, 2 * max_source_positions) -> logits (N, num_labels).
    """

    classifier_name = "classifier"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = WhisperEncoder(config)
        self.projector = nn.Linear(config.d_model, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)
        _initialise(self, config)

    def forward(self, input_features: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(input_features))

    def forward_features(self, input_features: Tensor) -> Tensor:
        """The encoder's vectors: (N, max_source_positions, D)."""
        return self.encoder(input_features)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, S, D) -> (N, num_labels)."""
        return self.classifier(self.projector(hidden).mean(1))

    def head_names(self) -> list[str]:
        """The projector is new with the classifier: no recognizer has one."""
        return [name for name, _ in self.named_parameters() if not name.startswith("encoder.")]

    def keep_frames(self, frames: int) -> None:
        """From now on the model takes pictures of the first ``frames`` frames: the other positions are taken out.

        Raises:
            ArgumentError: more frames than there are positions for, or an odd number.
        """
        if not 2 <= frames <= self.config.frames or frames % 2:
            why = f"this Whisper has positions for an even number of up to {self.config.frames}, {self.config.frames / 100:g} s"
            raise ArgumentError(f"{frames} frames of 10 ms", why=why, fix="choose a shorter time")
        places = frames // 2
        table = nn.Embedding(places, self.config.d_model).to(self.encoder.embed_positions.weight)
        table.weight.requires_grad_(False)
        table.weight.copy_(self.encoder.embed_positions.weight[:places].detach())
        self.encoder.embed_positions = table
        self.config = self.encoder.config = replace(self.config, max_source_positions=places)

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: the front 0, the layers 1.., the head the last number."""
        if "layers." in name:
            return int(name.partition("layers.")[2].partition(".")[0]) + 1
        front = any(part in name for part in ("conv", "embed_positions"))
        return 0 if front else self.config.encoder_layers + (not name.startswith("encoder."))


def _initialise(model: Any, config: Config) -> None:
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Embedding)):
            nn.init.normal_(module.weight, 0.0, config.init_std)
        if isinstance(module, (nn.Linear, nn.Conv1d)) and module.bias is not None:
            nn.init.zeros_(module.bias)
    places = model.encoder.embed_positions.weight  # fixed: sines and cosines
    places.requires_grad_(False)
    places.copy_(from_numpy(sinusoids(config.max_source_positions, config.d_model)))


def _check_features(input_features: Tensor, config: Config) -> None:
    expected = (config.num_mel_bins, config.frames)
    if input_features.ndim != 3 or input_features.shape[1:] != expected:
        raise ShapeError(
            f"input_features of shape {input_features.shape}",
            why=f"this Whisper takes (N, {expected[0]}, {expected[1]}): {expected[1] / 100:g} s of log-mel frames",
            fix="pad or cut the sound, e.g. whisper_mel(samples, padding=480000 - T)",
        )


def _check_ids(input_ids: Tensor, config: Config, behind: nn.KVCache) -> None:
    if input_ids.ndim != 2 or not input_ids.shape[1]:
        raise ShapeError(f"decoder_input_ids of shape {input_ids.shape}", why="it takes (N, T), T at least 1", fix="reshape them")
    if not behind.fits(input_ids.shape[1], config.max_target_positions):
        raise ShapeError(
            f"{behind.length + input_ids.shape[1]} tokens in a row, the decoder has {config.max_target_positions} positions",
            fix="cut the prompt",
        )
    check_token_ids(input_ids, config.vocab_size)


def _mask(input_ids: Tensor, attention_mask: Tensor | None, behind: nn.KVCache) -> Tensor | None:
    """True where a token may look: (N, 1, 1, T) of all so far; that none sees those behind it is the attention's own affair."""
    if attention_mask is None:
        return None
    expected = (input_ids.shape[0], behind.length + input_ids.shape[1])
    if attention_mask.shape != expected:
        raise ShapeError(f"decoder_attention_mask {attention_mask.shape}", fix=f"pass one of shape {expected}")
    return (attention_mask != 0).unsqueeze(1).unsqueeze(2)


CLASSES: dict[str, type[nn.Model]] = {
    "WhisperModel": WhisperModel,
    "WhisperForConditionalGeneration": WhisperForConditionalGeneration,
    "WhisperForAudioClassification": WhisperForAudioClassification,
}
HEADS = {"speech-recognition": "WhisperForConditionalGeneration", "audio-classification": "WhisperForAudioClassification"}


def _class_of(config: Mapping[str, Any]) -> type[nn.Model]:
    name = (config.get("architectures") or ["WhisperForConditionalGeneration"])[0]
    if name not in CLASSES:
        raise DataError(
            f"the architecture {name!r} of Whisper is not built", why=f"there are {', '.join(CLASSES)}", fix="choose one"
        )
    return CLASSES[name]


def build(config: Mapping[str, Any], **overrides: Any) -> nn.Model:
    """The model that transformers' ``config.json`` describes."""
    return _class_of(config)(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """The optional prefix, and a head that was written all the same; and the names in CTranslate2's files."""
    rules: list[Any] = [FromCTranslate2()] if "decoder/embeddings/weight" in published_names else []
    made = _class_of(config)
    if made is WhisperForAudioClassification:
        return KeyMap(*rules, Prefix("model.", ours=False, written=False), Ignore("decoder.*"), Ignore("proj_out.weight"))
    rules.append(Ignore("proj_out.weight"))
    bare = made is WhisperModel
    return KeyMap(*rules, Prefix("model.", ours=not bare, written=not bare))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    classifies = isinstance(model, WhisperForAudioClassification)
    own = () if classifies else ("classifier_proj_size",)
    config = {f.name: getattr(model.config, f.name) for f in fields(Config) if f.name not in ("num_labels", *own)}
    if classifies:
        names = {str(i): f"LABEL_{i}" for i in range(model.config.num_labels)}
        config |= {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
    layers = {"num_hidden_layers": model.config.encoder_layers, "is_encoder_decoder": True}
    return {"model_type": "whisper", "architectures": [type(model).__name__], **config, **layers}
