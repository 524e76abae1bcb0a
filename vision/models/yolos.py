"""YOLOS (Fang et al., "You only look at one sequence", arXiv:2106.00666): a vision transformer that finds objects.

Loads checkpoints in transformers' layout, whose tensor names are ours: ``hustvl/yolos-tiny``, ``hustvl/yolos-small``,
``hustvl/yolos-base``. Learnt tokens behind the patches find one object each. Pictures of any size are taken: the position vectors
are resampled as transformers does it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.create import zeros
from ...core.errors import ArgumentError, DataError, ShapeError
from ...core.keymap import Alias, KeyMap
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.nn.blocks import place
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from .detecting import DetectionConfig, DetectionOutput, Detector, PredictionHead

TASK = "object-detection"


@dataclass(frozen=True)
class Config(DetectionConfig):
    """What shapes a YOLOS; the defaults are transformers', of ``hustvl/yolos-base``."""

    hidden_size: int = 768
    """Width of the stream."""
    num_hidden_layers: int = 12
    """Layers."""
    num_attention_heads: int = 12
    """Heads of each of them."""
    intermediate_size: int = 3072
    """Width inside the feed-forward parts."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward parts."""
    hidden_dropout_prob: float = 0.0
    """Dropout of the embeddings and of what is added to the stream."""
    attention_probs_dropout_prob: float = 0.0
    """Dropout of the attention weights."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in norms."""
    image_size: tuple[int, int] = (512, 864)
    """(height, width) in pixels of the pictures that the position vectors are for."""
    patch_size: int = 16
    """Side of a patch, in pixels."""
    num_channels: int = 3
    """Channels of the input."""
    qkv_bias: bool = True
    """Whether queries, keys and values have biases."""
    num_detection_tokens: int = 100
    """Answers, and so objects at most."""
    use_mid_position_embeddings: bool = True
    """Whether each layer but the last is followed by position vectors of its own."""

    model_type: ClassVar[str] = "yolos"
    kind: ClassVar[str] = "YolosForObjectDetection"

    def __post_init__(self) -> None:
        if isinstance(self.image_size, int):
            object.__setattr__(self, "image_size", (self.image_size, self.image_size))
        if not isinstance(self.patch_size, int):
            raise DataError(f"patch_size={self.patch_size}", why="patches are squares", fix="choose other weights")
        if min(self.image_size) < self.patch_size:
            raise ArgumentError(f"image_size {self.image_size} with patches of {self.patch_size}", fix="correct the config.json")
        activation(self.hidden_act)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (down, across) of a picture of ``image_size``."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def places(self) -> int:
        """Position vectors: of the class token, the patches, the detection tokens."""
        return 1 + self.grid[0] * self.grid[1] + self.num_detection_tokens


