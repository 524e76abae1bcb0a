"""DenseNet (Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks", arXiv:1608.06993).

Loads timm's checkpoints (``timm/densenet121.ra_in1k``, ``timm/densenet161.tv_in1k``, ...), whose tensor names are ours, and
torchvision's state dicts, old spellings (``norm.1``) and new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core import nn
from ...core.errors import UnknownNameError, did_you_mean
from ...core.keymap import Alias, KeyMap
from ...core.nn import functional as F
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config

# architecture -> (channels that each layer adds, layers in each block)
ARCHITECTURES: dict[str, tuple[int, tuple[int, ...]]] = {
    "densenet121": (32, (6, 12, 24, 16)),
    "densenet169": (32, (6, 12, 32, 32)),
    "densenet201": (32, (6, 12, 48, 32)),
    "densenet161": (48, (6, 12, 36, 24)),
}


@dataclass(frozen=True)
class Config:
    """What shapes a DenseNet."""

    architecture: str = "densenet121"
    """Name in timm's registry."""
    growth_rate: int = 32
    """Channels that each layer adds; the stem has twice as many."""
    block_config: tuple[int, ...] = (6, 12, 24, 16)
    """Layers in each block."""
    bn_size: int = 4
    """Width inside a layer over what it adds."""
    in_chans: int = 3
    """Channels of the input."""
    num_classes: int = 1000
    """Classes; 0 for features only."""
    drop_rate: float = 0.0
    """Dropout before the classifier."""
    proj_drop_rate: float = 0.0
    """Dropout of what each layer adds."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a DenseNet that nyala knows.
        """
        name = str(config.get("architecture", "densenet121")).partition(".")[0]
        if name not in ARCHITECTURES:
            raise UnknownNameError(f"no DenseNet is called {name!r}", fix=did_you_mean(name, ARCHITECTURES))
        return replace(Config(name, *ARCHITECTURES[name]), **timm_arguments(Config, config, overrides))


class DenseLayer(nn.Module):
    """1x1 to a fixed width, 3x3 to the channels that are added: (N, C, H, W) -> (N, growth_rate, H, W)."""

    def __init__(self, inputs: int, config: Config) -> None:
        super().__init__()
        inner = config.bn_size * config.growth_rate
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, config.growth_rate, 3, padding=1, bias=False)
        self.drop = nn.Dropout(config.proj_drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.norm1(x, activation="relu"))
        return self.drop(self.conv2(self.norm2(x, activation="relu")))


class DenseBlock(nn.Module):
    """Layers of which each sees what all before it have added."""

    def __init__(self, inputs: int, count: int, config: Config) -> None:
        super().__init__()
        for i in range(count):
            self.add_module(f"denselayer{i + 1}", DenseLayer(inputs + i * config.growth_rate, config))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = cat([x, layer(x)], 1)
        return x


class Transition(nn.Module):
    """Half the channels and half the size."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(self.norm(x, activation="relu")), 2, 2)


class Features(nn.Module):
    """Stem, blocks with transitions between them, and a last norm: (N, in_chans, H, W) -> (N, width, H / 32, W / 32)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = 2 * config.growth_rate
        self.conv0 = nn.Conv2d(config.in_chans, width, 7, 2, 3, bias=False)
        self.norm0 = nn.BatchNorm2d(width)
        for i, count in enumerate(config.block_config):
            if i:
                self.add_module(f"transition{i}", Transition(width))
                width //= 2
            self.add_module(f"denseblock{i + 1}", DenseBlock(width, count, config))
            width += count * config.growth_rate
        self.width = width
        self.norm5 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.norm0(self.conv0(x), activation="relu"), 3, 2, 1)
        for part in self.children():
            if isinstance(part, (DenseBlock, Transition)):
                x = part(x)
        return self.norm5(x, activation="relu")


class DenseNet(nn.Model):
    """A stem, four blocks of densely connected layers, global average pooling and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes).

    Example:
        >>> import nyala
        >>> model = DenseNet(Config(growth_rate=4, block_config=(1, 2), num_classes=10)).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape
        (1, 10)
    """

    classifier_name = "classifier"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.features = Features(config)
        self.num_features = self.features.width
        self.classifier = nn.Linear(self.num_features, config.num_classes) if config.num_classes else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_features, H / 32, W / 32)."""
        return self.features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, H, W) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        x = F.dropout(x.mean(dim=(2, 3)), self.config.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The layers of all blocks."""
        for module in self.modules():
            if isinstance(module, DenseLayer):
                yield module

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the stem, 1.. for the layers in order, the last number for norm and classifier.

        A transition belongs to the layer before it.
        """
        depths = self.config.block_config
        part, _, rest = name.removeprefix("features.").partition(".")
        if part.startswith("transition"):
            return sum(depths[: int(part[10:])])
        if part.startswith("denseblock"):
            return sum(depths[: int(part[10:]) - 1]) + int(rest.partition(".")[0][10:])
        return 0 if part in ("conv0", "norm0") else sum(depths) + 1


def build(config: Mapping[str, Any], **overrides: Any) -> DenseNet:
    """The model that timm's ``config.json`` describes; ``overrides`` such as ``num_classes=10`` replace its values."""
    return DenseNet(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """timm's and torchvision's names are ours; old files of torchvision have a dot before a layer's number."""
    layer = "features.{block}.{layer:denselayer[0-9]+}"
    return KeyMap(*[Alias(f"{layer}.{kind}.{{n:[12]}}.{{p}}", f"{layer}.{kind}{{n}}.{{p}}") for kind in ("norm", "conv")])


def export_config(model: DenseNet) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    return timm_config(model.config, Config.from_dict({"architecture": model.config.architecture}), model.num_features)
