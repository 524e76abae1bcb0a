"""EfficientNet-Lite (Tan and Le, arXiv:1905.11946; the Lite variants were released in 2020 for phones and CPUs).

Loads timm's ``tf_efficientnet_lite0`` ... ``lite4`` and state dicts of the efficientnet_lite_pytorch library, which hold the
same tensors under other names. Lite means: no squeeze-and-excite, ReLU6 everywhere, stem and head of fixed width. The weights
were trained in TensorFlow: padding is "same" as TensorFlow has it (more behind than before), and batch norm has eps 1e-3.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core import nn
from ...core.errors import UnknownNameError, did_you_mean
from ...core.keymap import KeyMap, Rename
from ...core.nn import functional as F
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config

# architecture -> (width multiplier, depth multiplier)
ARCHITECTURES: dict[str, tuple[float, float]] = {
    "tf_efficientnet_lite0": (1.0, 1.0),
    "tf_efficientnet_lite1": (1.0, 1.1),
    "tf_efficientnet_lite2": (1.1, 1.2),
    "tf_efficientnet_lite3": (1.2, 1.4),
    "tf_efficientnet_lite4": (1.4, 1.8),
}
# repeats, kernel size, stride, expansion, channels of each stage before scaling
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class Config:
    """What shapes an EfficientNet-Lite."""

    architecture: str = "tf_efficientnet_lite0"
    """Name in timm's registry."""
    channel_multiplier: float = 1.0
    """Factor of the stages' widths."""
    depth_multiplier: float = 1.0
    """Factor of the stages' lengths; the first and the last keep theirs."""
    stem_size: int = 32
    """Width of the first convolution."""
    num_features: int = 1280
    """Width of the last convolution, which the classifier reads."""
    in_chans: int = 3
    """Channels of the input."""
    num_classes: int = 1000
    """Classes; 0 for features only."""
    drop_rate: float = 0.0
    """Dropout before the classifier."""
    drop_path_rate: float = 0.0
    """Stochastic depth of the last block; earlier ones have proportionally less."""
    bn_eps: float = 1e-3
    """Added to variances in batch norm."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not an EfficientNet-Lite.
        """
        name = str(config.get("architecture", "tf_efficientnet_lite0")).partition(".")[0]
        if name not in ARCHITECTURES:
            raise UnknownNameError(f"no EfficientNet-Lite is called {name!r}", fix=did_you_mean(name, ARCHITECTURES))
        width, depth = ARCHITECTURES[name]
        return replace(Config(name, width, depth), **timm_arguments(Config, config, overrides))


def round_channels(channels: float, divisor: int = 8) -> int:
    """To a multiple of ``divisor``, but not below 90 % of ``channels``.

    Example:
        >>> round_channels(24 * 1.1), round_channels(4)
        (24, 8)
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: the output has size ceil(input / stride) for any input size."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4:
            return super().forward(x)  # which says what is wrong
        pads = tuple(_same(n, k, s) for n, k, s in zip(x.shape[2:], self.kernel_size, self.stride, strict=True))
        return F.conv2d(x, self.weight, self.bias, self.stride, pads, self.dilation, self.groups)


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class DepthwiseSeparable(nn.Module):
    """A depthwise convolution and a 1x1 convolution: the first stage's block."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, config: Config, drop_path: float) -> None:
        super().__init__()
        self.conv_dw = SameConv2d(inputs, inputs, kernel, stride, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs, config.bn_eps)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, config.bn_eps)
        self.drop_path = nn.DropPath(drop_path)
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv_dw(x), activation="relu6")
        y = self.bn2(self.conv_pw(y))
        return self.drop_path(y) + x if self.has_skip else y


