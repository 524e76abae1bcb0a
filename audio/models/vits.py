"""VITS (Kim, Kong, Son, arXiv:2106.06103): texts to speech, in one network from letters to samples.

Loads transformers' checkpoints: ``facebook/mms-tts-eng`` and its like for a thousand languages (Pratap et al.,
arXiv:2305.13516), ``kakao-enterprise/vits-vctk`` with many voices. Noise comes from the counter-based generator, or is passed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from ...core import nn
from ...core.create import from_numpy, zeros
from ...core.errors import ArgumentError, IndexRangeError, NumericError, ShapeError
from ...core.keymap import KeyMap, WeightNorm
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.ops.elementwise import exp, where
from ...core.random import Key, next_key
from ...core.tensor import Tensor
from .shared.flows import CouplingFlow, Durations, Posterior, StochasticDurations, expanded
from .shared.hifigan import HifiGan

_LONGEST = 10_000  # frames of a letter: more than a minute


@dataclass(frozen=True)
class Config:
    """What shapes a VITS; the defaults are transformers', of ``mms-tts``."""

    vocab_size: int = 38
    """Letters."""
    hidden_size: int = 192
    """Width of the text's stream, and of the convolutions that are no vocoder."""
    num_hidden_layers: int = 6
    """Layers of the text encoder."""
    num_attention_heads: int = 2
    """Heads of each."""
    window_size: int | None = 4
    """Letters to either side whose distance is told."""
    use_bias: bool = True
    """Whether attention has biases."""
    ffn_dim: int = 768
    """Width inside the feed-forward part."""
    layerdrop: float = 0.1
    """Share of the layers that are left out while training."""
    ffn_kernel_size: int = 3
    """Letters that its convolutions see."""
    flow_size: int = 192
    """Width of a frame."""
    spectrogram_bins: int = 513
    """Bins of the spectrograms that training hears."""
    hidden_act: str = "relu"
    """Activation of the feed-forward part."""
    hidden_dropout: float = 0.1
    """Dropout of what is added to the stream."""
    attention_dropout: float = 0.1
    """Dropout of the attention weights."""
    activation_dropout: float = 0.1
    """Dropout inside the feed-forward part."""
    layer_norm_eps: float = 1e-5
    """Added to variances in layer norms."""
    use_stochastic_duration_prediction: bool = True
    """Whether durations are drawn."""
    num_speakers: int = 1
    """Voices."""
    speaker_embedding_size: int = 0
    """Width of a voice's vector; 0 for a single one."""
    upsample_initial_channel: int = 512
    """Width of the vocoder before its first step."""
    upsample_rates: tuple[int, ...] = (8, 8, 2, 2)
    """By how much each step of it multiplies time: 256 samples a frame."""
    upsample_kernel_sizes: tuple[int, ...] = (16, 16, 4, 4)
    """Lengths of these steps' convolutions."""
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    """Lengths of the convolutions of its blocks."""
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
    """Their dilations."""
    leaky_relu_slope: float = 0.1
    """Slope below zero in the vocoder."""
    depth_separable_channels: int = 2
    """Numbers of noise a letter from which its duration is made."""
    depth_separable_num_layers: int = 3
    """Separable convolutions of a block."""
    duration_predictor_flow_bins: int = 10
    """Bins of a spline."""
    duration_predictor_tail_bound: float = 5.0
    """Where splines end."""
    duration_predictor_kernel_size: int = 3
    """Letters that the convolutions for durations see."""
    duration_predictor_dropout: float = 0.5
    """Dropout of them."""
    duration_predictor_num_flows: int = 4
    """Splines."""
    duration_predictor_filter_channels: int = 256
    """Width where durations are not drawn."""
    prior_encoder_num_flows: int = 4
    """Couplings between text and speech."""
    prior_encoder_num_wavenet_layers: int = 4
    """Layers in each."""
    posterior_encoder_num_wavenet_layers: int = 16
    """Layers of what hears spectrograms in training."""
    wavenet_kernel_size: int = 5
    """Frames that they see."""
    wavenet_dilation_rate: int = 1
    """By how much dilation grows from layer to layer."""
    wavenet_dropout: float = 0.0
    """Dropout of them."""
    speaking_rate: float = 1.0
    """How fast it speaks."""
    noise_scale: float = 0.667
    """How much speech varies."""
    noise_scale_duration: float = 0.8
    """How much durations vary."""
    sampling_rate: int = 16_000
    """Samples a second."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or sizes that do not fit each other.
        """
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ArgumentError(f"VITS has no option {', '.join(map(repr, unknown))}", fix=f"it has {', '.join(sorted(known))}")
        told = {**{k: v for k, v in config.items() if k in known}, **overrides}
        made = replace(Config(), **{k: _frozen(v) for k, v in told.items()})
        made._check()
        return made

    def _check(self) -> None:
        if self.hidden_size % self.num_attention_heads or self.flow_size % 2 or self.depth_separable_channels != 2:
            raise ArgumentError(
                f"VITS of hidden_size={self.hidden_size}, num_attention_heads={self.num_attention_heads}, "
                f"flow_size={self.flow_size}, depth_separable_channels={self.depth_separable_channels}",
                why="heads share the width evenly, a frame has two halves, and two numbers make a duration",
                fix="correct the config.json",
            )
        ups = len(self.upsample_rates) == len(self.upsample_kernel_sizes)
        if not ups or len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes):
            raise ArgumentError(
                "VITS: the vocoder's lists do not fit each other", fix="give as many kernels as rates and dilations"
            )

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.upsample_rates)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


