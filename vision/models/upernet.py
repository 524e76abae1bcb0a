"""UPerNet (Xiao et al., "Unified perceptual parsing for scene understanding", arXiv:1807.10221) over ConvNeXt.

Loads transformers' checkpoints (``openmmlab/upernet-convnext-tiny``). Pictures of any size are taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core import nn
from ...core.errors import ArgumentError
from ...core.keymap import KeyMap, Within
from ...core.nn import functional as F
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from . import convnext
from .config import transformers_classes
from .convnext import ConvNeXt, LayerNorm2d
from .segmenter import Segmenter, segmentation_labels

TASK = "image-segmentation"
_AUXILIARY = 2  # the stage whose features the second head reads


@dataclass(frozen=True)
class Config:
    """What shapes a UPerNet; names and defaults are transformers'."""

    num_classes: int = 150
    """Classes."""
    backbone: convnext.Config = field(default_factory=convnext.Config)
    """Of the ConvNeXt that it stands on."""
    stages: tuple[int, ...] = (1, 2, 3, 4)
    """Which of its stages are read, from 1."""
    hidden_size: int = 512
    """Width of the decoder."""
    pool_scales: tuple[int, ...] = (1, 2, 3, 6)
    """Sides to which the last stage's features are pooled."""
    use_auxiliary_head: bool = True
    """Whether there is a second, plain head, which helps in training."""
    auxiliary_loss_weight: float = 0.4
    """What its loss counts for."""
    auxiliary_in_channels: int | None = 384
    """Width that it reads; None for that of the third stage."""
    auxiliary_channels: int = 256
    """Its width."""
    auxiliary_num_convs: int = 1
    """Its convolutions before the classifier."""
    auxiliary_concat_input: bool = False
    """Whether it looks at its input once more before it decides."""

    @property
    def in_chans(self) -> int:
        """Channels of the input."""
        return self.backbone.in_chans

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: over another backbone than ConvNeXt, or stages that it has not.
        """
        given = {**config, **overrides}
        below = dict(given.get("backbone_config") or {})
        if below.get("model_type") not in ("convnext", "convnextv2"):
            raise ArgumentError(
                f"UPerNet over {below.get('model_type')!r}", why="it is built over ConvNeXt", fix="choose upernet-convnext-*"
            )
        body = convnext.Config.from_dict({**below, "architectures": ["ConvNextModel"]})
        names = below.get("out_features") or [f"stage{len(body.dims)}"]
        known = [f"stage{i + 1}" for i in range(len(body.dims))]
        if any(name not in known for name in names) or len(names) <= _AUXILIARY:
            fix = f"name three or more of {', '.join(known)}"
            raise ArgumentError(f"out_features={names}", why="UPerNet reads several stages", fix=fix)
        values = {name: given[name] for name in _SAME if name in given}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return Config(transformers_classes(given), body, tuple(known.index(name) + 1 for name in names), **values)


_SAME = (
    "hidden_size", "pool_scales", "use_auxiliary_head", "auxiliary_loss_weight", "auxiliary_in_channels", "auxiliary_channels",
    "auxiliary_num_convs", "auxiliary_concat_input",
)  # fmt: skip


class Backbone(ConvNeXt):
    """A ConvNeXt without its head: (N, C, H, W) -> the features of the stages that are read, each behind a norm."""

    classifier_name = ""

    def __init__(self, config: Config) -> None:
        super().__init__(config.backbone)
        del self.head
        norms = {f"stage{i}": LayerNorm2d(config.backbone.dims[i - 1], 1e-6) for i in config.stages}
        self.hidden_states_norms = nn.ModuleDict(norms)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found, x = [], self.stem(x)
        for i, stage in enumerate(self.stages.children()):
            x = stage(x)
            if f"stage{i + 1}" in self.hidden_states_norms:
                found.append(self.hidden_states_norms[f"stage{i + 1}"](x))
        return tuple(found)


class ConvModule(nn.Module):
    """A convolution that keeps the size, a batch norm and ReLU."""

    def __init__(self, inputs: int, width: int, side: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, side, padding=side // 2, bias=False)
        self.batch_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.batch_norm(self.conv(x), activation="relu")


class DecodeHead(nn.Module):
    """The last stage pooled to several sizes, then joined with finer and finer stages, all of them together, classified."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths, width = [config.backbone.dims[i - 1] for i in config.stages], config.hidden_size
        self.classifier = nn.Conv2d(width, config.num_classes, 1)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), ConvModule(widths[-1], width, 1)) for scale in config.pool_scales
        )
        self.bottleneck = ConvModule(widths[-1] + len(config.pool_scales) * width, width, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(inputs, width, 1) for inputs in widths[:-1])
        self.fpn_convs = nn.ModuleList(ConvModule(width, width, 3) for _ in widths[:-1])
        self.fpn_bottleneck = ConvModule(len(widths) * width, width, 3)

    def forward(self, maps: tuple[Tensor, ...], pre_logits: bool = False) -> Tensor:
        pooled = [_as_large(pool(maps[-1]), maps[-1]) for pool in self.psp_modules]
        levels = [conv(features) for conv, features in zip(self.lateral_convs, maps[:-1], strict=True)]
        levels.append(self.bottleneck(cat([maps[-1], *pooled], 1)))
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + _as_large(levels[i], levels[i - 1])
        fine = [conv(level) for conv, level in zip(self.fpn_convs, levels[:-1], strict=True)] + [levels[-1]]
        x = self.fpn_bottleneck(cat([fine[0], *(_as_large(level, fine[0]) for level in fine[1:])], 1))
        return x if pre_logits else self.classifier(x)


