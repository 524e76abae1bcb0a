"""The blocks of MobileNets and EfficientNets, and the short descriptions of stages that their families are written in.

A description is timm's: ``ir_r2_k5_s2_e6_c40_se0.25`` is an inverted residual, twice, kernel 5, stride 2 (of the first), six
times expanded, 40 channels, squeeze-and-excite; ``ds`` is depthwise separable, ``er`` an edge residual, ``cn`` a plain
convolution, ``uir`` MobileNetV4's universal inverted residual with an early depthwise convolution of kernel ``a``; ``nre`` means
ReLU.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core import nn
from ...core.nn import functional as F
from ...core.tensor import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "hard_swish": F.hardswish, "relu": F.relu, "relu6": F.relu6}
_FUSED = ("relu", "relu6")  # what a batch norm does in the same pass
_SHORT = {"re": "relu", "r6": "relu6", "hs": "hard_swish", "sw": "silu"}


@dataclass(frozen=True)
class Style:
    """What all blocks of a model have in common."""

    activation: str
    """"relu", "relu6", "silu" or "hard_swish"."""
    bn_eps: float
    """Added to variances in batch norm."""
    same: bool
    """TensorFlow's padding: more behind than before."""
    width: float = 1.0
    """Factor of the stages' widths."""
    round_limit: float = 0.9
    """Rounding takes away no more than leaves this share of a stage's width."""
    mobile: bool = False
    """MobileNetV3's squeeze-and-excite: a share of the expanded width, ReLU, a hard gate."""

    def channels(self, channels: int) -> int:
        """A stage's width, scaled."""
        return round_channels(channels * self.width, limit=self.round_limit)


@dataclass(frozen=True)
class Spec:
    """One block of a stage."""

    kind: str
    channels: int
    kernel: int
    stride: int
    expansion: float = 1.0
    squeeze: float = 0.0
    early: int = 0
    activation: str = ""
    skip: bool = False


def decode(stages: Sequence[Sequence[str]], depth: float = 1.0, fix_first_last: bool = False) -> list[list[Spec]]:
    """The blocks of each stage, ``depth`` times as many.

    Example:
        >>> [len(stage) for stage in decode([["ds_r1_k3_s1_c16"], ["ir_r2_k3_s2_e6_c24"]], 1.4)]
        [2, 3]
    """
    last, decoded = len(stages) - 1, []
    for i, stage in enumerate(stages):
        specs = [_decode_one(text) for text in stage]
        counts = _scaled([n for _, n in specs], 1.0 if fix_first_last and i in (0, last) else depth)
        blocks = [spec for (spec, _), count in zip(specs, counts, strict=True) for _ in range(count)]
        decoded.append([blocks[0], *[replace(block, stride=1) for block in blocks[1:]]])
    return decoded


def _decode_one(text: str) -> tuple[Spec, int]:
    kind, *parts = text.split("_")
    values: dict[str, str] = {}
    for part in parts:
        if (found := re.fullmatch(r"([a-z]+)(\d.*)", part)) is not None:
            values[found[1]] = found[2]
    activation = next((_SHORT[part[1:]] for part in parts if part[0] == "n" and part[1:] in _SHORT), "")
    spec = Spec(
        kind, int(values["c"]), int(values["k"]), int(values["s"]), float(values.get("e", 1)),
        float(values.get("se", 0)), int(values.get("a", 0)), activation, "skip" in parts,
    )  # fmt: skip
    return spec, int(values["r"])


def _scaled(counts: list[int], depth: float) -> list[int]:
    """The counts of a stage's descriptions, so that their sum is ``depth`` times as large; the last ones grow first."""
    total, wanted, scaled = sum(counts), math.ceil(sum(counts) * depth), []
    for count in reversed(counts):
        scaled.append(max(1, round(count / total * wanted)))
        total, wanted = total - count, wanted - scaled[-1]
    return scaled[::-1]


def round_channels(channels: float, divisor: int = 8, limit: float = 0.9) -> int:
    """To a multiple of ``divisor``, but not below ``limit`` times ``channels``.

    Example:
        >>> round_channels(24 * 1.1), round_channels(4)
        (24, 8)
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < limit * channels else rounded


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


def convolution(inputs: int, outputs: int, kernel: int, stride: int, style: Style, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded as the style has it."""
    if style.same and kernel > 1:
        return SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


