"""ResNet (He, Zhang, Ren, Sun, arXiv:1512.03385), ResNeXt (Xie et al., arXiv:1611.05431) and wide ResNet (Zagoruyko and
Komodakis, arXiv:1605.07146).

Loads timm's checkpoints (``timm/resnet18.a1_in1k``, ``timm/resnext50_32x4d.a1h_in1k``, ``timm/wide_resnet50_2.racm_in1k``, ...)
and torchvision's state dicts, whose tensor names are the same and ours: ``conv1, bn1, layerN.M.convK, layerN.M.downsample.0/1,
fc``; and transformers' (``microsoft/resnet-50``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core import nn
from ...core.errors import DataError, UnknownNameError, did_you_mean
from ...core.keymap import KeyMap, Prefix, Rename
from ...core.nn import functional as F
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config, transformers_bare, transformers_classes, transformers_labels

_50, _101, _152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
# architecture -> (block, number of blocks in each stage, groups of the 3x3 convolutions, channels of each group at 64)
ARCHITECTURES: dict[str, tuple[str, tuple[int, ...], int, int]] = {
    "resnet18": ("basic", (2, 2, 2, 2), 1, 64),
    "resnet34": ("basic", _50, 1, 64),
    "resnet50": ("bottleneck", _50, 1, 64),
    "resnet101": ("bottleneck", _101, 1, 64),
    "resnet152": ("bottleneck", _152, 1, 64),
    "resnext50_32x4d": ("bottleneck", _50, 32, 4),
    "resnext101_32x4d": ("bottleneck", _101, 32, 4),
    "resnext101_32x8d": ("bottleneck", _101, 32, 8),
    "resnext101_32x16d": ("bottleneck", _101, 32, 16),
    "resnext101_32x32d": ("bottleneck", _101, 32, 32),
    "resnext101_64x4d": ("bottleneck", _101, 64, 4),
    "wide_resnet50_2": ("bottleneck", _50, 1, 128),
    "wide_resnet101_2": ("bottleneck", _101, 1, 128),
}


@dataclass(frozen=True)
class Config:
    """What shapes a ResNet."""

    architecture: str = "resnet18"
    """Name in timm's registry, or "resnet" in transformers' layout."""
    block: str = "basic"
    """"basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1 with four times the channels)."""
    layers: tuple[int, ...] = (2, 2, 2, 2)
    """Blocks in each stage."""
    channels: tuple[int, ...] = (64, 128, 256, 512)
    """Width of each stage."""
    in_chans: int = 3
    """Channels of the input."""
    stem_channels: int = 64
    """Width of the first convolution."""
    num_classes: int = 1000
    """Classes; 0 for features only."""
    drop_rate: float = 0.0
    """Dropout before the classifier."""
    cardinality: int = 1
    """Groups of the bottlenecks' 3x3 convolutions (ResNeXt)."""
    base_width: int = 64
    """Channels of each of these groups in a stage of width 64; others are in proportion."""
    first_stride: int = 1
    """Stride of the first stage; each later one has 2."""
    stride_in_1x1: bool = False
    """Whether the bottlenecks' first convolution takes the stride, as in the paper, rather than the 3x3."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's or transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a ResNet that nyala knows.
            DataError: a kind of transformers' ResNet that nyala does not build.
        """
        if "model_type" in config:
            return _from_transformers({**config, **overrides})
        name = str(config.get("architecture", "resnet18")).partition(".")[0]
        if name not in ARCHITECTURES:
            raise UnknownNameError(f"no ResNet is called {name!r}", fix=did_you_mean(name, ARCHITECTURES))
        block, layers, groups, width = ARCHITECTURES[name]
        implied = Config(name, block, layers, cardinality=groups, base_width=width)
        return replace(implied, **timm_arguments(Config, config, overrides))

    @property
    def expansion(self) -> int:
        """Channels of a stage's result over the stage's width."""
        return 4 if self.block == "bottleneck" else 1


