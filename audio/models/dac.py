"""DAC, the Descript Audio Codec (Kumar, Seetharaman, Luebs, Kumar, Kumar, arXiv:2306.06546): sounds as codes, and back.

Loads checkpoints in transformers' layout: ``DacModel`` (``descript/dac_16khz``, ``dac_24khz``, ``dac_44khz``). Our module names
are the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ...core import nn
from ...core.create import ones
from ...core.devices import move_constant
from ...core.errors import ArgumentError, ShapeError
from ...core.keymap import KeyMap
from ...core.nn import functional as F
from ...core.ops.elementwise import sin
from ...core.ops.shape import stack
from ...core.random import next_key
from ...core.tensor import Tensor
from .shared.codec import PIECE, CodecConfig, CodecModel, Part, Samples, Stretches

_DILATIONS = (1, 3, 9)  # of the residual units
_REACH = sum(3 * d for d in _DILATIONS)  # samples that they see on either side


@dataclass(frozen=True)
class Config(CodecConfig):
    """What shapes a DAC; the defaults are those of the published one of 16 kHz, but for its number of codebooks, 12."""

    sampling_rate: int = 16_000
    """Samples a second."""
    encoder_hidden_size: int = 64
    """Width of the first convolution; each stride doubles it."""
    downsampling_ratios: tuple[int, ...] = (2, 4, 8, 8)
    """Strides of the encoder; the decoder has them in reverse."""
    decoder_hidden_size: int = 1536
    """Width of the decoder's first convolution; each stride halves it."""
    n_codebooks: int = 9
    """Codes of a frame."""
    codebook_dim: int = 8
    """Width of a codebook's row."""
    quantizer_dropout: float = 0.0
    """Share of a batch that is trained with fewer codebooks."""
    commitment_loss_weight: float = 0.25
    """How much frames are drawn to their rows."""
    codebook_loss_weight: float = 1.0
    """How much rows are drawn to their frames."""

    def check(self) -> None:
        super().check()
        if self.decoder_hidden_size % 2 ** len(self.downsampling_ratios):
            raise ArgumentError(
                f"decoder_hidden_size={self.decoder_hidden_size}",
                why=f"it is halved {len(self.downsampling_ratios)} times",
                fix="use a multiple",
            )

    @property
    def strides(self) -> tuple[int, ...]:
        return self.downsampling_ratios

    @property
    def books(self) -> int:
        return self.n_codebooks

    @property
    def hidden_size(self) -> int:
        """Width of a frame."""
        return self.encoder_hidden_size * 2 ** len(self.downsampling_ratios)

    @property
    def context(self) -> int:
        """Frames on either side that a frame, or the samples made of it, depend on."""
        samples, jump = 2 * 3, 1  # of the first or last convolution, and one for rounding
        for stride in self.downsampling_ratios:
            samples += jump * (_REACH + 2 * stride)
            jump *= stride
        return math.ceil(samples / jump) + 4  # the innermost convolutions see three frames


class Snake1d(nn.Module):
    """x + sin(a x)^2 / a, with a learnt for each feature (Ziyin et al., arXiv:2006.08195)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(ones(1, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (1 / (self.alpha + 1e-9)) * sin(self.alpha * x) ** 2


class DacResidualUnit(nn.Module):
    """A dilated convolution and one of a single frame, added to what they saw."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.snake1 = Snake1d(width)
        self.conv1 = nn.Conv1d(width, width, 7, dilation=dilation, padding=3 * dilation)
        self.snake2 = Snake1d(width)
        self.conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.snake2(self.conv1(self.snake1(x))))


