"""HiFi-GAN's generator (Kong, Kim, Bae, arXiv:2010.05646): from frames to samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....core import nn
from ....core.nn import functional as F
from ....core.tensor import Tensor


class ResidualBlock(nn.Module):
    """Dilated convolutions, each followed by a plain one, added to what came in: (N, C, T) -> the same."""

    def __init__(self, channels: int, kernel_size: int, dilations: Sequence[int], slope: float) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Conv1d:
            padding = (kernel_size * dilation - dilation) // 2
            return nn.Conv1d(channels, channels, kernel_size, padding=padding, dilation=dilation)

        self.slope = slope
        self.convs1 = nn.ModuleList([conv(d) for d in dilations])
        self.convs2 = nn.ModuleList([conv(1) for _ in dilations])

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, self.slope)), self.slope))
        return x


class HifiGan(nn.Module):
    """Frames (N, flow_size, F) -> samples (N, 1, F times the product of ``upsample_rates``), from -1 to 1."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, slope = config.upsample_initial_channel, config.leaky_relu_slope
        self.slope = slope
        self.conv_pre = nn.Conv1d(config.flow_size, width, 7, padding=3)
        ups, blocks = [], []
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            ups.append(nn.ConvTranspose1d(width, width // 2, kernel, stride=rate, padding=(kernel - rate) // 2))
            width //= 2
            shapes = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
            blocks += [ResidualBlock(width, size, dilations, slope) for size, dilations in shapes]
        self.upsampler = nn.ModuleList(ups)
        self.resblocks = nn.ModuleList(blocks)
        self.conv_post = nn.Conv1d(width, 1, 7, padding=3, bias=False)
        if config.speaker_embedding_size:
            self.cond = nn.Conv1d(config.speaker_embedding_size, config.upsample_initial_channel, 1)

    def forward(self, frames: Tensor, speaker: Tensor | None = None) -> Tensor:
        x = self.conv_pre(frames)
        if speaker is not None:
            x = x + self.cond(speaker)
        each = len(self.resblocks) // len(self.upsampler)
        for i, up in enumerate(self.upsampler):
            x = up(F.leaky_relu(x, self.slope))
            heard = [self.resblocks[i * each + k](x) for k in range(each)]
            x = sum(heard[1:], heard[0]) / each
        return F.tanh(self.conv_post(F.leaky_relu(x)))