def _from_transformers(config: Mapping[str, Any]) -> Config:
    if config.get("hidden_act", "relu") != "relu":
        raise DataError(f"hidden_act={config['hidden_act']!r}", why="nyala's ResNet has 'relu'", fix="choose other weights")
    block = str(config.get("layer_type", "bottleneck"))
    if block not in ("basic", "bottleneck"):
        raise DataError(f"layer_type={block!r}", why="it must be 'basic' or 'bottleneck'", fix="correct the config.json")
    widths = tuple(config.get("hidden_sizes") or (256, 512, 1024, 2048))
    if block == "bottleneck":
        widths = tuple(width // 4 for width in widths)
    return Config(
        "resnet", block, tuple(config.get("depths") or _50), widths,
        int(config.get("num_channels", 3)), int(config.get("embedding_size", 64)), transformers_classes(config),
        first_stride=2 if config.get("downsample_in_first_stage") else 1,
        stride_in_1x1=bool(config.get("downsample_in_bottleneck", False)) and block == "bottleneck",
    )  # fmt: skip


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a way around them."""

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None, config: Config) -> None:  # noqa: ARG002
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x), activation="relu")
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, a 3x3 in groups, 1x1 to four times the stage's width, and a way around them."""

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None, config: Config) -> None:
        super().__init__()
        inner = width * config.base_width // 64 * config.cardinality
        first, second = (stride, 1) if config.stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(inputs, inner, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, second, 1, groups=config.cardinality, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, width * config.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * config.expansion)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x), activation="relu")
        y = self.bn2(self.conv2(y), activation="relu")
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Model):
    """A stem, four stages of residual blocks, global average pooling and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes).

    Example:
        >>> import nyala
        >>> model = ResNet(Config(layers=(1, 1, 1, 1), channels=(4, 4, 8, 8), num_classes=10)).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape
        (1, 10)
    """

    classifier_name = "fc"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.conv1 = nn.Conv2d(config.in_chans, config.stem_channels, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem_channels)
        inputs = config.stem_channels
        for i, (count, width) in enumerate(zip(config.layers, config.channels, strict=True)):
            self.add_module(f"layer{i + 1}", _stage(config, inputs, width, count, 2 if i else config.first_stride))
            inputs = width * config.expansion
        self.num_features = inputs
        self.fc = nn.Linear(inputs, config.num_classes) if config.num_classes else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self) -> list[nn.Module]:
        """The stages, in order."""
        return [self.get_submodule(f"layer{i + 1}") for i in range(len(self.config.layers))]

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_features, H / 32, W / 32)."""
        x = self.bn1(self.conv1(x), activation="relu")
        x = F.max_pool2d(x, 3, 2, 1)
        for stage in self.stages():
            x = stage(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, H, W) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        x = x.mean(dim=(2, 3))
        x = F.dropout(x, self.config.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The residual blocks."""
        for stage in self.stages():
            yield from stage.children()

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the stem, 1.. for the blocks in order, the last number for the head."""
        part, _, rest = name.partition(".")
        if not part.startswith("layer"):
            return 0 if part in ("conv1", "bn1") else sum(self.config.layers) + 1
        return sum(self.config.layers[: int(part[5:]) - 1]) + int(rest.partition(".")[0]) + 1


def _stage(config: Config, inputs: int, width: int, count: int, stride: int) -> nn.Sequential:
    block = Bottleneck if config.block == "bottleneck" else BasicBlock
    outputs, around = width * config.expansion, None
    if stride != 1 or inputs != outputs:
        around = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = block(inputs, width, stride, around, config)
    return nn.Sequential(first, *[block(outputs, width, 1, None, config) for _ in range(count - 1)])


def build(config: Mapping[str, Any], **overrides: Any) -> ResNet:
    """The model that the ``config.json`` describes; ``overrides`` such as ``num_classes=10`` replace its values."""
    return ResNet(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - the layout says it
    """timm's and torchvision's names are ours; transformers' are others."""
    if "model_type" not in config:
        return KeyMap()
    rules = [Rename("classifier.1.{p}", "fc.{p}"), *transformers_names(len(Config.from_dict(config).layers))]
    return KeyMap(Prefix("resnet.", written=not transformers_bare(config), outside=("classifier.*",)), *rules)


def transformers_names(stages: int, theirs: str = "", ours: str = "") -> list[Rename]:
    """transformers' names of a ResNet without a head; ``theirs`` and ``ours`` stand before the names, as in a detector."""
    rules = [
        Rename(f"{theirs}embedder.embedder.convolution.{{p}}", f"{ours}conv1.{{p}}"),
        Rename(f"{theirs}embedder.embedder.normalization.{{p}}", f"{ours}bn1.{{p}}"),
    ]
    for i in range(stages):
        block, own = f"{theirs}encoder.stages.{i}.layers.{{j}}", f"{ours}layer{i + 1}.{{j}}"
        for k in range(3):
            rules.append(Rename(f"{block}.layer.{k}.convolution.{{p}}", f"{own}.conv{k + 1}.{{p}}"))
            rules.append(Rename(f"{block}.layer.{k}.normalization.{{p}}", f"{own}.bn{k + 1}.{{p}}"))
        rules.append(Rename(f"{block}.shortcut.convolution.{{p}}", f"{own}.downsample.0.{{p}}"))
        rules.append(Rename(f"{block}.shortcut.normalization.{{p}}", f"{own}.downsample.1.{{p}}"))
    return rules


def export_config(model: ResNet) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    c = model.config
    if c.architecture != "resnet":
        return timm_config(c, Config.from_dict({"architecture": c.architecture}), model.num_features)
    shape = {
        "layer_type": c.block, "depths": list(c.layers), "hidden_sizes": [width * c.expansion for width in c.channels],
        "num_channels": c.in_chans, "embedding_size": c.stem_channels, "downsample_in_first_stage": c.first_stride == 2,
        "downsample_in_bottleneck": c.stride_in_1x1,
    }  # fmt: skip
    return {"model_type": "resnet", "hidden_act": "relu", **shape, **transformers_labels("ResNet", c.num_classes)}
