"""ResNet (He, Zhang, Ren, Sun, "Deep residual learning for image recognition", arXiv:1512.03385).

Loads timm's checkpoints (``timm/resnet18.a1_in1k``, ``timm/resnet50.a1_in1k``, ...) and torchvision's state dicts, whose
tensor names are the same: ``conv1, bn1, layerN.M.convK, layerN.M.downsample.0/1, fc``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core import nn
from ...core.errors import UnknownNameError, did_you_mean
from ...core.keymap import KeyMap
from ...core.nn import functional as F
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config

# architecture -> (block, number of blocks in each stage)
ARCHITECTURES: dict[str, tuple[str, tuple[int, ...]]] = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}


@dataclass(frozen=True)
class Config:
    """What shapes a ResNet."""

    architecture: str = "resnet18"
    """Name in timm's registry."""
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

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a ResNet that nyala knows.
        """
        name = str(config.get("architecture", "resnet18")).partition(".")[0]
        if name not in ARCHITECTURES:
            raise UnknownNameError(f"no ResNet is called {name!r}", fix=did_you_mean(name, ARCHITECTURES))
        block, layers = ARCHITECTURES[name]
        return replace(Config(name, block, layers), **timm_arguments(Config, config, overrides))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a way around them."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
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
    """1x1 down, 3x3, 1x1 up to four times the width, and a way around them."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)
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
        block = Bottleneck if config.block == "bottleneck" else BasicBlock
        self.conv1 = nn.Conv2d(config.in_chans, config.stem_channels, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem_channels)
        inputs = config.stem_channels
        for i, (count, width) in enumerate(zip(config.layers, config.channels, strict=True)):
            self.add_module(f"layer{i + 1}", _stage(block, inputs, width, count, 1 if i == 0 else 2))
            inputs = width * block.expansion
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


def _stage(block: type[BasicBlock] | type[Bottleneck], inputs: int, width: int, count: int, stride: int) -> nn.Sequential:
    outputs = width * block.expansion
    around = None
    if stride != 1 or inputs != outputs:
        around = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(block(inputs, width, stride, around), *[block(outputs, width, 1, None) for _ in range(count - 1)])


def build(config: Mapping[str, Any], **overrides: Any) -> ResNet:
    """The model that timm's ``config.json`` describes; ``overrides`` such as ``num_classes=10`` replace its values."""
    return ResNet(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """timm's and torchvision's names are ours."""
    return KeyMap()


def export_config(model: ResNet) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    return timm_config(model.config, Config.from_dict({"architecture": model.config.architecture}), model.num_features)
