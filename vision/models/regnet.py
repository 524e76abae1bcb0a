"""RegNet X and Y (Radosavovic, Kosaraju, Girshick, He, Dollár, "Designing network design spaces", arXiv:2003.13678).

Loads timm's checkpoints (``timm/regnetx_032.pycls_in1k``, ``timm/regnety_032.ra_in1k``, ...), whose tensor names are ours, and
transformers' (``facebook/regnet-y-040``). A model is one of a family: widths grow along a line, rounded to few stages.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core import nn
from ...core.errors import ArgumentError, DataError, UnknownNameError, did_you_mean
from ...core.keymap import KeyMap, Prefix, Rename
from ...core.nn import functional as F
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config, transformers_bare, transformers_classes, transformers_labels

# size -> (blocks, width of the first, slope of the widths, factor between two stages' widths, channels of a group)
_X: dict[str, tuple[int, int, float, float, int]] = {
    "002": (13, 24, 36.44, 2.49, 8), "004": (22, 24, 24.48, 2.54, 16), "006": (16, 48, 36.97, 2.24, 24),
    "008": (16, 56, 35.73, 2.28, 16), "016": (18, 80, 34.01, 2.25, 24), "032": (25, 88, 26.31, 2.25, 48),
    "040": (23, 96, 38.65, 2.43, 40), "064": (17, 184, 60.83, 2.07, 56), "080": (23, 80, 49.56, 2.88, 120),
    "120": (19, 168, 73.36, 2.37, 112), "160": (22, 216, 55.59, 2.1, 128), "320": (23, 320, 69.86, 2.0, 168),
}  # fmt: skip
_Y: dict[str, tuple[int, int, float, float, int]] = {
    "002": (13, 24, 36.44, 2.49, 8), "004": (16, 48, 27.89, 2.09, 8), "006": (15, 48, 32.54, 2.32, 16),
    "008": (14, 56, 38.84, 2.4, 16), "016": (27, 48, 20.71, 2.65, 24), "032": (21, 80, 42.63, 2.66, 24),
    "040": (22, 96, 31.41, 2.24, 64), "064": (25, 112, 33.22, 2.27, 72), "080": (17, 192, 76.82, 2.19, 56),
    "120": (19, 168, 73.36, 2.37, 112), "160": (18, 200, 106.23, 2.48, 112), "320": (20, 232, 115.89, 2.53, 232),
    "640": (20, 352, 147.48, 2.4, 328), "1280": (27, 456, 160.83, 2.52, 264), "2560": (27, 640, 230.83, 2.53, 373),
}  # fmt: skip
# architecture -> (numbers of the size, squeeze, torchvision's limit of rounding down)
ARCHITECTURES: dict[str, tuple[tuple[int, int, float, float, int], float, float]] = {
    **{f"regnetx_{size}": (numbers, 0.0, 0.0) for size, numbers in _X.items()},
    **{f"regnety_{size}": (numbers, 0.25, 0.0) for size, numbers in _Y.items()},
    "regnetx_004_tv": (_X["004"], 0.0, 0.9),
    "regnety_008_tv": (_Y["008"], 0.25, 0.9),
    "regnety_080_tv": (_Y["080"], 0.25, 0.9),
}
_STEP = 8  # widths are its multiples


@dataclass(frozen=True)
class Config:
    """What shapes a RegNet."""

    architecture: str = "regnety_032"
    """Name in timm's registry, or "regnet" in transformers' layout."""
    depth: int = 21
    """Blocks."""
    w0: int = 80
    """Width of the first block."""
    wa: float = 42.63
    """How much wider each block is, before rounding."""
    wm: float = 2.66
    """Factor between the widths of two stages, to whose powers widths are rounded."""
    group_size: int = 24
    """Channels of each group of the 3x3 convolutions."""
    bottle_ratio: float = 1.0
    """Width inside a block over that of its result."""
    se_ratio: float = 0.0
    """Width of squeeze-and-excite over that of a block's input; 0 for none (X)."""
    group_min_ratio: float = 0.0
    """Rounding widths to whole groups leaves at least this share; 0 for the nearest."""
    stem_width: int = 32
    """Width of the first convolution."""
    in_chans: int = 3
    """Channels of the input."""
    num_classes: int = 1000
    """Classes; 0 for features only."""
    drop_rate: float = 0.0
    """Dropout before the classifier."""
    drop_path_rate: float = 0.0
    """Stochastic depth of the last block; earlier ones have proportionally less."""
    first_stride: int = 2
    """Stride of the first stage; each later one has 2."""
    depths: tuple[int, ...] = ()
    """Blocks in each stage, where they are listed: then widths are too, and the line is not used."""
    widths: tuple[int, ...] = ()
    """Width of each stage, where they are listed."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's or transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a RegNet that nyala knows.
            DataError: a kind of transformers' RegNet that nyala does not build.
        """
        if "model_type" in config:
            return _from_transformers({**config, **overrides})
        name = str(config.get("architecture", "regnety_032")).partition(".")[0]
        if name not in ARCHITECTURES:
            raise UnknownNameError(f"no RegNet is called {name!r}", fix=did_you_mean(name, ARCHITECTURES))
        numbers, squeeze, limit = ARCHITECTURES[name]
        implied = Config(name, *numbers, se_ratio=squeeze, group_min_ratio=limit)
        return replace(implied, **timm_arguments(Config, config, overrides))

    def stages(self) -> list[tuple[int, int, int]]:
        """(blocks, width, channels of a group) of each stage.

        Raises:
            ArgumentError: numbers that make no family.

        Example:
            >>> Config.from_dict({"architecture": "regnetx_002"}).stages()
            [(1, 24, 8), (1, 56, 8), (4, 152, 8), (7, 368, 8)]
        """
        counted = list(zip(self.widths, self.depths, strict=True)) if self.depths else self._line()
        return [(count, *self._grouped(width)) for width, count in counted]

    def _line(self) -> list[tuple[int, int]]:
        """(width, blocks) of each stage: all blocks of one rounded width."""
        if self.wa < 0 or self.w0 <= 0 or self.wm <= 1 or self.w0 % _STEP or self.depth < 1:
            raise ArgumentError(
                f"a RegNet with depth={self.depth}, w0={self.w0}, wa={self.wa}, wm={self.wm}",
                why=f"widths start at w0, a multiple of {_STEP}, and grow",
                fix="use wa >= 0 and wm > 1",
            )
        line = np.arange(self.depth, dtype=np.float32) * np.float32(self.wa) + np.float32(self.w0)
        powers = np.round(np.log(line / np.float32(self.w0)) / np.float32(math.log(self.wm)))
        rounded = np.round(self.w0 * np.power(np.float32(self.wm), powers) / _STEP).astype(int) * _STEP
        widths, counts = np.unique(rounded, return_counts=True)
        return list(zip(widths.tolist(), counts.tolist(), strict=True))

    def _grouped(self, width: int) -> tuple[int, int]:
        """A stage's width such that inside the block there are whole groups, and the channels of a group."""
        if self.depths:  # transformers' are listed as they are
            return width, width // max(1, width // self.group_size)
        inner = int(width * self.bottle_ratio)
        group = min(self.group_size, inner)
        whole = round(inner / group) * group
        if self.group_min_ratio:
            whole = max(group, int(inner + group / 2) // group * group)
            whole += group if whole < self.group_min_ratio * inner else 0
        return int(whole / self.bottle_ratio), group


def _from_transformers(config: Mapping[str, Any]) -> Config:
    for key, choices in {"hidden_act": ("relu",), "layer_type": ("x", "y")}.items():
        if config.get(key, choices[-1]) not in choices:
            raise DataError(
                f"{key}={config[key]!r}", why=f"nyala's RegNet has {' or '.join(choices)}", fix="choose other weights"
            )
    return Config(
        "regnet",
        group_size=int(config.get("groups_width", 64)), se_ratio=0.25 if config.get("layer_type", "y") == "y" else 0.0,
        stem_width=int(config.get("embedding_size", 32)), in_chans=int(config.get("num_channels", 3)),
        num_classes=transformers_classes(config), first_stride=2 if config.get("downsample_in_first_stage", True) else 1,
        depths=tuple(config.get("depths") or (2, 6, 12, 2)), widths=tuple(config.get("hidden_sizes") or (128, 192, 512, 1088)),
    )  # fmt: skip


class ConvNorm(nn.Module):
    """A convolution, batch norm, and ReLU where ``activation`` says it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activation: str = "") -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x), activation=self.activation) if self.activation else self.bn(self.conv(x))


class SqueezeExcite(nn.Module):
    """Each channel times what a small network makes of all channels' means (Hu et al., arXiv:1709.01507)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, inner, 1)
        self.fc2 = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.sigmoid(self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))