class Embeddings(nn.Module):
    """Patches between a class token, which nothing is read from, and the detection tokens, with their positions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.cls_token = nn.Parameter(zeros(1, 1, width))
        self.detection_tokens = nn.Parameter(zeros(1, config.num_detection_tokens, width))
        self.position_embeddings = nn.Parameter(zeros(1, config.places, width))
        place(self, "patch_embeddings.projection", nn.Conv2d(config.num_channels, width, config.patch_size, config.patch_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: Tensor) -> Tensor:
        patch = self.config.patch_size
        if pixel_values.ndim == 4 and min(pixel_values.shape[2:]) < patch:
            raise ShapeError(
                f"a picture of {pixel_values.shape[2]} x {pixel_values.shape[3]} pixels",
                why=f"one patch has {patch} x {patch}",
                fix="enlarge it",
            )
        x = self.get_submodule("patch_embeddings.projection")(pixel_values)
        count, _, down, across = x.shape
        tokens = [self.cls_token.expand(count, -1, -1), x.flatten(2).transpose(1, 2)]
        x = cat([*tokens, self.detection_tokens.expand(count, -1, -1)], 1)
        return self.dropout(x + resampled(self.position_embeddings, self.config, down, across))


def resampled(table: Tensor, config: Config, down: int, across: int) -> Tensor:
    """Position vectors (..., places, D) for a picture of ``down`` x ``across`` patches."""
    if (down, across) == config.grid:
        return table
    answers = config.num_detection_tokens
    first, patches, last = table[..., :1, :], table[..., 1:-answers, :], table[..., -answers:, :]
    width = table.shape[-1]
    maps = patches.reshape(-1, *config.grid, width).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, (down, across), mode="bicubic", align_corners=False)
    return cat([first, maps.permute(0, 2, 3, 1).reshape(*table.shape[:-2], down * across, width), last], -2)


class Encoder(nn.Module):
    """The layers, and the position vectors between them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        if config.use_mid_position_embeddings:
            between = zeros(config.num_hidden_layers - 1, 1, config.places, config.hidden_size)
            self.mid_position_embeddings = nn.Parameter(between)
        self.layer = nn.ModuleList([_layer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x: Tensor, down: int, across: int) -> list[Tensor]:
        """What is known of each token behind each layer, (N, T, D)."""
        between = None
        if self.config.use_mid_position_embeddings:
            between = resampled(self.mid_position_embeddings, self.config, down, across)
        states: list[Tensor] = []
        for i, layer in enumerate(self.layer):
            x = layer(x)
            if between is not None and i < len(self.layer) - 1:
                x = x + between[i]
            states.append(x)
        return states


_NAMES = {
    **{role: f"attention.attention.{name}" for role, name in (("q", "query"), ("k", "key"), ("v", "value"))},
    "out": "attention.output.dense",
    "attn_drop": "attention.attention.dropout",
    "drop1": "attention.output.dropout",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "drop2": "output.dropout",
}


def _layer(config: Config) -> nn.TransformerBlock:
    bias = dict.fromkeys("qkv", config.qkv_bias)
    return nn.TransformerBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        norm=lambda dim: nn.LayerNorm(dim, config.layer_norm_eps),
        dropout=config.hidden_dropout_prob,
        attention={"dropout": config.attention_probs_dropout_prob, "bias": bias},
        mlp={"act": config.hidden_act},
        names=_NAMES,
    )


class YolosForObjectDetection(Detector):
    """``forward(pixel_values (N, C, H, W))`` -> :class:`.detecting.DetectionOutput`.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     num_labels=3, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        ...     image_size=(32, 48), num_detection_tokens=5)
        >>> found = YolosForObjectDetection(tiny).eval()(nyala.zeros(1, 3, 64, 32))
        >>> found.logits.shape, found.pred_boxes.shape
        ((1, 5, 4), (1, 5, 4))
    """

    classifier_name = "class_labels_classifier"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.vit = nn.Module()
        self.vit.embeddings = Embeddings(config)
        self.vit.encoder = Encoder(config)
        self.vit.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.class_labels_classifier = PredictionHead(config.hidden_size, config.num_labels + 1)
        self.bbox_predictor = PredictionHead(config.hidden_size, 4)
        self._initialise()

    def _initialise(self) -> None:
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.ndim > 1 and not name.startswith("bbox_predictor"):
                nn.init.trunc_normal_(p, std=0.02)

    def states(self, pixel_values: Tensor) -> list[Tensor]:
        """What each layer knows of the objects, (N, num_detection_tokens, hidden_size), normalised."""
        patch = self.config.patch_size
        x = self.vit.embeddings(pixel_values)
        down, across = (side // patch for side in pixel_values.shape[2:])
        found = self.vit.encoder(x, down, across)
        return [self.vit.layernorm(x[:, -self.config.num_detection_tokens :]) for x in found]

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_detection_tokens, hidden_size): what is known of each object."""
        return self.states(pixel_values)[-1]

    def forward(self, pixel_values: Tensor) -> DetectionOutput:
        return self.answers(self.states(pixel_values))

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The layers."""
        yield from self.vit.encoder.layer

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the embeddings, 1.. for the layers, the last number for norm and heads."""
        _, found, rest = name.partition("encoder.layer.")
        if found:
            return int(rest.partition(".")[0]) + 1
        early = "embeddings" in name  # those between the layers too: they lie beside all of them
        return 0 if early else self.config.num_hidden_layers + 1


def build(config: Mapping[str, Any], **overrides: Any) -> YolosForObjectDetection:
    """The model that transformers' ``config.json`` describes."""
    return YolosForObjectDetection(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """The published names are ours."""
    newer = "vit.encoder.interpolation.mid_position_embeddings"
    return KeyMap(Alias(newer, "vit.encoder.mid_position_embeddings"))


def export_config(model: YolosForObjectDetection) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    return dict(model.config.to_dict())
