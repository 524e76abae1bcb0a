"""EfficientNet (Tan and Le, arXiv:1905.11946), its Lite variants (2020, for phones and CPUs), EfficientNetV2 (arXiv:2104.00298)
and MobileNetV2 (Sandler et al., arXiv:1801.04381), which have one plan.

Loads timm's checkpoints: ``tf_efficientnet_lite0`` ... ``lite4``, ``efficientnet_b0`` ... ``b4`` (also with ``tf_``),
``efficientnetv2_rw_s``, ``tf_efficientnetv2_b0`` ... ``b3``, ``_s``, ``_m``, ``_l``, ``mobilenetv2_100`` and its other widths;
and state dicts of the efficientnet_lite_pytorch library, which hold Lite's tensors under other names. Lite means: no
squeeze-and-excite, ReLU6 everywhere, stem and head of fixed width. What begins with ``tf_`` was trained in TensorFlow: padding is
"same" as TensorFlow has it (more behind than before), and batch norm has eps 1e-3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core import nn
from ...core.errors import UnknownNameError, did_you_mean
from ...core.keymap import KeyMap, Rename
from ...core.nn import functional as F
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config
from .mobile import Spec, Style, Trunk, activated, convolution, decode, norm


@dataclass(frozen=True)
class Family:
    """What the sizes of one family share."""

    stages: tuple[str, ...]
    activation: str = "silu"
    stem_size: int = 32
    num_features: int = 1280
    fixed: bool = False
    """Whether stem and head keep their width, and the first and last stage their length."""
    round_limit: float = 0.9


_B = (
    "ds_r1_k3_s1_e1_c16", "ir_r2_k3_s2_e6_c24", "ir_r2_k5_s2_e6_c40", "ir_r3_k3_s2_e6_c80", "ir_r3_k5_s1_e6_c112",
    "ir_r4_k5_s2_e6_c192", "ir_r1_k3_s1_e6_c320",
)  # fmt: skip
_MOBILE = (
    "ds_r1_k3_s1_c16", "ir_r2_k3_s2_e6_c24", "ir_r3_k3_s2_e6_c32", "ir_r4_k3_s2_e6_c64", "ir_r3_k3_s1_e6_c96",
    "ir_r3_k3_s2_e6_c160", "ir_r1_k3_s1_e6_c320",
)  # fmt: skip
_V2_S = (
    "cn_r2_k3_s1_e1_c24_skip", "er_r4_k3_s2_e4_c48", "er_r4_k3_s2_e4_c64", "ir_r6_k3_s2_e4_c128_se0.25",
    "ir_r9_k3_s1_e6_c160_se0.25", "ir_r15_k3_s2_e6_c256_se0.25",
)  # fmt: skip
FAMILIES: dict[str, Family] = {
    "lite": Family(_B, "relu6", fixed=True),
    "b": Family(tuple(f"{stage}_se0.25" for stage in _B)),
    "mobilenetv2": Family(_MOBILE, "relu6"),
    "mobilenetv2d": Family(_MOBILE, "relu6", fixed=True),
    "v2_b": Family((
        "cn_r1_k3_s1_e1_c16_skip", "er_r2_k3_s2_e4_c32", "er_r2_k3_s2_e4_c48", "ir_r3_k3_s2_e4_c96_se0.25",
        "ir_r5_k3_s1_e6_c112_se0.25", "ir_r8_k3_s2_e6_c192_se0.25",
    ), round_limit=0.0),
    "v2_s": Family(_V2_S, stem_size=24),
    "v2_rw_s": Family(
        ("er_r2_k3_s1_e1_c24", *_V2_S[1:-1], "ir_r15_k3_s2_e6_c272_se0.25"), stem_size=24, num_features=1792
    ),
    "v2_m": Family((
        "cn_r3_k3_s1_e1_c24_skip", "er_r5_k3_s2_e4_c48", "er_r5_k3_s2_e4_c80", "ir_r7_k3_s2_e4_c160_se0.25",
        "ir_r14_k3_s1_e6_c176_se0.25", "ir_r18_k3_s2_e6_c304_se0.25", "ir_r5_k3_s1_e6_c512_se0.25",
    ), stem_size=24),
    "v2_l": Family((
        "cn_r4_k3_s1_e1_c32_skip", "er_r7_k3_s2_e4_c64", "er_r7_k3_s2_e4_c96", "ir_r10_k3_s2_e4_c192_se0.25",
        "ir_r19_k3_s1_e6_c224_se0.25", "ir_r25_k3_s2_e6_c384_se0.25", "ir_r7_k3_s1_e6_c640_se0.25",
    )),
}  # fmt: skip
_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))  # widths and lengths of sizes 0 to 4
# architecture -> (family, width multiplier, depth multiplier)
ARCHITECTURES: dict[str, tuple[str, float, float]] = {
    **{f"tf_efficientnet_lite{i}": ("lite", *scale) for i, scale in enumerate(_SCALES)},
    **{f"{origin}efficientnet_b{i}": ("b", *scale) for origin in ("", "tf_") for i, scale in enumerate(_SCALES)},
    **{f"tf_efficientnetv2_b{i}": ("v2_b", *scale) for i, scale in enumerate(_SCALES[:4])},
    **{f"{origin}efficientnetv2_{size}": (f"v2_{size}", 1.0, 1.0) for origin in ("", "tf_") for size in "sml"},
    "efficientnetv2_rw_s": ("v2_rw_s", 1.0, 1.0),
    **{f"mobilenetv2_{percent:03}": ("mobilenetv2", percent / 100, 1.0) for percent in (35, 50, 75, 100, 140)},
    "mobilenetv2_110d": ("mobilenetv2d", 1.1, 1.2),
    "mobilenetv2_120d": ("mobilenetv2d", 1.2, 1.4),
}


@dataclass(frozen=True)
class Config:
    """What shapes an EfficientNet."""

    architecture: str = "tf_efficientnet_lite0"
    """Name in timm's registry."""
    family: str = "lite"
    """Key of ``FAMILIES``."""
    channel_multiplier: float = 1.0
    """Factor of the stages' widths."""
    depth_multiplier: float = 1.0
    """Factor of the stages' lengths."""
    stem_size: int = 32
    """Width of the first convolution, before scaling where the family scales it."""
    num_features: int = 1280
    """Width of the last convolution, which the classifier reads, before scaling where the family scales it."""
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
    pad_type: str = "same"
    """"same" for TensorFlow's padding, "" for PyTorch's."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not an EfficientNet that nyala knows.
        """
        name = str(config.get("architecture", "tf_efficientnet_lite0")).partition(".")[0]
        if name not in ARCHITECTURES:
            raise UnknownNameError(f"no EfficientNet is called {name!r}", fix=did_you_mean(name, ARCHITECTURES))
        family, width, depth = ARCHITECTURES[name]
        shared, tensorflow = FAMILIES[family], name.startswith("tf_")
        implied = Config(
            name, family, width, depth, shared.stem_size, shared.num_features,
            bn_eps=1e-3 if tensorflow else 1e-5, pad_type="same" if tensorflow else "",
        )  # fmt: skip
        return replace(implied, **timm_arguments(Config, config, overrides))

    @property
    def style(self) -> Style:
        """What the blocks have in common."""
        family = FAMILIES[self.family]
        return Style(family.activation, self.bn_eps, self.pad_type == "same", self.channel_multiplier, family.round_limit)

    def specs(self) -> list[list[Spec]]:
        """The blocks of each stage."""
        family = FAMILIES[self.family]
        return decode([[stage] for stage in family.stages], self.depth_multiplier, family.fixed)

    def scaled(self, channels: int) -> int:
        """The width of stem or head."""
        return channels if FAMILIES[self.family].fixed else self.style.channels(channels)


