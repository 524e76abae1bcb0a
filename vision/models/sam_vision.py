"""SAM's encoder of pictures: a vision transformer whose layers look through windows, but for a few that see all (Li et al.,
arXiv:2203.16527), with learnt numbers for distances (Li et al., arXiv:2112.01526), and a neck of convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core import nn
from ...core.create import zeros
from ...core.devices import move_constant
from ...core.errors import ShapeError
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.ops.attention import attend, join_heads, split_heads
from ...core.ops.linalg import einsum
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from .convnext import LayerNorm2d


@dataclass(frozen=True)
class VisionConfig:
    """What shapes the encoder; the defaults are those of ``facebook/sam-vit-base``."""

    hidden_size: int = 768
    """Width of the stream."""
    output_channels: int = 256
    """Channels of what it gives."""
    num_hidden_layers: int = 12
    """Layers."""
    num_attention_heads: int = 12
    """Heads of each layer."""
    num_channels: int = 3
    """Channels of a picture."""
    image_size: int = 1024
    """Side of the pictures that the positions are for, in pixels."""
    patch_size: int = 16
    """Side of a patch, in pixels."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward part."""
    layer_norm_eps: float = 1e-6
    """Added to variances in layer norms."""
    attention_dropout: float = 0.0
    """Dropout of the attention weights."""
    qkv_bias: bool = True
    """Whether queries, keys and values have biases."""
    mlp_ratio: float = 4.0
    """Width inside the feed-forward part over that of the stream."""
    mlp_dim: int | None = None
    """That width itself, where it is given."""
    use_abs_pos: bool = True
    """Whether patches get position vectors."""
    use_rel_pos: bool = True
    """Whether attention knows distances."""
    window_size: int = 14
    """Side of a window, in patches; 0 for layers that all see everything."""
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    """Layers that see everything."""
    num_pos_feats: int = 128
    """Half the width of the vectors of places."""

    @property
    def side(self) -> int:
        """Patches along a side of a picture of ``image_size``."""
        return self.image_size // self.patch_size

    @property
    def hidden_dim(self) -> int:
        """Width inside the feed-forward part."""
        return int(self.hidden_size * self.mlp_ratio) if self.mlp_dim is None else self.mlp_dim


class MLP(nn.Module):
    """Two linear layers with an activation between."""

    def __init__(self, width: int, hidden: int, act: str) -> None:
        super().__init__()
        self.lin1, self.lin2, self.act = nn.Linear(width, hidden), nn.Linear(hidden, width), activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(x)))


def _distances(table: Tensor, side: int) -> Tensor:
    """(2 * trained - 1, D), a row a distance -> (side, side, D): that from each place to each other, resampled where need be."""
    if len(table) != 2 * side - 1:
        table = F.interpolate(table.transpose(0, 1).unsqueeze(0), 2 * side - 1, mode="linear")[0].transpose(0, 1)
    places = np.arange(side)
    return table[Tensor(move_constant(places[:, None] - places[None] + side - 1, table.device))]


