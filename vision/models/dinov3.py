"""DINOv3's vision transformers (Siméoni et al., arXiv:2508.10104): rotary positions in the plane, registers, layer scale.

Loads transformers' checkpoints (``facebook/dinov3-vits16-pretrain-lvd1689m``, whose licence must be accepted on the hub) and
timm's (``timm/vit_small_patch16_dinov3.lvd1689m``). Positions are angles that follow from where a patch lies between the edges of
the picture, so pictures of any size are taken without resampling anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core import nn, random
from ...core.create import zeros
from ...core.devices import module_of, move_constant
from ...core.errors import ArgumentError, DataError, UnknownNameError, did_you_mean
from ...core.keymap import Ignore, KeyMap, Rename, Rule, Split
from ...core.nn import functional as F
from ...core.ops.attention import join_heads, split_heads
from ...core.ops.elementwise import where
from ...core.ops.positions import rotate
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config, transformers_classes
from .vit import PatchEmbed

# size -> (width, layers, heads, width inside the feed-forward part over the stream's, whether that part is gated)
SIZES: dict[str, tuple[int, int, int, float, bool]] = {
    "tiny": (192, 12, 3, 4.0, False),
    "small": (384, 12, 6, 4.0, False),
    "small_plus": (384, 12, 6, 4.0, True),
    "base": (768, 12, 12, 4.0, False),
    "large": (1024, 24, 16, 4.0, False),
    "huge_plus": (1280, 32, 20, 4.0, True),
    "7b": (4096, 40, 32, 2.0, True),
}
_NAME = re.compile(r"vit_(?P<size>[a-z0-9_]+)_patch(?P<patch>\d+)_dinov3(?P<biases>_qkvb)?")
_EXAMPLES = [f"vit_{size}_patch16_dinov3" for size in SIZES]
# Of timm's arguments: what nyala always does, or has in the weights' names.
_NEEDLESS = ("dynamic_img_size", "dynamic_img_pad", "strict_img_size")
_Places = tuple[Any, Any]  # cosines and sines, (T, head width / 2) each


@dataclass(frozen=True)
class Config:
    """What shapes a DINOv3 vision transformer."""

    architecture: str = "vit_small_patch16_dinov3"
    """Name in timm's registry, or "dinov3_vit" in transformers' layout."""
    img_size: int = 224
    """Side of the pictures it was trained on, in pixels; any other is taken too."""
    patch_size: int = 16
    """Side of a patch, in pixels."""
    in_chans: int = 3
    """Channels of the input."""
    num_classes: int = 0
    """Classes; 0 for features only, as it is published."""
    embed_dim: int = 384
    """Width of the stream."""
    depth: int = 12
    """Layers."""
    num_heads: int = 6
    """Heads of each layer; each is a multiple of four wide."""
    mlp_ratio: float = 4.0
    """Width inside the feed-forward part over that of the stream."""
    swiglu: bool = False
    """Whether the feed-forward part is gated."""
    act: str = "gelu"
    """Activation of the feed-forward part, or of its gate."""
    query_bias: bool = False
    """Whether the queries have a bias."""
    key_bias: bool = False
    """Whether the keys have a bias."""
    value_bias: bool = False
    """Whether the values have a bias."""
    proj_bias: bool = True
    """Whether the layer behind the attention has a bias."""
    mlp_bias: bool = True
    """Whether the layers of the feed-forward part have biases."""
    init_values: float = 1e-5
    """Where layer scale starts."""
    reg_tokens: int = 4
    """Learnt tokens behind the class token, which nothing is read from."""
    mask_token: bool = False
    """Whether there is a vector that stands in for hidden patches."""
    rope_temperature: float = 100.0
    """The longest period of the angles, in radians, is 2 pi times this."""
    pos_shift: float | None = None
    """While training, positions are shifted by up to this; the picture reaches from -1 to 1."""
    pos_jitter: float | None = None
    """While training, each axis is stretched by up to this factor."""
    pos_rescale: float | None = None
    """While training, both axes are stretched together by up to this factor."""
    global_pool: str = "avg"
    """What the head reads: the class "token", or the "avg" of the patches."""
    drop_rate: float = 0.0
    """Dropout before the classifier."""
    attn_drop_rate: float = 0.0
    """Dropout of the attention weights."""
    drop_path_rate: float = 0.0
    """Stochastic depth of the last layer; earlier ones have proportionally less."""
    norm_eps: float = 1e-5
    """Added to variances in layer norms."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's or transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a DINOv3 that nyala knows.
            DataError: another class than nyala builds.
        """
        if "model_type" in config:
            return _from_transformers({**config, **overrides})
        name = str(config.get("architecture", _EXAMPLES[1])).partition(".")[0]
        found = _NAME.fullmatch(name)
        if found is None or found["size"] not in SIZES:
            raise UnknownNameError(f"no DINOv3 is called {name!r}", fix=did_you_mean(name, _EXAMPLES))
        width, depth, heads, wide, gated = SIZES[found["size"]]
        biases = bool(found["biases"])
        base = Config(
            name, patch_size=int(found["patch"]), embed_dim=width, depth=depth, num_heads=heads, mlp_ratio=wide, swiglu=gated,
            act="silu" if gated else "gelu", query_bias=biases, value_bias=biases,
        )  # fmt: skip
        given = {k: v for k, v in {**config.get("model_args", {}), **overrides}.items() if k not in _NEEDLESS}
        pool = given.pop("global_pool", config.get("global_pool") or base.global_pool)
        said = timm_arguments(Config, {k: v for k, v in config.items() if k != "model_args"}, given)
        return replace(base, global_pool=pool, **said)

    def __post_init__(self) -> None:
        if self.global_pool not in ("token", "avg"):
            raise ArgumentError(f"global_pool={self.global_pool!r}", fix="use 'token' or 'avg'")
        if self.embed_dim % (4 * self.num_heads):
            raise ArgumentError(
                f"{self.num_heads} heads in a stream of {self.embed_dim}",
                why="a head turns pairs of features for each of two axes: it must be a multiple of four wide",
                fix="use other numbers",
            )

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches."""
        return 1 + self.reg_tokens


