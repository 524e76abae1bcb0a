"""ConvNeXt (Liu et al., arXiv:2201.03545) and ConvNeXt V2 (Woo et al., arXiv:2301.00808).

Loads timm's checkpoints (``timm/convnext_tiny.fb_in22k_ft_in1k``, ``timm/convnextv2_atto.fcmae_ft_in1k``, ...) and transformers'
(``facebook/convnext-tiny-224``, ``facebook/convnextv2-tiny-1k-224``). Our names are timm's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core import create, nn
from ...core.errors import UnknownNameError, did_you_mean
from ...core.keymap import KeyMap, Rename, Reshape
from ...core.nn import functional as F
from ...core.tensor import Tensor
from .config import timm_arguments, timm_config, transformers_bare, transformers_classes, transformers_labels

# size -> (blocks in each stage, width of the first stage: each doubles, whether timm's file has 1x1 convolutions)
SIZES: dict[str, tuple[tuple[int, ...], int, bool]] = {
    "atto": ((2, 2, 6, 2), 40, True),
    "femto": ((2, 2, 6, 2), 48, True),
    "pico": ((2, 2, 6, 2), 64, True),
    "nano": ((2, 2, 8, 2), 80, True),
    "tiny": ((3, 3, 9, 3), 96, False),
    "small": ((3, 3, 27, 3), 96, False),
    "base": ((3, 3, 27, 3), 128, False),
    "large": ((3, 3, 27, 3), 192, False),
    "xlarge": ((3, 3, 27, 3), 256, False),
    "huge": ((3, 3, 27, 3), 352, False),
}
ARCHITECTURES = tuple(
    [f"convnext_{size}" for size in SIZES if size != "huge"] + [f"convnextv2_{size}" for size in SIZES if size != "xlarge"]
)


@dataclass(frozen=True)
class Config:
    """What shapes a ConvNeXt."""

    architecture: str = "convnext_tiny"
    """Name in timm's registry, or transformers' ``model_type``: "convnext" or "convnextv2"."""
    depths: tuple[int, ...] = (3, 3, 9, 3)
    """Blocks in each stage."""
    dims: tuple[int, ...] = (96, 192, 384, 768)
    """Width of each stage."""
    patch_size: int = 4
    """Side of the patches that the first convolution reads."""
    in_chans: int = 3
    """Channels of the input."""
    num_classes: int = 1000
    """Classes; 0 for features only."""
    ls_init_value: float | None = 1e-6
    """Where each block's learnt scale starts; None for none."""
    use_grn: bool = False
    """Global response norm inside the blocks: V2."""
    conv_mlp: bool = False
    """Whether the layers inside the blocks are 1x1 convolutions, with the same numbers in another shape."""
    drop_rate: float = 0.0
    """Dropout before the classifier."""
    drop_path_rate: float = 0.0
    """Stochastic depth of the last block; earlier ones have proportionally less."""
    head_eps: float = 1e-6
    """Added to the variance in the last norm."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read timm's or transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            UnknownNameError: not a ConvNeXt that nyala knows.
        """
        if "model_type" in config:
            return _from_transformers({**config, **overrides})
        name = str(config.get("architecture", "convnext_tiny")).partition(".")[0]
        if name not in ARCHITECTURES:
            raise UnknownNameError(f"no ConvNeXt is called {name!r}", fix=did_you_mean(name, ARCHITECTURES))
        kind, _, size = name.partition("_")
        depths, width, convolutions = SIZES[size]
        second = kind == "convnextv2"
        implied = Config(
            name, depths, tuple(width * 2**i for i in range(4)),
            ls_init_value=None if second else 1e-6, use_grn=second, conv_mlp=convolutions,
        )  # fmt: skip
        return replace(implied, **timm_arguments(Config, config, overrides))