class DacEncoderBlock(nn.Module):
    """Three residual units, and a stride."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        for i, dilation in enumerate(_DILATIONS, 1):
            self.add_module(f"res_unit{i}", DacResidualUnit(width, dilation))
        self.snake1 = Snake1d(width)
        self.conv1 = nn.Conv1d(width, 2 * width, 2 * stride, stride, padding=math.ceil(stride / 2))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, len(_DILATIONS) + 1):
            x = self.get_submodule(f"res_unit{i}")(x)
        return self.conv1(self.snake1(x))


class DacDecoderBlock(nn.Module):
    """A stride back, and three residual units."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.snake1 = Snake1d(width)
        self.conv_t1 = nn.ConvTranspose1d(width, width // 2, 2 * stride, stride, padding=math.ceil(stride / 2))
        for i, dilation in enumerate(_DILATIONS, 1):
            self.add_module(f"res_unit{i}", DacResidualUnit(width // 2, dilation))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_t1(self.snake1(x))
        for i in range(1, len(_DILATIONS) + 1):
            x = self.get_submodule(f"res_unit{i}")(x)
        return x


class DacEncoder(nn.Module):
    """Samples (N, 1, T) -> frames (N, D, T / hop)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, blocks = config.encoder_hidden_size, []
        self.conv1 = nn.Conv1d(1, width, 7, padding=3)
        for stride in config.downsampling_ratios:
            blocks.append(DacEncoderBlock(width, stride))
            width *= 2
        self.block = nn.ModuleList(blocks)
        self.snake1 = Snake1d(width)
        self.conv2 = nn.Conv1d(width, config.hidden_size, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for block in self.block:
            x = block(x)
        return self.conv2(self.snake1(x))


class DacDecoder(nn.Module):
    """Frames (N, D, T) -> samples (N, 1, T * hop), a few less where a stride is odd."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, blocks = config.decoder_hidden_size, []
        self.conv1 = nn.Conv1d(config.hidden_size, width, 7, padding=3)
        for stride in config.downsampling_ratios[::-1]:
            blocks.append(DacDecoderBlock(width, stride))
            width //= 2
        self.block = nn.ModuleList(blocks)
        self.snake1 = Snake1d(width)
        self.conv2 = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for block in self.block:
            x = block(x)
        return F.tanh(self.conv2(self.snake1(x)))


class DacVectorQuantize(nn.Module):
    """A codebook in few dimensions; the nearest row by direction is a frame's code."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.in_proj = nn.Conv1d(config.hidden_size, config.codebook_dim, 1)
        self.out_proj = nn.Conv1d(config.codebook_dim, config.hidden_size, 1)
        self.codebook = nn.Embedding(config.codebook_size, config.codebook_dim)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, D, T) -> what the codes stand for (N, D, T), the codes (N, T), and how far rows and frames are apart."""
        narrow = self.in_proj(frames)
        codes = self.nearest(narrow.detach())
        rows = self.codebook(codes).transpose(1, 2)
        commitment, book = F.mse_loss(narrow, rows.detach()), F.mse_loss(rows, narrow.detach())
        passed = narrow + (rows - narrow).detach()  # gradients go past the choice
        return self.out_proj(passed), codes, commitment, book

    def nearest(self, narrow: Tensor) -> Tensor:
        """(N, d, T) -> (N, T)."""
        flat = F.normalize(narrow.transpose(1, 2).reshape(-1, narrow.shape[1]))
        rows = F.normalize(self.codebook.weight.detach())
        # as published, lengths of the rows are added rather than taken off; they are 1 but for rounding
        near = 2 * (flat @ rows.T) - (flat * flat).sum(1, keepdim=True) + (rows * rows).sum(1)
        return near.argmax(1).reshape(narrow.shape[0], narrow.shape[2])


class DacResidualVectorQuantizer(nn.Module):
    """Codebooks, each for what those before left over."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dropout = config.quantizer_dropout
        self.quantizers = nn.ModuleList([DacVectorQuantize(config) for _ in range(config.n_codebooks)])

    def forward(self, frames: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, D, T) -> what the codes stand for, the codes (N, count, T), and both losses (N,).

        While training, some sounds of a batch are heard through fewer codebooks, drawn from the ambient key.
        """
        left, codes = frames, []
        heard = self._counts(frames.shape[0], count)
        total: Any = 0
        losses: list[Any] = [0, 0]
        for i in range(int(heard.max())):
            found, code, *apart = self.quantizers[i](left)
            mask = Tensor(move_constant((i < heard).astype(frames.dtype), frames.device))
            total = total + found * mask.reshape(-1, 1, 1)
            left = left - found
            losses = [loss + one * mask for loss, one in zip(losses, apart, strict=True)]
            codes.append(code)
        return total, stack(codes, 1), losses[0], losses[1]

    def _counts(self, batch: int, count: int) -> np.ndarray[Any, Any]:
        """How many codebooks each sound is heard through."""
        heard = np.full(batch, count)
        dropped = int(batch * self.dropout) if self.training else 0
        if dropped:
            heard[:dropped] = next_key("dropout").integers(1, len(self.quantizers) + 1, (dropped,))
            heard[dropped:] = len(self.quantizers)
        return heard

    def from_codes(self, codes: Tensor) -> Tensor:
        """(N, count, T) -> (N, D, T)."""
        books: list[Any] = [self.quantizers[i] for i in range(codes.shape[1])]
        parts = [book.out_proj(book.codebook(codes[:, i]).transpose(1, 2)) for i, book in enumerate(books)]
        return sum(parts[1:], parts[0])


@dataclass(frozen=True)
class DacEncoderOutput:
    """What :meth:`DacModel.encode` gives.

    Attributes:
        loss: (N,), how far frames and their rows are apart, weighted as the config says.
        quantized_representation: (N, D, frames), what the codes stand for.
        audio_codes: (N, codebooks, frames) int64.
    """

    loss: Tensor
    quantized_representation: Tensor
    audio_codes: Tensor


@dataclass(frozen=True)
class DacOutput(DacEncoderOutput):
    """What :class:`DacModel` gives.

    Attributes:
        audio_values: (N, T), after the codes.
    """

    audio_values: Tensor


class DacModel(CodecModel):
    """Sounds to codes and back.

    Shape: samples (N, 1, T) at ``config.sampling_rate`` -> :class:`DacOutput`. Gradients go through the codes to the encoder.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     encoder_hidden_size=2, decoder_hidden_size=8, downsampling_ratios=(2, 4), n_codebooks=3, codebook_size=16)
        >>> out = DacModel(tiny).eval()(nyala.zeros(1, 1, 80), n_quantizers=2)
        >>> out.audio_codes.shape, out.audio_values.shape
        ((1, 2, 10), (1, 80))
    """

    config: Config
    config_class: ClassVar[type[CodecConfig]] = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder, self.decoder = DacEncoder(config), DacDecoder(config)
        self.quantizer = DacResidualVectorQuantizer(config)

    def forward(self, input_values: Tensor, n_quantizers: int | None = None) -> DacOutput:
        """(N, 1, T) -> the codes, and the sound after them."""
        found = self.encode(input_values, n_quantizers)
        heard = self.decode(found.quantized_representation)[..., : input_values.shape[-1]]
        return DacOutput(found.loss, found.quantized_representation, found.audio_codes, heard)

    def encode(self, input_values: Tensor, n_quantizers: int | None = None) -> DacEncoderOutput:
        """Samples (N, 1, T) -> codes.

        Args:
            input_values: the samples; for T no multiple of the hop, the last frame is left out, or seen in part.
            n_quantizers: the number of codebooks; all where None.

        Raises:
            ShapeError: samples of another shape, or fewer than a frame takes.
            ArgumentError: more codebooks than there are.
        """
        self.check_samples(input_values)
        if input_values.shape[-1] < self.config.hop:
            raise ShapeError(
                f"{input_values.shape[-1]} samples", why=f"a frame takes {self.config.hop}", fix="put silence behind"
            )
        total, codes, commitment, book = self.quantizer(self.encoder(input_values), self.count(None, n_quantizers))
        loss = self.config.commitment_loss_weight * commitment + self.config.codebook_loss_weight * book
        return DacEncoderOutput(loss, total, codes)

    def decode(self, quantized_representation: Tensor | None = None, audio_codes: Tensor | None = None) -> Tensor:
        """What codes (N, codebooks, frames) stand for, or they themselves -> samples (N, T).

        Raises:
            ArgumentError: neither, or both.
            DataError: codes that the model does not know.
        """
        if (quantized_representation is None) == (audio_codes is None):
            raise ArgumentError("decode takes quantized_representation or audio_codes", fix="pass one of them")
        if audio_codes is not None:
            self.check_codes(audio_codes, 1)
            quantized_representation = self.quantizer.from_codes(audio_codes)
        return self.decoder(quantized_representation).squeeze(1)

    def encode_pieces(self, sound: Stretches, count: int) -> Iterator[Part]:
        """As :meth:`encode` of the sound with silence behind it, up to a whole frame; pieces overlap by what a frame can see."""
        hop, around = self.config.hop, self.config.context
        step = PIECE * self.config.frame_rate
        first = 0
        while not sound.ends_by(first * hop):
            before = min(first, around)
            samples = sound.take((first - before) * hop, (first + step + around) * hop)
            samples = np.pad(samples, ((0, 0), (0, -samples.shape[1] % hop)))
            codes = self.encode(self.placed(samples), count).audio_codes.cpu().numpy()[0]
            yield codes[:, before : before + step], None
            first += step

    def decode_pieces(self, parts: Iterable[Part]) -> Iterator[Samples]:
        """As :meth:`decode`."""
        hop, around = self.config.hop, self.config.context
        step = PIECE * self.config.frame_rate
        for codes, _ in parts:
            for first in range(0, codes.shape[1], step):
                before = min(first, around)
                heard = self.decode(audio_codes=self.placed(codes[:, first - before : first + step + around]))
                last = first + step >= codes.shape[1]
                yield heard.float().cpu().numpy()[:, before * hop : None if last else (before + step) * hop]


TASK = "audio-codec"


def build(config: Mapping[str, Any], **overrides: Any) -> DacModel:
    """The codec that transformers' ``config.json`` describes."""
    return DacModel(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - our names are theirs
    """Nothing differs."""
    return KeyMap()


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(model.config).items()}
    derived = {
        "hidden_size": model.config.hidden_size,
        "hop_length": model.config.hop,
        "upsampling_ratios": list(model.config.downsampling_ratios[::-1]),
    }
    return {"model_type": "dac", "architectures": ["DacModel"], **settings, **derived}