# transformers' key -> ours, where the value is the same
_SAME = {
    "image_size": "img_size",
    "patch_size": "patch_size",
    "num_channels": "in_chans",
    "hidden_size": "embed_dim",
    "num_hidden_layers": "depth",
    "num_attention_heads": "num_heads",
    "use_gated_mlp": "swiglu",
    "hidden_act": "act",
    "query_bias": "query_bias",
    "key_bias": "key_bias",
    "value_bias": "value_bias",
    "proj_bias": "proj_bias",
    "mlp_bias": "mlp_bias",
    "layerscale_value": "init_values",
    "num_register_tokens": "reg_tokens",
    "rope_theta": "rope_temperature",
    "pos_embed_shift": "pos_shift",
    "pos_embed_jitter": "pos_jitter",
    "pos_embed_rescale": "pos_rescale",
    "attention_dropout": "attn_drop_rate",
    "drop_path_rate": "drop_path_rate",
    "layer_norm_eps": "norm_eps",
}


def _from_transformers(config: Mapping[str, Any]) -> Config:
    published = (config.get("architectures") or ["DINOv3ViTModel"])[0]
    if published not in ("DINOv3ViTModel", "DINOv3ViTBackbone", "DINOv3ViTForImageClassification"):
        raise DataError(f"architectures names {published!r}", why="nyala builds 'DINOv3ViTModel'", fix="choose other weights")
    values = {ours: config[theirs] for theirs, ours in _SAME.items() if theirs in config}
    for key in ("img_size", "patch_size"):
        if isinstance(values.get(key), (list, tuple)):
            if len(set(values[key])) != 1:
                raise DataError(f"{key}={values[key]}", why="only squares are built", fix="choose other weights")
            values[key] = values[key][0]
    usual = Config("dinov3_vit", query_bias=True, value_bias=True, init_values=1.0, reg_tokens=0, pos_rescale=2.0)
    classes = transformers_classes({**config, "architectures": [published.replace("Backbone", "Model")]})
    found = replace(usual, mask_token=True, global_pool="token", num_classes=classes, **values)
    return replace(found, mlp_ratio=int(config.get("intermediate_size", 1536)) / found.embed_dim)


