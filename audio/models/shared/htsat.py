"""HTS-AT (Chen et al., "HTS-AT: a hierarchical token-semantic audio transformer", arXiv:2202.00874): CLAP's tower for sounds.

A Swin transformer on log-mel frames that are folded into a square picture. Where sounds may be longer than is heard at once, four
pictures go in, of the whole sound squeezed and of three pieces, which attention joins (Wu et al., arXiv:2211.06687, section 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ....core import nn
from ....core.create import tensor
from ....core.errors import ArgumentError, DataError, ShapeError, kind_of
from ....core.nn import functional as F
from ....core.nn.activation import activation
from ....core.nn.windows import PatchMerging, WindowBlock
from ....core.ops.shape import cat
from ....core.tensor import Tensor


@dataclass(frozen=True)
class AudioConfig:
    """What shapes the tower for sounds; the defaults are transformers'."""

    window_size: int = 8
    """Sides of a window, in patches."""
    num_mel_bins: int = 64
    """Bands of the log-mel frames."""
    spec_size: int = 256
    """Sides of the picture that frames are folded into: ``spec_size // num_mel_bins`` strips, one above the other."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward parts."""
    patch_size: int | tuple[int, int] = 4
    """Sides of a patch."""
    patch_stride: int | tuple[int, int] = (4, 4)
    """From patch to patch."""
    hidden_size: int = 768
    """Width of the last stage."""
    depths: tuple[int, ...] = (2, 2, 6, 2)
    """Layers of each stage."""
    num_attention_heads: tuple[int, ...] = (4, 8, 16, 32)
    """Heads in each stage."""
    enable_fusion: bool = False
    """Whether four pictures of a sound are joined."""
    fusion_type: str | None = None
    """How; what transformers can run has none."""
    aff_block_r: int = 4
    """By how much the attention that joins them is narrower than the stream."""
    patch_embed_input_channels: int = 1
    """Channels of a picture."""
    patch_embeds_hidden_size: int = 96
    """Width of the first stage; each has twice the width of the one before."""
    enable_patch_layer_norm: bool = True
    """Whether patches are normalised."""
    flatten_patch_embeds: bool = True
    """Always true: what is not flattened, no stage of transformers takes."""
    hidden_dropout_prob: float = 0.1
    """Dropout of what feed-forward parts add."""
    attention_probs_dropout_prob: float = 0.0
    """Dropout of the attention weights, and of what attention adds."""
    drop_path_rate: float = 0.0
    """Stochastic depth of the last layer; earlier ones have proportionally less."""
    qkv_bias: bool = True
    """Whether queries, keys and values have biases."""
    mlp_ratio: float = 4.0
    """Width inside the feed-forward part over that of the stream."""
    layer_norm_eps: float = 1e-5
    """Added to variances in the layers' norms."""

    @staticmethod
    def read(described: Any, where: str = "audio_config") -> AudioConfig:
        """From a part of ``config.json``; keys that shape nothing are left alone.

        Raises:
            DataError: it is no object, or describes a variant that is not built.
            ArgumentError: sizes that do not fit each other.
        """
        if not isinstance(described, Mapping):
            raise DataError(f"{where} in the config.json is {kind_of(described)}", fix="correct the config.json")
        known = {f.name for f in fields(AudioConfig)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in described.items() if k in known}
        made = replace(AudioConfig(), **given)
        for key, built in {"fusion_type": None, "flatten_patch_embeds": True, "patch_embed_input_channels": 1}.items():
            if getattr(made, key) != built:
                raise DataError(
                    f"{where}: {key}={getattr(made, key)!r}", why=f"nyala's has {built!r}, as all published ones", fix="use those"
                )
        made._check(where)
        return made

    def _check(self, where: str) -> None:
        problem, (down, across), stages = "", self.grid, len(self.depths)
        if stages != len(self.num_attention_heads) or not stages:
            problem = f"{stages} depths and {len(self.num_attention_heads)} num_attention_heads"
        elif self.hidden_size != self.patch_embeds_hidden_size << (stages - 1):
            problem = f"hidden_size {self.hidden_size} behind {stages} stages from {self.patch_embeds_hidden_size} on"
        elif any((self.patch_embeds_hidden_size << i) % heads for i, heads in enumerate(self.num_attention_heads)):
            problem = f"num_attention_heads {self.num_attention_heads} do not divide the widths"
        elif not 0 < self.num_mel_bins <= self.spec_size or self.spec_size % self.strips:
            problem = f"{self.num_mel_bins} bands in a picture of {self.spec_size}"
        elif min(down, across) < self.window_size << (stages - 1) or (down | across) % (1 << (stages - 1)):
            problem = f"windows of {self.window_size} in {down} x {across} patches that are halved {stages - 1} times"
        if problem:
            raise ArgumentError(f"{where}: {problem}", why="they do not fit each other", fix="correct the config.json")
        activation(self.hidden_act)  # an unknown name is an error now, not in the middle of building

    @property
    def strips(self) -> int:
        """Pieces of time that lie above each other in the picture."""
        return self.spec_size // self.num_mel_bins

    @property
    def frames(self) -> int:
        """Frames of the longest sound; fewer are stretched to as many."""
        return self.spec_size * self.strips

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (down, across) of the picture."""
        down, across = _pair(self.patch_stride)
        return self.spec_size // down, self.spec_size // across


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _gate(width: int, inner: int, *before: nn.Module) -> nn.Sequential:
    """Two 1x1 convolutions, each with a norm."""
    return nn.Sequential(
        *before, nn.Conv2d(width, inner, 1), nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, width, 1), nn.BatchNorm2d(width)
    )


class AttentionalFusion(nn.Module):
    """Two pictures of patches become one, which of them counts how much is learnt (Dai et al., arXiv:2009.14082).

    Shape: (N, C, H, W) twice -> the same.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.local_att = _gate(width, inner)
        self.global_att = _gate(width, inner, nn.AdaptiveAvgPool2d(1))

    def forward(self, whole: Tensor, pieces: Tensor) -> Tensor:
        both = whole + pieces
        share = (self.local_att(both) + self.global_att(both)).sigmoid()
        return 2 * whole * share + 2 * pieces * (1 - share)


