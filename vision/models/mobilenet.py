"""MobileNetV3 (Howard et al., arXiv:1905.02244) and the convolutional MobileNetV4 (Qin et al., arXiv:2404.10518).

Loads timm's checkpoints: ``mobilenetv3_large_100``, ``mobilenetv3_small_100`` and their other widths, the same with ``tf_``
(trained in TensorFlow: padding and eps are TensorFlow's), and ``mobilenetv4_conv_small``, ``_medium`` and ``_large``. The
classifier reads a convolution of the pooled features. MobileNetV2 has another plan: see :mod:`.efficientnet`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core import nn
from ...core.errors import UnknownNameError, did_you_mean
from ...core.keymap import KeyMap
from ...core.nn import functional as F
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config
from .mobile import ACTIVATIONS, Style, Trunk, activated, decode, norm


@dataclass(frozen=True)
class Family:
    """What the widths of one family share."""

    stages: tuple[str, ...]
    """Each stage's blocks, with a space between."""
    stem_size: int = 16
    num_features: int = 1280
    activation: str = "hard_swish"
    scaled_stem: float = 0.75
    """The stem is scaled for widths from this on."""


_SMALL = (
    "ds_r1_k3_s2_e1_c16_se0.25_nre", "ir_r1_k3_s2_e4.5_c24_nre ir_r1_k3_s1_e3.67_c24_nre",
    "ir_r1_k5_s2_e4_c40_se0.25 ir_r2_k5_s1_e6_c40_se0.25", "ir_r2_k5_s1_e3_c48_se0.25", "ir_r3_k5_s2_e6_c96_se0.25",
    "cn_r1_k1_s1_c576",
)  # fmt: skip
_LARGE = (
    "ds_r1_k3_s1_e1_c16_nre", "ir_r1_k3_s2_e4_c24_nre ir_r1_k3_s1_e3_c24_nre", "ir_r3_k5_s2_e3_c40_se0.25_nre",
    "ir_r1_k3_s2_e6_c80 ir_r1_k3_s1_e2.5_c80 ir_r2_k3_s1_e2.3_c80", "ir_r2_k3_s1_e6_c112_se0.25",
    "ir_r3_k5_s2_e6_c160_se0.25", "cn_r1_k1_s1_c960",
)  # fmt: skip
_V4_SMALL = (
    "cn_r1_k3_s2_e1_c32 cn_r1_k1_s1_e1_c32", "cn_r1_k3_s2_e1_c96 cn_r1_k1_s1_e1_c64",
    "uir_r1_a5_k5_s2_e3_c96 uir_r4_a0_k3_s1_e2_c96 uir_r1_a3_k0_s1_e4_c96",
    "uir_r1_a3_k3_s2_e6_c128 uir_r1_a5_k5_s1_e4_c128 uir_r1_a0_k5_s1_e4_c128 uir_r1_a0_k5_s1_e3_c128 uir_r2_a0_k3_s1_e4_c128",
    "cn_r1_k1_s1_c960",
)  # fmt: skip
_V4_MEDIUM = (
    "er_r1_k3_s2_e4_c48", "uir_r1_a3_k5_s2_e4_c80 uir_r1_a3_k3_s1_e2_c80",
    "uir_r1_a3_k5_s2_e6_c160 uir_r2_a3_k3_s1_e4_c160 uir_r1_a3_k5_s1_e4_c160 uir_r1_a3_k3_s1_e4_c160 uir_r1_a3_k0_s1_e4_c160 "
    "uir_r1_a0_k0_s1_e2_c160 uir_r1_a3_k0_s1_e4_c160",
    "uir_r1_a5_k5_s2_e6_c256 uir_r1_a5_k5_s1_e4_c256 uir_r2_a3_k5_s1_e4_c256 uir_r1_a0_k0_s1_e4_c256 uir_r1_a3_k0_s1_e4_c256 "
    "uir_r1_a3_k5_s1_e2_c256 uir_r1_a5_k5_s1_e4_c256 uir_r2_a0_k0_s1_e4_c256 uir_r1_a5_k0_s1_e2_c256",
    "cn_r1_k1_s1_c960",
)  # fmt: skip
_V4_LARGE = (
    "er_r1_k3_s2_e4_c48", "uir_r1_a3_k5_s2_e4_c96 uir_r1_a3_k3_s1_e4_c96",
    "uir_r1_a3_k5_s2_e4_c192 uir_r3_a3_k3_s1_e4_c192 uir_r1_a3_k5_s1_e4_c192 uir_r5_a5_k3_s1_e4_c192 uir_r1_a3_k0_s1_e4_c192",
    "uir_r4_a5_k5_s2_e4_c512 uir_r1_a5_k0_s1_e4_c512 uir_r1_a5_k3_s1_e4_c512 uir_r2_a5_k0_s1_e4_c512 uir_r1_a5_k3_s1_e4_c512 "
    "uir_r1_a5_k5_s1_e4_c512 uir_r3_a5_k0_s1_e4_c512",
    "cn_r1_k1_s1_c960",
)  # fmt: skip
FAMILIES: dict[str, Family] = {
    "v3_small": Family(_SMALL, num_features=1024),
    "v3_large": Family(_LARGE),
    "v4_small": Family(_V4_SMALL, 32, activation="relu", scaled_stem=1.0),
    "v4_medium": Family(_V4_MEDIUM, 32, activation="relu", scaled_stem=1.0),
    "v4_large": Family(_V4_LARGE, 24, activation="relu", scaled_stem=1.0),
}
# architecture -> (family, width multiplier, depth multiplier)
ARCHITECTURES: dict[str, tuple[str, float, float]] = {
    **{f"mobilenetv3_small_{p:03}": ("v3_small", p / 100, 1.0) for p in (50, 75, 100)},
    **{f"mobilenetv3_large_{p:03}": ("v3_large", p / 100, 1.0) for p in (75, 100)},
    "mobilenetv3_large_150d": ("v3_large", 1.5, 1.2),
    **{f"tf_mobilenetv3_{size}_{p:03}": (f"v3_{size}", p / 100, 1.0) for size in ("small", "large") for p in (75, 100)},
    **{f"mobilenetv4_conv_small_{p:03}": ("v4_small", p / 100, 1.0) for p in (35, 50)},
    **{f"mobilenetv4_conv_{size}": (f"v4_{size}", 1.0, 1.0) for size in ("small", "medium", "large")},
}


