"""The invertible parts of VITS (Kim, Kong, Son, arXiv:2106.06103), in the direction from noise to speech.

Residual couplings over a WaveNet make the frames, and couplings over rational-quadratic splines (Durkan, Bekasov, Murray,
Papamakarios, arXiv:1906.04032) the durations.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....core import nn
from ....core.create import from_numpy, full_like, zeros
from ....core.nn import functional as F
from ....core.ops.elementwise import exp, sqrt, where
from ....core.ops.shape import cat, flip
from ....core.tensor import Tensor

_LEAST = 1e-3  # of a bin's width and height, and of the slope at its ends
_NUDGE = 1e-6  # by which the last bin reaches further: its end belongs to it


class WaveNet(nn.Module):
    """Gated dilated convolutions (van den Oord et al., 2016) with normed weights: (N, C, T) -> the same."""

    def __init__(self, config: Any, num_layers: int) -> None:
        super().__init__()
        width, kernel = config.hidden_size, config.wavenet_kernel_size
        normed = nn.utils.parametrizations.weight_norm
        self.width = width
        self.dropout = nn.Dropout(config.wavenet_dropout)
        if config.speaker_embedding_size:
            self.cond_layer = normed(nn.Conv1d(config.speaker_embedding_size, 2 * width * num_layers, 1))
        inner, outer = [], []
        for i in range(num_layers):
            dilation = config.wavenet_dilation_rate**i
            padding = (kernel * dilation - dilation) // 2
            inner.append(normed(nn.Conv1d(width, 2 * width, kernel, padding=padding, dilation=dilation)))
            outer.append(normed(nn.Conv1d(width, width if i == num_layers - 1 else 2 * width, 1)))
        self.in_layers = nn.ModuleList(inner)
        self.res_skip_layers = nn.ModuleList(outer)

    def forward(self, x: Tensor, mask: Tensor, speaker: Tensor | None = None) -> Tensor:
        told = None if speaker is None else self.cond_layer(speaker)
        out: Tensor | None = None
        for i, (inner, outer) in enumerate(zip(self.in_layers, self.res_skip_layers, strict=True)):
            both = inner(x)
            if told is not None:
                both = both + told[:, 2 * self.width * i : 2 * self.width * (i + 1)]
            found = outer(self.dropout(F.tanh(both[:, : self.width]) * F.sigmoid(both[:, self.width :])))
            skipped = found
            if i < len(self.in_layers) - 1:
                x = (x + found[:, : self.width]) * mask
                skipped = found[:, self.width :]
            out = skipped if out is None else out + skipped
        assert out is not None
        return out * mask


class Coupling(nn.Module):
    """One half moves by what a WaveNet makes of the other."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.first_half = config.flow_size // 2
        self.conv_pre = nn.Conv1d(self.first_half, config.hidden_size, 1)
        self.wavenet = WaveNet(config, config.prior_encoder_num_wavenet_layers)
        self.conv_post = nn.Conv1d(config.hidden_size, self.first_half, 1)

    def forward(self, x: Tensor, mask: Tensor, speaker: Tensor | None = None) -> Tensor:
        first, second = x[:, : self.first_half], x[:, self.first_half :]
        mean = self.conv_post(self.wavenet(self.conv_pre(first) * mask, mask, speaker)) * mask
        return cat([first, (second - mean) * mask], 1)


