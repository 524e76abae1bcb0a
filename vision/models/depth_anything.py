"""Depth Anything, versions 1 and 2 (Yang et al., arXiv:2401.10891 and 2406.09414): how far away each pixel is.

A DINOv2 whose patches of four layers are put back into maps, brought to four sizes, and fused from the smallest to the largest,
as in DPT (Ranftl et al., arXiv:2103.13413). Loads checkpoints in transformers' layout:
``depth-anything/Depth-Anything-V2-Small-hf``, ``LiheYoung/depth-anything-small-hf``, and those trained on metres,
``depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ...core import nn
from ...core.errors import ArgumentError, DataError, did_you_mean, kind_of
from ...core.keymap import KeyMap, Within
from ...core.nn import functional as F
from ...core.ops.shape import alias
from ...core.tensor import Tensor
from . import vit, vit_layouts

TASK = "depth-estimation"
_LAYOUT = "DepthAnythingForDepthEstimation"
# What transformers takes where the config.json has no backbone.
_BACKBONE = {"image_size": 518, "hidden_size": 384, "num_attention_heads": 6, "out_indices": [9, 10, 11, 12]}
_OF_BACKBONE = ("num_channels", "image_size", "num_hidden_layers", "drop_path_rate")  # overrides that are its own


@dataclass(frozen=True)
class Config:
    """What shapes a Depth Anything."""

    backbone: vit.Config = field(default_factory=lambda: vit.Config("dinov2", patch_size=14, num_classes=0))
    """The DINOv2."""
    out_indices: tuple[int, ...] = (3, 6, 9, 12)
    """Layers whose tokens are read, counted from 1; 0 for the embeddings."""
    apply_layernorm: bool = True
    """Whether these tokens go through the backbone's last norm."""
    reassemble_factors: tuple[float, ...] = (4, 2, 1, 0.5)
    """Side of each map over that of the grid of patches."""
    neck_hidden_sizes: tuple[int, ...] = (48, 96, 192, 384)
    """Channels of each map."""
    fusion_hidden_size: int = 64
    """Channels while maps are fused."""
    head_in_index: int = -1
    """Which of the fused maps the head reads."""
    head_hidden_size: int = 32
    """Channels inside the head."""
    depth_estimation_type: str = "relative"
    """"relative": inverse depth without a scale, larger is nearer; "metric": distances of at most ``max_depth``."""
    max_depth: float = 1.0
    """The largest distance, in metres; what "relative" depth is multiplied by."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its keys, ``num_channels`` and such the backbone's.

        Raises:
            DataError: another backbone than DINOv2.
            ArgumentError: an override that shapes nothing, or sizes that do not fit each other.
        """
        known = {f.name for f in fields(Config)} - {"backbone", "out_indices", "apply_layernorm"}
        unknown = next((name for name in overrides if name not in (*known, *_OF_BACKBONE)), None)
        if unknown is not None:
            raise ArgumentError(
                f"Depth Anything has no option {unknown!r}",
                why="it has no classes" if unknown == "num_labels" else f"it has {', '.join(sorted({*known, *_OF_BACKBONE}))}",
                fix=did_you_mean(unknown, (*known, *_OF_BACKBONE)) or "leave it out",
            )
        said = _backbone_in(config) | {name: overrides[name] for name in _OF_BACKBONE if name in overrides}
        own: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in {**config, **overrides}.items() if k in known and v is not None
        }
        backbone = vit_layouts.read(said)
        layers = _layers_in(said, backbone.depth)
        found = Config(backbone=backbone, out_indices=layers, apply_layernorm=bool(said.get("apply_layernorm", True)), **own)
        _check(found, config)
        return found


def _backbone_in(config: Mapping[str, Any]) -> dict[str, Any]:
    said = config.get("backbone_config")
    if said is None and not config.get("backbone"):
        said = {"model_type": "dinov2", **_BACKBONE}
    if not isinstance(said, Mapping):
        found = f"backbone={config['backbone']!r}" if said is None else f"backbone_config is {kind_of(said)}"
        raise DataError(f"{found} in the config.json", why="the backbone is not described", fix="choose other weights")
    if said.get("model_type") != "dinov2":
        raise DataError(
            f"a backbone of model_type {said.get('model_type')!r}",
            why="nyala's Depth Anything has dinov2",
            fix="choose other weights",
        )
    return {**said, "architectures": ["Dinov2Backbone"]}