def _from_transformers(config: Mapping[str, Any]) -> Config:
    second = config["model_type"] == "convnextv2"
    scale = config.get("layer_scale_init_value", 1e-6)
    return Config(
        config["model_type"],
        tuple(config.get("depths") or (3, 3, 9, 3)),
        tuple(config.get("hidden_sizes") or (96, 192, 384, 768)),
        int(config.get("patch_size", 4)),
        int(config.get("num_channels", 3)),
        transformers_classes(config),
        None if second or not scale > 0 else float(scale),
        second,
        drop_path_rate=float(config.get("drop_path_rate", 0.0)),
        head_eps=float(config.get("layer_norm_eps", 1e-12)),
    )


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalResponseNorm(nn.Module):
    """Channels compete by their size over the whole picture: (N, H, W, C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(create.zeros(dim))
        self.bias = nn.Parameter(create.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        size = x.norm(2, dim=(1, 2), keepdim=True)
        return x + self.bias + self.weight * (x * (size / (size.mean(dim=-1, keepdim=True) + 1e-6)))


class Mlp(nn.Module):
    """Up four times the width and down again, on the last axis."""

    def __init__(self, dim: int, config: Config) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, 4 * dim, 1) if config.conv_mlp else nn.Linear(dim, 4 * dim)
        self.grn = GlobalResponseNorm(4 * dim) if config.use_grn else nn.Identity()
        self.fc2 = nn.Conv2d(4 * dim, dim, 1) if config.conv_mlp else nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return _linear(self.fc2, self.grn(F.gelu(_linear(self.fc1, x))))


def _linear(layer: nn.Module, x: Tensor) -> Tensor:
    """A 1x1 convolution is a linear layer, whose weights have two more axes."""
    return F.linear(x, layer.weight.flatten(1), layer.bias) if isinstance(layer, nn.Conv2d) else layer(x)


class Block(nn.Module):
    """A depthwise 7x7 convolution, a norm, a feed-forward network on each pixel, and a way around them."""

    def __init__(self, dim: int, config: Config, drop_path: float) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.mlp = Mlp(dim, config)
        scale = config.ls_init_value
        self.register_parameter("gamma", None if scale is None else nn.Parameter(create.ones(dim) * scale))
        self.drop_path = nn.DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        y = y if self.gamma is None else y * self.gamma
        return self.drop_path(y.permute(0, 3, 1, 2)) + x


class Stage(nn.Module):
    """Half the size, except in the first stage, and then blocks."""

    def __init__(self, inputs: int, dim: int, config: Config, drops: list[float]) -> None:
        super().__init__()
        halved = nn.Sequential(LayerNorm2d(inputs, 1e-6), nn.Conv2d(inputs, dim, 2, 2)) if inputs else nn.Identity()
        self.downsample = halved
        self.blocks = nn.Sequential(*[Block(dim, config, drop) for drop in drops])

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class Head(nn.Module):
    """A norm of the pooled features, and a linear classifier."""

    def __init__(self, dim: int, config: Config) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, config.head_eps)
        self.fc = nn.Linear(dim, config.num_classes) if config.num_classes else nn.Identity()


class ConvNeXt(nn.Model):
    """A stem of patches, four stages, global average pooling, a norm and a linear classifier.

    Shape: (N, in_chans, H, W) -> (N, num_classes).

    Example:
        >>> import nyala
        >>> model = ConvNeXt(Config(depths=(1, 1, 1, 1), dims=(4, 4, 8, 8), num_classes=10)).eval()
        >>> model(nyala.zeros(1, 3, 32, 32)).shape
        (1, 10)
    """

    classifier_name = "head.fc"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        side, dims, total = config.patch_size, config.dims, max(sum(config.depths) - 1, 1)
        self.stem = nn.Sequential(nn.Conv2d(config.in_chans, dims[0], side, side), LayerNorm2d(dims[0], 1e-6))
        stages, done = [], 0
        for i, (count, dim) in enumerate(zip(config.depths, dims, strict=True)):
            drops = [config.drop_path_rate * (done + k) / total for k in range(count)]
            stages.append(Stage(dims[i - 1] if i else 0, dim, config, drops))
            done += count
        self.stages = nn.Sequential(*stages)
        self.num_features = dims[-1]
        self.head = Head(dims[-1], config)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_features, H / 32, W / 32)."""
        return self.stages(self.stem(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, H, W) -> (N, num_classes), or the pooled features where ``pre_logits``."""
        x = F.dropout(self.head.norm(x.mean(dim=(2, 3))), self.config.drop_rate, self.training)
        return x if pre_logits else self.head.fc(x)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The blocks of all stages."""
        for stage in self.stages.children():
            yield from stage.get_submodule("blocks").children()

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the stem, 1.. for the blocks in order, the last number for the head."""
        depths = self.config.depths
        part, *rest = name.split(".")
        if part != "stages":
            return 0 if part == "stem" else sum(depths) + 1
        return sum(depths[: int(rest[0])]) + (int(rest[2]) if rest[1] == "blocks" else 0) + 1


def build(config: Mapping[str, Any], **overrides: Any) -> ConvNeXt:
    """The model that the ``config.json`` describes; ``overrides`` such as ``num_classes=10`` replace its values."""
    return ConvNeXt(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - the layout says it
    """timm's names are ours; transformers' are others."""
    kind = config.get("model_type")
    if kind is None:
        return KeyMap()
    with_head = not transformers_bare(config)
    base = f"{kind}." if with_head else ""
    block, ours = f"{base}encoder.stages.{{i}}.layers.{{j}}", "stages.{i}.blocks.{j}"
    inner = {"dwconv": "conv_dw", "layernorm": "norm", "pwconv1": "mlp.fc1", "grn": "mlp.grn", "pwconv2": "mlp.fc2"}
    return KeyMap(
        Rename(f"{base}embeddings.patch_embeddings.{{rest...}}", "stem.0.{rest...}"),
        Rename(f"{base}embeddings.layernorm.{{rest...}}", "stem.1.{rest...}"),
        Rename(f"{base}encoder.stages.{{i}}.downsampling_layer.{{rest...}}", "stages.{i}.downsample.{rest...}"),
        Rename(f"{block}.layer_scale_parameter", f"{ours}.gamma"),
        *[Rename(f"{block}.{theirs}.{{rest...}}", f"{ours}.{name}.{{rest...}}") for theirs, name in inner.items()],
        Rename(f"{base}layernorm.{{rest...}}", "head.norm.{rest...}"),
        Rename("classifier.{rest...}", "head.fc.{rest...}"),
        Reshape("*.mlp.grn.*", published=(1, 1, 1, -1), ours=(-1,)),
    )


def export_config(model: ConvNeXt) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    c = model.config
    if c.architecture not in ("convnext", "convnextv2"):
        return timm_config(c, Config.from_dict({"architecture": c.architecture}), model.num_features)
    name = "ConvNextV2" if c.use_grn else "ConvNext"
    shape = {
        "depths": list(c.depths), "hidden_sizes": list(c.dims), "num_stages": len(c.dims), "patch_size": c.patch_size,
        "num_channels": c.in_chans, "drop_path_rate": c.drop_path_rate, "layer_norm_eps": c.head_eps,
    }  # fmt: skip
    scale = {} if c.use_grn else {"layer_scale_init_value": c.ls_init_value or 0.0}
    return {"model_type": c.architecture, "hidden_act": "gelu", **shape, **scale, **transformers_labels(name, c.num_classes)}