class CouplingFlow(nn.Module):
    """From the prior's frames to those of speech: (N, flow_size, F) -> the same."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.flows = nn.ModuleList([Coupling(config) for _ in range(config.prior_encoder_num_flows)])

    def forward(self, x: Tensor, mask: Tensor, speaker: Tensor | None = None) -> Tensor:
        for flow in reversed(list(self.flows)):
            x = flow(flip(x, 1), mask, speaker)
        return x


class SeparableConvs(nn.Module):
    """Depthwise convolutions, ever more dilated, and pointwise ones, added to what came in: (N, C, T) -> the same."""

    def __init__(self, config: Any, dropout: float = 0.0) -> None:
        super().__init__()
        width, kernel = config.hidden_size, config.duration_predictor_kernel_size
        dilations = [kernel**i for i in range(config.depth_separable_num_layers)]

        def depthwise(dilation: int) -> nn.Conv1d:
            padding = (kernel * dilation - dilation) // 2
            return nn.Conv1d(width, width, kernel, padding=padding, dilation=dilation, groups=width)

        self.convs_dilated = nn.ModuleList([depthwise(d) for d in dilations])
        self.convs_pointwise = nn.ModuleList([nn.Conv1d(width, width, 1) for _ in dilations])
        self.norms_1 = nn.ModuleList([nn.LayerNorm(width) for _ in dilations])
        self.norms_2 = nn.ModuleList([nn.LayerNorm(width) for _ in dilations])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, told: Tensor | None = None) -> Tensor:
        x = x if told is None else x + told
        layers = zip(self.convs_dilated, self.norms_1, self.convs_pointwise, self.norms_2, strict=True)
        for dilated, norm1, pointwise, norm2 in layers:
            y = F.gelu(channel_norm(norm1, dilated(x * mask)))
            x = x + self.dropout(F.gelu(channel_norm(norm2, pointwise(y))))
        return x * mask


def channel_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """A layer norm over the channels of (N, C, T)."""
    return norm(x.transpose(1, 2)).transpose(1, 2)


class ConvFlow(nn.Module):
    """One half goes backwards through a spline whose shape is made of the other."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.first_half = config.depth_separable_channels // 2
        self.bins, self.bound = config.duration_predictor_flow_bins, config.duration_predictor_tail_bound
        self.scale = 1 / math.sqrt(config.hidden_size)
        self.conv_pre = nn.Conv1d(self.first_half, config.hidden_size, 1)
        self.conv_dds = SeparableConvs(config)
        self.conv_proj = nn.Conv1d(config.hidden_size, self.first_half * (3 * self.bins - 1), 1)

    def forward(self, x: Tensor, mask: Tensor, told: Tensor | None = None) -> Tensor:
        first, second = x[:, : self.first_half], x[:, self.first_half :]
        shape = self.conv_proj(self.conv_dds(self.conv_pre(first), mask, told)) * mask
        count, _, length = first.shape
        shape = shape.reshape(count, self.first_half, -1, length).transpose(2, 3)
        widths, heights = shape[..., : self.bins] * self.scale, shape[..., self.bins : 2 * self.bins] * self.scale
        moved = inverse_spline(second, widths, heights, shape[..., 2 * self.bins :], self.bound)
        return cat([first, moved], 1) * mask


def inverse_spline(y: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor, bound: float) -> Tensor:
    """Where a rising spline of rational quadratics has the value ``y``; outside of ``bound`` it is the identity.

    Args:
        y: (...).
        widths, heights: (..., K), logits of the sizes of its bins.
        slopes: (..., K - 1), its slopes between bins, before a softplus; 1 at both ends.
        bound: it goes from (-bound, -bound) to (bound, bound).

    Returns:
        (...).

    Example:
        >>> import nyala
        >>> flat = [nyala.zeros(2, 4), nyala.zeros(2, 4), nyala.full((2, 3), math.log(math.exp(0.999) - 1))]
        >>> [round(v, 4) for v in inverse_spline(nyala.tensor([0.5, 7.0]), *flat, bound=5.0).tolist()]
        [0.5, 7.0]
    """
    inside = (y >= -bound) & (y <= bound)
    value = where(inside, y, zeros(1).to(y.device).to(y.dtype))
    x_edges, y_edges = _edges(widths, bound), _edges(heights, bound)
    end = full_like(slopes[..., :1], math.log(math.exp(1 - _LEAST) - 1))
    rises = F.softplus(cat([end, slopes, end], -1)) + _LEAST
    reach = y_edges.detach()
    reach = cat([reach[..., :-1], reach[..., -1:] + _NUDGE], -1)
    bins = (value.unsqueeze(-1) >= reach).to("int64").sum(-1, keepdim=True) - 1

    def of_bin(table: Tensor) -> Tensor:
        return table.gather(-1, bins).squeeze(-1)

    x_sizes, y_sizes = x_edges[..., 1:] - x_edges[..., :-1], y_edges[..., 1:] - y_edges[..., :-1]
    slope = of_bin(y_sizes) / of_bin(x_sizes)
    left, right = of_bin(rises[..., :-1]), of_bin(rises[..., 1:])
    above = value - of_bin(y_edges[..., :-1])
    bend = above * (left + right - 2 * slope)
    a = of_bin(y_sizes) * (slope - left) + bend
    b = of_bin(y_sizes) * left - bend
    c = -slope * above
    root = 2 * c / (-b - sqrt((b * b - 4 * a * c).clamp(min=0.0)))
    return where(inside, root * of_bin(x_sizes) + of_bin(x_edges[..., :-1]), y)


def _edges(logits: Tensor, bound: float) -> Tensor:
    """(..., K) logits of sizes -> (..., K + 1) places from -bound to bound."""
    count = logits.shape[-1]
    sizes = _LEAST + (1 - _LEAST * count) * F.softmax(logits, dim=-1)
    inner = 2 * bound * sizes.cumsum(-1)[..., :-1] - bound
    ends = [full_like(logits[..., :1], v) for v in (-bound, bound)]
    return cat([ends[0], inner, ends[1]], -1)