def _layers_in(said: Mapping[str, Any], depth: int) -> tuple[int, ...]:
    names = ["stem", *(f"stage{i}" for i in range(1, depth + 1))]
    chosen = said.get("out_indices")
    if chosen is None:
        chosen = [names.index(name) for name in said.get("out_features") or names[-1:]]
    return tuple(range(depth + 1)[i] for i in chosen)


def _check(found: Config, config: Mapping[str, Any]) -> None:
    maps = {len(found.out_indices), len(found.reassemble_factors), len(found.neck_hidden_sizes)}
    if len(maps) != 1:
        raise ArgumentError(
            f"{len(found.out_indices)} layers, {len(found.reassemble_factors)} reassemble_factors and "
            f"{len(found.neck_hidden_sizes)} neck_hidden_sizes",
            fix="give one of each for each map",
        )
    if found.depth_estimation_type not in ("relative", "metric"):
        raise ArgumentError(f"depth_estimation_type={found.depth_estimation_type!r}", fix="use 'relative' or 'metric'")
    wide, patch = found.backbone.embed_dim, found.backbone.patch_size
    if config.get("reassemble_hidden_size", wide) != wide or config.get("patch_size", patch) != patch:
        raise ArgumentError(
            f"reassemble_hidden_size or patch_size in the config.json is not the backbone's {wide} or {patch}", fix="correct it"
        )


