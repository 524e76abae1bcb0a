"""WavLM (Chen et al., arXiv:2110.13900): wav2vec 2.0's encoder with relative places, which a gate opens by what is heard.

Loads checkpoints in transformers' layout: ``WavLMModel`` (``microsoft/wavlm-base-plus``, ``-large``), ``WavLMForCTC``,
``WavLMForSequenceClassification``, ``WavLMForAudioFrameClassification`` (``microsoft/wavlm-base-plus-sd``) and
``WavLMForXVector`` (``microsoft/wavlm-base-plus-sv``). Our module names are the published ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core import nn
from ...core.create import ones
from ...core.devices import move_constant
from ...core.nn import functional as F
from ...core.ops.attention import attend, join_heads, split_heads
from ...core.ops.elementwise import where
from ...core.tensor import Tensor
from .shared import speech_heads as heads
from .shared.speech_adapter import AdapterConfig, adapter_of
from .shared.speech_encoder import LAYER_NAMES, Encoder, SpeechConfig, SpeechModel


@dataclass(frozen=True)
class Config(AdapterConfig):
    """What shapes a WavLM."""

    ctc_loss_reduction: str = "mean"
    """How the CTC losses of a batch are joined."""
    num_buckets: int = 320
    """Distances that are told apart, to both sides."""
    max_bucket_distance: int = 800
    """Frames from which all distances are one."""


def buckets(length: int, count: int, most: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(length, length) int64: the number of each distance between two frames; the near ones have one each.

    Example:
        >>> buckets(3, 8, 20).tolist()
        [[0, 5, 6], [1, 0, 5], [2, 1, 0]]
    """
    half = count // 2
    exact = half // 2
    distance = np.arange(length)[None, :] - np.arange(length)[:, None]
    away = np.abs(distance)
    with np.errstate(divide="ignore"):
        far = np.log(away.astype(np.float32) / np.float32(exact)) / np.float32(math.log(most / exact))
    steps = exact + far * np.float32(half - exact)
    near = np.minimum(np.where(away < exact, 0.0, steps), half - 1).astype(np.int64)
    return (distance > 0) * half + np.where(away < exact, away, near)


class Attention(nn.Module):
    """Attention whose scores get what each query's gate lets through of the relative places.

    The first layer has the table of places; all layers share what it says.
    """

    def __init__(self, config: Config, first: bool) -> None:
        super().__init__()
        width, self.head_dim = config.hidden_size, config.hidden_size // config.num_attention_heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.dropout = nn.Dropout(config.attention_dropout)
        self.gru_rel_pos_const = nn.Parameter(ones(1, config.num_attention_heads, 1, 1))
        self.gru_rel_pos_linear = nn.Linear(self.head_dim, 8)
        self.settings = config.num_buckets, config.max_bucket_distance
        if first:
            self.rel_attn_embed = nn.Embedding(config.num_buckets, config.num_attention_heads)

    def places(self, length: int) -> Tensor:
        """(heads, length, length): the first layer's, for all."""
        numbers = move_constant(buckets(length, *self.settings), self.rel_attn_embed.weight.device)
        return self.rel_attn_embed(Tensor(numbers)).permute(2, 0, 1)

    def gate(self, x: Tensor) -> Tensor:
        """(N, T, D) -> (N, heads, T, 1): how much the places count for each query."""
        parts = self.gru_rel_pos_linear(split_heads(x, self.head_dim))
        a, b = F.sigmoid(parts.reshape(*parts.shape[:-1], 2, 4).sum(-1)).chunk(2, -1)
        return a * (b * self.gru_rel_pos_const - 1.0) + 2.0

    def forward(self, x: Tensor, places: Tensor, valid: Tensor | None) -> Tensor:
        bias = self.gate(x) * places
        if valid is not None:
            bias = where(valid.unsqueeze(1).unsqueeze(2), bias, -math.inf)
        q, k, v = (split_heads(layer(x), self.head_dim) for layer in (self.q_proj, self.k_proj, self.v_proj))
        p = self.dropout.p if self.training else 0.0
        return self.out_proj(join_heads(attend(q, k, v, bias, None, None, dropout_p=p)))


class Layer(nn.Module):
    """A transformer layer of WavLM."""

    def __init__(self, config: Config, first: bool) -> None:
        super().__init__()
        self.stable, width = config.do_stable_layer_norm, config.hidden_size
        self.attention = Attention(config, first)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layer_norm = nn.LayerNorm(width, config.layer_norm_eps)
        parts = ("fc1", "fc2", "mlp_drop")
        names = {role: LAYER_NAMES[role].removeprefix("feed_forward.") for role in parts}
        self.feed_forward = nn.MLP(
            width, config.intermediate_size, act=config.hidden_act, dropout=config.activation_dropout, names=names
        )
        self.output_dropout = nn.Dropout(config.hidden_dropout)
        self.final_layer_norm = nn.LayerNorm(width, config.layer_norm_eps)

    def forward(self, x: Tensor, places: Tensor, valid: Tensor | None) -> Tensor:
        if self.stable:
            x = x + self.dropout(self.attention(self.layer_norm(x), places, valid))
            return x + self.output_dropout(self.feed_forward(self.final_layer_norm(x)))
        x = self.layer_norm(x + self.dropout(self.attention(x, places, valid)))
        return self.final_layer_norm(x + self.output_dropout(self.feed_forward(x)))


class WavLMEncoder(Encoder):
    """Layers that share relative places."""

    def settings(self, x: Tensor, valid: Tensor | None) -> dict[str, Any]:
        first: Any = self.layers[0]
        return {"places": first.attention.places(x.shape[1]), "valid": valid}

    def _left_out(self, i: int) -> bool:
        return i > 0 and super()._left_out(i)


class WavLMModel(SpeechModel):
    """The encoder alone.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        ...     conv_stride=(5, 2), conv_kernel=(10, 3), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
        >>> WavLMModel(tiny).eval()(nyala.zeros(2, 100)).last_hidden_state.shape
        (2, 9, 16)
    """

    config_class: ClassVar[type[SpeechConfig]] = Config

    def build_encoder(self, config: Config) -> Encoder:
        return WavLMEncoder(config, [Layer(config, first=i == 0) for i in range(config.num_hidden_layers)])

    def build_adapter(self, config: Config) -> nn.Module | None:
        return adapter_of(config)


class WavLMForCTC(heads.ForCTC):
    """Letters."""

    base, encoder_class = "wavlm", WavLMModel


class WavLMForSequenceClassification(heads.ForSequenceClassification):
    """Classes of sounds."""

    base, encoder_class = "wavlm", WavLMModel


class WavLMForAudioFrameClassification(heads.ForAudioFrameClassification):
    """Classes of frames."""

    base, encoder_class = "wavlm", WavLMModel


class WavLMForXVector(heads.ForXVector):
    """Voices."""

    base, encoder_class = "wavlm", WavLMModel


_FAMILY = heads.Family(
    "wavlm",
    WavLMModel,
    (WavLMForCTC, WavLMForSequenceClassification, WavLMForAudioFrameClassification, WavLMForXVector),
)
HEADS = {"speech-recognition": "WavLMForCTC", "audio-classification": "WavLMForSequenceClassification"}
build, key_map, export_config = _FAMILY.build, _FAMILY.key_map, _FAMILY.export_config