class Attention(nn.Module):
    """Self-attention that is told how far letters are from each other (Shaw, Uszkoreit, Vaswani, arXiv:1803.02155)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads, self.depth, self.window = config.num_attention_heads, width // config.num_attention_heads, config.window_size
        self.dropout = nn.Dropout(config.attention_dropout)
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            self.add_module(name, nn.Linear(width, width, bias=config.use_bias))
        if self.window:
            for name in ("emb_rel_k", "emb_rel_v"):
                start = nn.init.normal_(zeros(1, 2 * self.window + 1, self.depth), 0.0, self.depth**-0.5)
                self.register_parameter(name, nn.Parameter(start))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, L, C), and (N, 1, 1, L) of what is added to the scores -> (N, L, C)."""
        count, length, width = x.shape
        q, k, v = (
            getattr(self, name)(x).reshape(count, length, self.heads, self.depth).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        q = q * self.depth**-0.5
        scores = q @ k.transpose(-2, -1)
        near = _Near(length, self.window, x) if self.window else None
        if near is not None:
            scores = scores + near.to_places(q @ self.emb_rel_k.transpose(-2, -1))
        weights = self.dropout(F.softmax(scores if mask is None else scores + mask, dim=-1))
        out = weights @ v
        if near is not None:
            out = out + near.to_distances(weights) @ self.emb_rel_v
        return self.out_proj(out.transpose(1, 2).reshape(count, length, width))


class _Near:
    """Between numbers by place (..., L, L) and by distance (..., L, 2 W + 1); what is further away than W counts for nothing."""

    def __init__(self, length: int, window: int, like: Tensor) -> None:
        distance = np.arange(length)[None] - np.arange(length)[:, None] + window
        place = np.arange(length)[:, None] + np.arange(2 * window + 1)[None] - window
        self._by_distance = self._table(distance, 2 * window + 1, like)
        self._by_place = self._table(place, length, like)

    @staticmethod
    def _table(index: np.ndarray[Any, Any], count: int, like: Tensor) -> tuple[Tensor, Tensor]:
        there = from_numpy(((index >= 0) & (index < count)).astype(np.float32)).to(like.device).to(like.dtype)
        return from_numpy(np.clip(index, 0, count - 1)).to(like.device), there

    def to_places(self, x: Tensor) -> Tensor:
        index, there = self._by_distance
        return x.gather(-1, index.expand(*x.shape[:2], *index.shape)) * there

    def to_distances(self, x: Tensor) -> Tensor:
        index, there = self._by_place
        return x.gather(-1, index.expand(*x.shape[:2], *index.shape)) * there


class FeedForward(nn.Module):
    """Two convolutions over letters: (N, L, C) -> the same."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        kernel = config.ffn_kernel_size
        self.conv_1 = nn.Conv1d(config.hidden_size, config.ffn_dim, kernel)
        self.conv_2 = nn.Conv1d(config.ffn_dim, config.hidden_size, kernel)
        self.act = activation(config.hidden_act)
        self.dropout = nn.Dropout(config.activation_dropout)
        self.around = ((kernel - 1) // 2, kernel // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.conv_1(F.pad(x.transpose(1, 2) * mask, self.around))
        x = self.conv_2(F.pad(self.dropout(self.act(x)) * mask, self.around))
        return (x * mask).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Attention and convolutions, a norm behind each residual."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, mask: Tensor, added: Tensor | None) -> Tensor:
        x = self.layer_norm(x + self.dropout(self.attention(x, added)))
        return self.final_layer_norm(x + self.dropout(self.feed_forward(x, mask)))


class Encoder(nn.Module):
    """The layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layerdrop = config.layerdrop
        self.layers = nn.ModuleList([EncoderLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x: Tensor, mask: Tensor, added: Tensor | None) -> Tensor:
        x = x * mask.transpose(1, 2)
        for layer in self.layers:
            if not (self.training and float(next_key("layerdrop").uniform(())) < self.layerdrop):
                x = layer(x, mask, added)
        return x * mask.transpose(1, 2)


class TextEncoder(nn.Module):
    """Letters (N, L) -> their stream (N, L, C), and mean and log variance of a letter's frames, each (N, L, flow_size)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.encoder = Encoder(config)
        self.project = nn.Conv1d(config.hidden_size, 2 * config.flow_size, 1)

    def forward(self, input_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.embed_tokens(input_ids)
        added = where(mask.unsqueeze(1) > 0, 0.0 * mask.unsqueeze(1), -1e9)
        x = self.encoder(x * math.sqrt(x.shape[-1]), mask, added)
        stats = (self.project(x.transpose(1, 2)) * mask).transpose(1, 2)
        half = stats.shape[2] // 2
        return x, stats[..., :half], stats[..., half:]


@dataclass(frozen=True)
class SpeechOutput:
    """What was spoken.

    Attributes:
        waveform: (N, T), from -1 to 1.
        sequence_lengths: (N,), samples of each that are no padding.
        spectrogram: (N, flow_size, F), the frames that the vocoder made it of.
        log_duration: (N, 1, L), the logarithm of the frames of each letter, before they are rounded up.
    """

    waveform: Tensor
    sequence_lengths: np.ndarray[Any, np.dtype[np.int64]]
    spectrogram: Tensor
    log_duration: Tensor


class VitsModel(nn.Model):
    """Texts to speech.

    Shape: numbers of letters (N, L) -> :class:`SpeechOutput`.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     hidden_size=8, num_hidden_layers=1, ffn_dim=8, flow_size=4, spectrogram_bins=5, upsample_initial_channel=8,
        ...     upsample_rates=(4, 2), upsample_kernel_sizes=(8, 4), posterior_encoder_num_wavenet_layers=1)
        >>> said = VitsModel(tiny).eval()(nyala.tensor([[1, 2, 3]]), key=nyala.random.key(0, "speech"))
        >>> said.waveform.shape == (1, 8 * said.spectrogram.shape[2])
        True
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.text_encoder = TextEncoder(config)
        self.flow = CouplingFlow(config)
        self.decoder = HifiGan(config)
        self.duration_predictor = (StochasticDurations if config.use_stochastic_duration_prediction else Durations)(config)
        if config.num_speakers > 1:
            self.embed_speaker = nn.Embedding(config.num_speakers, config.speaker_embedding_size)
        self.posterior_encoder = Posterior(config)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        speaker_id: int | None = None,
        speaking_rate: float | None = None,
        key: Key | None = None,
        noise: tuple[Tensor, Tensor] | None = None,
    ) -> SpeechOutput:
        """Speak.

        Args:
            input_ids: (N, L), numbers of letters.
            attention_mask: (N, L), 1 for letters and 0 for padding.
            speaker_id: whose voice, where there are several.
            speaking_rate: how fast; the configuration's unless given.
            key: where noise is drawn; a new one of the ambient generator unless given.
            noise: in its place, of durations (N, 2, L) and of frames (N, flow_size, at least F), of deviation 1.

        Raises:
            ShapeError: letters of other dimensions, none at all, or noise for fewer frames.
            IndexRangeError: a voice that there is not.
            ArgumentError: a rate that is none.
            NumericError: letters that would last for minutes, or NaN.
        """
        config = self.config
        rate = config.speaking_rate if speaking_rate is None else speaking_rate
        if not 0 < rate < math.inf:
            raise ArgumentError(f"speaking_rate={rate}", fix="use 1 for normal speech, 0.5 for half as fast")
        if input_ids.ndim != 2 or not input_ids.shape[1]:
            raise ShapeError(
                f"letters of shape {input_ids.shape}", why="VITS takes (N, L), L at least 1", fix="pass (1, L) for one"
            )
        draw = next_key("speech") if key is None else key
        like = self.text_encoder.embed_tokens.weight
        given = from_numpy(np.ones(input_ids.shape, np.float32)) if attention_mask is None else attention_mask
        mask = given.to(like.device).to(like.dtype).unsqueeze(1)
        speaker = self._speaker(speaker_id, len(input_ids))
        hidden, means, logs = self.text_encoder(input_ids, mask)
        log_duration = self._log_duration(hidden.transpose(1, 2), mask, speaker, draw, None if noise is None else noise[0])
        frames = self._frames(log_duration, mask, rate)
        lengths = np.maximum(1, frames.sum(1))
        most = int(lengths.max())
        there = (np.arange(most)[None] < lengths[:, None]).astype(np.float32)[:, None]
        shown = from_numpy(there).to(like.device).to(like.dtype)
        means, logs = (expanded(rows, frames, most).transpose(1, 2) for rows in (means, logs))
        if noise is not None and noise[1].shape[2] < most:
            raise ShapeError(f"noise for {noise[1].shape[2]} frames", why=f"the speech has {most}", fix="pass more, or a key")
        drawn = noise[1][:, :, :most] if noise is not None else self._draw(draw.fold("frames"), means.shape)
        spectrogram = self.flow(means + drawn * exp(logs) * config.noise_scale, shown, speaker) * shown
        waveform = self.decoder(spectrogram, speaker).squeeze(1)
        return SpeechOutput(waveform, lengths * config.hop, spectrogram, log_duration)

    def _speaker(self, speaker_id: int | None, count: int) -> Tensor | None:
        if speaker_id is not None and not 0 <= speaker_id < max(1, self.config.num_speakers):
            raise IndexRangeError(
                f"speaker {speaker_id}", why=f"there are {self.config.num_speakers}, from 0 on", fix="choose another"
            )
        if self.config.num_speakers < 2 or speaker_id is None:
            return None
        ids = from_numpy(np.full(count, speaker_id)).to(self.embed_speaker.weight.device)
        return self.embed_speaker(ids).unsqueeze(-1)

    def _draw(self, key: Key, shape: tuple[int, ...]) -> Tensor:
        like = self.text_encoder.embed_tokens.weight
        return from_numpy(key.normal(shape)).to(like.device).to(like.dtype)

    def _log_duration(self, x: Tensor, mask: Tensor, speaker: Tensor | None, key: Key, noise: Tensor | None) -> Tensor:
        predictor: Any = self.duration_predictor
        if not self.config.use_stochastic_duration_prediction:
            return predictor(x, mask, speaker)
        drawn = self._draw(key.fold("durations"), (x.shape[0], 2, x.shape[2])) if noise is None else noise
        return predictor(x, mask, speaker, drawn * self.config.noise_scale_duration)

    def _frames(self, log_duration: Tensor, mask: Tensor, rate: float) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Whole frames of each letter, (N, L).

        Raises:
            NumericError: so many that the weights must be wrong.
        """
        there = mask.float().cpu().numpy()[:, 0]
        logs = np.where(there > 0, log_duration.detach().float().cpu().numpy()[:, 0], -np.inf)
        with np.errstate(over="ignore"):
            lasting = np.exp(logs) / rate
        longest = float(lasting.max())
        if not longest <= _LONGEST:
            raise NumericError(
                f"a letter would last {longest:.3g} frames",
                why=f"none of speech lasts {_LONGEST:,}",
                fix="check the weights, or use a higher speaking_rate",
            )
        return np.ceil(lasting).astype(np.int64)


TASK = "text-to-speech"


def build(config: Mapping[str, Any], **overrides: Any) -> VitsModel:
    """The network that a ``config.json`` describes."""
    return VitsModel(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """Either spelling of the weight norm."""
    return KeyMap(WeightNorm("old" if any(name.endswith(".weight_g") for name in published_names) else "new"))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    plain = {k: _thawed(v) for k, v in asdict(model.config).items()}
    return {"model_type": "vits", "architectures": ["VitsModel"], **plain}


def _thawed(value: Any) -> Any:
    return [_thawed(v) for v in value] if isinstance(value, tuple) else value