class Reassemble(nn.Module):
    """A map of patches to ``channels``, ``factor`` times as large."""

    def __init__(self, width: int, channels: int, factor: float) -> None:
        super().__init__()
        self.projection = nn.Conv2d(width, channels, 1)
        self.resize: nn.Module = nn.Identity()
        if factor > 1:
            self.resize = nn.ConvTranspose2d(channels, channels, int(factor), int(factor))
        elif factor < 1:
            self.resize = nn.Conv2d(channels, channels, 3, int(1 / factor), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.resize(self.projection(x))


class ReassembleStage(nn.Module):
    """The maps of all layers, each at its size."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        pairs = zip(config.neck_hidden_sizes, config.reassemble_factors, strict=True)
        self.layers = nn.ModuleList(Reassemble(config.backbone.embed_dim, c, f) for c, f in pairs)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [layer(x) for layer, x in zip(self.layers, maps, strict=True)]


class Residual(nn.Module):
    """Two convolutions, each behind its ReLU, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(width, width, 3, padding=1)
        self.convolution2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolution2(F.relu(self.convolution1(F.relu(x))))


class Fusion(nn.Module):
    """What is fused so far and the next larger map -> both, at the size after that."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(width, width, 1)
        self.residual_layer1, self.residual_layer2 = Residual(width), Residual(width)

    def forward(self, x: Tensor, other: Tensor | None, size: tuple[int, ...] | None) -> Tensor:
        """``size`` (rows, columns) of the result; None for twice that of ``x``."""
        if other is not None:
            if other.shape != x.shape:
                other = F.interpolate(other, x.shape[2:], mode="bilinear", align_corners=False)
            x = x + self.residual_layer1(other)
        size = (2 * x.shape[2], 2 * x.shape[3]) if size is None else size
        return self.projection(F.interpolate(self.residual_layer2(x), size, mode="bilinear", align_corners=True))


class FusionStage(nn.Module):
    """All maps fused, the smallest first."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Fusion(config.fusion_hidden_size) for _ in config.neck_hidden_sizes)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        fused: list[Tensor] = []
        sizes = [x.shape[2:] for x in maps[-2::-1]]
        for layer, x, size in zip(self.layers, maps[::-1], [*sizes, None], strict=True):
            fused.append(layer(fused[-1], x, size) if fused else layer(x, None, size))
        return fused


class Neck(nn.Module):
    """Maps of patches -> fused maps, coarse to fine, each (N, fusion_hidden_size, H, W)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.reassemble_stage = ReassembleStage(config)
        self.convs = nn.ModuleList(
            nn.Conv2d(c, config.fusion_hidden_size, 3, padding=1, bias=False) for c in config.neck_hidden_sizes
        )
        self.fusion_stage = FusionStage(config)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        found = self.reassemble_stage(maps)
        return self.fusion_stage([conv(x) for conv, x in zip(self.convs, found, strict=True)])


class Head(nn.Module):
    """A fused map -> the depth of each pixel: (N, C, h, w) -> (N, H, W)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.fusion_hidden_size
        self.conv1 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.conv2 = nn.Conv2d(width // 2, config.head_hidden_size, 3, padding=1)
        self.conv3 = nn.Conv2d(config.head_hidden_size, 1, 1)
        self.metric, self.max_depth = config.depth_estimation_type == "metric", config.max_depth

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """``size``: (H, W) of the result."""
        x = F.interpolate(self.conv1(x), size, mode="bilinear", align_corners=True)
        x = self.conv3(F.relu(self.conv2(x)))
        return ((x.sigmoid() if self.metric else F.relu(x)) * self.max_depth).squeeze(1)


class DepthAnything(nn.Model):
    """Pictures -> depth.

    Shape: (N, num_channels, H, W) -> (N, H', W'), the largest multiples of the patch size below H and W.

    Example:
        >>> import nyala
        >>> tiny = {"model_type": "dinov2", "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2}
        >>> model = build({"backbone_config": {**tiny, "out_indices": [1, 2, 3, 4]}, "reassemble_hidden_size": 8}).eval()
        >>> model(nyala.zeros(1, 3, 28, 44)).shape
        (1, 28, 42)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.backbone = vit.VisionTransformer(config.backbone)
        self.neck = Neck(config)
        self.head = Head(config)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, num_channels, H, W) -> (N, fusion_hidden_size, h, w): the fused map that the head reads."""
        return self.neck(self._maps(x))[self.config.head_in_index]

    def _maps(self, x: Tensor) -> list[Tensor]:
        """The patches of the chosen layers, each as a map (N, D, rows, columns)."""
        patch, first = self.config.backbone.patch_size, self.config.backbone.num_prefix_tokens
        rows, columns = x.shape[2] // patch, x.shape[3] // patch
        states = [self.backbone.embed(x)]
        for block in self.backbone.blocks[: max(self.config.out_indices)]:
            states.append(block(alias(states[-1])))  # what a block asks of its input is added up before what its map asks
        chosen = [states[i] for i in self.config.out_indices]
        if self.config.apply_layernorm:
            chosen = [self.backbone.norm(t) for t in chosen]
        return [t[:, first:].transpose(1, 2).reshape(len(t), -1, rows, columns) for t in chosen]

    def forward_head(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, fusion_hidden_size, h, w) -> (N, H, W) of the given ``size``."""
        return self.head(x, size)

    def forward(self, x: Tensor) -> Tensor:
        patch = self.config.backbone.patch_size
        return self.forward_head(self.forward_features(x), (x.shape[2] // patch * patch, x.shape[3] // patch * patch))

    def head_names(self) -> list[str]:
        """The names of the head's parameters."""
        return [name for name, _ in self.named_parameters() if name.startswith("head.")]

    def reset_head(self, num_classes: int) -> None:
        """A new head, untrained.

        Raises:
            ArgumentError: another number than 1: each pixel has one depth.
        """
        if num_classes != 1:
            raise ArgumentError(f"a head of depth for {num_classes} classes", why="each pixel has one depth", fix="pass 1")
        self.head = Head(self.config).to(self.head.conv1.weight)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The backbone's layers."""
        yield from self.backbone.blocks

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the embeddings, 1.. for the backbone's layers, the last number for all behind them."""
        part, _, rest = name.partition(".")
        return self.backbone.layer_of(rest) if part == "backbone" else self.config.backbone.depth + 1


def build(config: Mapping[str, Any], **overrides: Any) -> DepthAnything:
    """The model that transformers' ``config.json`` describes; ``overrides`` replace its values."""
    return DepthAnything(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """The backbone's names are those of DINOv2; the others are ours."""
    inner = [name.removeprefix("backbone.") for name in published_names if name.startswith("backbone.")]
    return KeyMap(Within("backbone.", vit_layouts.key_map(_backbone_in(config), inner)))


def export_config(model: DepthAnything) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    config: Config = model.config
    own = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(replace(config, backbone=vit.Config())).items()}
    layers, normed = own.pop("out_indices"), own.pop("apply_layernorm")
    written = {**vit_layouts.write(config.backbone), "out_indices": layers, "apply_layernorm": normed}
    own["max_depth"] = int(config.max_depth) if config.max_depth == int(config.max_depth) else config.max_depth
    del own["backbone"]
    return {
        "model_type": "depth_anything",
        "architectures": [_LAYOUT],
        "backbone_config": {**written, "reshape_hidden_states": False},
        "patch_size": config.backbone.patch_size,
        "reassemble_hidden_size": config.backbone.embed_dim,
        **own,
    }