def norm(channels: int, style: Style) -> nn.BatchNorm2d:
    """A batch norm of the style."""
    return nn.BatchNorm2d(channels, style.bn_eps)


def activated(bn: nn.Module, x: Tensor, activation: str) -> Tensor:
    """Batch norm, then the activation: in one pass where there is one for both."""
    return bn(x, activation=activation) if activation in _FUSED else ACTIVATIONS[activation](bn(x))


class SqueezeExcite(nn.Module):
    """Each channel times what a small network makes of all channels' means (Hu et al., arXiv:1709.01507)."""

    def __init__(self, channels: int, spec: Spec, style: Style) -> None:
        super().__init__()
        inner = round_channels(channels * spec.squeeze) if style.mobile else round(channels * (spec.squeeze / spec.expansion))
        self.conv_reduce = nn.Conv2d(channels, inner, 1)
        self.conv_expand = nn.Conv2d(inner, channels, 1)
        self.activation = F.relu if style.mobile else ACTIVATIONS[spec.activation or style.activation]
        self.gate = F.hardsigmoid if style.mobile else F.sigmoid

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_expand(self.activation(self.conv_reduce(x.mean(dim=(2, 3), keepdim=True))))
        return x * self.gate(y)


def _squeeze(channels: int, spec: Spec, style: Style) -> nn.Module:
    return SqueezeExcite(channels, spec, style) if spec.squeeze else nn.Identity()


class Block(nn.Module):
    """What all kinds share: a way around where the shape stays."""

    def __init__(self, inputs: int, outputs: int, spec: Spec, style: Style, drop_path: float) -> None:
        super().__init__()
        self.activation = spec.activation or style.activation
        self.has_skip = spec.stride == 1 and inputs == outputs
        self.build(inputs, outputs, spec, style)
        self.drop_path = nn.DropPath(drop_path)

    def build(self, inputs: int, outputs: int, spec: Spec, style: Style) -> None:
        """Make the layers."""
        raise NotImplementedError

    def inner(self, x: Tensor) -> Tensor:
        """The layers, one after the other."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        return self.drop_path(y) + x if self.has_skip else y


class DepthwiseSeparable(Block):
    """A depthwise convolution and a 1x1 convolution."""

    def build(self, inputs: int, outputs: int, spec: Spec, style: Style) -> None:
        self.conv_dw = convolution(inputs, inputs, spec.kernel, spec.stride, style, groups=inputs)
        self.bn1 = norm(inputs, style)
        self.se = _squeeze(inputs, spec, style)
        self.conv_pw = convolution(inputs, outputs, 1, 1, style)
        self.bn2 = norm(outputs, style)

    def inner(self, x: Tensor) -> Tensor:
        x = self.se(activated(self.bn1, self.conv_dw(x), self.activation))
        return self.bn2(self.conv_pw(x))


class InvertedResidual(Block):
    """1x1 up, depthwise, 1x1 down without activation (Sandler et al., arXiv:1801.04381)."""

    def build(self, inputs: int, outputs: int, spec: Spec, style: Style) -> None:
        middle = round_channels(inputs * spec.expansion)
        self.conv_pw = convolution(inputs, middle, 1, 1, style)
        self.bn1 = norm(middle, style)
        self.conv_dw = convolution(middle, middle, spec.kernel, spec.stride, style, groups=middle)
        self.bn2 = norm(middle, style)
        self.se = _squeeze(middle, spec, style)
        self.conv_pwl = convolution(middle, outputs, 1, 1, style)
        self.bn3 = norm(outputs, style)

    def inner(self, x: Tensor) -> Tensor:
        x = activated(self.bn1, self.conv_pw(x), self.activation)
        x = self.se(activated(self.bn2, self.conv_dw(x), self.activation))
        return self.bn3(self.conv_pwl(x))


class EdgeResidual(Block):
    """A full convolution up, 1x1 down without activation (Tan and Le, arXiv:2104.00298: fused MBConv)."""

    def build(self, inputs: int, outputs: int, spec: Spec, style: Style) -> None:
        middle = round_channels(inputs * spec.expansion)
        self.conv_exp = convolution(inputs, middle, spec.kernel, spec.stride, style)
        self.bn1 = norm(middle, style)
        self.se = _squeeze(middle, spec, style)
        self.conv_pwl = convolution(middle, outputs, 1, 1, style)
        self.bn2 = norm(outputs, style)

    def inner(self, x: Tensor) -> Tensor:
        x = self.se(activated(self.bn1, self.conv_exp(x), self.activation))
        return self.bn2(self.conv_pwl(x))


class Convolution(Block):
    """A full convolution with its norm and activation; a way around only where the description says so."""

    def build(self, inputs: int, outputs: int, spec: Spec, style: Style) -> None:
        self.conv = convolution(inputs, outputs, spec.kernel, spec.stride, style)
        self.bn1 = norm(outputs, style)
        self.has_skip = self.has_skip and spec.skip

    def inner(self, x: Tensor) -> Tensor:
        return activated(self.bn1, self.conv(x), self.activation)


class ConvNorm(nn.Module):
    """A convolution and its norm; the activation is ``forward``'s caller's, "" for none."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, style: Style, groups: int = 1) -> None:
        super().__init__()
        self.conv = convolution(inputs, outputs, kernel, stride, style, groups)
        self.bn = norm(outputs, style)

    def forward(self, x: Tensor, activation: str = "") -> Tensor:
        return activated(self.bn, self.conv(x), activation) if activation else self.bn(self.conv(x))