class EfficientNet(Trunk):
    """A stem, stages of inverted residuals, a 1x1 convolution, average pooling and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes).

    Example:
        >>> import nyala
        >>> model = EfficientNet(Config(channel_multiplier=0.1, num_classes=10)).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape
        (1, 10)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config, config.scaled(config.stem_size), config.specs(), config.style)
        head = config.scaled(config.num_features)
        self.num_features = max(head, config.num_features) if config.family == "mobilenetv2" else head
        self.conv_head = convolution(self.trunk_channels, self.num_features, 1, 1, config.style)
        self.bn2 = norm(self.num_features, config.style)
        self.classifier = nn.Linear(self.num_features, config.num_classes) if config.num_classes else nn.Identity()
        self.initialise()

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_features, H / 32, W / 32)."""
        return activated(self.bn2, self.conv_head(self.forward_trunk(x)), self.activation)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, H, W) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        x = x.mean(dim=(2, 3))
        x = F.dropout(x, self.config.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)


def build(config: Mapping[str, Any], **overrides: Any) -> EfficientNet:
    """The model that timm's ``config.json`` describes; ``overrides`` such as ``num_classes=10`` replace its values."""
    return EfficientNet(Config.from_dict(config, **overrides))


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
    for stage, blocks in enumerate(config.specs()):
        for block, spec in enumerate(blocks):
            theirs, ours = f"_blocks.{number}", f"blocks.{stage}.{block}"
            parts = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
            if spec.kind == "ir":
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


def export_config(model: EfficientNet) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    return timm_config(model.config, Config.from_dict({"architecture": model.config.architecture}), model.num_features)
