"""BEiT (Bao, Dong, Piao, Wei, "BERT pre-training of image transformers", arXiv:2106.08254) and BEiT v2 (Peng et al.,
arXiv:2208.06366): a vision transformer whose attention has a learnt bias for each offset between two patches.

Loads timm's checkpoints (``timm/beit_base_patch16_224.in22k_ft_in22k_in1k``, ``timm/beitv2_base_patch16_224.in1k_ft_in22k_in1k``)
and transformers' (``microsoft/beit-base-patch16-224``). Pictures of any size are taken: the biases are resampled as each library
does it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ...core import nn
from ...core.create import tensor, zeros
from ...core.devices import move_constant
from ...core.errors import ArgumentError, DataError, UnknownNameError, did_you_mean
from ...core.keymap import Ignore, KeyMap, Prefix, Rename, Split
from ...core.nn import functional as F
from ...core.ops.elementwise import where
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config, transformers_bare, transformers_classes
from .vit import PatchEmbed

# size -> (width, layers, heads)
SIZES: dict[str, tuple[int, int, int]] = {"base": (768, 12, 12), "large": (1024, 24, 16)}
_NAME = re.compile(r"(?P<kind>beit|beitv2)_(?P<size>[a-z]+)_patch(?P<patch>\d+)_(?P<side>\d+)")
_EXAMPLES = [f"{kind}_{size}_patch16_224" for kind in ("beit", "beitv2") for size in SIZES]
_NEEDLESS = ("head_init_scale", "strict_img_size")  # of timm's arguments
_MODELS = ("BeitModel", "BeitForImageClassification")
_TOKEN_ROWS = 3  # of a table behind the offsets: class token to patch, patch to class token, class token to itself


@dataclass(frozen=True)
class Config:
    """What shapes a BEiT."""

    architecture: str = "beit_base_patch16_224"
    """Name in timm's registry, or "beit" in transformers' layout."""
    img_size: int = 224
    """Side of the pictures that the biases are for, in pixels."""
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
    """Whether queries and values have biases; keys have none."""
    init_values: float | None = 0.1
    """Where layer scale starts; None for none."""
    use_abs_pos_emb: bool = False
    """Whether each place has a learnt vector."""
    use_rel_pos_bias: bool = True
    """Whether each layer has biases of its own."""
    use_shared_rel_pos_bias: bool = False
    """Whether all layers share one table of biases."""
    mask_token: bool = False
    """Whether there is a vector that stands in for hidden patches."""
    global_pool: str = "avg"
    """What the head reads: the "avg" of the patches, normalised behind it, or the class "token"."""
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

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's or transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a BEiT that nyala knows.
            DataError: another class than nyala builds.
        """
        if "model_type" in config:
            return _from_transformers({**config, **overrides})
        name = str(config.get("architecture", _EXAMPLES[0])).partition(".")[0]
        found = _NAME.fullmatch(name)
        if found is None or found["size"] not in SIZES:
            raise UnknownNameError(f"no BEiT is called {name!r}", fix=did_you_mean(name, _EXAMPLES))
        width, depth, heads = SIZES[found["size"]]
        scale = 0.1 if (found["kind"], found["size"]) == ("beit", "base") else 1e-5
        base = Config(
            name, int(found["side"]), int(found["patch"]), embed_dim=width, depth=depth, num_heads=heads, init_values=scale
        )
        given = {k: v for k, v in {**config.get("model_args", {}), **overrides}.items() if k not in _NEEDLESS}
        pool = given.pop("global_pool", config.get("global_pool") or base.global_pool)
        said = timm_arguments(Config, {k: v for k, v in config.items() if k != "model_args"}, given)
        return replace(base, global_pool=pool, **said)

    def __post_init__(self) -> None:
        if self.global_pool not in ("token", "avg"):
            raise ArgumentError(f"global_pool={self.global_pool!r}", fix="use 'token' or 'avg'")
        if not isinstance(self.img_size, int) or self.img_size < self.patch_size:
            raise ArgumentError(
                f"img_size={self.img_size!r}", why=f"it is the side of a square of at least one patch, {self.patch_size}",
                fix="choose other weights, or correct the config.json",
            )  # fmt: skip

    @property
    def side(self) -> int:
        """Patches along a side of a picture of ``img_size``."""
        return self.img_size // self.patch_size

    @property
    def by_timm(self) -> bool:
        """Whether it is in timm's layout."""
        return self.architecture != "beit"


