"""Silero VAD 5 and 6 (Silero Team, 2021 to 2026): does somebody speak, 31 times a second.

Loads the file of the package ``silero-vad``, ``silero_vad_16k.safetensors``: a Fourier transform as a convolution, four
convolutions and an LSTM, for 16 kHz.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ...core import nn
from ...core.create import zeros
from ...core.errors import ArgumentError, ShapeError
from ...core.keymap import KeyMap, Rename
from ...core.nn import functional as F
from ...core.ops.elementwise import sqrt
from ...core.ops.shape import cat
from ...core.tensor import Tensor

State = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Config:
    """What shapes the network; the defaults are the published one's."""

    sample_rate: int = 16_000
    """Samples a second."""
    chunk: int = 512
    """Samples that one answer is for: 32 ms."""
    context: int = 64
    """Samples before them that are heard again."""
    n_fft: int = 256
    """Samples of a spectrum."""
    stride: int = 128
    """Samples from spectrum to spectrum."""
    hidden_size: int = 128
    """Width of the LSTM."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read a ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field.
        """
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            named = ", ".join(map(repr, unknown))
            raise ArgumentError(f"Silero VAD has no option {named}", fix=f"it has {', '.join(sorted(known))}")
        return replace(Config(), **{**{k: v for k, v in config.items() if k in known}, **overrides})


class SileroVAD(nn.Model):
    """How likely it is that somebody speaks.

    Shape: samples (N, T) at 16 kHz, T a multiple of 512, and the state that the samples before left behind -> probabilities
    (N, T / 512), and the state behind them. The state of :meth:`start` is silence.

    Example:
        >>> import nyala
        >>> model = SileroVAD(Config()).eval()
        >>> found, state = model(nyala.zeros(1, 1024))
        >>> found.shape, state[0].shape
        ((1, 2), (1, 64))
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        bins, width = config.n_fft // 2 + 1, config.hidden_size
        self.stft_conv = nn.Conv1d(1, 2 * bins, config.n_fft, config.stride, bias=False)
        self.conv1 = nn.Conv1d(bins, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width // 2, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(width // 2, width // 2, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(width // 2, width, 3, padding=1)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.final_conv = nn.Conv1d(width, 1, 1)

    def start(self, count: int = 1) -> tuple[Tensor, State]:
        """The state before a sound: no samples, and an LSTM that has heard nothing."""
        like = self.final_conv.bias
        assert like is not None
        width = self.config.hidden_size
        empty = [zeros(1, count, width, dtype=like.dtype, device=like.device) for _ in range(2)]
        return zeros(count, self.config.context, dtype=like.dtype, device=like.device), (empty[0], empty[1])

    def forward(self, samples: Tensor, state: tuple[Tensor, State] | None = None) -> tuple[Tensor, tuple[Tensor, State]]:
        config = self.config
        if samples.ndim != 2 or not samples.shape[1] or samples.shape[1] % config.chunk:
            raise ShapeError(
                f"samples of shape {samples.shape}",
                why=f"it takes (N, T), T a multiple of {config.chunk}",
                fix="put silence behind",
            )
        before, held = self.start(samples.shape[0]) if state is None else state
        found, held = self.lstm(self.forward_features(samples, before), held)
        return self.forward_head(found), (samples[:, -config.context :], held)

    def forward_features(self, samples: Tensor, before: Tensor) -> Tensor:
        """What is heard in each chunk: (N, T / 512, D).

        Args:
            samples: (N, T).
            before: (N, 64), the samples before them.
        """
        config, count = self.config, samples.shape[1] // self.config.chunk
        parts = samples.reshape(-1, count, config.chunk)
        contexts = cat([before.unsqueeze(1), parts[:, :-1, -config.context :]], 1)  # each chunk's is the end of the one before
        chunks = cat([contexts, parts], 2).reshape(-1, 1, config.context + config.chunk)
        spectrum = self.stft_conv(F.pad(chunks, (0, config.context), mode="reflect"))
        bins = config.n_fft // 2 + 1
        x = sqrt(spectrum[:, :bins] ** 2 + spectrum[:, bins:] ** 2)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(layer(x))
        return x.squeeze(-1).reshape(-1, count, config.hidden_size)

    def forward_head(self, heard: Tensor) -> Tensor:
        """(N, T / 512, D) -> probabilities (N, T / 512)."""
        return F.sigmoid(self.final_conv(F.relu(heard).transpose(1, 2))).squeeze(1)


TASK = "voice-activity-detection"


def build(config: Mapping[str, Any], **overrides: Any) -> SileroVAD:
    """The network that a ``config.json`` or a card describes."""
    return SileroVAD(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """The single step of an LSTM that the file names."""
    return KeyMap(Rename("lstm_cell.{part}", "lstm.{part}_l0"))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    return {"model_type": "silero-vad", **asdict(model.config)}
