"""EnCodec (Defossez, Copet, Synnaeve, Adi, arXiv:2210.13438): sounds as a few codes a frame, and back.

Loads checkpoints in transformers' layout: ``EncodecModel`` (``facebook/encodec_24khz``, mono and causal;
``facebook/encodec_48khz``, stereo, one second after the other; ``facebook/encodec_32khz`` of MusicGen). Our module names are the
published ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ...core import nn
from ...core.create import zeros
from ...core.devices import move_constant
from ...core.errors import ArgumentError, ShapeError
from ...core.keymap import KeyMap, WeightNorm
from ...core.nn import functional as F
from ...core.nn.utils import parametrizations
from ...core.ops.shape import cat, stack
from ...core.tensor import Tensor
from .shared.codec import PIECE, CodecConfig, CodecModel, Part, Samples, Stretches

Memory = dict[nn.Module, Any]
"""What each layer still has to know of the piece before."""


@dataclass(frozen=True)
class Config(CodecConfig):
    """What shapes an EnCodec; the defaults are those of the published one of 24 kHz."""

    target_bandwidths: tuple[float, ...] = (1.5, 3.0, 6.0, 12.0, 24.0)
    """Thousands of bits a second that it was trained with."""
    audio_channels: int = 1
    """1, or 2 for stereo."""
    normalize: bool = False
    """Whether each chunk is divided by its loudness, which is then kept beside the codes."""
    chunk_length_s: float | None = None
    """Seconds that are encoded by themselves; None for the whole sound."""
    overlap: float | None = None
    """Share of a chunk that the next one has too."""
    hidden_size: int = 128
    """Width of a frame."""
    num_filters: int = 32
    """Width of the first convolution; each stride doubles it."""
    num_residual_layers: int = 1
    """Residual blocks before each stride."""
    upsampling_ratios: tuple[int, ...] = (8, 5, 4, 2)
    """Strides of the decoder; the encoder has them in reverse."""
    norm_type: str = "weight_norm"
    """"weight_norm", or "time_group_norm" for a norm of all features over time."""
    kernel_size: int = 7
    """Of the first convolutions."""
    last_kernel_size: int = 7
    """Of the last."""
    residual_kernel_size: int = 3
    """Of the residual blocks."""
    dilation_growth_rate: int = 2
    """How much more dilated each residual block is than the one before."""
    use_causal_conv: bool = True
    """Whether convolutions look back only."""
    pad_mode: str = "reflect"
    """What stands before and behind the sound."""
    compress: int = 2
    """How much narrower residual blocks are inside."""
    num_lstm_layers: int = 2
    """Layers of the LSTM."""
    trim_right_ratio: float = 1.0
    """Share of what causal transposed convolutions add that is cut off at the right."""
    codebook_dim: int | None = None
    """Width of a codebook's row; None for ``hidden_size``."""
    use_conv_shortcut: bool = True
    """Whether a convolution lies beside each residual block."""

    def check(self) -> None:
        super().check()
        if self.norm_type not in ("weight_norm", "time_group_norm"):
            raise ArgumentError(f"norm_type={self.norm_type!r}", fix="use 'weight_norm' or 'time_group_norm'")
        if self.audio_channels not in (1, 2):
            raise ArgumentError(f"audio_channels={self.audio_channels}", fix="use 1 or 2")
        if self.codebook_dim not in (None, self.hidden_size):
            raise ArgumentError(
                f"codebook_dim={self.codebook_dim}", why=f"frames are {self.hidden_size} wide", fix="leave it out"
            )
        if not self.target_bandwidths or self.books < 1:
            raise ArgumentError(
                f"target_bandwidths={self.target_bandwidths}", why="the last is less than one codebook takes", fix="give more"
            )
        if not self.use_causal_conv and self.trim_right_ratio != 1.0:
            raise ArgumentError(
                f"trim_right_ratio={self.trim_right_ratio}", why="only causal convolutions have it", fix="use 1.0"
            )

    @property
    def strides(self) -> tuple[int, ...]:
        return self.upsampling_ratios[::-1]

    @property
    def books(self) -> int:
        return int(1000 * self.target_bandwidths[-1] // (self.frame_rate * self.bits))

    @property
    def channels(self) -> int:
        return self.audio_channels

    @property
    def chunk_length(self) -> int | None:
        """Samples of a chunk; None for the whole sound."""
        return None if self.chunk_length_s is None else int(self.chunk_length_s * self.sampling_rate)

    @property
    def chunk_stride(self) -> int | None:
        """Samples from chunk to chunk."""
        if self.chunk_length is None or self.overlap is None:
            return self.chunk_length
        return max(1, int((1.0 - self.overlap) * self.chunk_length))

    @property
    def streams(self) -> bool:
        """Whether a sound may go through piece by piece and give what the whole would: nothing looks ahead."""
        whole = self.chunk_length is None and not self.normalize
        return whole and self.use_causal_conv and self.norm_type == "weight_norm" and self.trim_right_ratio == 1.0


class EncodecConv1d(nn.Module):
    """A convolution with as many frames as its stride leaves: the sound is mirrored before it, and behind it where needed."""

    def __init__(self, config: Config, before: int, width: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.causal, self.pad_mode, self.stride = config.use_causal_conv, config.pad_mode, stride
        self.conv = nn.Conv1d(before, width, kernel, stride, dilation=dilation)
        self.norm = _normed(self, config, width)
        self.border = (kernel - 1) * dilation + 1 - stride

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        missing = -x.shape[-1] % self.stride
        behind = 0 if self.causal else self.border // 2
        if memory is not None and self in memory:
            x = cat([memory[self], x], -1)
            heard = _padded(x, 0, missing, self.pad_mode)
        else:
            heard = x = _padded(x, self.border - behind, behind + missing, self.pad_mode)
        if memory is not None:
            memory[self] = x[..., x.shape[-1] - self.border :]
        found = self.conv(heard)
        return found if self.norm is None else self.norm(found)


class EncodecConvTranspose1d(nn.Module):
    """A transposed convolution that gives ``stride`` samples for each."""

    def __init__(self, config: Config, before: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride, self.border = stride, kernel - stride
        self.conv = nn.ConvTranspose1d(before, width, kernel, stride)
        self.norm = _normed(self, config, width)
        causal = config.use_causal_conv
        self.right = math.ceil(self.border * config.trim_right_ratio) if causal else self.border // 2
        self.reach = -(-self.border // stride)  # inputs before one that its output still hears

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        before = memory.get(self) if memory is not None else None
        seen = 0 if before is None else before.shape[-1]
        if before is not None:
            x = cat([before, x], -1)
        if memory is not None:
            memory[self] = x[..., max(0, x.shape[-1] - self.reach) :]
        found = self.conv(x)
        if self.norm is not None:
            found = self.norm(found)
        return found[..., self.border - self.right + seen * self.stride : found.shape[-1] - self.right]


class EncodecLSTM(nn.Module):
    """An LSTM over frames, added to them."""

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, config.num_lstm_layers)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        steps = x.permute(2, 0, 1)
        found, state = self.lstm(steps, None if memory is None else memory.get(self))
        if memory is not None:
            memory[self] = state
        return (found + steps).permute(1, 2, 0)


class EncodecResnetBlock(nn.Module):
    """Two convolutions, the first dilated, added to what they saw."""

    def __init__(self, config: Config, width: int, dilation: int) -> None:
        super().__init__()
        inner = width // config.compress
        first = EncodecConv1d(config, width, inner, config.residual_kernel_size, dilation=dilation)
        self.block = nn.ModuleList([nn.ELU(), first, nn.ELU(), EncodecConv1d(config, inner, width, 1)])
        self.shortcut = EncodecConv1d(config, width, width, 1) if config.use_conv_shortcut else nn.Identity()

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        beside = self.shortcut(x)
        for layer in self.block:
            x = layer(x) if isinstance(layer, nn.ELU) else layer(x, memory)
        return beside + x


class _Layers(nn.Module):
    """Layers one after the other."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x) if isinstance(layer, nn.ELU) else layer(x, memory)
        return x


def _encoder(config: Config) -> _Layers:
    """Samples (N, channels, T) -> frames (N, D, T / hop)."""
    width = config.num_filters
    layers: list[nn.Module] = [EncodecConv1d(config, config.audio_channels, width, config.kernel_size)]
    for stride in config.strides:
        layers += _residuals(config, width)
        layers += [nn.ELU(), EncodecConv1d(config, width, 2 * width, 2 * stride, stride)]
        width *= 2
    layers += [EncodecLSTM(config, width), nn.ELU()]
    return _Layers([*layers, EncodecConv1d(config, width, config.hidden_size, config.last_kernel_size)])


def _decoder(config: Config) -> _Layers:
    """Frames (N, D, T) -> samples (N, channels, T * hop)."""
    width = config.num_filters * 2 ** len(config.upsampling_ratios)
    layers: list[nn.Module] = [EncodecConv1d(config, config.hidden_size, width, config.kernel_size), EncodecLSTM(config, width)]
    for stride in config.upsampling_ratios:
        layers += [nn.ELU(), EncodecConvTranspose1d(config, width, width // 2, 2 * stride, stride)]
        width //= 2
        layers += _residuals(config, width)
    return _Layers([*layers, nn.ELU(), EncodecConv1d(config, width, config.audio_channels, config.last_kernel_size)])


def _residuals(config: Config, width: int) -> list[nn.Module]:
    count = config.num_residual_layers
    return [EncodecResnetBlock(config, width, config.dilation_growth_rate**i) for i in range(count)]


class EncodecEuclideanCodebook(nn.Module):
    """Rows, of which the nearest to a frame is its code; how often each was used is kept from training."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        rows, width = config.codebook_size, config.hidden_size
        self.register_buffer("inited", zeros(1) + 1)
        self.register_buffer("cluster_size", zeros(rows))
        self.register_buffer("embed", zeros(rows, width))
        self.register_buffer("embed_avg", zeros(rows, width))
        self.embed: Tensor

    def encode(self, frames: Tensor) -> Tensor:
        """(N, T, D) -> (N, T)."""
        flat = frames.reshape(-1, frames.shape[-1])
        lengths = (flat * flat).sum(1, keepdim=True)
        apart = lengths - 2 * (flat @ self.embed.T) + (self.embed * self.embed).sum(1)
        return apart.argmin(1).reshape(*frames.shape[:-1])

    def decode(self, codes: Tensor) -> Tensor:
        """(N, T) -> (N, T, D)."""
        return F.embedding(codes, self.embed)


class EncodecVectorQuantization(nn.Module):
    """A codebook, under its published name."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.codebook = EncodecEuclideanCodebook(config)


class EncodecResidualVectorQuantizer(nn.Module):
    """Codebooks, each for what those before left over."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EncodecVectorQuantization(config) for _ in range(config.books)])

    def encode(self, frames: Tensor, count: int) -> Tensor:
        """(N, D, T) -> codes (N, count, T)."""
        left, found = frames.detach().transpose(1, 2), []
        for i in range(count):
            book: Any = self.layers[i].codebook
            found.append(book.encode(left))
            left = left - book.decode(found[-1])
        return stack(found, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """(N, count, T) -> (N, D, T)."""
        books: list[Any] = [self.layers[i].codebook for i in range(codes.shape[1])]
        rows = [book.decode(codes[:, i]) for i, book in enumerate(books)]
        return sum(rows[1:], rows[0]).transpose(1, 2)


@dataclass(frozen=True)
class EncodecOutput:
    """What :class:`EncodecModel` gives.

    Attributes:
        audio_codes: (chunks, N, codebooks, frames) int64.
        audio_values: (N, channels, T), after the codes.
    """

    audio_codes: Tensor
    audio_values: Tensor


@dataclass(frozen=True)
class EncodecEncoderOutput:
    """What :meth:`EncodecModel.encode` gives.

    Attributes:
        audio_codes: (chunks, N, codebooks, frames) int64.
        audio_scales: for each chunk (N, 1), or None where nothing is divided by loudness.
        last_frame_pad_length: codes at the end of the last chunk that mean nothing.
    """

    audio_codes: Tensor
    audio_scales: list[Tensor | None]
    last_frame_pad_length: int


class EncodecModel(CodecModel):
    """Sounds to codes and back.

    Shape: samples (N, channels, T) at ``config.sampling_rate`` -> :class:`EncodecOutput`. Codes have no gradient.

    Example:
        >>> import nyala
        >>> tiny = Config(num_filters=4, hidden_size=8, codebook_size=16, upsampling_ratios=(4, 2), target_bandwidths=(12, 24))
        >>> out = EncodecModel(tiny).eval()(nyala.zeros(1, 1, 100), bandwidth=24)
        >>> out.audio_codes.shape, out.audio_values.shape
        ((1, 1, 2, 13), (1, 1, 100))
    """

    config: Config
    config_class: ClassVar[type[CodecConfig]] = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder, self.decoder = _encoder(config), _decoder(config)
        self.quantizer = EncodecResidualVectorQuantizer(config)
        self.chunked = not config.streams

    def forward(self, input_values: Tensor, padding_mask: Tensor | None = None, bandwidth: float | None = None) -> EncodecOutput:
        """(N, channels, T) -> the codes, and the sound after them."""
        found = self.encode(input_values, padding_mask, bandwidth)
        heard = self.decode(found.audio_codes, found.audio_scales, found.last_frame_pad_length)
        return EncodecOutput(found.audio_codes, heard[..., : input_values.shape[-1]])

    def count_by_default(self) -> int:
        """Those of the lowest bandwidth, as in transformers."""
        return self.count_within(self.config.target_bandwidths[0])

    def count_within(self, bandwidth: float) -> int:
        """Codebooks of a bandwidth that it was trained with.

        Raises:
            ArgumentError: another.
        """
        allowed = self.config.target_bandwidths
        if bandwidth not in allowed:
            named = ", ".join(f"{b:g}" for b in allowed)
            raise ArgumentError(f"bandwidth={bandwidth:g}", why="the model was trained with others", fix=f"use {named}")
        count = math.floor(bandwidth * 1000 / (self.config.frame_rate * self.config.bits))
        return min(max(1, count), self.config.books)

    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        bandwidth: float | None = None,
        quantizers: int | None = None,
    ) -> EncodecEncoderOutput:
        """Samples (N, channels, T) -> codes, chunk by chunk.

        Args:
            input_values: the samples.
            padding_mask: (N, T) or (N, channels, T), 0 where they mean nothing.
            bandwidth: one of ``config.target_bandwidths``; its first where None.
            quantizers: the number of codebooks instead.

        Raises:
            ShapeError: samples of another shape.
            ArgumentError: a bandwidth that the model was not trained with.
        """
        self.check_samples(input_values)
        count, config = self.count(bandwidth, quantizers), self.config
        if padding_mask is not None:
            lead = padding_mask.reshape(padding_mask.shape[0], -1, padding_mask.shape[-1])
            input_values = input_values * lead.to(input_values.dtype)
        total = input_values.shape[-1]
        length, stride = config.chunk_length or total, config.chunk_stride or total
        parts = [self.encode_chunk(input_values[..., i : i + length], count) for i in range(0, total, stride)]
        codes = [found for found, _ in parts]
        missing = codes[0].shape[-1] - codes[-1].shape[-1]
        codes[-1] = F.pad(codes[-1], (0, missing))
        return EncodecEncoderOutput(stack(codes), [scale for _, scale in parts], missing)

    def encode_chunk(self, samples: Tensor, count: int, memory: Memory | None = None) -> tuple[Tensor, Tensor | None]:
        """(N, channels, T) -> codes (N, count, frames), and what the samples were divided by, (N, 1)."""
        scale = None
        if self.config.normalize:
            mono = samples.mean(1, keepdim=True)
            scale = (mono * mono).mean(-1, keepdim=True).sqrt() + 1e-8
            samples = samples / scale
            scale = scale.reshape(-1, 1)
        return self.quantizer.encode(self.encoder(samples, memory), count), scale

    def decode(
        self, audio_codes: Tensor, audio_scales: list[Tensor | None] | None = None, last_frame_pad_length: int = 0
    ) -> Tensor:
        """Codes (chunks, N, codebooks, frames) -> samples (N, channels, T), T a few more than were encoded.

        Raises:
            DataError: codes that the model does not know.
            ShapeError: codes of other dimensions, or several chunks for a model that has one.
        """
        if audio_codes.ndim != 4 or not audio_codes.shape[0]:
            raise ShapeError(f"codes of shape {audio_codes.shape}", why="they are (chunks, N, codebooks, frames)", fix="reshape")
        if self.config.chunk_length is None and audio_codes.shape[0] != 1:
            raise ShapeError(f"codes of {audio_codes.shape[0]} chunks", why="this model takes the whole sound", fix="join them")
        self.check_codes(audio_codes, 2)
        chunks = [audio_codes[i] for i in range(audio_codes.shape[0])]
        if last_frame_pad_length:
            chunks[-1] = chunks[-1][..., :-last_frame_pad_length]
        scales = audio_scales or [None] * len(chunks)
        heard = [self.decode_chunk(codes, scale) for codes, scale in zip(chunks, scales, strict=True)]
        return heard[0] if self.config.chunk_length is None else _overlapped(heard, self.config.chunk_stride or 1)

    def decode_chunk(self, codes: Tensor, scale: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Codes (N, codebooks, frames) -> samples (N, channels, frames * hop)."""
        heard = self.decoder(self.quantizer.decode(codes), memory)
        return heard if scale is None else heard * scale.reshape(-1, 1, 1)

    def encode_pieces(self, sound: Stretches, count: int) -> Iterator[Part]:
        """As :meth:`encode`; a causal model remembers what it must of the piece before."""
        memory: Memory | None = {} if self.config.streams else None
        length, stride = self._sizes
        first = 0
        while not sound.ends_by(first):
            samples = sound.take(first, first + length)
            codes, scale = self.encode_chunk(self.placed(samples), count, memory)
            yield codes.cpu().numpy()[0], None if scale is None else float(scale.item())
            first += stride

    def decode_pieces(self, parts: Iterable[Part]) -> Iterator[Samples]:
        """As :meth:`decode`."""
        if not self.config.streams:
            yield from _faded((self._heard(codes, scale, None) for codes, scale in parts), self._sizes[1])
            return
        memory: Memory = {}
        step = PIECE * self.config.frame_rate
        for codes, _ in parts:
            for first in range(0, codes.shape[1], step):
                yield self._heard(codes[:, first : first + step], None, memory)

    @property
    def _sizes(self) -> tuple[int, int]:
        """Samples of a piece, and from piece to piece."""
        config = self.config
        if config.chunk_length is not None:
            return config.chunk_length, config.chunk_stride or config.chunk_length
        whole = PIECE * config.frame_rate * config.hop
        return whole, whole

    def _heard(self, codes: Any, scale: float | None, memory: Memory | None) -> Samples:
        found = self.decode_chunk(self.placed(codes), None, memory).float().cpu().numpy()[0]
        return found if scale is None else found * np.float32(scale)


def _normed(layer: Any, config: Config, width: int) -> nn.Module | None:
    """The norm behind a convolution; None where it is one of the weight."""
    if config.norm_type == "weight_norm":
        layer.conv = parametrizations.weight_norm(layer.conv)
        return None
    return nn.GroupNorm(1, width)


def _padded(x: Tensor, before: int, behind: int, mode: str) -> Tensor:
    """A border; of a sound that is too short to be mirrored so far, with zeros behind it."""
    if not before and not behind:
        return x
    if mode != "reflect" or max(before, behind) < x.shape[-1]:
        return F.pad(x, (before, behind), mode)
    short = max(before, behind) - x.shape[-1] + 1
    mirrored = F.pad(F.pad(x, (0, short)), (before, behind), mode)
    return mirrored[..., : mirrored.shape[-1] - short]


def _weights(length: int) -> np.ndarray[Any, Any]:
    """A triangle over a chunk, nowhere 0."""
    return 0.5 - np.abs(np.linspace(0, 1, length + 2)[1:-1] - 0.5)


def _beside(part: Tensor, numbers: np.ndarray[Any, Any]) -> Tensor:
    """Numbers that depend on lengths alone, where a chunk is and in its precision."""
    return Tensor(move_constant(numbers.astype(part.dtype), part.device))


def _overlapped(heard: list[Tensor], stride: int) -> Tensor:
    """Chunks (N, channels, T) that begin ``stride`` apart, faded into each other."""
    total = stride * (len(heard) - 1) + heard[-1].shape[-1]
    total = max(total, *(i * stride + part.shape[-1] for i, part in enumerate(heard)))
    triangle, weights, parts = _weights(heard[0].shape[-1]), np.zeros(total), []
    for i, part in enumerate(heard):
        fade = triangle[: part.shape[-1]]
        weights[i * stride : i * stride + len(fade)] += fade
        faded = part * _beside(part, fade)
        parts.append(F.pad(faded, (i * stride, total - i * stride - len(fade))))
    return sum(parts[1:], parts[0]) / _beside(parts[0], weights)


def _faded(heard: Iterable[Samples], stride: int) -> Iterator[Samples]:
    """As :func:`_overlapped`, of one sound whose chunks come one by one."""
    held: Any = None
    triangle: Any = None
    for part in heard:
        triangle = _weights(part.shape[1]) if triangle is None else triangle
        new = np.concatenate([part * triangle[: part.shape[1]], triangle[None, : part.shape[1]]])
        if held is not None:
            wide = max(held.shape[1], new.shape[1])
            held, new = (np.pad(rows, ((0, 0), (0, wide - rows.shape[1]))) for rows in (held, new))
            new = held + new
        yield (new[:-1, :stride] / new[-1:, :stride]).astype(np.float32)
        held = new[:, stride:]
    if held is not None and held.shape[1]:
        yield (held[:-1] / held[-1:]).astype(np.float32)


TASK = "audio-codec"


def build(config: Mapping[str, Any], **overrides: Any) -> EncodecModel:
    """The codec that transformers' ``config.json`` describes."""
    return EncodecModel(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """Either spelling of the weight norm."""
    old = any(name.endswith(".weight_g") for name in published_names)
    return KeyMap(WeightNorm("old" if old else "new"))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(model.config).items()}
    return {"model_type": "encodec", "architectures": ["EncodecModel"], **settings}
