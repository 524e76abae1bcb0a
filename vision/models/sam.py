"""SAM (Kirillov et al., "Segment anything", arXiv:2304.02643): masks of whatever points and boxes show it in a picture.

Loads checkpoints in transformers' layout: ``facebook/sam-vit-base``, ``facebook/sam-vit-large``, ``facebook/sam-vit-huge``. Our
module names are the published ones; the table of places is there once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ...core import nn
from ...core.create import arange, full, zeros
from ...core.errors import ArgumentError, DataError, ShapeError, did_you_mean, kind_of
from ...core.keymap import Ignore, KeyMap, Tied
from ...core.nn.activation import activation
from ...core.ops.elementwise import where
from ...core.ops.shape import cat, repeat_interleave, stack
from ...core.tensor import Tensor
from .convnext import LayerNorm2d
from .sam_decoder import DecoderConfig, MaskDecoder, rows
from .sam_vision import VisionConfig, VisionEncoder

TASK = "mask-generation"
BACKGROUND, OBJECT, NO_POINT, UNUSED = 0, 1, -1, -10  # what the label of a point says


@dataclass(frozen=True)
class PromptConfig:
    """What shapes the encoder of prompts."""

    hidden_size: int = 256
    """Width of the vectors."""
    mask_input_channels: int = 16
    """Channels of a mask that is a prompt, before the last convolution."""
    num_point_embeddings: int = 4
    """Kinds of points: background, object, upper left and lower right corner."""
    hidden_act: str = "gelu"
    """Activation of the convolutions of masks."""
    layer_norm_eps: float = 1e-6
    """Added to variances in their layer norms."""


_PARTS = {"vision_config": VisionConfig, "prompt_encoder_config": PromptConfig, "mask_decoder_config": DecoderConfig}


@dataclass(frozen=True)
class Config:
    """What shapes a SAM."""

    vision_config: VisionConfig = field(default_factory=VisionConfig)
    """The encoder of pictures."""
    prompt_encoder_config: PromptConfig = field(default_factory=PromptConfig)
    """The encoder of points, boxes and masks."""
    mask_decoder_config: DecoderConfig = field(default_factory=DecoderConfig)
    """The decoder."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace keys of any of its parts.

        Raises:
            ArgumentError: an override that no part has, or sizes that do not fit each other.
            DataError: a part that is described by something else than an object.
        """
        names = {f.name: part for part in reversed(_PARTS) for f in fields(_PARTS[part])}  # the first part that has a key gets it
        unknown = next((name for name in overrides if name not in names), None)
        if unknown is not None:
            raise ArgumentError(
                f"SAM has no option {unknown!r}",
                why="it has no classes" if unknown == "num_labels" else f"it has {', '.join(sorted(names))}",
                fix=did_you_mean(unknown, names) or "leave it out",
            )
        made = {}
        for part, kind in _PARTS.items():
            said = config.get(part) or {}
            if not isinstance(said, Mapping):
                raise DataError(f"{part} in the config.json is {kind_of(said)}", fix="correct the config.json")
            said = {**said, **{k: v for k, v in overrides.items() if names[k] == part}}
            known = {f.name for f in fields(kind)}
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in said.items() if k in known and v is not None}
            made[part] = kind(**values)
        found = Config(**made)
        _check(found)
        return found


def _check(config: Config) -> None:
    vision, prompts, decoder = config.vision_config, config.prompt_encoder_config, config.mask_decoder_config
    widths = {vision.output_channels, prompts.hidden_size, decoder.hidden_size, 2 * vision.num_pos_feats}
    if len(widths) != 1:
        raise ArgumentError(
            f"output_channels {vision.output_channels}, hidden_size {prompts.hidden_size} of prompts and {decoder.hidden_size} "
            f"of the decoder, num_pos_feats {vision.num_pos_feats}",
            why="all but the last, which is half of it, are one width",
            fix="correct the config.json",
        )
    inner = decoder.hidden_size // decoder.attention_downsample_rate
    if vision.hidden_size % vision.num_attention_heads or inner % decoder.num_attention_heads:
        raise ArgumentError("num_attention_heads does not divide the width of the attention", fix="correct the config.json")
    if any(not 0 <= i < vision.num_hidden_layers for i in vision.global_attn_indexes):
        raise ArgumentError(
            f"global_attn_indexes {vision.global_attn_indexes} of {vision.num_hidden_layers} layers",
            fix="correct the config.json",
        )


@dataclass(frozen=True)
class SamOutput:
    """What SAM returns.

    Attributes:
        iou_scores: (N, prompts, masks), how well it thinks each mask fits.
        pred_masks: (N, prompts, masks, H / 4, W / 4), positive inside.
    """

    iou_scores: Tensor
    pred_masks: Tensor


class PositionalEmbedding(nn.Module):
    """Places -> sines and cosines of random frequencies (Tancik et al., arXiv:2006.10739): (..., 2) in 0..1 -> (..., width)."""

    def __init__(self, half: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(zeros(2, half))
        nn.init.normal_(self.positional_embedding)

    def forward(self, places: Tensor) -> Tensor:
        turns = (2 * places - 1).to(self.positional_embedding.dtype) @ self.positional_embedding * (2 * math.pi)
        return cat([turns.sin(), turns.cos()], -1)


class MaskEmbedding(nn.Module):
    """A mask as a prompt: (N, 1, 4 H, 4 W) -> (N, hidden_size, H, W)."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        channels, eps = config.mask_input_channels, config.layer_norm_eps
        self.conv1 = nn.Conv2d(1, channels // 4, 2, 2)
        self.layer_norm1 = LayerNorm2d(channels // 4, eps)
        self.conv2 = nn.Conv2d(channels // 4, channels, 2, 2)
        self.layer_norm2 = LayerNorm2d(channels, eps)
        self.conv3 = nn.Conv2d(channels, config.hidden_size, 1)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.layer_norm1(self.conv1(x)))
        return self.conv3(self.act(self.layer_norm2(self.conv2(x))))


class PromptEncoder(nn.Module):
    """Points and boxes -> tokens; masks -> a map."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.mask_embed = MaskEmbedding(config)
        self.no_mask_embed = nn.Embedding(1, width)
        self.point_embed = nn.ModuleList(nn.Embedding(1, width) for _ in range(config.num_point_embeddings))
        self.not_a_point_embed = nn.Embedding(1, width)

    def points(self, placed: Tensor, labels: Tensor) -> Tensor:
        """``placed`` (..., P, D), the vectors of places, and ``labels`` (..., P) -> (..., P, D)."""
        at = labels.unsqueeze(-1)
        placed = where(at == NO_POINT, rows(self.not_a_point_embed), placed)
        placed = where(at == UNUSED, 0.0, placed)
        for label in (BACKGROUND, OBJECT):
            placed = where(at == label, placed + rows(self.point_embed[label]), placed)
        return placed

    def boxes(self, placed: Tensor) -> Tensor:
        """``placed`` (..., 2, D), the vectors of upper left and lower right corners -> the same shape."""
        return placed + cat([rows(self.point_embed[2]), rows(self.point_embed[3])], 0)


class SamModel(nn.Model):
    """A picture and prompts -> masks.

    ``forward(pixel_values, input_points, input_labels, input_boxes, input_masks, image_embeddings, multimask_output)`` takes
    transformers' names: pictures (N, C, H, W), or what ``forward_features`` made of them; for each of P prompts points
    (N, P, Q, 2), x and y in pixels of the picture, with labels (N, P, Q): 1 on the object, 0 beside it, -1 no point, -10 unused;
    and boxes (N, P, 4), left, top, right, bottom; and one mask (N, 1, H / 4, W / 4). It gives a :class:`SamOutput`, with one mask
    a prompt where ``multimask_output`` is False.

    Example:
        >>> import nyala
        >>> vision = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "global_attn_indexes": []}
        >>> decoder = {"hidden_size": 16, "num_attention_heads": 2, "mlp_dim": 8, "iou_head_hidden_dim": 8}
        >>> parts = {"vision_config": {**vision, "image_size": 32, "output_channels": 16, "num_pos_feats": 8}}
        >>> model = build({**parts, "mask_decoder_config": decoder, "prompt_encoder_config": {"hidden_size": 16}}).eval()
        >>> model(nyala.zeros(1, 3, 32, 32), input_points=nyala.tensor([[[[8.0, 9.0]]]])).pred_masks.shape
        (1, 1, 3, 8, 8)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.shared_image_embedding = PositionalEmbedding(config.vision_config.num_pos_feats)
        self.vision_encoder = VisionEncoder(config.vision_config)
        self.prompt_encoder = PromptEncoder(config.prompt_encoder_config)
        self.mask_decoder = MaskDecoder(config.mask_decoder_config)

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, output_channels, H / patch_size, W / patch_size); compute it once for many prompts."""
        return self.vision_encoder(pixel_values)

    def forward(
        self, pixel_values: Tensor | None = None, input_points: Tensor | None = None, input_labels: Tensor | None = None,
        input_boxes: Tensor | None = None, input_masks: Tensor | None = None, image_embeddings: Tensor | None = None,
        multimask_output: bool = True,
    ) -> SamOutput:  # fmt: skip
        if (pixel_values is None) == (image_embeddings is None):
            raise ArgumentError("SAM needs pixel_values or image_embeddings, and not both", fix="pass one of them")
        if pixel_values is not None:
            image_embeddings = self.forward_features(pixel_values)
        return self.forward_head(image_embeddings, input_points, input_labels, input_boxes, input_masks, multimask_output)

    def forward_head(
        self, image_embeddings: Any, input_points: Tensor | None = None, input_labels: Tensor | None = None,
        input_boxes: Tensor | None = None, input_masks: Tensor | None = None, multimask_output: bool = True,
    ) -> SamOutput:  # fmt: skip
        """Prompts, as in ``forward``, on what ``forward_features`` gave."""
        count, _, high, wide = image_embeddings.shape
        prompts = self._prompts(count, (high, wide), input_points, input_labels, input_boxes)
        each = 1 if prompts is None else prompts.shape[1]
        if input_masks is None:
            image = image_embeddings + rows(self.prompt_encoder.no_mask_embed).reshape(1, -1, 1, 1)
        else:
            _expect(input_masks, "input_masks", (None, 1, 4 * high, 4 * wide))
            image = image_embeddings + self.prompt_encoder.mask_embed(input_masks)
        image = repeat_interleave(image, each, 0) if each > 1 else image
        tokens = None if prompts is None else prompts.flatten(0, 1)
        masks, scores = self.mask_decoder(image, self._places(high, wide), tokens)
        kept = slice(1, None) if multimask_output else slice(0, 1)
        masks, scores = masks[:, kept], scores[:, kept]
        return SamOutput(scores.reshape(count, each, -1), masks.reshape(count, each, *masks.shape[1:]))

    def _places(self, high: int, wide: int) -> Tensor:
        """(1, D, high, wide): the vectors of the centres of all patches."""
        device = self.shared_image_embedding.positional_embedding.device
        y = ((arange(high, device=device) + 0.5) / high).reshape(-1, 1).expand(high, wide)
        x = ((arange(wide, device=device) + 0.5) / wide).reshape(1, -1).expand(high, wide)
        return self.shared_image_embedding(stack([x, y], -1)).permute(2, 0, 1).unsqueeze(0)

    def _prompts(
        self, count: int, grid: tuple[int, int], points: Tensor | None, labels: Tensor | None, boxes: Tensor | None
    ) -> Tensor | None:
        """(N, P, T, D) tokens of points and boxes, in this order; None without any."""
        tokens, patch = [], self.config.vision_config.patch_size
        sides = (grid[1] * patch, grid[0] * patch)  # width, height
        if points is not None:
            _expect(points, "input_points", (count, None, None, 2))
            labels = full(points.shape[:3], OBJECT, device=points.device) if labels is None else labels
            _expect(labels, "input_labels", tuple(points.shape[:3]))
            placed = self.shared_image_embedding(_share(points, sides))
            if boxes is None:  # a token that is no point ends them
                placed = cat([placed, zeros(*placed.shape[:2], 1, placed.shape[-1]).to(placed)], 2)
                labels = cat([labels, full((*labels.shape[:2], 1), NO_POINT).to(labels)], 2)
            tokens.append(self.prompt_encoder.points(placed, labels))
        if boxes is not None:
            _expect(boxes, "input_boxes", (count, None if points is None else points.shape[1], 4))
            corners = _share(boxes.reshape(*boxes.shape[:2], 2, 2), sides)
            tokens.append(self.prompt_encoder.boxes(self.shared_image_embedding(corners)))
        return cat(tokens, 2) if tokens else None

    def head_names(self) -> list[str]:
        """The names of the decoder's parameters."""
        return [name for name, _ in self.named_parameters() if name.startswith("mask_decoder.")]

    def reset_head(self, num_classes: int) -> None:
        """A new, untrained decoder that offers ``num_classes`` masks for each prompt."""
        if num_classes < 1:
            raise ArgumentError(f"a decoder of {num_classes} masks", fix="for the picture's map use forward_features")
        decoder = replace(self.config.mask_decoder_config, num_multimask_outputs=num_classes)
        self.mask_decoder = MaskDecoder(decoder).to(self.mask_decoder.iou_token.weight)
        self.config = replace(self.config, mask_decoder_config=decoder)

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The layers of the encoder of pictures."""
        yield from self.vision_encoder.layers

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the embeddings, 1.. for the encoder's layers, the last number for all behind them."""
        if name.startswith("vision_encoder.layers."):
            return int(name.split(".")[2]) + 1
        return 0 if name.startswith(("vision_encoder.p", "shared")) else self.config.vision_config.num_hidden_layers + 1