class AuxiliaryHead(nn.Module):
    """Convolutions on one stage's features, and a classifier."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        inputs = config.auxiliary_in_channels or config.backbone.dims[config.stages[_AUXILIARY] - 1]
        width, count = config.auxiliary_channels, config.auxiliary_num_convs
        self.convs = nn.Sequential(*[ConvModule(inputs if i == 0 else width, width, 3) for i in range(count)])
        self.joins = config.auxiliary_concat_input
        if self.joins:
            self.conv_cat = ConvModule(inputs + width, width, 3)
        self.classifier = nn.Conv2d(width, config.num_classes, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        x = self.convs(maps[_AUXILIARY])
        return self.classifier(self.conv_cat(cat([maps[_AUXILIARY], x], 1)) if self.joins else x)


def _as_large(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


class UPerNet(Segmenter):
    """A ConvNeXt whose stages are joined from coarse to fine; every pixel gets a class.

    Shape: (N, in_chans, H, W) -> (N, num_classes, H, W).

    Example:
        >>> import nyala
        >>> body = convnext.Config(depths=(1, 1, 1, 1), dims=(4, 4, 8, 8), num_classes=0)
        >>> model = UPerNet(Config(3, body, hidden_size=8, auxiliary_in_channels=None)).eval()
        >>> model(nyala.zeros(1, 3, 64, 96)).shape
        (1, 3, 64, 96)
    """

    classifier_names = ("decode_head.classifier", "auxiliary_head.classifier")
    decoder_names = ("decode_head", "auxiliary_head")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.backbone = Backbone(config)
        self.decode_head = DecodeHead(config)
        self.auxiliary_head = AuxiliaryHead(config) if config.use_auxiliary_head else None
        self.auxiliary_weight = config.auxiliary_loss_weight

    def forward(self, x: Tensor) -> Tensor:
        """The logits of every pixel, in the picture's own size."""
        return _as_large(self.forward_head(self.forward_features(x)), x)

    def forward_features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_chans, H, W) -> the features of the stages that are read."""
        return self.backbone(x)

    def forward_head(self, maps: tuple[Tensor, ...], pre_logits: bool = False) -> Tensor:
        """The features of the stages -> (N, num_classes, H / 4, W / 4), or what the classifier reads where ``pre_logits``."""
        return self.decode_head(maps, pre_logits)

    def forward_training(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes * 2, H, W): the second head's behind the first one's."""
        maps = self.forward_features(x)
        found = [_as_large(self.decode_head(maps), x)]
        if self.auxiliary_head is not None:
            found.append(_as_large(self.auxiliary_head(maps), x))
        return cat(found, 1)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The blocks of the ConvNeXt."""
        yield from self.backbone.checkpointed_blocks()

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the stem, 1.. for the blocks in order, the last number for all behind them."""
        part, _, rest = name.partition(".")
        return self.backbone.layer_of(rest) if part == "backbone" else sum(self.config.backbone.depths) + 1


def build(config: Mapping[str, Any], **overrides: Any) -> UPerNet:
    """The model that transformers' ``config.json`` describes; ``overrides`` such as ``num_labels=10`` replace its values."""
    return UPerNet(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """ConvNeXt's map for what belongs to it; the heads' names are ours."""
    below = {**config["backbone_config"], "architectures": ["ConvNextModel"]}
    return KeyMap(Within("backbone.", convnext.key_map(below, published_names)))


def export_config(model: UPerNet) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    c = model.config
    below = {k: v for k, v in convnext.export_config(model.backbone).items() if k != "architectures"}
    below["out_features"] = [f"stage{i}" for i in c.stages]
    values = {name: getattr(c, name) for name in _SAME}
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {"model_type": "upernet", "backbone_config": below, **values, **segmentation_labels("UperNet", c.num_classes)}


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - alike for all of them
    """What transformers does to pictures where no file says otherwise."""
    return {"size": {"height": 512, "width": 512}, "resample": 2}
