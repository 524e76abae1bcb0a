"""SegFormer (Xie et al., "Simple and efficient design for semantic segmentation with transformers", arXiv:2105.15203).

Loads transformers' checkpoints: whole models (``nvidia/segformer-b0-finetuned-ade-512-512``), and encoders that were trained to
classify (``nvidia/mit-b0``), which also become the encoder of a new model for segmentation (``task="image-segmentation"``).
Pictures of any size are taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...core import nn
from ...core.errors import ArgumentError
from ...core.keymap import Ignore, KeyMap, Prefix, Rename
from ...core.nn import functional as F
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from .config import transformers_bare, transformers_classes, transformers_labels
from .segmenter import Segmenter, is_segmentation, segmentation_labels

HEADS = {
    "image-segmentation": "SegformerForSemanticSegmentation",
    "image-classification": "SegformerForImageClassification",
}


@dataclass(frozen=True)
class Config:
    """What shapes a SegFormer; every tuple has a value a stage."""

    num_classes: int = 150
    """Classes; 0 for features only."""
    segments: bool = True
    """Whether every pixel has a class; else the picture has one."""
    in_chans: int = 3
    """Channels of the input."""
    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Layers."""
    hidden_sizes: tuple[int, ...] = (32, 64, 160, 256)
    """Widths."""
    patch_sizes: tuple[int, ...] = (7, 3, 3, 3)
    """Sides of the overlapping patches, in places of the stage before."""
    strides: tuple[int, ...] = (4, 2, 2, 2)
    """How far apart the patches are."""
    num_attention_heads: tuple[int, ...] = (1, 2, 5, 8)
    """Heads."""
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)
    """So many places a side are joined to one that is attended to."""
    mlp_ratios: tuple[float, ...] = (4, 4, 4, 4)
    """Width between the feed-forward layers over the stage's."""
    decoder_hidden_size: int = 256
    """Width of the decoder."""
    hidden_dropout_prob: float = 0.0
    """Dropout behind attention and feed-forward layers."""
    attention_probs_dropout_prob: float = 0.0
    """Dropout of the attention's weights."""
    classifier_dropout_prob: float = 0.1
    """Dropout before the pixels' classifier."""
    drop_path_rate: float = 0.1
    """Stochastic depth of the last layer; earlier ones have proportionally less."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: stages that are told of in lists of unequal length, or an activation other than GELU.
        """
        given = {**config, **overrides}
        if given.get("hidden_act", "gelu") != "gelu":
            raise ArgumentError(f"hidden_act={given['hidden_act']!r}", why="SegFormer's layers have gelu", fix="leave it out")
        plain = Config()
        values = {theirs: given.get(theirs, getattr(plain, ours)) for theirs, ours in _SAME.items()}
        shape: dict[str, Any] = {_SAME[k]: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in values.items()}
        if len({len(v) for v in shape.values() if isinstance(v, tuple)}) != 1:
            told = ", ".join(f"{k}={v}" for k, v in shape.items() if isinstance(v, tuple))
            raise ArgumentError(f"stages of unequal number: {told}", fix="give each list a value for every stage")
        return Config(transformers_classes(given), is_segmentation(given), **shape)


# transformers' name -> ours
_SAME = {
    "num_channels": "in_chans",
    **{
        name: name
        for name in (
            "depths", "hidden_sizes", "patch_sizes", "strides", "num_attention_heads", "sr_ratios", "mlp_ratios",
            "decoder_hidden_size", "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob",
            "drop_path_rate",
        )
    },
}  # fmt: skip