class Block(nn.Module):
    """1x1, a 3x3 in groups, squeeze-and-excite (Y), 1x1, and a way around them."""

    def __init__(self, inputs: int, outputs: int, group: int, stride: int, config: Config, drop_path: float) -> None:
        super().__init__()
        inner = round(outputs * config.bottle_ratio)
        self.conv1 = ConvNorm(inputs, inner, 1, activation="relu")
        self.conv2 = ConvNorm(inner, inner, 3, stride, inner // group, activation="relu")
        self.se = SqueezeExcite(inner, round(inputs * config.se_ratio)) if config.se_ratio else nn.Identity()
        self.conv3 = ConvNorm(inner, outputs, 1)
        self.downsample = nn.Identity() if stride == 1 and inputs == outputs else ConvNorm(inputs, outputs, 1, stride)
        self.drop_path = nn.DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(self.se(self.conv2(self.conv1(x))))
        return F.relu(self.drop_path(y) + self.downsample(x))


class Stage(nn.Module):
    """Blocks ``b1``, ``b2``, ...; the first changes size and width."""

    def __init__(self, blocks: list[Block]) -> None:
        super().__init__()
        for i, block in enumerate(blocks):
            self.add_module(f"b{i + 1}", block)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.children():
            x = block(x)
        return x


class Head(nn.Module):
    """The mean over all places, and a linear classifier."""

    def __init__(self, width: int, config: Config) -> None:
        super().__init__()
        self.drop = nn.Dropout(config.drop_rate)
        self.fc = nn.Linear(width, config.num_classes) if config.num_classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.drop(x.mean(dim=(2, 3)))
        return x if pre_logits else self.fc(x)


class RegNet(nn.Model):
    """A stem, stages of residual blocks, global average pooling and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes).

    Example:
        >>> import nyala
        >>> model = RegNet(Config(depths=(1, 2), widths=(8, 16), group_size=4, num_classes=10)).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape
        (1, 10)
    """

    classifier_name = "head.fc"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        shapes = config.stages()
        self.counts = [count for count, _, _ in shapes]
        self.stem = ConvNorm(config.in_chans, config.stem_width, 3, 2, activation="relu")
        inputs, done, last = config.stem_width, 0, max(sum(self.counts) - 1, 1)
        for i, (count, width, group) in enumerate(shapes):
            strides = [2 if i else config.first_stride, *[1] * (count - 1)]
            drops = [config.drop_path_rate * k / last for k in range(done, done + count)]
            blocks = [
                Block(width if k else inputs, width, group, stride, config, drop)
                for k, (stride, drop) in enumerate(zip(strides, drops, strict=True))
            ]
            self.add_module(f"s{i + 1}", Stage(blocks))
            inputs, done = width, done + count
        self.num_features = inputs
        self.head = Head(inputs, config)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan))
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_features, H / 32, W / 32)."""
        x = self.stem(x)
        for i in range(len(self.counts)):
            x = self.get_submodule(f"s{i + 1}")(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, H, W) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        return self.head(x, pre_logits)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The blocks of all stages."""
        for i in range(len(self.counts)):
            yield from self.get_submodule(f"s{i + 1}").children()

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the stem, 1.. for the blocks in order, the last number for the head."""
        part, _, rest = name.partition(".")
        if part in ("stem", "head"):
            return 0 if part == "stem" else sum(self.counts) + 1
        return sum(self.counts[: int(part[1:]) - 1]) + int(rest.partition(".")[0][1:])


def build(config: Mapping[str, Any], **overrides: Any) -> RegNet:
    """The model that the ``config.json`` describes; ``overrides`` such as ``num_classes=10`` replace its values."""
    return RegNet(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - the layout says it
    """timm's names are ours; transformers' are others."""
    if "model_type" not in config:
        return KeyMap()
    shape, rules = Config.from_dict(config), []
    inner = {"0": "conv1", "1": "conv2", "3" if shape.se_ratio else "2": "conv3"}
    for i, count in enumerate(shape.depths):
        for j in range(count):
            theirs, ours = f"encoder.stages.{i}.layers.{j}", f"s{i + 1}.b{j + 1}"
            parts = {f"{theirs}.layer.{k}": f"{ours}.{name}" for k, name in inner.items()}
            rules += _units({**parts, f"{theirs}.shortcut": f"{ours}.downsample"})
            rules += [
                Rename(f"{theirs}.layer.2.attention.{k}.{{p}}", f"{ours}.se.fc{n}.{{p}}") for k, n in (("0", "1"), ("2", "2"))
            ]
    rules += [*_units({"embedder.embedder": "stem"}), Rename("classifier.1.{p}", "head.fc.{p}")]
    return KeyMap(Prefix("regnet.", written=not transformers_bare(config), outside=("classifier.*",)), *rules)


def _units(names: Mapping[str, str]) -> list[Rename]:
    """A convolution and its norm, under transformers' names and ours."""
    kinds = {"convolution": "conv", "normalization": "bn"}
    return [Rename(f"{a}.{theirs}.{{p}}", f"{b}.{ours}.{{p}}") for a, b in names.items() for theirs, ours in kinds.items()]


def export_config(model: RegNet) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    c = model.config
    if c.architecture != "regnet":
        return timm_config(c, Config.from_dict({"architecture": c.architecture}), model.num_features)
    shape = {
        "layer_type": "y" if c.se_ratio else "x", "depths": list(c.depths), "hidden_sizes": list(c.widths),
        "num_channels": c.in_chans, "embedding_size": c.stem_width, "groups_width": c.group_size,
        "downsample_in_first_stage": c.first_stride == 2,
    }  # fmt: skip
    return {"model_type": "regnet", "hidden_act": "relu", **shape, **transformers_labels("RegNet", c.num_classes)}
