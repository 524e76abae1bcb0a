"""VGG (Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556).

Loads timm's checkpoints (``timm/vgg16.tv_in1k``, ``timm/vgg16_bn.tv_in1k``, ...), whose tensor names are ours, and torchvision's
state dicts, where the layers before the classifier are linear. As in timm these are convolutions, so that pictures of any size
are taken; a map of less than 7x7 is enlarged to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from ...core import nn
from ...core.errors import UnknownNameError, did_you_mean
from ...core.keymap import KeyMap, Rename, Reshape
from ...core.nn import functional as F
from ...core.tensor import Tensor
from ...core.utils.checkpoint import checkpoint
from .config import timm_arguments, timm_config

# size -> convolutions in each stage
SIZES: dict[str, tuple[int, ...]] = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
ARCHITECTURES = tuple(f"{size}{norm}" for norm in ("", "_bn") for size in SIZES)
_SIDE = 7  # of the map that the layers before the classifier read


@dataclass(frozen=True)
class Config:
    """What shapes a VGG."""

    architecture: str = "vgg16"
    """Name in timm's registry."""
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)
    """Convolutions in each stage."""
    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Width of each stage."""
    norm: bool = False
    """Whether batch norm follows each convolution."""
    head_hidden_size: int = 4096
    """Width of what the classifier reads."""
    mlp_ratio: float = 1.0
    """Width of the layer before that, over its width."""
    in_chans: int = 3
    """Channels of the input."""
    num_classes: int = 1000
    """Classes; 0 for features only."""
    drop_rate: float = 0.0
    """Dropout before the last two layers."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a VGG that nyala knows.
        """
        name = str(config.get("architecture", "vgg16")).partition(".")[0]
        if name not in ARCHITECTURES:
            raise UnknownNameError(f"no VGG is called {name!r}", fix=did_you_mean(name, ARCHITECTURES))
        size, _, norm = name.partition("_")
        return replace(Config(name, SIZES[size], norm=bool(norm)), **timm_arguments(Config, config, overrides))


class ConvMlp(nn.Module):
    """Two layers before the classifier: (N, C, H, W) -> (N, head_hidden_size, H - 6, W - 6)."""

    def __init__(self, inputs: int, config: Config) -> None:
        super().__init__()
        inner = int(config.head_hidden_size * config.mlp_ratio)
        self.fc1 = nn.Conv2d(inputs, inner, _SIDE)
        self.drop = nn.Dropout(config.drop_rate)
        self.fc2 = nn.Conv2d(inner, config.head_hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < _SIDE:
            x = F.adaptive_avg_pool2d(x, tuple(max(side, _SIDE) for side in x.shape[2:]))
        return F.relu(self.fc2(self.drop(F.relu(self.fc1(x)))))


class Head(nn.Module):
    """The mean over all places, and a linear classifier."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.drop = nn.Dropout(config.drop_rate)
        self.fc = nn.Linear(config.head_hidden_size, config.num_classes) if config.num_classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.drop(x.mean(dim=(2, 3)))
        return x if pre_logits else self.fc(x)


class VGG(nn.Model):
    """Stages of 3x3 convolutions, each halved by pooling, two wide layers and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes).

    Example:
        >>> import nyala
        >>> config = Config(depths=(1, 1), channels=(4, 8), head_hidden_size=8, num_classes=10)
        >>> VGG(config).eval()(nyala.zeros(1, 3, 32, 32)).shape
        (1, 10)
    """

    classifier_name = "head.fc"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        inputs = config.in_chans
        for count, width in zip(config.depths, config.channels, strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(inputs, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width), nn.ReLU()] if config.norm else [nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.num_features = config.head_hidden_size
        self.pre_logits = ConvMlp(inputs, config)
        self.head = Head(config)
        self._checkpointing = False
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, C, H / 32, W / 32)."""
        if not self._checkpointing:
            return self.features(x)
        for stage in self.checkpointed_blocks():
            x = checkpoint(stage, x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, C, H, W) -> (N, num_classes), or what the classifier reads where ``pre_logits``."""
        return self.head(self.pre_logits(x), pre_logits)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The stages: their layers lie in one row, so each stage is put together when it is asked for."""
        layers = list(self.features.children())
        ends = [i + 1 for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        for start, end in zip([0, *ends], ends, strict=False):
            yield nn.Sequential(*layers[start:end])

    def enable_checkpointing(self, enable: bool = True) -> Self:
        """Train in less memory: each stage's activations are computed again in the backward pass."""
        self._checkpointing = enable
        return self

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the first convolution, and so on, the last number for the classifier."""
        convolutions = sum(self.config.depths)
        part, rest = name.split(".", 1)
        if part != "features":
            return convolutions + (2 if part == "head" else int(rest.startswith("fc2")))
        before = list(self.features.children())[: int(rest.partition(".")[0]) + 1]
        return sum(isinstance(layer, nn.Conv2d) for layer in before) - 1


def build(config: Mapping[str, Any], **overrides: Any) -> VGG:
    """The model that timm's ``config.json`` describes; ``overrides`` such as ``num_classes=10`` replace its values."""
    return VGG(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """timm's names are ours; torchvision's classifier has others, and linear layers."""
    if "classifier.0.weight" not in published_names:
        return KeyMap()
    shape = Config.from_dict(config)
    inner = int(shape.head_hidden_size * shape.mlp_ratio)
    wide = shape.channels[-1]
    return KeyMap(
        Rename("classifier.0.{p}", "pre_logits.fc1.{p}"),
        Rename("classifier.3.{p}", "pre_logits.fc2.{p}"),
        Rename("classifier.6.{p}", "head.fc.{p}"),
        Reshape("pre_logits.fc1.weight", published=(-1, wide * _SIDE**2), ours=(-1, wide, _SIDE, _SIDE)),
        Reshape("pre_logits.fc2.weight", published=(-1, inner), ours=(-1, inner, 1, 1)),
    )


def export_config(model: VGG) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    return timm_config(model.config, Config.from_dict({"architecture": model.config.architecture}), model.num_features)