class PatchEmbeddings(nn.Module):
    """Overlapping patches as vectors: (N, C, H, W) -> (N, H', W', D)."""

    def __init__(self, stage: int, config: Config) -> None:
        super().__init__()
        inputs = config.hidden_sizes[stage - 1] if stage else config.in_chans
        side, dim = config.patch_sizes[stage], config.hidden_sizes[stage]
        self.proj = nn.Conv2d(inputs, dim, side, config.strides[stage], side // 2)
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer_norm(self.proj(x).permute(0, 2, 3, 1))


class Attention(nn.Module):
    """Every place looks at places that stand for a square of several: (N, H, W, C) -> (N, H, W, C)."""

    def __init__(self, stage: int, config: Config) -> None:
        super().__init__()
        dim, ratio = config.hidden_sizes[stage], config.sr_ratios[stage]
        self.heads, self.dropout = config.num_attention_heads[stage], config.attention_probs_dropout_prob
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim) for _ in range(4))
        self.reduced = ratio > 1
        if self.reduced:
            self.sr = nn.Conv2d(dim, dim, ratio, ratio)
            self.layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.layer_norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)) if self.reduced else x
        query, key, value = self.query(x), self.key(seen), self.value(seen)
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(self._split(query), self._split(key), self._split(value), dropout_p=dropout)
        return self.output(found.transpose(1, 2).reshape(x.shape))

    def _split(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, heads, H * W, C / heads)."""
        return x.reshape(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)


class MixFeedForward(nn.Module):
    """Wider and back again, with a depthwise convolution between, which tells places apart: (N, H, W, C) -> (N, H, W, C)."""

    def __init__(self, stage: int, config: Config) -> None:
        super().__init__()
        dim = config.hidden_sizes[stage]
        inner = int(dim * config.mlp_ratios[stage])
        self.dense1 = nn.Linear(dim, inner)
        self.dwconv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.dense2 = nn.Linear(inner, dim)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dwconv(self.dense1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.dropout(self.dense2(self.dropout(F.gelu(x))))


class Layer(nn.Module):
    """Attention and a feed-forward network, each behind a norm and with a way around it."""

    def __init__(self, stage: int, config: Config, drop_path: float) -> None:
        super().__init__()
        dim = config.hidden_sizes[stage]
        self.layer_norm_1 = nn.LayerNorm(dim)
        self.attention = Attention(stage, config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.drop_path = nn.DropPath(drop_path)
        self.layer_norm_2 = nn.LayerNorm(dim)
        self.mlp = MixFeedForward(stage, config)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop_path(self.dropout(self.attention(self.layer_norm_1(x)))) + x
        return self.drop_path(self.mlp(self.layer_norm_2(x))) + x


class Stage(nn.Module):
    """Patches, layers and a norm: (N, C, H, W) -> (N, D, H', W')."""

    def __init__(self, stage: int, config: Config) -> None:
        super().__init__()
        before, last = sum(config.depths[:stage]), max(sum(config.depths) - 1, 1)
        self.patch_embeddings = PatchEmbeddings(stage, config)
        self.blocks = nn.ModuleList(
            Layer(stage, config, config.drop_path_rate * (before + i) / last) for i in range(config.depths[stage])
        )
        self.layer_norm = nn.LayerNorm(config.hidden_sizes[stage])

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embeddings(x)
        for block in self.blocks:
            x = block(x)
        return self.layer_norm(x).permute(0, 3, 1, 2)


class DecodeHead(nn.Module):
    """The stages' features, each through a linear layer and enlarged to the first one's size, joined and classified."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.decoder_hidden_size
        self.linear_c = nn.ModuleList(nn.Linear(dim, width) for dim in config.hidden_sizes)
        self.linear_fuse = nn.Conv2d(width * len(config.hidden_sizes), width, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Conv2d(width, config.num_classes, 1)

    def forward(self, maps: tuple[Tensor, ...], pre_logits: bool = False) -> Tensor:
        size = maps[0].shape[2:]
        found = []
        for features, linear in zip(maps, self.linear_c, strict=True):
            even = linear(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            found.append(even if even.shape[2:] == size else F.interpolate(even, size, mode="bilinear", align_corners=False))
        x = self.dropout(self.batch_norm(self.linear_fuse(cat(found[::-1], 1)), activation="relu"))
        return x if pre_logits else self.classifier(x)


class _Encoder:
    """What both models do with their stages."""

    config: Config
    stages: nn.ModuleList

    def forward_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_chans, H, W) -> the features of each stage: (N, D, H / 4, W / 4) and so on, by the strides."""
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return tuple(found)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The layers of all stages."""
        for stage in self.stages:
            yield from stage.get_submodule("blocks").children()

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the first patches, 1.. for the layers in order, the last number for the head."""
        depths = self.config.depths
        part, *rest = name.split(".")
        if part != "stages":
            return sum(depths) + 1
        before = sum(depths[: int(rest[0])])
        if rest[1] == "blocks":
            return before + int(rest[2]) + 1
        return before + (depths[int(rest[0])] if rest[1] == "layer_norm" else 0 if before == 0 else 1)


class SegFormer(_Encoder, Segmenter):
    """An encoder of four stages and a light decoder that gives every place a class.

    Shape: (N, in_chans, H, W) -> (N, num_classes, H / 4, W / 4).

    Example:
        >>> import nyala
        >>> config = Config(3, depths=(1, 1, 1, 1), hidden_sizes=(8, 8, 10, 16), decoder_hidden_size=8)
        >>> SegFormer(config).eval()(nyala.zeros(1, 3, 64, 96)).shape
        (1, 3, 16, 24)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.stages = nn.ModuleList(Stage(i, config) for i in range(len(config.depths)))
        self.decode_head = DecodeHead(config)
        _initialise(self)

    def forward_features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_chans, H, W) -> the features of each stage."""
        return self.forward_stages(x)

    def forward_head(self, maps: tuple[Tensor, ...], pre_logits: bool = False) -> Tensor:
        """The features of each stage -> (N, num_classes, H / 4, W / 4), or what the classifier reads where ``pre_logits``."""
        return self.decode_head(maps, pre_logits)


class SegFormerClassifier(_Encoder, nn.Model):
    """The encoder, global average pooling and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes); without classes, the pooled features.
    """

    classifier_name = "classifier"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.num_features = config.hidden_sizes[-1]
        self.stages = nn.ModuleList(Stage(i, config) for i in range(len(config.depths)))
        self.classifier = nn.Linear(self.num_features, config.num_classes) if config.num_classes else nn.Identity()
        _initialise(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_features, H / 32, W / 32)."""
        return self.forward_stages(x)[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, H, W) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        x = x.mean(dim=(2, 3))
        return x if pre_logits else self.classifier(x)


