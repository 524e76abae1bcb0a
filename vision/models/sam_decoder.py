"""SAM's decoder: tokens of prompts and the map of a picture look at each other, and become masks.

Kirillov et al., "Segment anything", arXiv:2304.02643, appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...core import nn
from ...core.create import arange
from ...core.nn import functional as F
from ...core.ops.attention import attend, join_heads, split_heads
from ...core.ops.shape import cat, stack
from ...core.tensor import Tensor
from .convnext import LayerNorm2d
from .sam_vision import MLP


@dataclass(frozen=True)
class DecoderConfig:
    """What shapes the decoder of masks."""

    hidden_size: int = 256
    """Width of the stream."""
    hidden_act: str = "relu"
    """Activation of the feed-forward parts."""
    mlp_dim: int = 2048
    """Width inside the feed-forward parts."""
    num_hidden_layers: int = 2
    """Layers."""
    num_attention_heads: int = 8
    """Heads of each attention."""
    attention_downsample_rate: int = 2
    """Width of the stream over that of the attention between tokens and picture."""
    num_multimask_outputs: int = 3
    """Masks that are offered for an ambiguous prompt."""
    iou_head_depth: int = 3
    """Layers of the network that judges masks."""
    iou_head_hidden_dim: int = 256
    """Width inside it."""
    layer_norm_eps: float = 1e-6
    """Added to variances in the layers' norms."""


def rows(table: nn.Module) -> Tensor:
    """(N, D): all rows of an ``Embedding``, looked up, so that what is attached to it counts."""
    weight = table.get_parameter("weight")
    found: Tensor = table(arange(len(weight), device=weight.device))
    return found


class Attention(nn.Module):
    """Attention whose keys and values may come from different tensors, (N, T, D) each, in fewer features."""

    def __init__(self, width: int, heads: int, rate: int) -> None:
        super().__init__()
        inner = width // rate
        self.head_dim = inner // heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        q, k, v = (split_heads(layer(t), self.head_dim) for layer, t in parts)
        return self.out_proj(join_heads(attend(q, k, v, None, None, None)))


class TwoWayBlock(nn.Module):
    """Tokens look at each other and at the picture, then the picture at the tokens."""

    def __init__(self, config: DecoderConfig, first: bool) -> None:
        super().__init__()
        width, heads, rate, eps = (
            config.hidden_size, config.num_attention_heads, config.attention_downsample_rate, config.layer_norm_eps,
        )  # fmt: skip
        self.first = first
        self.self_attn = Attention(width, heads, 1)
        self.layer_norm1 = nn.LayerNorm(width, eps)
        self.cross_attn_token_to_image = Attention(width, heads, rate)
        self.layer_norm2 = nn.LayerNorm(width, eps)
        self.mlp = MLP(width, config.mlp_dim, config.hidden_act)
        self.layer_norm3 = nn.LayerNorm(width, eps)
        self.layer_norm4 = nn.LayerNorm(width, eps)
        self.cross_attn_image_to_token = Attention(width, heads, rate)

    def forward(self, tokens: Tensor, image: Tensor, prompts: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """``tokens`` (N, T, D), ``image`` (N, H * W, D) -> both; ``prompts`` and ``places`` are added where they are compared."""
        if self.first:  # the tokens are the prompts
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            asked = tokens + prompts
            tokens = tokens + self.self_attn(asked, asked, tokens)
        tokens = self.layer_norm1(tokens)
        tokens = self.layer_norm2(tokens + self.cross_attn_token_to_image(tokens + prompts, image + places, image))
        tokens = self.layer_norm3(tokens + self.mlp(tokens))
        image = self.layer_norm4(image + self.cross_attn_image_to_token(image + places, tokens + prompts, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """The blocks, and a last look of the tokens at the picture."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(config, i == 0) for i in range(config.num_hidden_layers))
        width, heads = config.hidden_size, config.num_attention_heads
        self.final_attn_token_to_image = Attention(width, heads, config.attention_downsample_rate)
        self.layer_norm_final_attn = nn.LayerNorm(width)

    def forward(self, prompts: Tensor, image: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        tokens = prompts
        for layer in self.layers:
            tokens, image = layer(tokens, image, prompts, places)
        seen = self.final_attn_token_to_image(tokens + prompts, image + places, image)
        return self.layer_norm_final_attn(tokens + seen), image


class FeedForward(nn.Module):
    """Linear layers with ReLU between."""

    def __init__(self, inputs: int, hidden: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.proj_in, self.proj_out = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth - 2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.proj_in(x))
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.proj_out(x)


class MaskDecoder(nn.Module):
    """The picture's map and the prompts' tokens -> masks, and how well each fits."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width, masks = config.hidden_size, config.num_multimask_outputs + 1
        self.iou_token, self.mask_tokens = nn.Embedding(1, width), nn.Embedding(masks, width)
        self.transformer = TwoWayTransformer(config)
        self.upscale_conv1 = nn.ConvTranspose2d(width, width // 4, 2, 2)
        self.upscale_conv2 = nn.ConvTranspose2d(width // 4, width // 8, 2, 2)
        self.upscale_layer_norm = LayerNorm2d(width // 4, 1e-6)
        self.output_hypernetworks_mlps = nn.ModuleList(FeedForward(width, width, width // 8, 3) for _ in range(masks))
        self.iou_prediction_head = FeedForward(width, config.iou_head_hidden_dim, masks, config.iou_head_depth)

    def forward(self, image: Tensor, places: Tensor, prompts: Tensor | None) -> tuple[Tensor, Tensor]:
        """All masks, the single one first.

        Args:
            image: (N, D, H, W), one a prompt.
            places: (1, D, H, W), the vectors of its places.
            prompts: (N, T, D) tokens.

        Returns:
            (N, masks, 4 H, 4 W) and (N, masks).
        """
        count, width, high, wide = image.shape
        own = cat([rows(self.iou_token), rows(self.mask_tokens)], 0)
        tokens = own.expand(count, -1, -1) if prompts is None else cat([own.expand(count, -1, -1), prompts], 1)
        tokens, seen = self.transformer(tokens, image.flatten(2).transpose(1, 2), places.flatten(2).transpose(1, 2))
        large = self.upscale_conv1(seen.transpose(1, 2).reshape(count, width, high, wide))
        large = F.gelu(self.upscale_conv2(F.gelu(self.upscale_layer_norm(large))))
        weights = stack([net(tokens[:, 1 + i]) for i, net in enumerate(self.output_hypernetworks_mlps)], 1)
        masks = (weights @ large.flatten(2)).reshape(count, -1, 4 * high, 4 * wide)
        return masks, self.iou_prediction_head(tokens[:, 0])
