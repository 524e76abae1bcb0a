"""U-Net with residual units, for pictures and for volumes (Ronneberger et al., arXiv:1505.04597; Kerfoot et al., "Left-ventricle
quantification using residual U-Net", 2019), as MONAI builds it.

Loads the weights of MONAI's ``UNet``, whose tensor names are ours (``model.0.conv.unit0.conv.weight``, ...). MONAI's bundles say
how it was built in ``configs/inference.json`` below ``network_def``: a ``config.json`` with these values and
``"model_type": "unet"`` beside the weights makes a folder that ``nyala.load`` reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any

from ...core import nn
from ...core.errors import ArgumentError, ShapeError, did_you_mean
from ...core.keymap import KeyMap
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from .config import transformers_classes
from .segmenter import Segmenter, segmentation_labels

TASK = "image-segmentation"
_PLANES = {
    2: (nn.Conv2d, nn.ConvTranspose2d, {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}),
    3: (nn.Conv3d, nn.ConvTranspose3d, {"instance": nn.InstanceNorm3d, "batch": nn.BatchNorm3d}),
}
_ACTS = {"prelu": nn.PReLU, "relu": nn.ReLU, "leakyrelu": nn.LeakyReLU, "elu": nn.ELU}
_NORMS = ("instance", "batch", "group")
_OWN = ("model_type", "architectures", "id2label", "label2id", "num_labels", "_target_", "out_channels", "dimensions")

Named = tuple[str, dict[str, Any]]
Stride = int | tuple[int, ...]


@dataclass(frozen=True)
class Config:
    """What shapes a U-Net; names and defaults are those of MONAI's ``UNet``."""

    spatial_dims: int = 2
    """2 for pictures, 3 for volumes."""
    in_channels: int = 3
    """Channels of the input."""
    num_classes: int = 2
    """Classes: MONAI's ``out_channels``."""
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Widths from the top to the bottom."""
    strides: tuple[Stride, ...] = (2, 2, 2, 2)
    """How much smaller each level is than the one above, one less than ``channels``."""
    kernel_size: Stride = 3
    """Of the convolutions on the way down."""
    up_kernel_size: Stride = 3
    """Of the transposed convolutions on the way up."""
    num_res_units: int = 0
    """Convolutions in each unit on the way down, with a way around them; 0 for plain ones."""
    act: Named = ("prelu", {})
    """Activation and its arguments: prelu, relu, leakyrelu or elu."""
    norm: Named | None = ("instance", {})
    """Norm and its arguments: instance, batch or group; None for none."""
    dropout: float = 0.0
    """Dropout in every unit."""
    bias: bool = True
    """Whether convolutions have biases."""
    adn_ordering: str = "NDA"
    """Order of norm (N), dropout (D) and activation (A)."""

    @property
    def in_chans(self) -> int:
        """Channels of the input, by the name that other models of pictures have for them."""
        return self.in_channels

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read a ``config.json``, or MONAI's ``network_def``; ``overrides`` replace its values.

        Raises:
            ArgumentError: a name that MONAI's ``UNet`` does not have, or values that build none.
        """
        given = {**config, **overrides}
        labelled = "num_labels" in given or "id2label" in given or "out_channels" not in given
        classes = transformers_classes(given) if labelled else int(given["out_channels"])
        known = {f.name for f in fields(Config)}
        values = {k: v for k, v in given.items() if k not in _OWN and k != "num_classes"}
        unknown = sorted(set(values) - known)
        if unknown:
            fix = did_you_mean(unknown[0], known) or f"it has {', '.join(sorted(known))}"
            raise ArgumentError(f"a U-Net has no option {', '.join(map(repr, unknown))}", fix=fix)
        if "dimensions" in given:  # what old bundles call it
            values.setdefault("spatial_dims", given["dimensions"])
        values = {k: _frozen(v) for k, v in values.items()}
        made = Config(**{**values, "act": _named(values.get("act", "prelu")), "norm": _named(values.get("norm", "instance")),
                         "num_classes": classes})  # fmt: skip
        made.check()
        return made

    def check(self) -> None:
        """Raises:
        ArgumentError: values that build no U-Net.
        """
        levels = len(self.channels) - 1
        if self.spatial_dims not in _PLANES:
            raise ArgumentError(f"spatial_dims={self.spatial_dims}", fix="use 2 for pictures, 3 for volumes")
        if levels < 1 or len(self.strides) != levels:
            raise ArgumentError(
                f"{len(self.strides)} strides and {len(self.channels)} channels",
                why="each level but the first is smaller by its stride",
                fix="give two channels or more, and one stride less than channels",
            )
        if self.act is None or self.act[0] not in _ACTS:
            raise ArgumentError(f"act={self.act!r}", fix=f"use one of {', '.join(_ACTS)}")
        if self.norm is not None and self.norm[0] not in _NORMS:
            raise ArgumentError(f"norm={self.norm!r}", fix=f"use one of {', '.join(_NORMS)}, or None")
        if sorted(self.adn_ordering.upper()) != sorted(set(self.adn_ordering.upper()) & set("NDA")):
            raise ArgumentError(f"adn_ordering={self.adn_ordering!r}", fix='order the letters of "NDA"')

    def factor(self) -> tuple[int, ...]:
        """For each axis, what its size must be a multiple of."""
        wide = [s if isinstance(s, tuple) else (s,) * self.spatial_dims for s in self.strides]
        return tuple(prod(axis) for axis in zip(*wide, strict=True))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, (list, tuple)) else value