def _initialise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build(config: Mapping[str, Any], **overrides: Any) -> SegFormer | SegFormerClassifier:
    """The model that transformers' ``config.json`` describes; ``overrides`` such as ``num_labels=10`` replace its values."""
    shape = Config.from_dict(config, **overrides)
    return SegFormer(shape) if shape.segments else SegFormerClassifier(shape)


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """transformers' names to ours, which have all of a stage in one place.

    Where an encoder that was trained to classify is read into a model for segmentation, its classifier is left out.
    """
    heads = ("decode_head.*", "classifier.*")
    written = is_segmentation(config) or not transformers_bare(config)
    left_out = [Ignore("classifier.*")] if is_segmentation(config) and "classifier.weight" in published_names else []
    block, ours = "encoder.block.{s}.{i}", "stages.{s}.blocks.{i}"
    return KeyMap(
        *left_out,
        Prefix("segformer.", written=written, outside=heads),
        Rename("encoder.patch_embeddings.{s}.{rest...}", "stages.{s}.patch_embeddings.{rest...}"),
        Rename("encoder.layer_norm.{s}.{p}", "stages.{s}.layer_norm.{p}"),
        Rename(f"{block}.attention.output.dense.{{p}}", f"{ours}.attention.output.{{p}}"),
        Rename(f"{block}.attention.self.{{rest...}}", f"{ours}.attention.{{rest...}}"),
        Rename(f"{block}.mlp.dwconv.dwconv.{{p}}", f"{ours}.mlp.dwconv.{{p}}"),
        Rename(f"{block}.{{rest...}}", f"{ours}.{{rest...}}"),
        Rename("decode_head.linear_c.{s}.proj.{p}", "decode_head.linear_c.{s}.{p}"),
    )


def export_config(model: SegFormer | SegFormerClassifier) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    c = model.config
    values = {theirs: getattr(c, ours) for theirs, ours in _SAME.items()}
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    labels = segmentation_labels if c.segments else transformers_labels
    return {
        "model_type": "segformer", "hidden_act": "gelu", "num_encoder_blocks": len(c.depths), "reshape_last_stage": True,
        **values, **labels("Segformer", c.num_classes),
    }  # fmt: skip


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - alike for all of them
    """What transformers does to pictures where no file says otherwise."""
    return {"size": {"height": 512, "width": 512}, "resample": 2}
