"""Convolutions behind a speech encoder that make its frames fewer and longer, as decoders of texts want them.

Source: transformers' ``Wav2Vec2Adapter`` (Li et al., "Multilingual speech translation with efficient finetuning of pretrained
models", arXiv:2010.12829).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ....core import nn
from ....core.errors import ArgumentError
from ....core.nn import functional as F
from ....core.tensor import Tensor
from .speech_encoder import SpeechConfig


@dataclass(frozen=True)
class AdapterConfig(SpeechConfig):
    """What shapes a speech encoder that may have convolutions behind it."""

    add_adapter: bool = False
    """Whether it has."""
    adapter_kernel_size: int = 3
    """Their lengths, in frames."""
    adapter_stride: int = 2
    """Their strides: by so much frames become fewer at each."""
    num_adapter_layers: int = 3
    """How many there are."""
    output_hidden_size: int | None = None
    """Width of what comes out of them; None for that of the encoder."""

    def check(self) -> None:
        """Whether the sizes fit each other, also those of the convolutions.

        Raises:
            ArgumentError: they do not.
        """
        super().check()
        if self.add_adapter and min(self.adapter_kernel_size, self.adapter_stride, self.num_adapter_layers) < 1:
            sizes = f"{self.num_adapter_layers} of {self.adapter_kernel_size} frames, stride {self.adapter_stride}"
            raise ArgumentError("the configuration describes no adapter", why=sizes, fix="correct the config.json")

    @property
    def output_width(self) -> int:
        """Of the vectors that come out."""
        return (self.output_hidden_size or self.hidden_size) if self.add_adapter else self.hidden_size

    @property
    def hop(self) -> int:
        """Samples from frame to frame of what comes out."""
        return super().hop * (self.adapter_stride**self.num_adapter_layers if self.add_adapter else 1)

    def frames(self, samples: Any) -> Any:
        """How many frames come out for so many samples; numbers, arrays and tensors.

        Example:
            >>> AdapterConfig().frames(16_000), AdapterConfig(add_adapter=True).frames(16_000)
            (49, 7)
        """
        found = self.encoded(samples)
        for _ in range(self.num_adapter_layers if self.add_adapter else 0):
            found = (found + 2 - self.adapter_kernel_size) // self.adapter_stride + 1
        return found


class AdapterLayer(nn.Module):
    """A convolution whose second half opens and closes the first."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        width = config.output_width
        self.conv = nn.Conv1d(width, 2 * width, config.adapter_kernel_size, config.adapter_stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(self.conv(x), 1)


class Adapter(nn.Module):
    """(N, frames, hidden_size) -> (N, fewer, output_width). No layer is left out while training: frames would be others then."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.projects = config.output_width != config.hidden_size
        if self.projects:
            self.proj = nn.Linear(config.hidden_size, config.output_width)
            self.proj_layer_norm = nn.LayerNorm(config.output_width)
        self.layers = nn.ModuleList(AdapterLayer(config) for _ in range(config.num_adapter_layers))

    def forward(self, x: Tensor) -> Tensor:
        if self.projects:
            x = self.proj_layer_norm(self.proj(x))
        x = x.transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x.transpose(1, 2)


def adapter_of(config: AdapterConfig) -> Adapter | None:
    """The convolutions, if there are some."""
    return Adapter(config) if config.add_adapter else None