def _named(value: Any) -> Named | None:
    """A name in any case, or a pair of it and its arguments, as MONAI takes both."""
    if value is None:
        return None
    name, settings = (value, {}) if isinstance(value, str) else (value[0], dict(value[1]) if len(value) > 1 else {})
    return str(name).lower(), {k: v for k, v in settings.items() if k != "inplace"}


class Adn(nn.Sequential):
    """Norm, dropout and activation, in the order of the config; the letters are their names."""

    def __init__(self, width: int, config: Config) -> None:
        super().__init__()
        for letter in config.adn_ordering.upper():
            if letter == "N" and config.norm is not None:
                self.add_module("N", _norm(width, config))
            elif letter == "D" and config.dropout:
                self.add_module("D", nn.Dropout(config.dropout))
            elif letter == "A":
                self.add_module("A", _ACTS[config.act[0]](**config.act[1]))


def _norm(width: int, config: Config) -> nn.Module:
    name, settings = config.norm or ("", {})
    if name == "group":
        return nn.GroupNorm(num_channels=width, **{"num_groups": 1, **settings})
    return _PLANES[config.spatial_dims][2][name](width, **settings)


class Convolution(nn.Sequential):
    """A convolution, or a transposed one, and behind it norm, dropout and activation unless it is ``alone``."""

    def __init__(self, inputs: int, width: int, stride: Stride, config: Config, *, up: bool = False, alone: bool = False) -> None:
        super().__init__()
        plain, transposed, _ = _PLANES[config.spatial_dims]
        size = config.up_kernel_size if up else config.kernel_size
        if up:
            more = tuple(s - 1 for s in stride) if isinstance(stride, tuple) else stride - 1
            conv: nn.Module = transposed(inputs, width, size, stride, _same(size), more, bias=config.bias)
        else:
            conv = plain(inputs, width, size, stride, _same(size), bias=config.bias)
        self.add_module("conv", conv)
        if not alone:
            self.add_module("adn", Adn(width, config))


