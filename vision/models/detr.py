"""DETR (Carion et al., "End-to-end object detection with transformers", arXiv:2005.12872).

Loads checkpoints in transformers' layout, whose tensor names are ours: ``facebook/detr-resnet-50``, ``facebook/detr-resnet-101``
and their ``-dc5`` variants, whose backbone has timm's names; and those with a backbone in transformers' names
(``facebook/detr-resnet-50`` at revision ``no_timm``), which are read and written by a map.

A ResNet sees the picture, an encoder looks at all places of its last map, and a decoder lets a fixed number of queries find one
object each. Pictures of any size are taken.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from ...core import nn
from ...core.devices import move_constant
from ...core.errors import ArgumentError, DataError, ShapeError
from ...core.keymap import Ignore, KeyMap
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.nn.blocks import place
from ...core.ops.attention import attend, join_heads, split_heads
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from ..ops import freeze_batch_norms
from . import resnet
from .detecting import DetectionConfig, DetectionOutput, Detector, PredictionHead

TASK = "object-detection"
_BACKBONE = "backbone.conv_encoder.model"
_RESNET50 = resnet.Config("resnet50", "bottleneck", (3, 4, 6, 3), num_classes=0)
_PLACES = 50  # rows, and columns, of learnt positions


@dataclass(frozen=True)
class Config(DetectionConfig):
    """What shapes a DETR; the defaults are transformers', of ``facebook/detr-resnet-50``."""

    num_channels: int = 3
    """Channels of the input."""
    d_model: int = 256
    """Width of the stream."""
    encoder_layers: int = 6
    """Layers that look at the picture."""
    encoder_attention_heads: int = 8
    """Heads of each of them."""
    encoder_ffn_dim: int = 2048
    """Width inside their feed-forward part."""
    decoder_layers: int = 6
    """Layers that answer."""
    decoder_attention_heads: int = 8
    """Heads of each of them."""
    decoder_ffn_dim: int = 2048
    """Width inside their feed-forward part."""
    num_queries: int = 100
    """Answers, and so objects at most."""
    activation_function: str = "relu"
    """Activation of the feed-forward parts."""
    dropout: float = 0.1
    """Dropout of what is added to the stream."""
    attention_dropout: float = 0.0
    """Dropout of the attention weights."""
    activation_dropout: float = 0.0
    """Dropout inside the feed-forward parts."""
    position_embedding_type: str = "sine"
    """"sine" or "learned": how places are told apart."""
    dilation: bool = False
    """Whether the last stage of the backbone keeps the resolution of the one before (DC5)."""
    backbone: resnet.Config = _RESNET50
    """The backbone's own configuration."""

    model_type: ClassVar[str] = "detr"
    kind: ClassVar[str] = "DetrForObjectDetection"
    unwritten: ClassVar[tuple[str, ...]] = ("num_labels", "backbone")

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **overrides: Any) -> Self:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        ``backbone_layers``, ``backbone_channels`` and ``backbone_stem_channels`` make a smaller or larger backbone: the blocks of
        each stage, their widths, and that of the first convolution. It then has transformers' names.

        Raises:
            ArgumentError: an override that is not a field, or heads that do not divide the width.
            DataError: another class of the architecture, or a backbone that is not built.
        """
        sizes = {k.removeprefix("backbone_"): overrides.pop(k) for k in list(overrides) if k in _SIZES}
        backbone, dilated = _read_backbone(config)
        made = super().from_dict(config, **overrides)
        backbone = replace(backbone, in_chans=made.num_channels)
        if sizes:
            sizes = {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in sizes.items()}
            backbone = replace(backbone, architecture="resnet", **sizes)
        return replace(made, backbone=backbone, dilation=made.dilation or dilated)

    def __post_init__(self) -> None:
        for heads in (self.encoder_attention_heads, self.decoder_attention_heads):
            if self.d_model % heads or self.d_model % 4:
                raise ArgumentError(
                    f"d_model {self.d_model} with {heads} heads",
                    why="it is divided among the heads, and its quarters tell rows and columns",
                    fix="choose a multiple of both",
                )
        if self.position_embedding_type not in ("sine", "learned"):
            raise ArgumentError(f"position_embedding_type={self.position_embedding_type!r}", fix="use 'sine' or 'learned'")
        if len(self.backbone.layers) != len(self.backbone.channels):
            raise ArgumentError(
                f"a backbone of {len(self.backbone.layers)} stages with {len(self.backbone.channels)} widths",
                fix="give backbone_layers and backbone_channels as many numbers each",
            )
        activation(self.activation_function)

    def to_dict(self) -> dict[str, Any]:
        """The ``config.json`` that :meth:`from_dict` reads."""
        found = super().to_dict()
        if self.backbone.architecture != "resnet":
            timm = {"model_type": "timm_backbone", "backbone": self.backbone.architecture, "features_only": True}
            stride = {"output_stride": 16} if self.dilation else {}
            backbone = {**timm, "num_channels": self.num_channels, "out_indices": [1, 2, 3, 4], **stride}
        else:
            backbone = resnet.export_config(resnet.ResNet(self.backbone))
            stages = len(self.backbone.layers)
            backbone |= {"architectures": None, "out_features": [f"stage{stages}"], "out_indices": [stages]}
        return {**found, "backbone_config": backbone}


_SIZES = ("backbone_layers", "backbone_channels", "backbone_stem_channels")


def _read_backbone(config: Mapping[str, Any]) -> tuple[resnet.Config, bool]:
    """The backbone that a ``config.json`` names, and whether its last stage is dilated."""
    said = config.get("backbone_config")
    if isinstance(said, Mapping) and said.get("model_type") == "resnet":
        found = resnet.Config.from_dict({**said, "architectures": ["ResNetModel"]})
        last = f"stage{len(found.layers)}"
        if (said.get("out_features") or [last])[-1] != last:
            raise DataError(f"out_features={said['out_features']}", why="nyala's DETR reads the last stage", fix=_FIX)
        return found, False
    if isinstance(said, Mapping) and said.get("model_type") == "timm_backbone":
        name, dilated = str(said.get("backbone")), said.get("output_stride") == 16
    elif said is None and config.get("use_timm_backbone", True):
        name, dilated = str(config.get("backbone") or "resnet50"), bool(config.get("dilation"))
    else:
        kind = said.get("model_type") if isinstance(said, Mapping) else config.get("backbone")
        raise DataError(f"a DETR with the backbone {kind!r}", why="nyala builds it with a ResNet", fix=_FIX)
    return resnet.Config.from_dict({"architecture": name, "num_classes": 0}), dilated


_FIX = "choose other weights"


# ---- where things are


def sine_positions(seen: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    """Sines and cosines of the rows and columns of the places that belong to a picture, each from 0 to 2 pi.

    Args:
        seen: (N, H, W), 1 where the picture is; its dtype is the result's.
        width: of the vectors; the first half tells rows.

    Returns:
        (N, H * W, width).

    Example:
        >>> sine_positions(np.ones((1, 2, 3), np.float32), 8).shape
        (1, 6, 8)
    """
    half = width // 2
    steps = np.arange(half).astype(seen.dtype)
    periods = (10000 ** (2 * (steps // 2) / half)).astype(seen.dtype)
    parts = []
    for axis in (1, 2):
        counts = seen.cumsum(axis, dtype=seen.dtype)
        last = counts[:, -1:] if axis == 1 else counts[:, :, -1:]
        angles = (counts / (last + seen.dtype.type(1e-6)) * seen.dtype.type(2 * math.pi))[..., None] / periods
        both = np.stack([np.sin(angles[..., 0::2]), np.cos(angles[..., 1::2])], axis=-1)
        parts.append(both.reshape(*seen.shape, half))
    return np.concatenate(parts, axis=-1).reshape(len(seen), -1, width)


class LearnedPositions(nn.Module):
    """A vector for each of 50 rows and of 50 columns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.row_embeddings = nn.Embedding(_PLACES, width // 2)
        self.column_embeddings = nn.Embedding(_PLACES, width // 2)
        for table in (self.row_embeddings, self.column_embeddings):
            nn.init.uniform_(table.weight)

    def forward(self, down: int, across: int) -> Tensor:
        """(1, down * across, width): the column's vector, then the row's."""
        if max(down, across) > _PLACES:
            raise ShapeError(
                f"a map of {down} x {across} places", why=f"positions are learnt for {_PLACES}", fix="take smaller pictures"
            )
        columns = self.column_embeddings.weight[:across].unsqueeze(0).expand(down, -1, -1)
        rows = self.row_embeddings.weight[:down].unsqueeze(1).expand(-1, across, -1)
        return cat([columns, rows], -1).reshape(1, down * across, -1)


# ---- layers


class PositionedAttention(nn.Module):
    """Attention whose queries and keys know where they are, and whose values do not."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.head_dim = dim // num_heads
        for role in ("k", "v", "q", "out"):
            self.add_module(f"{role}_proj", nn.Linear(dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, T, D), (N, S, D), (N, S, D) -> (N, T, D); ``mask`` (N, 1, 1, S) is True where to look."""
        q, k, v = (
            split_heads(self.get_submodule(f"{role}_proj")(x), self.head_dim)
            for role, x in (("q", query), ("k", key), ("v", value))
        )
        p = self.dropout.p if self.training else 0.0
        out: Tensor = self.get_submodule("out_proj")(join_heads(attend(q, k, v, mask, None, None, dropout_p=p)))
        return out


class _Layer(nn.Module):
    """What layers of both sides have: self-attention and a feed-forward part, with their norms behind them."""

    def __init__(self, config: Config, heads: int, hidden: int) -> None:
        super().__init__()
        dim = config.d_model
        self.self_attn = PositionedAttention(dim, heads, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self._between(config, heads)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.final_layer_norm = nn.LayerNorm(dim)
        self.act = activation(config.activation_function)
        self.dropout, self.activation_dropout = nn.Dropout(config.dropout), nn.Dropout(config.activation_dropout)

    def _between(self, config: Config, heads: int) -> None:
        """Layers between the two, for decoders."""

    def attend_to_itself(self, x: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        placed = x + places
        return self.self_attn_layer_norm(x + self.dropout(self.self_attn(placed, placed, x, mask)))

    def feed_forward(self, x: Tensor) -> Tensor:
        hidden = self.activation_dropout(self.act(self.fc1(x)))
        return self.final_layer_norm(x + self.dropout(self.fc2(hidden)))


class EncoderLayer(_Layer):
    """(N, S, D), all places of the picture, -> (N, S, D)."""

    def forward(self, x: Tensor, places: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.feed_forward(self.attend_to_itself(x, places, mask))


class DecoderLayer(_Layer):
    """(N, Q, D), the answers so far, -> (N, Q, D), with a look at the picture (N, S, D)."""

    def _between(self, config: Config, heads: int) -> None:
        self.encoder_attn = PositionedAttention(config.d_model, heads, config.attention_dropout)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor, queries: Tensor, picture: Tensor, places: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.attend_to_itself(x, queries, None)
        seen = self.encoder_attn(x + queries, picture + places, picture, mask)
        return self.feed_forward(self.encoder_attn_layer_norm(x + self.dropout(seen)))


class DetrModel(nn.Module):
    """Backbone, encoder and decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        seeing = resnet.ResNet(config.backbone)
        if config.dilation:
            _dilate(seeing)
        place(self, _BACKBONE, freeze_batch_norms(seeing))
        if config.position_embedding_type == "learned":
            self.position_embedding = LearnedPositions(config.d_model)
        self.query_position_embeddings = nn.Embedding(config.num_queries, config.d_model)
        self.input_projection = nn.Conv2d(seeing.num_features, config.d_model, 1)
        place(self, "encoder.layers", nn.ModuleList(_layers(EncoderLayer, config)))
        place(self, "decoder.layers", nn.ModuleList(_layers(DecoderLayer, config)))
        place(self, "decoder.layernorm", nn.LayerNorm(config.d_model))

    def encode(self, pixel_values: Tensor, pixel_mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """The picture's places (N, S, D) as the encoder sees them, their positions, and which of them (N, 1, 1, S) are real."""
        features = self.get_submodule(_BACKBONE).forward_features(pixel_values)  # type: ignore[operator]
        seen = _seen(pixel_mask, features)
        x = self.input_projection(features).flatten(2).transpose(1, 2)
        down, across = features.shape[2:]
        if self.config.position_embedding_type == "learned":
            places = self.position_embedding(down, across)
        else:
            places = Tensor(move_constant(sine_positions(seen, self.config.d_model), x.device)).to(x.dtype)
        mask = None if seen.all() else Tensor(move_constant(seen.reshape(len(seen), 1, 1, -1) > 0, x.device))
        for layer in self.get_submodule("encoder.layers").children():
            x = layer(x, places, mask)
        return x, places, mask

    def decode(self, picture: Tensor, places: Tensor, mask: Tensor | None) -> list[Tensor]:
        """What each layer of the decoder knows of the objects, (N, Q, D), normalised."""
        queries = self.query_position_embeddings.weight.unsqueeze(0)
        x = queries.new_zeros(len(picture), *queries.shape[1:])
        states, norm = [], self.get_submodule("decoder.layernorm")
        for layer in self.get_submodule("decoder.layers").children():
            x = layer(x, queries, picture, places, mask)
            states.append(norm(x))
        return states


def _layers(kind: type[_Layer], config: Config) -> list[_Layer]:
    if kind is EncoderLayer:
        return [kind(config, config.encoder_attention_heads, config.encoder_ffn_dim) for _ in range(config.encoder_layers)]
    return [kind(config, config.decoder_attention_heads, config.decoder_ffn_dim) for _ in range(config.decoder_layers)]


def _dilate(seeing: resnet.ResNet) -> None:
    """Let the last stage keep the resolution of the one before, and look as far as it would have."""
    for number, block in enumerate(seeing.stages()[-1].children()):
        for conv in block.modules():
            if not isinstance(conv, nn.Conv2d):
                continue
            conv.stride = (1, 1)
            if number and conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (2, 2)


def _seen(pixel_mask: Tensor | None, features: Tensor) -> np.ndarray[Any, Any]:
    """(N, h, w) of the features' dtype: 1 where the map shows the picture, 0 where it shows what fills up the batch."""
    count, _, down, across = features.shape
    dtype = features.dtype if features.dtype.kind == "f" and features.dtype.itemsize >= 4 else np.dtype(np.float32)
    if pixel_mask is None:
        return np.ones((count, down, across), dtype)
    if pixel_mask.ndim != 3 or pixel_mask.shape[0] != count:
        raise ShapeError(
            f"pixel_mask of shape {pixel_mask.shape}", why="it has one row of pixels a picture", fix="pass (N, H, W)"
        )
    mask = F.interpolate(pixel_mask.to("float32").unsqueeze(1), (down, across), mode="nearest")
    return (mask[:, 0].cpu().numpy() != 0).astype(dtype)


class DetrForObjectDetection(Detector):
    """``forward(pixel_values (N, C, H, W), pixel_mask (N, H, W))`` -> :class:`.detecting.DetectionOutput`.

    The mask is 1 where a picture is, and 0 where the batch was filled up.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     num_labels=3, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        ...     encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=5,
        ...     backbone=resnet.Config("resnet", layers=(1, 1), channels=(4, 8), num_classes=0))
        >>> found = DetrForObjectDetection(tiny).eval()(nyala.zeros(1, 3, 32, 48))
        >>> found.logits.shape, found.pred_boxes.shape
        ((1, 5, 4), (1, 5, 4))
    """

    classifier_name = "class_labels_classifier"
    takes_mask, layered = True, True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model = DetrModel(config)
        self.class_labels_classifier = nn.Linear(config.d_model, config.num_labels + 1)
        self.bbox_predictor = PredictionHead(config.d_model, 4)
        self._initialise()

    def _initialise(self) -> None:
        """As the paper's code does: Glorot's rule in encoder and decoder. What the backbone sees shall not be lost beside the
        positions, which are about as large, so it comes in by He's rule."""
        nn.init.kaiming_normal_(self.model.input_projection.weight)
        for part in ("encoder", "decoder"):
            for p in self.model.get_submodule(part).parameters():
                if p.ndim > 1:
                    nn.init.xavier_uniform_(p)

    def forward_features(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> (N, num_queries, d_model): what is known of each object."""
        return self.model.decode(*self.model.encode(pixel_values, pixel_mask))[-1]

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> DetectionOutput:
        return self.answers(self.model.decode(*self.model.encode(pixel_values, pixel_mask)))

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The blocks of the backbone, and the layers of encoder and decoder."""
        seeing: Any = self.model.get_submodule(_BACKBONE)
        yield from seeing.checkpointed_blocks()
        for part in ("encoder", "decoder"):
            yield from self.model.get_submodule(f"{part}.layers").children()

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: the backbone's blocks, what joins it to the encoder, both sides' layers, the heads."""
        seeing: Any = self.model.get_submodule(_BACKBONE)
        blocks = sum(self.config.backbone.layers)
        inner = name.removeprefix("model.")
        if inner.startswith(_BACKBONE):
            return int(seeing.layer_of(inner.removeprefix(f"{_BACKBONE}.")))
        side, _, rest = inner.partition(".layers.")
        if side not in ("encoder", "decoder") or not rest:
            whole = inner.startswith(("query_position", "input_projection", "position_embedding"))
            return blocks + 1 if whole else blocks + 2 + self.config.encoder_layers + self.config.decoder_layers
        return blocks + 2 + int(rest.partition(".")[0]) + (self.config.encoder_layers if side == "decoder" else 0)


def build(config: Mapping[str, Any], **overrides: Any) -> DetrForObjectDetection:
    """The model that transformers' ``config.json`` describes."""
    return DetrForObjectDetection(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - the layout says it
    """Names are the published ones, but those of a backbone in transformers' layout."""
    seeing, counts = Config.from_dict(config).backbone, Ignore("*.num_batches_tracked")
    if seeing.architecture != "resnet":
        return KeyMap(counts)
    prefix = f"model.{_BACKBONE}."
    return KeyMap(counts, *resnet.transformers_names(len(seeing.layers), prefix, prefix))


def export_config(model: DetrForObjectDetection) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    return dict(model.config.to_dict())
