"""Vision transformers: ViT (Dosovitskiy et al., arXiv:2010.11929), DeiT (Touvron et al., arXiv:2012.12877 and 2204.07118) and
DINOv2 (Oquab et al., arXiv:2304.07193; with registers: Darcet et al., arXiv:2309.16588).

Loads timm's checkpoints (``timm/vit_base_patch16_224.augreg2_in21k_ft_in1k``, ``timm/deit3_small_patch16_224.fb_in1k``,
``timm/vit_small_patch14_reg4_dinov2.lvd142m``), whose tensor names are ours, and transformers' (``google/vit-base-patch16-224``,
``facebook/deit-base-distilled-patch16-224``, ``facebook/dinov2-small``, ``facebook/dinov2-with-registers-small``), which are read
by :mod:`.vit_layouts`. Pictures of any size are taken: the position vectors are resampled as each library does it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core import nn
from ...core.create import zeros
from ...core.errors import ArgumentError, ShapeError, UnknownNameError, did_you_mean
from ...core.keymap import KeyMap
from ...core.nn import functional as F
from ...core.ops.elementwise import where
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config

# size -> (width, layers, heads)
SIZES: dict[str, tuple[int, int, int]] = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "medium": (512, 12, 8),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
    "giant": (1536, 40, 24),
}
_NAME = re.compile(
    r"(?P<kind>vit|deit|deit3)_(?P<size>[a-z]+)(?P<distilled>_distilled)?_patch(?P<patch>\d+)"
    r"(?:_(?P<side>\d+)|(?P<registers>_reg4)?_dinov2)"
)
_EXAMPLES = [f"{kind}_{size}_patch16_224" for kind in ("vit", "deit", "deit3") for size in ("tiny", "small", "base", "large")]
# Of timm's arguments: how a picture of another size is met, which nyala always does.
_NEEDLESS = ("dynamic_img_size", "dynamic_img_pad", "weight_init", "strict_img_size")


@dataclass(frozen=True)
class Config:
    """What shapes a vision transformer."""

    architecture: str = "vit_base_patch16_224"
    """Name in timm's registry, or transformers' ``model_type``."""
    img_size: int | tuple[int, int] = 224
    """Side, or (height, width), of the pictures that the position vectors are for, in pixels."""
    patch_size: int = 16
    """Side of a patch, in pixels."""
    in_chans: int = 3
    """Channels of the input."""
    num_classes: int = 1000
    """Classes; 0 for features only."""
    embed_dim: int = 768
    """Width of the stream."""
    depth: int = 12
    """Layers."""
    num_heads: int = 12
    """Heads of each layer."""
    mlp_ratio: float = 4.0
    """Width inside the feed-forward part over that of the stream."""
    qkv_bias: bool = True
    """Whether queries, keys and values have biases."""
    init_values: float | None = None
    """Where layer scale starts; None for none."""
    class_token: bool = True
    """Whether a learnt token stands before the patches."""
    distilled: bool = False
    """Whether a second one learns from a teacher and has a classifier of its own."""
    reg_tokens: int = 0
    """Learnt tokens behind these, which nothing is read from."""
    no_embed_class: bool = False
    """Whether none of these tokens has a position."""
    embed_registers: bool = True
    """Whether registers have positions where the class token has one."""
    global_pool: str = "token"
    """What the head reads: the class "token", the "avg" of the patches, or "token+avg", one behind the other."""
    fc_norm: bool | None = None
    """Whether the norm stands behind the pooling; None for where it pools "avg"."""
    drop_rate: float = 0.0
    """Dropout before the classifier."""
    pos_drop_rate: float = 0.0
    """Dropout of the embeddings."""
    proj_drop_rate: float = 0.0
    """Dropout of what each part adds to the stream."""
    attn_drop_rate: float = 0.0
    """Dropout of the attention weights."""
    drop_path_rate: float = 0.0
    """Stochastic depth of the last layer; earlier ones have proportionally less."""
    norm_eps: float = 1e-6
    """Added to variances in layer norms."""
    act: str = "gelu"
    """Activation of the feed-forward part."""
    swiglu: bool = False
    """Whether the feed-forward part is gated by SiLU (the giant DINOv2)."""
    antialias: bool = True
    """Whether position vectors are filtered before they are resampled to fewer."""
    mask_token: bool = False
    """Whether there is a vector that stands in for hidden patches."""
    pooler: bool = False
    """Whether the pooled features go through a layer with tanh (transformers' ``ViTModel``)."""
    layout: str = "timm"
    """"timm", or the name of transformers' class."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a vision transformer that nyala knows.
            ArgumentError: an option that it does not have.
        """
        name = str(config.get("architecture", "vit_base_patch16_224")).partition(".")[0]
        base = _of_name(name)
        size = (config.get("pretrained_cfg") or {}).get("input_size")
        given = {k: v for k, v in {**config.get("model_args", {}), **overrides}.items() if k not in _NEEDLESS}
        pool = given.pop("global_pool", config.get("global_pool", base.global_pool))
        if size and "img_size" not in given:
            given["img_size"] = size[1] if size[1] == size[2] else size[1:]
        said = timm_arguments(Config, {k: v for k, v in config.items() if k != "model_args"}, given)
        return replace(base, global_pool=pool, **said)

    def __post_init__(self) -> None:
        if self.global_pool not in ("token", "avg", "token+avg"):
            raise ArgumentError(f"global_pool={self.global_pool!r}", fix="use 'token' or 'avg'")
        if self.global_pool != "avg" and not self.class_token:
            raise ArgumentError(f"global_pool={self.global_pool!r} without a class token", fix="use global_pool='avg'")

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (down, across) of a picture of ``img_size``."""
        sides = self.img_size if isinstance(self.img_size, tuple) else (self.img_size, self.img_size)
        return sides[0] // self.patch_size, sides[1] // self.patch_size

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches."""
        return int(self.class_token) + int(self.distilled) + self.reg_tokens

    @property
    def placed_prefix_tokens(self) -> int:
        """Of these, how many have a position."""
        return 0 if self.no_embed_class else self.num_prefix_tokens - (0 if self.embed_registers else self.reg_tokens)

    @property
    def hidden_dim(self) -> int:
        """Width inside the feed-forward part."""
        wide = int(self.embed_dim * self.mlp_ratio + 1e-6)
        return (int(wide * 2 / 3) + 7) // 8 * 8 if self.swiglu else wide


def _of_name(name: str) -> Config:
    found = _NAME.fullmatch(name)
    if found is None or found["size"] not in SIZES or (found["size"] == "giant" and found["side"]):
        raise UnknownNameError(f"no vision transformer is called {name!r}", fix=did_you_mean(name, _EXAMPLES))
    width, depth, heads = SIZES[found["size"]]
    dinov2, deit3 = found["side"] is None, found["kind"] == "deit3"
    return Config(
        name, int(found["side"] or 518), int(found["patch"]), embed_dim=width, depth=depth, num_heads=heads,
        distilled=bool(found["distilled"]), init_values=1e-5 if dinov2 else 1e-6 if deit3 else None,
        reg_tokens=4 if found["registers"] else 0, no_embed_class=deit3 or bool(found["registers"]),
        swiglu=dinov2 and found["size"] == "giant",
    )  # fmt: skip


class PatchEmbed(nn.Module):
    """A picture cut into patches, each of them a vector: (N, C, H, W) -> (N, D, H / patch, W / patch).

    ``config`` says ``in_chans``, ``embed_dim`` and ``patch_size``.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.in_chans, config.embed_dim, config.patch_size, config.patch_size)

    def forward(self, x: Tensor) -> Tensor:
        patch = self.proj.kernel_size[0]
        if x.ndim == 4 and min(x.shape[2:]) < patch:
            raise ShapeError(
                f"a picture of {x.shape[2]} x {x.shape[3]} pixels", why=f"one patch has {patch} x {patch}", fix="enlarge it"
            )
        return self.proj(x)


def _block(config: Config, drop_path: float) -> nn.TransformerBlock:
    gate = {"act": "silu", "gated": True, "fused": True} if config.swiglu else {"act": config.act}
    return nn.TransformerBlock(
        config.embed_dim,
        config.num_heads,
        config.hidden_dim,
        norm=lambda dim: nn.LayerNorm(dim, config.norm_eps),
        dropout=config.proj_drop_rate,
        drop_path=drop_path,
        layer_scale=config.init_values,
        attention={"fused": True, "bias": {"qkv": config.qkv_bias}, "dropout": config.attn_drop_rate},
        mlp={**gate, "dropout": config.proj_drop_rate},
    )


class Pooler(nn.Module):
    """A layer with tanh."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x).tanh()


class VisionTransformer(nn.Model):
    """Patches and a few learnt tokens through transformer layers, pooling and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes); without classes, the pooled features.

    Example:
        >>> import nyala
        >>> model = VisionTransformer(Config(img_size=32, embed_dim=8, depth=1, num_heads=2, num_classes=10)).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape, model(nyala.zeros(1, 3, 50, 64)).shape
        ((1, 10), (1, 10))
    """

    classifier_name = "head"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.num_features = 2 * dim if config.global_pool == "token+avg" else dim
        for name, count in self._tokens().items():
            setattr(self, name, nn.Parameter(zeros(1, count, dim)))
        if config.mask_token:
            self.mask_token = nn.Parameter(zeros(1, dim))
        down, across = config.grid
        self.pos_embed = nn.Parameter(zeros(1, config.placed_prefix_tokens + down * across, dim))
        self.patch_embed = PatchEmbed(config)
        self.pos_drop = nn.Dropout(config.pos_drop_rate)
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(_block(config, config.drop_path_rate * i / last) for i in range(config.depth))
        behind = config.global_pool == "avg" if config.fc_norm is None else config.fc_norm
        self.norm = nn.Identity() if behind else nn.LayerNorm(dim, config.norm_eps)
        self.fc_norm = nn.LayerNorm(dim, config.norm_eps) if behind else nn.Identity()
        self.pooler = Pooler(dim) if config.pooler else nn.Identity()
        self.head_drop = nn.Dropout(config.drop_rate)
        for name in self._heads():
            classes = config.num_classes
            self.add_module(name, nn.Linear(self.num_features, classes) if classes else nn.Identity())
        self._initialise()

    def _tokens(self) -> dict[str, int]:
        """The learnt tokens before the patches, in order, and how many of each there are."""
        config = self.config
        counts = {"cls_token": int(config.class_token), "dist_token": int(config.distilled), "reg_token": config.reg_tokens}
        return {name: count for name, count in counts.items() if count}

    def _heads(self) -> tuple[str, ...]:
        return (
            ("head", "head_dist") if self.config.distilled and self.config.layout != "DeiTForImageClassification" else ("head",)
        )

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name in ("pos_embed", *self._tokens()):
            nn.init.trunc_normal_(getattr(self, name), std=0.02)

    def positions(self, down: int, across: int) -> Tensor:
        """Position vectors for ``down`` x ``across`` patches, behind those of the tokens: (1, T, embed_dim)."""
        if (down, across) == self.config.grid:
            return self.pos_embed
        count = self.config.placed_prefix_tokens
        table = self.pos_embed[:, count:].reshape(1, *self.config.grid, -1).permute(0, 3, 1, 2)
        table = F.interpolate(table, (down, across), mode="bicubic", align_corners=False, antialias=self.config.antialias)
        patches = table.permute(0, 2, 3, 1).reshape(1, down * across, -1)
        return cat([self.pos_embed[:, :count], patches], 1) if count else patches

    def embed(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) to tokens with their positions (N, T, embed_dim); ``mask`` (N, patches) hides patches."""
        x = self.patch_embed(x)
        count, (down, across) = len(x), x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        if mask is not None:
            if not self.config.mask_token:
                raise ArgumentError("this vision transformer has no mask token", fix="leave mask out")
            x = where(mask.unsqueeze(-1), self.mask_token.unsqueeze(0), x)
        places, placed = self.positions(down, across), self.config.placed_prefix_tokens
        x = x + places[:, placed:]
        tokens = [getattr(self, name) for name in self._tokens()]
        if tokens:
            prefix = cat(tokens, 1)
            if placed:
                prefix = cat([prefix[:, :placed] + places[:, :placed], prefix[:, placed:]], 1)
            x = cat([prefix.expand(count, -1, -1), x], 1)
        return self.pos_drop(x)

    def forward_features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, in_chans, H, W) -> (N, T, embed_dim): the tokens before the patches, then the patches row by row."""
        x = self.embed(x, mask)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def pool(self, x: Tensor) -> Tensor:
        """(N, T, embed_dim) -> (N, num_features): what the head reads."""
        if self.config.global_pool == "token":
            return x[:, 0]
        mean = x[:, self.config.num_prefix_tokens :].mean(dim=1)
        return mean if self.config.global_pool == "avg" else cat([x[:, 0], mean], 1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, T, embed_dim) -> (N, num_classes), or the pooled features where ``pre_logits``.

        With two classifiers, the mean of what both say.
        """
        pooled = self.head_drop(self.pooler(self.fc_norm(self.pool(x))))
        if len(self._heads()) == 1:
            return pooled if pre_logits else self.head(pooled)
        other = x[:, 1]
        return (pooled + other) / 2 if pre_logits else (self.head(pooled) + self.head_dist(other)) / 2

    def head_names(self) -> list[str]:
        """The names of the classifiers' parameters."""
        return [n for n, _ in self.named_parameters() if n.partition(".")[0] in self._heads()]

    def reset_head(self, num_classes: int) -> None:
        """New classifiers for ``num_classes`` classes; 0 takes them away and leaves the features."""
        super().reset_head(num_classes)
        if "head_dist" in self._heads():
            new: nn.Module = nn.Identity()
            if num_classes:
                new = nn.Linear(self.num_features, num_classes).to(self.pos_embed)
            self.head_dist = new

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The layers."""
        yield from self.blocks

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the embeddings, 1.. for the layers, the last number for norm and head."""
        part, _, rest = name.partition(".")
        if part == "blocks":
            return int(rest.partition(".")[0]) + 1
        return self.config.depth + 1 if part in ("norm", "fc_norm", "pooler", "head", "head_dist") else 0


def build(config: Mapping[str, Any], **overrides: Any) -> VisionTransformer:
    """The model that timm's or transformers' ``config.json`` describes; ``overrides`` replace its values."""
    if "model_type" in config:
        from . import vit_layouts

        return VisionTransformer(vit_layouts.read(config, **overrides))
    return VisionTransformer(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """timm's names are ours; transformers' have a map."""
    if "model_type" in config:
        from . import vit_layouts

        return vit_layouts.key_map(config, published_names)
    return KeyMap()


def export_config(model: VisionTransformer) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    if model.config.layout != "timm":
        from . import vit_layouts

        return vit_layouts.write(model.config)
    said = timm_config(model.config, Config.from_dict({"architecture": model.config.architecture}), model.num_features)
    said.get("model_args", {}).pop("global_pool", None)
    return {**said, "global_pool": model.config.global_pool}