def _same(size: Stride) -> Stride:
    """The padding that keeps a size."""
    return tuple((k - 1) // 2 for k in size) if isinstance(size, tuple) else (size - 1) // 2


class ResidualUnit(nn.Module):
    """Convolutions and a way around them, itself a convolution where sizes change."""

    def __init__(self, inputs: int, width: int, stride: Stride, units: int, config: Config, *, alone: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        for i in range(units):
            first, last = i == 0, i == units - 1
            unit = Convolution(inputs if first else width, width, stride if first else 1, config, alone=alone and last)
            self.conv.add_module(f"unit{i}", unit)
        strided = prod(stride) != 1 if isinstance(stride, tuple) else stride != 1
        self.residual: nn.Module = nn.Identity()
        if strided or inputs != width:
            size = config.kernel_size if strided else 1
            self.residual = _PLANES[config.spatial_dims][0](inputs, width, size, stride, _same(size), bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(x.shape)  # both gradients are added here first, as in a checkpointed unit: the same bits either way
        return self.conv(x) + self.residual(x)


class Skip(nn.Module):
    """The input beside what the levels below make of it."""

    def __init__(self, submodule: nn.Module) -> None:
        super().__init__()
        self.submodule = submodule

    def forward(self, x: Tensor) -> Tensor:
        return cat([x, self.submodule(x)], 1)


class UNet(Segmenter):
    """Down to small, wide features and up again, with what was seen on the way down beside it on the way up.

    Shape: (N, in_channels, H, W) -> (N, num_classes, H, W), or with a depth before H for volumes; sizes are multiples of the
    product of all strides.

    Raises:
        ShapeError: sizes that are not.

    Example:
        >>> import nyala
        >>> model = UNet(Config(3, 1, 4, channels=(4, 8), strides=(2,), num_res_units=2)).eval()
        >>> model(nyala.zeros(1, 1, 8, 16, 16)).shape
        (1, 4, 8, 16, 16)
    """

    classifier_names = ("model.2",)
    decoder_names = ("model.2",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model = self._level(0, config.in_channels)

    def _level(self, level: int, inputs: int) -> nn.Sequential:
        width, below = self.config.channels[level : level + 2]
        stride = self.config.strides[level]
        if level + 2 < len(self.config.channels):
            inner: nn.Module = self._level(level + 1, width)
            joined = 2 * width
        else:
            inner, joined = self._down(width, below, 1), width + below
        outputs = inputs if level else self.config.num_classes
        return nn.Sequential(self._down(inputs, width, stride), Skip(inner), self._up(joined, outputs, stride, level == 0))

    def _down(self, inputs: int, width: int, stride: Stride) -> nn.Module:
        units = self.config.num_res_units
        if units:
            return ResidualUnit(inputs, width, stride, units, self.config)
        return Convolution(inputs, width, stride, self.config)

    def _up(self, inputs: int, width: int, stride: Stride, top: bool) -> nn.Module:
        residual = self.config.num_res_units > 0
        conv = Convolution(inputs, width, stride, self.config, up=True, alone=top and not residual)
        if not residual:
            return conv
        return nn.Sequential(conv, ResidualUnit(width, width, 1, 1, self.config, alone=top))

    def new_classifier(self, old: Any, num_classes: int) -> nn.Module:  # noqa: ARG002 - it follows from the config
        """The last way up, which ends in the classes."""
        width, below = self.config.channels[:2]
        joined = 2 * width if len(self.config.channels) > 2 else width + below
        return self._up(joined, num_classes, self.config.strides[0], True)

    def forward_features(self, x: Tensor) -> Tensor:
        """What the last way up reads: (N, channels, H / stride, W / stride)."""
        self._check(x.shape)
        return self.model[1](self.model[0](x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The logits of every pixel, from what ``forward_features`` gave; that itself where ``pre_logits``."""
        return x if pre_logits else self.model[2](x)

    def _check(self, shape: Sequence[int]) -> None:
        factor, axes = self.config.factor(), self.config.spatial_dims
        if len(shape) != axes + 2:
            names = "(N, C, H, W)" if axes == 2 else "(N, C, D, H, W)"
            raise ShapeError(f"UNet was given shape {tuple(shape)}", why=f"spatial_dims={axes} takes {names}", fix="add axes")
        if any(size % f for size, f in zip(shape[2:], factor, strict=True)):
            fitting = " x ".join(str(-(-size // f) * f) for size, f in zip(shape[2:], factor, strict=True))
            raise ShapeError(
                f"UNet was given {' x '.join(map(str, shape[2:]))}",
                why=f"what goes down by strides {self.config.strides} must come up to the same size",
                fix=f"pad or resize to multiples of {' x '.join(map(str, factor))}, here {fitting}",
            )

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The units of all levels."""
        level: Any = self.model
        while isinstance(level, nn.Sequential) and isinstance(level[1], Skip):
            yield level[0]
            yield level[2]
            level = level[1].submodule
            if isinstance(level, (ResidualUnit, Convolution)):
                yield level
                return

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the top on the way down, then down to the bottom and up again."""
        levels, parts = len(self.config.channels) - 1, name.split(".")[1:]
        level = 0
        while parts[:2] == ["1", "submodule"]:
            level, parts = level + 1, parts[2:]
        return 2 * levels - level if level < levels and parts[0] == "2" else level


def build(config: Mapping[str, Any], **overrides: Any) -> UNet:
    """The model that the ``config.json`` describes; ``overrides`` such as ``num_labels=10`` replace its values."""
    return UNet(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """MONAI's names are ours."""
    return KeyMap()


def export_config(model: UNet) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model; its values are those of MONAI's ``UNet``."""
    values = {k: v for k, v in asdict(model.config).items() if k != "num_classes"}
    labels = segmentation_labels("UNet", model.config.num_classes)
    return {"model_type": "unet", **{k: _listed(v) for k, v in values.items()}, **labels}


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value