# transformers' key -> ours, where the value is the same
_SAME = {
    "image_size": "img_size",
    "patch_size": "patch_size",
    "num_channels": "in_chans",
    "hidden_size": "embed_dim",
    "num_hidden_layers": "depth",
    "num_attention_heads": "num_heads",
    "use_absolute_position_embeddings": "use_abs_pos_emb",
    "use_relative_position_bias": "use_rel_pos_bias",
    "use_shared_relative_position_bias": "use_shared_rel_pos_bias",
    "use_mask_token": "mask_token",
    "hidden_dropout_prob": "proj_drop_rate",
    "attention_probs_dropout_prob": "attn_drop_rate",
    "drop_path_rate": "drop_path_rate",
    "layer_norm_eps": "norm_eps",
}


def _from_transformers(config: Mapping[str, Any]) -> Config:
    published = (config.get("architectures") or ["BeitModel"])[0]
    if published not in _MODELS or config.get("hidden_act", "gelu") != "gelu":
        raise DataError(
            f"{published!r} with hidden_act={config.get('hidden_act', 'gelu')!r}",
            why=f"nyala builds {', '.join(_MODELS)}, with 'gelu'",
            fix="choose other weights",
        )
    values = {ours: config[theirs] for theirs, ours in _SAME.items() if config.get(theirs) is not None}
    for key in ("img_size", "patch_size"):
        if isinstance(values.get(key), (list, tuple)) and len(set(values[key])) == 1:
            values[key] = values[key][0]
    usual = Config("beit", use_rel_pos_bias=False, drop_path_rate=0.1, norm_eps=1e-12)
    pool = "avg" if config.get("use_mean_pooling", True) else "token"
    scale = float(config.get("layer_scale_init_value", 0.1))
    found = replace(
        usual, num_classes=transformers_classes(config), global_pool=pool, init_values=scale if scale > 0 else None, **values
    )
    wide = int(config.get("intermediate_size", 3072)) / found.embed_dim
    return replace(found, mlp_ratio=wide, pos_drop_rate=found.proj_drop_rate)


@lru_cache(maxsize=16)
def _offsets(down: int, across: int) -> np.ndarray[Any, Any]:
    """(T * T,) rows of the table of biases, for each pair of tokens: the class token and ``down`` x ``across`` patches."""
    places = np.stack(np.meshgrid(np.arange(down), np.arange(across), indexing="ij")).reshape(2, -1)
    apart = places[:, :, None] - places[:, None]
    behind = (2 * down - 1) * (2 * across - 1)
    rows = np.empty((down * across + 1,) * 2, np.int64)
    rows[1:, 1:] = (apart[0] + down - 1) * (2 * across - 1) + apart[1] + across - 1
    rows[0], rows[:, 0], rows[0, 0] = behind, behind + 1, behind + 2
    return rows.reshape(-1)


@lru_cache(maxsize=16)
def _spread(old: int, new: int) -> np.ndarray[Any, Any]:
    """(2 new - 1, 2 old - 1) weights that take biases of offsets up to ``old`` to offsets up to ``new``.

    As timm: the old offsets lie in a geometric series over the new ones, dense in the middle, with straight lines between.
    """
    low, high, ratio = 1.01, 1.5, 1.01
    while high - low > 1e-6:
        ratio = (low + high) / 2
        low, high = (low, ratio) if (1 - ratio ** (old - 1)) / (1 - ratio) > new - 1 else (ratio, high)
    steps = np.cumsum(ratio ** np.arange(old - 1))
    nodes = np.concatenate([-steps[::-1], [0.0], steps])
    wanted = np.arange(-(new - 1), new)
    return np.stack([np.interp(wanted, nodes, row) for row in np.eye(len(nodes))], 1).astype(np.float32)