def _share(places: Tensor, sides: tuple[int, int]) -> Tensor:
    """(..., 2) pixels, x and y, whose centres are meant, over width and height: 0..1."""
    x, y = places[..., :1] + 0.5, places[..., 1:] + 0.5
    return cat([x / sides[0], y / sides[1]], -1)


def _expect(given: Tensor, name: str, shape: tuple[int | None, ...]) -> None:
    if given.ndim != len(shape) or any(want is not None and want != n for n, want in zip(given.shape, shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ShapeError(f"{name} of shape {given.shape}", why=f"SAM takes ({wanted})", fix="reshape it")


def build(config: Mapping[str, Any], **overrides: Any) -> SamModel:
    """The model that transformers' ``config.json`` describes; ``overrides`` replace its values."""
    return SamModel(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one layout
    """The names are ours; older files hold the table of places twice."""
    table = "positional_embedding"
    second = f"prompt_encoder.shared_embedding.{table}"
    return KeyMap(Tied(f"shared_image_embedding.{table}", second), Ignore(second))


def export_config(model: SamModel) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    parts = {part: asdict(getattr(model.config, part)) for part in _PARTS}
    vision = parts["vision_config"]
    vision["global_attn_indexes"] = list(vision["global_attn_indexes"])
    parts["prompt_encoder_config"] |= {"image_size": vision["image_size"], "patch_size": vision["patch_size"]}
    return {"model_type": "sam", "architectures": ["SamModel"], **parts}
