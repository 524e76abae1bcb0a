"""Swin transformer (Liu et al., "Hierarchical vision transformer using shifted windows", arXiv:2103.14030).

Loads timm's checkpoints (``timm/swin_tiny_patch4_window7_224.ms_in1k``), whose tensor names are ours, and transformers'
(``microsoft/swin-tiny-patch4-window7-224``). Pictures of any size are taken: what is missing to whole windows is padded, before
the windows are shifted as transformers does it, or behind as timm does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core import nn
from ...core.errors import DataError, UnknownNameError, did_you_mean
from ...core.keymap import Concat, Ignore, KeyMap, Prefix, Rename
from ...core.nn import functional as F
from ...core.nn import windows
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config

# size -> (width of the first stage, layers of each stage, heads of each stage)
SIZES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
_NAME = re.compile(r"swin_(?P<size>[a-z]+)_patch(?P<patch>\d+)_window(?P<window>\d+)_(?P<side>\d+)")
_EXAMPLES = [f"swin_{size}_patch4_window7_224" for size in SIZES]
_NEEDLESS = ("strict_img_size", "always_partition", "dynamic_mask", "weight_init")
_MODELS = ("SwinModel", "SwinForImageClassification")


@dataclass(frozen=True)
class Config:
    """What shapes a Swin transformer."""

    architecture: str = "swin_tiny_patch4_window7_224"
    """Name in timm's registry, or transformers' ``model_type``."""
    img_size: int | tuple[int, int] = 224
    """Side, or (height, width), of the pictures it was made for, in pixels."""
    patch_size: int = 4
    """Side of a patch, in pixels."""
    in_chans: int = 3
    """Channels of the input."""
    num_classes: int = 1000
    """Classes; 0 for features only."""
    embed_dim: int = 96
    """Width of the first stage; each has twice the width of the one before."""
    depths: tuple[int, ...] = (2, 2, 6, 2)
    """Layers of each stage."""
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    """Heads in each stage."""
    window_size: int = 7
    """Side of a window, in patches."""
    mlp_ratio: float = 4.0
    """Width inside the feed-forward part over that of the stream."""
    qkv_bias: bool = True
    """Whether queries, keys and values have biases."""
    drop_rate: float = 0.0
    """Dropout before the classifier."""
    proj_drop_rate: float = 0.0
    """Dropout of what each part adds to the stream."""
    attn_drop_rate: float = 0.0
    """Dropout of the attention weights."""
    drop_path_rate: float = 0.1
    """Stochastic depth of the last layer; earlier ones have proportionally less."""
    norm_eps: float = 1e-5
    """Added to variances in layer norms."""
    layout: str = "timm"
    """"timm", or the name of transformers' class."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's or transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a Swin transformer that nyala knows.
            DataError: another class or kind of positions than nyala builds.
        """
        if "model_type" in config:
            return _from_transformers(config, overrides)
        name = str(config.get("architecture", _EXAMPLES[0])).partition(".")[0]
        found = _NAME.fullmatch(name)
        if found is None or found["size"] not in SIZES:
            raise UnknownNameError(f"no Swin transformer is called {name!r}", fix=did_you_mean(name, _EXAMPLES))
        width, depths, heads = SIZES[found["size"]]
        base = Config(
            name, int(found["side"]), int(found["patch"]), embed_dim=width, depths=depths, num_heads=heads,
            window_size=int(found["window"]),
        )  # fmt: skip
        given = {k: v for k, v in {**config.get("model_args", {}), **overrides}.items() if k not in _NEEDLESS}
        return replace(base, **timm_arguments(Config, {k: v for k, v in config.items() if k != "model_args"}, given))

    def resolution(self, stage: int) -> tuple[int, int]:
        """Places (down, across) that a stage has in a picture of ``img_size``."""
        sides = self.img_size if isinstance(self.img_size, tuple) else (self.img_size, self.img_size)
        down, across = (-(-side // self.patch_size) for side in sides)
        for _ in range(stage):
            down, across = (down + 1) // 2, (across + 1) // 2
        return down, across

    def window(self, stage: int) -> tuple[int, int]:
        """The windows of a stage: timm makes them no larger than what the stage sees."""
        if self.layout != "timm":
            return self.window_size, self.window_size
        down, across = self.resolution(stage)
        return min(self.window_size, down), min(self.window_size, across)


# transformers' key -> ours, where the value is the same
_SAME = {
    "image_size": "img_size",
    "patch_size": "patch_size",
    "num_channels": "in_chans",
    "embed_dim": "embed_dim",
    "depths": "depths",
    "num_heads": "num_heads",
    "window_size": "window_size",
    "mlp_ratio": "mlp_ratio",
    "qkv_bias": "qkv_bias",
    "hidden_dropout_prob": "proj_drop_rate",
    "attention_probs_dropout_prob": "attn_drop_rate",
    "drop_path_rate": "drop_path_rate",
    "layer_norm_eps": "norm_eps",
}


def _from_transformers(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> Config:
    said = {**config, **overrides}
    for key, built in {"use_absolute_embeddings": False, "hidden_act": "gelu"}.items():
        if said.get(key, built) != built:
            raise DataError(f"{key}={said[key]!r}", why=f"nyala's Swin has {built!r}", fix="choose other weights")
    published = (said.get("architectures") or ["SwinModel"])[0]
    layout = "SwinForImageClassification" if "num_labels" in overrides else published
    if layout not in _MODELS:
        raise DataError(f"architectures names {layout!r}", why=f"nyala builds {', '.join(_MODELS)}", fix="choose other weights")
    values = {ours: said[theirs] for theirs, ours in _SAME.items() if said.get(theirs) is not None}
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    labels = said.get("num_labels")
    count = int(len(said.get("id2label") or ()) or 2) if labels is None else int(labels)
    classes = count if layout == "SwinForImageClassification" else 0
    return replace(Config("swin"), num_classes=classes, layout=layout, **values)


def _block(dim: int, heads: int, window: tuple[int, int], shifted: bool, config: Config, drop_path: float) -> windows.WindowBlock:
    """A layer, as the configuration says."""
    drop = config.proj_drop_rate
    return windows.WindowBlock(
        dim, heads, window, shifted, pads_first=config.layout != "timm", mlp_ratio=config.mlp_ratio, eps=config.norm_eps,
        drop1=drop, mlp_drop=drop, drop2=drop, drop_path=drop_path,
        attention={"qkv_bias": config.qkv_bias, "dropout": config.attn_drop_rate},
    )  # fmt: skip


class Stage(nn.Module):
    """Merging, but in the first stage, and layers."""

    def __init__(self, stage: int, config: Config, drop_paths: list[float]) -> None:
        super().__init__()
        dim, heads = config.embed_dim << stage, config.num_heads[stage]
        self.downsample = windows.PatchMerging(dim // 2, config.norm_eps) if stage else nn.Identity()
        window = config.window(stage)
        self.blocks = nn.ModuleList(_block(dim, heads, window, i % 2 == 1, config, p) for i, p in enumerate(drop_paths))

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x)
        for block in self.blocks:
            x = block(x)
        return x


class PatchEmbed(nn.Module):
    """A picture cut into patches, each of them a vector: (N, C, H, W) -> (N, H / patch, W / patch, D)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.in_chans, config.embed_dim, config.patch_size, config.patch_size)
        self.norm = nn.LayerNorm(config.embed_dim, config.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        patch = self.proj.kernel_size[0]
        if x.ndim == 4:
            x = F.pad(x, (0, -x.shape[3] % patch, 0, -x.shape[2] % patch))
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Head(nn.Module):
    """The mean over all places, and a linear classifier."""

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        self.drop = nn.Dropout(config.drop_rate)
        self.fc = nn.Linear(width, config.num_classes) if config.num_classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.drop(x.mean(dim=(1, 2)))
        return x if pre_logits else self.fc(x)


class SwinTransformer(nn.Model):
    """Patches, stages of windowed attention that merge them in between, a norm, pooling and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes); without classes, the pooled features.

    Example:
        >>> import nyala
        >>> config = Config(img_size=32, embed_dim=8, depths=(1, 2), num_heads=(1, 2), window_size=4, num_classes=10)
        >>> model = SwinTransformer(config).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape, model(nyala.zeros(1, 3, 50, 61)).shape
        ((1, 10), (1, 10))
    """

    classifier_name = "head.fc"
    channels_last = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.num_features = config.embed_dim << (len(config.depths) - 1)
        self.patch_embed = PatchEmbed(config)
        total, done, stages = sum(config.depths), 0, []
        for stage, count in enumerate(config.depths):
            drops = [config.drop_path_rate * i / max(total - 1, 1) for i in range(done, done + count)]
            stages.append(Stage(stage, config, drops))
            done += count
        self.layers = nn.ModuleList(stages)
        self.norm = nn.LayerNorm(self.num_features, config.norm_eps)
        self.head = Head(config, self.num_features)
        self._initialise()

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("bias_table") or (parameter.ndim == 2 and name.endswith("weight")):
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias") and "norm" not in name:
                nn.init.zeros_(parameter)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, H / 32, W / 32, num_features)."""
        x = self.patch_embed(x)
        for stage in self.layers:
            x = stage(x)
        return self.norm(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, H, W, num_features) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        return self.head(x, pre_logits)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The layers of all stages."""
        for stage in self.layers:
            yield from stage.blocks

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the patches, 1.. for the layers in order, the last number for norm and head."""
        part, _, rest = name.partition(".")
        if part != "layers":
            return 0 if part == "patch_embed" else sum(self.config.depths) + 1
        stage, kind, number = rest.split(".")[:3]
        return sum(self.config.depths[: int(stage)]) + (int(number) if kind == "blocks" else 0) + 1


def build(config: Mapping[str, Any], **overrides: Any) -> SwinTransformer:
    """The model that timm's or transformers' ``config.json`` describes; ``overrides`` replace its values."""
    return SwinTransformer(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - the config tells them
    """timm's names are ours; old files of both libraries also have tables that follow from the sizes."""
    made = Ignore("*.relative_position_index", "*.attn_mask")
    if "model_type" not in config:
        return KeyMap(made)
    shape, at = Config.from_dict(config), "encoder.layers.{s}.blocks.{i}"
    rules = [Rename(f"{at}.{a}.{{p}}", f"layers.{{s}}.blocks.{{i}}.{b}.{{p}}") for a, b in windows.PUBLISHED.items()]
    table = "relative_position_bias_table"
    rules += [Rename(f"{at}.attention.self.{table}", f"layers.{{s}}.blocks.{{i}}.attn.{table}")]
    rules += [Rename(f"{at}.attn.qkv.{{p}}", "layers.{s}.blocks.{i}.attn.qkv.{p}")]
    rules += [  # what transformers has behind a stage, we have before the next
        Rename(f"encoder.layers.{n}.downsample.{{rest...}}", f"layers.{n + 1}.downsample.{{rest...}}")
        for n in range(len(shape.depths) - 1)
    ]
    rules += [
        Rename("embeddings.patch_embeddings.projection.{p}", "patch_embed.proj.{p}"),
        Rename("embeddings.norm.{p}", "patch_embed.norm.{p}"),
        Rename("layernorm.{p}", "norm.{p}"),
        Rename("classifier.{p}", "head.fc.{p}"),
    ]
    parts = [f"{at}.attention.self.{role}.{{p}}" for role in ("query", "key", "value")]
    prefix = Prefix("swin.", written=shape.layout != "SwinModel", outside=("classifier.*",))
    return KeyMap(prefix, made, Concat(parts, f"{at}.attn.qkv.{{p}}"), *rules)


def export_config(model: SwinTransformer) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    config = model.config
    if config.layout == "timm":
        return timm_config(config, Config.from_dict({"architecture": config.architecture}), model.num_features)
    values = {theirs: getattr(config, ours) for theirs, ours in _SAME.items()}
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    head = {"num_labels": config.num_classes} if config.layout == "SwinForImageClassification" else {}
    return {"model_type": "swin", "architectures": [config.layout], **values, **head}