class UniversalInvertedResidual(Block):
    """An inverted residual whose depthwise convolution lies before the expansion, inside, in both places or in none (Qin et al.,
    arXiv:2404.10518)."""

    def build(self, inputs: int, outputs: int, spec: Spec, style: Style) -> None:
        middle = round_channels(inputs * spec.expansion)
        stride = 1 if spec.kernel else spec.stride
        self.dw_start = ConvNorm(inputs, inputs, spec.early, stride, style, inputs) if spec.early else nn.Identity()
        self.pw_exp = ConvNorm(inputs, middle, 1, 1, style)
        self.dw_mid: Any = ConvNorm(middle, middle, spec.kernel, spec.stride, style, middle) if spec.kernel else None
        self.pw_proj = ConvNorm(middle, outputs, 1, 1, style)

    def inner(self, x: Tensor) -> Tensor:
        x = self.pw_exp(self.dw_start(x), self.activation)
        x = x if self.dw_mid is None else self.dw_mid(x, self.activation)
        return self.pw_proj(x)


_KINDS: dict[str, type[Block]] = {
    "ds": DepthwiseSeparable,
    "ir": InvertedResidual,
    "er": EdgeResidual,
    "cn": Convolution,
    "uir": UniversalInvertedResidual,
}


class Trunk(nn.Model):
    """A stem and stages of blocks: what MobileNets and EfficientNets share. Subclasses add what follows.

    Args:
        config: has ``in_chans`` and ``drop_path_rate``.
        stem: width of the first convolution.
        specs: the blocks of each stage.
        style: what they have in common.
    """

    classifier_name = "classifier"

    def __init__(self, config: Any, stem: int, specs: list[list[Spec]], style: Style) -> None:
        super().__init__(config)
        self.activation = style.activation
        self.conv_stem = convolution(config.in_chans, stem, 3, 2, style)
        self.bn1 = norm(stem, style)
        total, done, inputs, stages = sum(map(len, specs)), 0, stem, []
        for stage in specs:
            blocks: list[nn.Module] = []
            for spec in stage:
                outputs = style.channels(spec.channels)
                blocks.append(_KINDS[spec.kind](inputs, outputs, spec, style, config.drop_path_rate * done / total))
                inputs, done = outputs, done + 1
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.trunk_channels = inputs

    def initialise(self) -> None:
        """Fan-out normal convolutions, as the papers have them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    def forward_trunk(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, trunk_channels, H / 32, W / 32)."""
        return self.blocks(activated(self.bn1, self.conv_stem(x), self.activation))

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
        return 0 if part in ("conv_stem", "bn1") else sum(lengths) + (2 if part == "classifier" else 1)