class InvertedResidual(nn.Module):
    """1x1 up, depthwise, 1x1 down without activation, and a way around (Sandler et al., arXiv:1801.04381)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, config: Config, drop_path: float
    ) -> None:
        super().__init__()
        middle = round_channels(inputs * expansion)
        self.conv_pw = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle, config.bn_eps)
        self.conv_dw = SameConv2d(middle, middle, kernel, stride, groups=middle, bias=False)
        self.bn2 = nn.BatchNorm2d(middle, config.bn_eps)
        self.conv_pwl = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs, config.bn_eps)
        self.drop_path = nn.DropPath(drop_path)
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv_pw(x), activation="relu6")
        y = self.bn2(self.conv_dw(y), activation="relu6")
        y = self.bn3(self.conv_pwl(y))
        return self.drop_path(y) + x if self.has_skip else y


def _blocks(config: Config) -> nn.Sequential:
    """All stages, each a Sequential of blocks."""
    repeats = [n if i in (0, len(STAGES) - 1) else math.ceil(n * config.depth_multiplier) for i, (n, *_) in enumerate(STAGES)]
    total, done, inputs, stages = sum(repeats), 0, config.stem_size, []
    for count, (_, kernel, stride, expansion, channels) in zip(repeats, STAGES, strict=True):
        outputs = round_channels(channels * config.channel_multiplier)
        blocks: list[nn.Module] = []
        for i in range(count):
            step, drop = stride if i == 0 else 1, config.drop_path_rate * done / total
            if expansion == 1:
                blocks.append(DepthwiseSeparable(inputs, outputs, kernel, step, config, drop))
            else:
                blocks.append(InvertedResidual(inputs, outputs, kernel, step, expansion, config, drop))
            inputs, done = outputs, done + 1
        stages.append(nn.Sequential(*blocks))
    return nn.Sequential(*stages)


class EfficientNetLite(nn.Model):
    """A stem, seven stages of inverted residuals, a 1x1 convolution, average pooling and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes).

    Example:
        >>> import nyala
        >>> model = EfficientNetLite(Config(channel_multiplier=0.1, num_classes=10)).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape
        (1, 10)
    """

    classifier_name = "classifier"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.conv_stem = SameConv2d(config.in_chans, config.stem_size, 3, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem_size, config.bn_eps)
        self.blocks = _blocks(config)
        last = round_channels(STAGES[-1][-1] * config.channel_multiplier)
        self.conv_head = nn.Conv2d(last, config.num_features, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(config.num_features, config.bn_eps)
        self.num_features = config.num_features
        self.classifier = nn.Linear(config.num_features, config.num_classes) if config.num_classes else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_features, H / 32, W / 32)."""
        x = self.bn1(self.conv_stem(x), activation="relu6")
        x = self.blocks(x)
        return self.bn2(self.conv_head(x), activation="relu6")

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, H, W) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        x = x.mean(dim=(2, 3))
        x = F.dropout(x, self.config.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The blocks of all stages."""
        for stage in self.blocks.children():
            yield from stage.children()

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the stem, 1.. for the blocks in order, then the last convolution and the head."""
        lengths = [len(stage) for stage in self.blocks]
        part, _, rest = name.partition(".")
        if part == "blocks":
            stage, block = (int(n) for n in rest.split(".")[:2])
            return sum(lengths[:stage]) + block + 1
        return 0 if part in ("conv_stem", "bn1") else sum(lengths) + (1 if part in ("conv_head", "bn2") else 2)


def build(config: Mapping[str, Any], **overrides: Any) -> EfficientNetLite:
    """The model that timm's ``config.json`` describes; ``overrides`` such as ``num_classes=10`` replace its values."""
    return EfficientNetLite(Config.from_dict(config, **overrides))


def _library_names(config: Config) -> list[Rename]:
    """efficientnet_lite_pytorch numbers its blocks through; batch norms are _bn0, _bn1, _bn2."""
    rules = [
        Rename("_conv_stem.{rest...}", "conv_stem.{rest...}"),
        Rename("_bn0.{rest...}", "bn1.{rest...}"),
        Rename("_conv_head.{rest...}", "conv_head.{rest...}"),
        Rename("_bn1.{rest...}", "bn2.{rest...}"),
        Rename("_fc.{rest...}", "classifier.{rest...}"),
    ]
    number = 0
    for stage, (count, *_, expansion, _) in enumerate(STAGES):
        repeats = count if stage in (0, len(STAGES) - 1) else math.ceil(count * config.depth_multiplier)
        for block in range(repeats):
            theirs, ours = f"_blocks.{number}", f"blocks.{stage}.{block}"
            parts = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
            if expansion != 1:
                parts = {
                    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
                    "_project_conv": "conv_pwl", "_bn2": "bn3",
                }  # fmt: skip
            rules += [Rename(f"{theirs}.{a}.{{rest...}}", f"{ours}.{b}.{{rest...}}") for a, b in parts.items()]
            number += 1
    return rules


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """timm's names are ours; the other library's are told by their leading underscores."""
    renames = _library_names(Config.from_dict(config)) if any(n.startswith("_conv_stem") for n in published_names) else []
    return KeyMap(*renames)


def export_config(model: EfficientNetLite) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    return timm_config(model.config, Config.from_dict({"architecture": model.config.architecture}), model.num_features)