@dataclass(frozen=True)
class Config:
    """What shapes a MobileNet."""

    architecture: str = "mobilenetv3_large_100"
    """Name in timm's registry."""
    family: str = "v3_large"
    """Key of ``FAMILIES``."""
    channel_multiplier: float = 1.0
    """Factor of the stages' widths."""
    depth_multiplier: float = 1.0
    """Factor of the stages' lengths."""
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
    bn_eps: float = 1e-5
    """Added to variances in batch norm."""
    pad_type: str = ""
    """"same" for TensorFlow's padding, "" for PyTorch's."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a MobileNet that nyala knows.
        """
        name = str(config.get("architecture", "mobilenetv3_large_100")).partition(".")[0]
        if name not in ARCHITECTURES:
            raise UnknownNameError(f"no MobileNet is called {name!r}", fix=did_you_mean(name, ARCHITECTURES))
        family, width, depth = ARCHITECTURES[name]
        tensorflow = name.startswith("tf_")
        implied = Config(
            name, family, width, depth, FAMILIES[family].num_features,
            bn_eps=1e-3 if tensorflow else 1e-5, pad_type="same" if tensorflow else "",
        )  # fmt: skip
        return replace(implied, **timm_arguments(Config, config, overrides))

    @property
    def style(self) -> Style:
        """What the blocks have in common."""
        activation = FAMILIES[self.family].activation
        return Style(activation, self.bn_eps, self.pad_type == "same", self.channel_multiplier, mobile=True)

    @property
    def stem_size(self) -> int:
        """Width of the first convolution."""
        family = FAMILIES[self.family]
        return self.style.channels(family.stem_size) if self.channel_multiplier >= family.scaled_stem else family.stem_size


class MobileNet(Trunk):
    """A stem, stages of inverted residuals, average pooling, a 1x1 convolution and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes).

    Example:
        >>> import nyala
        >>> model = MobileNet(Config(channel_multiplier=0.1, num_classes=10)).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape
        (1, 10)
    """

    def __init__(self, config: Config) -> None:
        stages = [stage.split() for stage in FAMILIES[config.family].stages]
        super().__init__(config, config.stem_size, decode(stages, config.depth_multiplier), config.style)
        self.num_features = config.num_features
        fourth = config.family.startswith("v4")
        self.conv_head = nn.Conv2d(self.trunk_channels, config.num_features, 1, bias=not fourth)
        self.norm_head = norm(config.num_features, config.style) if fourth else nn.Identity()
        self.classifier = nn.Linear(config.num_features, config.num_classes) if config.num_classes else nn.Identity()
        self.initialise()

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, channels of the last stage, H / 32, W / 32)."""
        return self.forward_trunk(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The features -> (N, num_classes), or (N, num_features), what the classifier reads, where ``pre_logits``."""
        x = self.conv_head(x.mean(dim=(2, 3), keepdim=True))
        if isinstance(self.norm_head, nn.Identity):
            x = ACTIVATIONS[self.activation](x)
        else:
            x = activated(self.norm_head, x, self.activation)
        x = F.dropout(x.flatten(1), self.config.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)


def build(config: Mapping[str, Any], **overrides: Any) -> MobileNet:
    """The model that timm's ``config.json`` describes; ``overrides`` such as ``num_classes=10`` replace its values."""
    return MobileNet(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """timm's names are ours."""
    return KeyMap()


def export_config(model: MobileNet) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    return timm_config(model.config, Config.from_dict({"architecture": model.config.architecture}), model.num_features)