class PatchEmbed(nn.Module):
    """A picture cut into patches: (N, 1 or 4, H, W) -> (N, H / stride, W / stride, D)."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width, size, stride = config.patch_embeds_hidden_size, _pair(config.patch_size), _pair(config.patch_stride)
        pads = ((size[0] - stride[0]) // 2, (size[1] - stride[1]) // 2)
        self.proj = nn.Conv2d(1, width, size, stride, pads)
        self.norm = nn.LayerNorm(width) if config.enable_patch_layer_norm else nn.Identity()
        if config.enable_fusion:
            self.fusion_model = AttentionalFusion(width, width // config.aff_block_r)
            self.mel_conv2d = nn.Conv2d(1, width, (size[0], 3 * size[1]), (stride[0], 3 * stride[1]), pads)

    def forward(self, x: Tensor, longer: np.ndarray[Any, Any]) -> Tensor:
        """``longer`` are the numbers of the sounds whose pieces are looked at too."""
        whole = self.proj(x[:, :1])
        if len(longer):
            others = np.setdiff1d(np.arange(len(whole)), longer)
            order = np.argsort(np.concatenate([longer, others]))
            fused = self._joined(_rows(whole, longer), _rows(x, longer)[:, 1:])
            whole = _rows(cat([fused, _rows(whole, others)], 0), order) if len(others) else fused
        return self.norm(whole.permute(0, 2, 3, 1))

    def _joined(self, whole: Tensor, pieces: Tensor) -> Tensor:
        count, three, down, across = pieces.shape
        seen = self.mel_conv2d(pieces.reshape(count * three, 1, down, across))
        seen = seen.reshape(count, three, *seen.shape[1:]).permute(0, 2, 3, 1, 4).flatten(3)  # the pieces side by side
        return self.fusion_model(whole, F.pad(seen, (0, whole.shape[3] - seen.shape[3])))


def _rows(x: Tensor, numbers: np.ndarray[Any, Any]) -> Tensor:
    return x[tensor(numbers, device=x.device)]


class Stage(nn.Module):
    """Layers, every other with shifted windows, and merging, but in the last stage: (N, H, W, C) -> (N, H / 2, W / 2, 2 C)."""

    def __init__(self, config: AudioConfig, stage: int) -> None:
        super().__init__()
        width, window = config.patch_embeds_hidden_size << stage, (config.window_size, config.window_size)
        before, total = sum(config.depths[:stage]), sum(config.depths)
        self.blocks = nn.ModuleList(
            WindowBlock(
                width, config.num_attention_heads[stage], window, i % 2 == 1, pads_first=True, mlp_ratio=config.mlp_ratio,
                eps=config.layer_norm_eps, drop1=config.attention_probs_dropout_prob, drop2=config.hidden_dropout_prob,
                drop_path=config.drop_path_rate * (before + i) / max(total - 1, 1), act=config.hidden_act,
                attention={"fused": False, "qkv_bias": config.qkv_bias, "dropout": config.attention_probs_dropout_prob},
            )
            for i in range(config.depths[stage])
        )  # fmt: skip
        self.downsample = PatchMerging(width) if stage + 1 < len(config.depths) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class AudioEncoder(nn.Module):
    """Log-mel frames -> one vector.

    Shape: (N, 1, T, num_mel_bins), with fusion (N, 4, T, num_mel_bins), T up to ``config.frames`` -> (N, hidden_size).

    Example:
        >>> import nyala
        >>> tiny = {"num_mel_bins": 8, "spec_size": 16, "window_size": 2, "depths": [2, 2], "num_attention_heads": [1, 2]}
        >>> encoder = AudioEncoder(AudioConfig.read({**tiny, "patch_embeds_hidden_size": 8, "hidden_size": 16})).eval()
        >>> encoder(nyala.zeros(2, 1, 30, 8)).shape
        (2, 16)
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.layers = nn.ModuleList(Stage(config, i) for i in range(len(config.depths)))
        self.batch_norm = nn.BatchNorm2d(config.num_mel_bins)
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, input_features: Tensor, is_longer: Tensor | None = None) -> Tensor:
        return self.tokens(input_features, is_longer).mean(dim=(1, 2))

    def tokens(self, input_features: Tensor, is_longer: Tensor | None = None) -> Tensor:
        """One vector a place of the last stage: (N, H, W, hidden_size).

        Args:
            input_features: the frames, in decibels.
            is_longer: (N,) or (N, 1), of which sounds the three pieces are looked at, with fusion; None for no sound.

        Raises:
            ShapeError: another shape, or more frames than the picture holds.
        """
        self._check(input_features, is_longer)
        longer = np.zeros(0, np.int64)
        if self.config.enable_fusion and is_longer is not None:
            longer = np.flatnonzero(is_longer.detach().cpu().numpy())
        x = self.batch_norm(input_features.transpose(1, 3)).transpose(1, 3)
        x = self.patch_embed(self._folded(x), longer)
        for stage in self.layers:
            x = stage(x)
        return self.norm(x)

    def _folded(self, x: Tensor) -> Tensor:
        """(N, C, T, bands) -> (N, C, spec_size, spec_size): the strips of time one above the other."""
        strips, frames, bands = self.config.strips, self.config.frames, self.config.spec_size // self.config.strips
        if x.shape[2:] != (frames, bands):
            x = F.interpolate(x, (frames, x.shape[3]), mode="bicubic", align_corners=True)
            x = F.interpolate(x, (frames, bands), mode="bicubic", align_corners=True)
        count, channels = x.shape[:2]
        x = x.reshape(count, channels, strips, frames // strips, bands).transpose(3, 4)
        return x.reshape(count, channels, strips * bands, frames // strips)

    def _check(self, input_features: Tensor, is_longer: Tensor | None) -> None:
        shape, config = input_features.shape, self.config
        pictures = 4 if config.enable_fusion else 1
        if len(shape) != 4 or shape[1] != pictures or shape[3] != config.num_mel_bins or not 1 <= shape[2] <= config.frames:
            raise ShapeError(
                f"input_features of shape {shape}",
                why=f"this CLAP takes (N, {pictures}, T, {config.num_mel_bins}) with T up to {config.frames} frames",
                fix="prepare sounds with the pipeline's preprocess",
            )
        if is_longer is not None and is_longer.numel() != shape[0]:
            raise ShapeError(f"is_longer of shape {is_longer.shape} for {shape[0]} sound(s)", fix="say it of each")