class Affine(nn.Module):
    """(x - translate) / exp(log_scale) for each channel."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.translate = nn.Parameter(zeros(config.depth_separable_channels, 1))
        self.log_scale = nn.Parameter(zeros(config.depth_separable_channels, 1))

    def forward(self, x: Tensor, mask: Tensor, told: Tensor | None = None) -> Tensor:  # noqa: ARG002 - as its neighbours
        return (x - self.translate) * exp(-self.log_scale) * mask


class StochasticDurations(nn.Module):
    """How long each letter lasts, from noise: (N, C, L) and noise (N, 2, L) -> the logarithm of frames, (N, 1, L).

    What is called ``post`` is looked at in training alone, and kept so that files come back whole.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, dropout = config.hidden_size, config.duration_predictor_dropout

        def flows() -> nn.ModuleList:
            return nn.ModuleList([Affine(config), *[ConvFlow(config) for _ in range(config.duration_predictor_num_flows)]])

        self.conv_pre = nn.Conv1d(width, width, 1)
        self.conv_proj = nn.Conv1d(width, width, 1)
        self.conv_dds = SeparableConvs(config, dropout)
        if config.speaker_embedding_size:
            self.cond = nn.Conv1d(config.speaker_embedding_size, width, 1)
        self.flows = flows()
        self.post_conv_pre = nn.Conv1d(1, width, 1)
        self.post_conv_proj = nn.Conv1d(width, width, 1)
        self.post_conv_dds = SeparableConvs(config, dropout)
        self.post_flows = flows()

    def forward(self, x: Tensor, mask: Tensor, speaker: Tensor | None, noise: Tensor) -> Tensor:
        x = self.conv_pre(x.detach())
        if speaker is not None:
            x = x + self.cond(speaker.detach())
        x = self.conv_proj(self.conv_dds(x, mask)) * mask
        flows = list(self.flows)[::-1]
        for flow in [*flows[:-2], flows[-1]]:  # the first coupling is left out, as in the published code
            noise = flow(flip(noise, 1), mask, x)
        return noise[:, :1]


class Durations(nn.Module):
    """How long each letter lasts, the same every time: (N, C, L) -> the logarithm of frames, (N, 1, L)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        kernel, width = config.duration_predictor_kernel_size, config.duration_predictor_filter_channels
        self.dropout = nn.Dropout(config.duration_predictor_dropout)
        self.conv_1 = nn.Conv1d(config.hidden_size, width, kernel, padding=kernel // 2)
        self.norm_1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.conv_2 = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.norm_2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.proj = nn.Conv1d(width, 1, 1)
        if config.speaker_embedding_size:
            self.cond = nn.Conv1d(config.speaker_embedding_size, config.hidden_size, 1)

    def forward(self, x: Tensor, mask: Tensor, speaker: Tensor | None = None) -> Tensor:
        x = x.detach()
        if speaker is not None:
            x = x + self.cond(speaker.detach())
        for conv, norm in ((self.conv_1, self.norm_1), (self.conv_2, self.norm_2)):
            x = self.dropout(channel_norm(norm, F.relu(conv(x * mask))))
        return self.proj(x * mask) * mask


class Posterior(nn.Module):
    """What training hears in spectrograms (N, bins, F): mean and logarithm of the deviation of the frames behind them."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.conv_pre = nn.Conv1d(config.spectrogram_bins, config.hidden_size, 1)
        self.wavenet = WaveNet(config, config.posterior_encoder_num_wavenet_layers)
        self.conv_proj = nn.Conv1d(config.hidden_size, 2 * config.flow_size, 1)

    def forward(self, spectrogram: Tensor, mask: Tensor, speaker: Tensor | None = None) -> tuple[Tensor, Tensor]:
        found = self.conv_proj(self.wavenet(self.conv_pre(spectrogram) * mask, mask, speaker)) * mask
        half = found.shape[1] // 2
        return found[:, :half], found[:, half:]


def expanded(rows: Tensor, frames: np.ndarray[Any, Any], length: int) -> Tensor:
    """Each letter's row as often as it lasts: (N, L, D) and frames (N, L) -> (N, length, D), zeros behind.

    Example:
        >>> import nyala
        >>> expanded(nyala.tensor([[[1.0], [2.0], [3.0]]]), np.array([[2, 0, 1]]), 4).flatten().tolist()
        [1.0, 1.0, 3.0, 0.0]
    """
    index = np.zeros((len(frames), length, 1), np.int64)
    there = np.zeros((len(frames), length, 1), np.float32)
    for i, lasting in enumerate(frames):
        letters = np.repeat(np.arange(len(lasting)), lasting)
        index[i, : len(letters), 0], there[i, : len(letters)] = letters, 1
    wide = from_numpy(np.ascontiguousarray(np.broadcast_to(index, (*index.shape[:2], rows.shape[2])))).to(rows.device)
    return rows.gather(1, wide) * from_numpy(there).to(rows.device).to(rows.dtype)