class Attention(nn.Module):
    """Attention whose queries and keys are turned by where their patches lie: (N, T, dim) -> (N, T, dim)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.embed_dim
        self.head_dim, self.drop = dim // config.num_heads, config.attn_drop_rate
        self.q = nn.Linear(dim, dim, bias=config.query_bias)
        self.k = nn.Linear(dim, dim, bias=config.key_bias)
        self.v = nn.Linear(dim, dim, bias=config.value_bias)
        self.proj = nn.Linear(dim, dim, bias=config.proj_bias)

    def forward(self, x: Tensor, places: _Places) -> Tensor:
        q, k, v = (split_heads(layer(x), self.head_dim) for layer in (self.q, self.k, self.v))
        q, k = rotate(q, *places), rotate(k, *places)
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, v, dropout_p=self.drop if self.training else 0.0)))


class Block(nn.Module):
    """Attention and a feed-forward part, each with a norm, a learnt scale and a way around it."""

    def __init__(self, config: Config, drop_path: float) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, config.norm_eps)
        self.attn = Attention(config)
        self.ls1 = nn.LayerScale(dim, config.init_values)
        self.norm2 = nn.LayerNorm(dim, config.norm_eps)
        inner = int(dim * config.mlp_ratio + 1e-6)
        self.mlp = nn.MLP(dim, inner, act=config.act, gated=config.swiglu, bias=config.mlp_bias)
        self.ls2 = nn.LayerScale(dim, config.init_values)
        self.drop_path = nn.DropPath(drop_path)

    def forward(self, x: Tensor, places: _Places) -> Tensor:
        x = x + self.drop_path(self.ls1(self.attn(self.norm1(x), places)))
        return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))


class DINOv3(nn.Model):
    """Patches, a class token and registers through transformer layers with rotary positions.

    Shape: (N, in_chans, H, W) -> (N, num_classes); without classes, the pooled features.

    Example:
        >>> import nyala
        >>> model = DINOv3(Config(patch_size=8, embed_dim=16, depth=1, num_heads=2)).eval()
        >>> model(nyala.zeros(1, 3, 32, 48)).shape
        (1, 16)
    """

    classifier_name = "head"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.num_features = dim
        self.cls_token = nn.Parameter(zeros(1, 1, dim))
        if config.reg_tokens:
            self.reg_token = nn.Parameter(zeros(1, config.reg_tokens, dim))
        if config.mask_token:
            self.mask_token = nn.Parameter(zeros(1, 1, dim))
        self.patch_embed = PatchEmbed(config)
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(Block(config, config.drop_path_rate * i / last) for i in range(config.depth))
        self.norm = nn.LayerNorm(dim, config.norm_eps)
        self.head_drop = nn.Dropout(config.drop_rate)
        self.head = nn.Linear(dim, config.num_classes) if config.num_classes else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for token in self._tokens():
            nn.init.trunc_normal_(token, std=0.02)

    def _tokens(self) -> list[Tensor]:
        return [self.cls_token, self.reg_token] if self.config.reg_tokens else [self.cls_token]

    def _centres(self, down: int, across: int) -> np.ndarray[Any, Any]:
        """Where the patches' centres lie, (down * across, 2), from -1 at the first edge to 1 at the last."""
        axes = [2 * (np.arange(count) + 0.5) / count - 1 for count in (down, across)]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
        c = self.config
        if not self.training or not (c.pos_shift or c.pos_jitter or c.pos_rescale):
            return places
        drawn = 2 * np.asarray(random.next_key("positions").uniform((5,)), np.float64) - 1
        places = places + drawn[:2] * (c.pos_shift or 0.0)
        places = places * (c.pos_jitter or 1.0) ** drawn[2:4]
        return places * (c.pos_rescale or 1.0) ** drawn[4]

    def places(self, x: Tensor, down: int, across: int) -> _Places:
        """Cosines and sines that turn queries and keys, (T, head width / 2) each; the tokens before the patches stay."""
        quarter = self.config.embed_dim // self.config.num_heads // 4
        frequencies = 2 * math.pi / self.config.rope_temperature ** (np.arange(quarter) / quarter)
        angles = (self._centres(down, across)[:, :, None] * frequencies).reshape(down * across, 2 * quarter)
        angles = np.concatenate([np.zeros((self.config.num_prefix_tokens, 2 * quarter)), angles])
        xp = module_of(x.array)
        cosines, sines = (xp.asarray(move_constant(f(angles).astype(x.dtype), x.device)) for f in (np.cos, np.sin))
        return cosines, sines

    def forward_features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, in_chans, H, W) -> (N, T, embed_dim): the tokens before the patches, then the patches row by row.

        ``mask`` (N, patches) is True for patches that a learnt vector stands in for.
        """
        x = self.patch_embed(x)
        count, (down, across) = len(x), x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        if mask is not None:
            if not self.config.mask_token:
                raise ArgumentError("this DINOv3 has no mask token", fix="leave mask out")
            x = where(mask.unsqueeze(-1), self.mask_token, x)
        places = self.places(x, down, across)
        x = cat([cat(self._tokens(), 1).expand(count, -1, -1), x], 1)
        for block in self.blocks:
            x = block(x, places)
        return self.norm(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, T, embed_dim) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        pooled = x[:, 0] if self.config.global_pool == "token" else x[:, self.config.num_prefix_tokens :].mean(dim=1)
        pooled = self.head_drop(pooled)
        return pooled if pre_logits else self.head(pooled)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The layers."""
        yield from self.blocks

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the embeddings, 1.. for the layers, the last number for norm and head."""
        part, _, rest = name.partition(".")
        if part == "blocks":
            return int(rest.partition(".")[0]) + 1
        return self.config.depth + 1 if part in ("norm", "head") else 0


def build(config: Mapping[str, Any], **overrides: Any) -> DINOv3:
    """The model that timm's or transformers' ``config.json`` describes; ``overrides`` replace its values."""
    return DINOv3(Config.from_dict(config, **overrides))


_BLOCK = {
    "attention.q_proj": "attn.q", "attention.k_proj": "attn.k", "attention.v_proj": "attn.v", "attention.o_proj": "attn.proj",
    "mlp.gate_proj": "mlp.gate", "mlp.up_proj": "mlp.fc1", "mlp.down_proj": "mlp.fc2", "norm1": "norm1", "norm2": "norm2",
}  # fmt: skip


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """timm has queries, keys and values in one layer; transformers has other names."""
    at = "blocks.{i}"
    if "model_type" not in config:
        scales = [Rename(f"{at}.gamma_{n}", f"{at}.ls{n}.gamma") for n in "12"]
        biases = [Rename(f"{at}.attn.{role}_bias", f"{at}.attn.{role}.bias") for role in "qv"]
        gates = [
            Rename(f"{at}.mlp.fc1_{theirs}.{{p}}", f"{at}.mlp.{ours}.{{p}}") for theirs, ours in (("g", "gate"), ("x", "fc1"))
        ]
        fused = Split(f"{at}.attn.qkv.weight", [f"{at}.attn.{role}.weight" for role in "qkv"])
        return KeyMap(fused, *scales, *biases, *(gates if Config.from_dict(config).swiglu else []))
    stem = {"cls_token": "cls_token", "register_tokens": "reg_token", "mask_token": "mask_token"}
    unread = [] if Config.from_dict(config).reg_tokens else ["embeddings.register_tokens"]  # which is there, and empty
    rules: list[Rule] = [Ignore("rope_embeddings.*", *unread)]
    if any(name.startswith("model.layer.") for name in published_names):  # as the library calls them inside
        rules.append(Rename("model.layer.{rest...}", "layer.{rest...}"))
    rules += [Rename(f"embeddings.{theirs}", ours) for theirs, ours in stem.items()]
    rules += [Rename("embeddings.patch_embeddings.{p}", "patch_embed.proj.{p}")]
    rules += [Rename(f"layer.{{i}}.{theirs}.{{p}}", f"{at}.{ours}.{{p}}") for theirs, ours in _BLOCK.items()]
    rules += [Rename(f"layer.{{i}}.layer_scale{n}.lambda1", f"{at}.ls{n}.gamma") for n in "12"]
    rules += [Rename("classifier.{p}", "head.{p}")]
    return KeyMap(*rules)


def export_config(model: DINOv3) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    c = model.config
    if c.architecture != "dinov3_vit":
        said = timm_config(c, Config.from_dict({"architecture": c.architecture}), model.num_features)
        said.get("model_args", {}).pop("global_pool", None)
        return {**said, "global_pool": c.global_pool}
    values = {theirs: getattr(c, ours) for theirs, ours in _SAME.items()}
    kind = "DINOv3ViTForImageClassification" if c.num_classes else "DINOv3ViTModel"
    head = {"num_labels": c.num_classes} if c.num_classes else {}
    wide = {"intermediate_size": int(c.embed_dim * c.mlp_ratio + 1e-6)}
    return {"model_type": "dinov3_vit", "architectures": [kind], **values, **wide, **head}