def _rows_and_columns(high: int, wide: int, like: Tensor) -> Tensor:
    """(high * wide, high + wide): 1 at the row and at the column that a place lies in, else 0."""
    places = np.arange(high * wide)
    marks = np.zeros((high * wide, high + wide), np.float32)
    marks[places, places // wide] = marks[places, high + places % wide] = 1
    return Tensor(move_constant(marks, like.device)).to(like.dtype)


class VisionAttention(nn.Module):
    """Attention among the patches of a window, (N, H, W, D) -> the same.

    What is learnt of distances is added to the scores: for each query a number a row, and one a column. They become features of
    the queries, whose partners in the keys say where a key lies; so the scores are never laid out as a whole.
    """

    def __init__(self, config: VisionConfig, side: int) -> None:
        super().__init__()
        width, heads = config.hidden_size, config.num_attention_heads
        self.head_dim, self.dropout = width // heads, config.attention_dropout
        self.qkv = nn.Linear(width, 3 * width, bias=config.qkv_bias)
        self.proj = nn.Linear(width, width)
        self.use_rel_pos = config.use_rel_pos
        if config.use_rel_pos:
            self.rel_pos_h = nn.Parameter(zeros(2 * side - 1, self.head_dim))
            self.rel_pos_w = nn.Parameter(zeros(2 * side - 1, self.head_dim))

    def forward(self, x: Tensor) -> Tensor:
        count, high, wide, _ = x.shape
        q, k, v = (split_heads(t, self.head_dim) for t in self.qkv(x.flatten(1, 2)).chunk(3, -1))  # (N, heads, H * W, head_dim)
        scale = self.head_dim**-0.5
        if self.use_rel_pos:
            at = q.reshape(count, -1, high, wide, self.head_dim)
            down = einsum("nahwc,hkc->nahwk", at, _distances(self.rel_pos_h, high)).reshape(*q.shape[:3], high)
            across = einsum("nahwc,wkc->nahwk", at, _distances(self.rel_pos_w, wide)).reshape(*q.shape[:3], wide)
            places = _rows_and_columns(high, wide, k).expand(*k.shape[:2], -1, -1)
            q, k, scale = cat([q * scale, down, across], -1), cat([k, places], -1), 1.0
        mixed = attend(q, k, v, None, None, scale, dropout_p=self.dropout if self.training else 0.0)
        return self.proj(join_heads(mixed)).reshape(count, high, wide, -1)


class VisionLayer(nn.Module):
    """Attention, within windows where ``window`` is not 0, then feed-forward, each behind its norm: (N, H, W, D) -> the same."""

    def __init__(self, config: VisionConfig, window: int) -> None:
        super().__init__()
        self.window = window
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.attn = VisionAttention(config, window or config.side)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = MLP(config.hidden_size, config.hidden_dim, config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.layer_norm1(x)
        x = x + (self._windowed(normed) if self.window else self.attn(normed))
        return x + self.mlp(self.layer_norm2(x))

    def _windowed(self, x: Tensor) -> Tensor:
        """Attention within windows; what is missing to whole ones is filled with zeros, and seen."""
        count, high, wide, width = x.shape
        size = self.window
        rows, columns = -(-high // size), -(-wide // size)
        x = F.pad(x, (0, 0, 0, columns * size - wide, 0, rows * size - high))
        x = x.reshape(count, rows, size, columns, size, width).permute(0, 1, 3, 2, 4, 5)
        x = self.attn(x.reshape(-1, size, size, width))
        x = x.reshape(count, rows, columns, size, size, width).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(count, rows * size, columns * size, width)[:, :high, :wide]


class Neck(nn.Module):
    """The stream as a map of fewer channels."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        channels = config.output_channels
        self.conv1 = nn.Conv2d(config.hidden_size, channels, 1, bias=False)
        self.layer_norm1 = LayerNorm2d(channels, 1e-6)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.layer_norm2 = LayerNorm2d(channels, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm1(self.conv1(x.permute(0, 3, 1, 2)))
        return self.layer_norm2(self.conv2(x))


class PatchEmbeddings(nn.Module):
    """A picture cut into patches: (N, C, H, W) -> (N, rows, columns, D)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(config.num_channels, config.hidden_size, config.patch_size, config.patch_size)

    def forward(self, x: Tensor) -> Tensor:
        patch = self.projection.kernel_size[0]
        if x.ndim == 4 and (min(x.shape[2:]) < patch or x.shape[2] % patch or x.shape[3] % patch):
            raise ShapeError(
                f"a picture of {x.shape[2]} x {x.shape[3]} pixels", why=f"its patches have {patch} x {patch}", fix="pad it"
            )
        return self.projection(x).permute(0, 2, 3, 1)


class VisionEncoder(nn.Module):
    """Pictures -> maps: (N, C, H, W) -> (N, output_channels, H / patch_size, W / patch_size).

    Pictures of another size than ``image_size`` get their positions by bicubic interpolation, which is ours: the published models
    take one size alone.

    Example:
        >>> import nyala
        >>> tiny = VisionConfig(8, 6, 2, 2, image_size=64, window_size=3, global_attn_indexes=(1,))
        >>> VisionEncoder(tiny)(nyala.zeros(1, 3, 64, 64)).shape
        (1, 6, 4, 4)
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbeddings(config)
        self.use_abs_pos = config.use_abs_pos
        if config.use_abs_pos:
            self.pos_embed = nn.Parameter(zeros(1, config.side, config.side, config.hidden_size))
        windows: list[Any] = [config.window_size] * config.num_hidden_layers
        for i in config.global_attn_indexes:
            windows[i] = 0
        self.layers = nn.ModuleList(VisionLayer(config, window) for window in windows)
        self.neck = Neck(config)

    def _positions(self, high: int, wide: int) -> Tensor:
        if self.pos_embed.shape[1:3] == (high, wide):
            return self.pos_embed
        table = self.pos_embed.permute(0, 3, 1, 2)
        return F.interpolate(table, (high, wide), mode="bicubic", align_corners=False, antialias=True).permute(0, 2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        if self.use_abs_pos:
            x = x + self._positions(*x.shape[1:3])
        for layer in self.layers:
            x = layer(x)
        return self.neck(x)