class RelativePositions(nn.Module):
    """A learnt bias of the scores for each offset between two patches, and for the class token."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.side, self.by_timm = config.side, config.by_timm
        self.table = nn.Parameter(zeros((2 * config.side - 1) ** 2 + _TOKEN_ROWS, config.num_heads))

    def forward(self, down: int, across: int) -> Tensor:
        """(1, heads, T, T) for ``down`` x ``across`` patches."""
        table = self.table if (down, across) == (self.side, self.side) else self._resized(down, across)
        tokens, heads = down * across + 1, table.shape[1]
        rows = table[Tensor(move_constant(_offsets(down, across), table.device))]
        return rows.reshape(1, tokens, tokens, heads).permute(0, 3, 1, 2)

    def _resized(self, down: int, across: int) -> Tensor:
        wide, heads = 2 * self.side - 1, self.table.shape[1]
        offsets, tokens = self.table[: wide * wide], self.table[wide * wide :]
        rows, columns = 2 * down - 1, 2 * across - 1
        if self.by_timm:
            first, second = (tensor(_spread(self.side, n), device=offsets.device).to(offsets.dtype) for n in (down, across))
            offsets = (first @ offsets.reshape(wide, wide * heads)).reshape(rows, wide, heads).permute(1, 0, 2)
            offsets = (second @ offsets.reshape(wide, rows * heads)).reshape(columns, rows, heads).permute(1, 0, 2)
        else:
            grid = offsets.reshape(1, wide, wide, heads).permute(0, 3, 1, 2)
            grid = F.interpolate(grid, (rows, columns), mode="bilinear", align_corners=False)
            offsets = grid.permute(0, 2, 3, 1)
        return cat([offsets.reshape(rows * columns, heads), tokens], 0)


class Block(nn.TransformerBlock):
    """A layer whose attention has biases of its own, those that all layers share, or both."""

    def __init__(self, config: Config, drop_path: float) -> None:
        super().__init__(
            config.embed_dim,
            config.num_heads,
            int(config.embed_dim * config.mlp_ratio + 1e-6),
            norm=lambda dim: nn.LayerNorm(dim, config.norm_eps),
            dropout=config.proj_drop_rate,
            drop_path=drop_path,
            layer_scale=config.init_values,
            attention={"bias": {"q": config.qkv_bias, "k": False, "v": config.qkv_bias}, "dropout": config.attn_drop_rate},
        )
        self.positions = RelativePositions(config) if config.use_rel_pos_bias else None

    def forward(self, x: Tensor, down: int, across: int, shared: Tensor | None = None) -> Tensor:  # type: ignore[override]
        bias = shared
        if self.positions is not None:
            own = self.positions(down, across)
            bias = own if shared is None else own + shared
        return super().forward(x, mask=bias)


class Beit(nn.Model):
    """Patches and a class token through transformer layers with relative positions, pooling and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes); without classes, the pooled features.

    Example:
        >>> import nyala
        >>> model = Beit(Config(img_size=32, patch_size=8, embed_dim=8, depth=1, num_heads=2, num_classes=10)).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape, model(nyala.zeros(1, 3, 24, 40)).shape
        ((1, 10), (1, 10))
    """

    classifier_name = "head"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.num_features = dim
        self.cls_token = nn.Parameter(zeros(1, 1, dim))
        if config.mask_token:
            self.mask_token = nn.Parameter(zeros(1, 1, dim))
        if config.use_abs_pos_emb:
            self.pos_embed = nn.Parameter(zeros(1, 1 + config.side**2, dim))
        self.patch_embed = PatchEmbed(config)
        self.pos_drop = nn.Dropout(config.pos_drop_rate)
        self.shared_positions = RelativePositions(config) if config.use_shared_rel_pos_bias else None
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(Block(config, config.drop_path_rate * i / last) for i in range(config.depth))
        behind = config.global_pool == "avg"
        self.norm = nn.Identity() if behind else nn.LayerNorm(dim, config.norm_eps)
        self.fc_norm = nn.LayerNorm(dim, config.norm_eps) if behind else nn.Identity()
        self.head_drop = nn.Dropout(config.drop_rate)
        self.head = nn.Linear(dim, config.num_classes) if config.num_classes else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if (name.endswith("weight") and parameter.ndim == 2) or name in ("cls_token", "pos_embed"):
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias") and "norm" not in name:
                nn.init.zeros_(parameter)

    def places(self, down: int, across: int) -> Tensor:
        """The vectors of the class token's place and of ``down`` x ``across`` others: (1, T, embed_dim)."""
        side = self.config.side
        if (down, across) == (side, side):
            return self.pos_embed
        table = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        table = F.interpolate(table, (down, across), mode="bicubic", align_corners=False, antialias=self.config.by_timm)
        return cat([self.pos_embed[:, :1], table.permute(0, 2, 3, 1).reshape(1, down * across, -1)], 1)

    def forward_features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, in_chans, H, W) -> (N, 1 + patches, embed_dim): the class token, then the patches row by row.

        ``mask`` (N, patches) is True for patches that a learnt vector stands in for.
        """
        x = self.patch_embed(x)
        count, (down, across) = len(x), x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        if mask is not None:
            if not self.config.mask_token:
                raise ArgumentError("this BEiT has no mask token", fix="leave mask out")
            x = where(mask.unsqueeze(-1), self.mask_token, x)
        x = cat([self.cls_token.expand(count, -1, -1), x], 1)
        if self.config.use_abs_pos_emb:
            x = x + self.places(down, across)
        x = self.pos_drop(x)
        shared = None if self.shared_positions is None else self.shared_positions(down, across)
        for block in self.blocks:
            x = block(x, down, across, shared)
        return self.norm(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, T, embed_dim) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        pooled = x[:, 0] if self.config.global_pool == "token" else self.fc_norm(x[:, 1:].mean(dim=1))
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
        return self.config.depth + 1 if part in ("norm", "fc_norm", "head") else 0


def build(config: Mapping[str, Any], **overrides: Any) -> Beit:
    """The model that timm's or transformers' ``config.json`` describes; ``overrides`` replace its values."""
    return Beit(Config.from_dict(config, **overrides))


_TABLE = "relative_position_bias_table"
_BLOCK = {
    "attention.attention.query": "attn.q", "attention.attention.key": "attn.k", "attention.attention.value": "attn.v",
    "attention.output.dense": "attn.proj", "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2",
    "layernorm_before": "norm1", "layernorm_after": "norm2",
}  # fmt: skip


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - the layout says it
    """timm has queries, keys and values in one layer; transformers has other names.

    Old files have indices too, which follow from the sizes.
    """
    made, at = Ignore("*relative_position_index", "*.k_bias"), "blocks.{i}"
    if "model_type" not in config:
        rules = [Rename(f"{at}.gamma_{n}", f"{at}.ls{n}.gamma") for n in "12"]
        rules += [Rename(f"{at}.attn.{role}_bias", f"{at}.attn.{role}.bias") for role in "qv"]
        rules += [
            Rename(f"{at}.attn.{_TABLE}", f"{at}.positions.table"),
            Rename(f"rel_pos_bias.{_TABLE}", "shared_positions.table"),
        ]
        fused = Split(f"{at}.attn.qkv.weight", [f"{at}.attn.{role}.weight" for role in "qkv"])
        return KeyMap(made, fused, *rules)
    layer = "encoder.layer.{i}"
    rules = [Rename(f"{layer}.{theirs}.{{p}}", f"{at}.{ours}.{{p}}") for theirs, ours in _BLOCK.items()]
    rules += [Rename(f"{layer}.lambda_{n}", f"{at}.ls{n}.gamma") for n in "12"]
    rules += [
        Rename(f"{layer}.attention.attention.relative_position_bias.{_TABLE}", f"{at}.positions.table"),
        Rename(f"encoder.relative_position_bias.{_TABLE}", "shared_positions.table"),
        Rename("embeddings.cls_token", "cls_token"),
        Rename("embeddings.mask_token", "mask_token"),
        Rename("embeddings.position_embeddings", "pos_embed"),
        Rename("embeddings.patch_embeddings.projection.{p}", "patch_embed.proj.{p}"),
        Rename("layernorm.{p}", "norm.{p}"),
        Rename("pooler.layernorm.{p}", "fc_norm.{p}"),
        Rename("classifier.{p}", "head.{p}"),
    ]
    return KeyMap(Prefix("beit.", written=not transformers_bare(config), outside=("classifier.*",)), made, *rules)


def export_config(model: Beit) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    c = model.config
    if c.by_timm:
        said = timm_config(c, Config.from_dict({"architecture": c.architecture}), model.num_features)
        said.get("model_args", {}).pop("global_pool", None)
        return {**said, "global_pool": c.global_pool}
    values = {theirs: getattr(c, ours) for theirs, ours in _SAME.items()}
    head = {"num_labels": c.num_classes} if c.num_classes else {}
    return {
        "model_type": "beit", "architectures": [_MODELS[bool(c.num_classes)]], "hidden_act": "gelu", **values, **head,
        "intermediate_size": int(c.embed_dim * c.mlp_ratio + 1e-6), "use_mean_pooling": c.global_pool == "avg",
        "layer_scale_init_value": c.init_values or 0.0,
    }  # fmt: skip
