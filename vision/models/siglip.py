"""SigLIP (Zhai et al., "Sigmoid loss for language image pre-training", arXiv:2303.15343) and SigLIP 2 (arXiv:2502.14786).

Loads checkpoints in transformers' layout: ``google/siglip-base-patch16-224``, ``google/siglip-so400m-patch14-384``,
``google/siglip2-base-patch16-224``; a classifier on the tower for pictures is transformers' ``SiglipForImageClassification``. Our
module names are the published ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ...core import nn
from ...core.create import zeros
from ...core.errors import DataError
from ...core.keymap import KeyMap
from ...core.nn.blocks import MLP
from ...core.tensor import Tensor
from . import towers

TASK = "zero-shot-image-classification"


@dataclass(frozen=True)
class VisionConfig(towers.VisionConfig):
    """The tower for pictures; the defaults are transformers'."""

    hidden_act: str = "gelu_pytorch_tanh"
    """Activation of the feed-forward part."""
    layer_norm_eps: float = 1e-6
    """Added to variances in layer norms."""
    patch_size: int = 16
    """Sides of a patch."""
    vision_use_head: bool = True
    """Whether attention makes one vector of the patches' vectors."""


@dataclass(frozen=True)
class TextConfig(towers.TextConfig):
    """The tower for texts; the defaults are transformers'."""

    hidden_act: str = "gelu_pytorch_tanh"
    """Activation of the feed-forward part."""
    layer_norm_eps: float = 1e-6
    """Added to variances in layer norms."""
    vocab_size: int = 32000
    """Rows of the token table."""
    max_position_embeddings: int = 64
    """Tokens of each text, padding included."""
    projection_size: int = 0
    """Width of a text's vector; 0 for that of the stream."""

    @classmethod
    def read(cls, described: Any, where: str) -> Self:
        made = super().read(described, where)
        return made if made.projection_size else replace(made, projection_size=made.hidden_size)


@dataclass(frozen=True)
class Config:
    """What shapes a SigLIP."""

    vision_config: VisionConfig = field(default_factory=VisionConfig)
    """The tower for pictures."""
    text_config: TextConfig = field(default_factory=TextConfig)
    """The tower for texts."""
    num_labels: int = 2
    """Classes of the classifier, where the model is one."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or sizes that do not fit each other.
            DataError: a tower that is described by something else than an object.
        """
        parts = {"vision_config": VisionConfig.read, "text_config": TextConfig.read}
        found: Config = towers.towers_in(config, overrides, Config, parts)
        return found


class AttentionPool(nn.Module):
    """One vector that is trained looks at all patches, and makes one vector of theirs."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(zeros(1, 1, config.hidden_size))
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = MLP(config.hidden_size, config.intermediate_size, act=config.hidden_act)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, D)."""
        probe = self.probe.expand(hidden.shape[0], 1, hidden.shape[2])
        x = self.attention(probe, hidden, hidden, need_weights=False)[0]
        return (x + self.mlp(self.layernorm(x)))[:, 0]


class VisionTower(nn.Module):
    """Pictures -> the vectors of their patches; and one of them all, where ``vision_use_head``."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = towers.PatchEmbeddings(config, with_class=False)
        self.encoder = towers.Layers(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        if config.vision_use_head:
            self.head = AttentionPool(config)

    def tokens(self, pixel_values: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, patches, D)."""
        return self.post_layernorm(self.encoder(self.embeddings(pixel_values)))


class TextTower(nn.Module):
    """Texts -> vectors: the last place's, whatever stands there, through a layer of its own."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = towers.TokenEmbeddings(config)
        self.encoder = towers.Layers(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.head = nn.Linear(config.hidden_size, config.projection_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(M, T) -> (M, D)."""
        mask = towers.padding_mask(attention_mask, input_ids)
        hidden = self.final_layer_norm(self.encoder(self.embeddings(input_ids), mask))
        return self.head(hidden[:, -1])


class SiglipModel(towers.TwoTowers):
    """Both towers. Each pair of a picture and a text is judged for itself.

    Shape: ``input_ids`` (M, T) int64, filled up to the longest length, ``pixel_values`` (N, C, H, W)
    -> :class:`.towers.PairOutput`; ``logits_per_image`` (N, M) are cosines times exp(``logit_scale``) plus ``logit_bias``, and
    their sigmoids are probabilities.

    Example:
        >>> import nyala
        >>> part = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        >>> tiny = {"vision_config": {**part, "image_size": 8, "patch_size": 4}, "text_config": {**part, "vocab_size": 9}}
        >>> model = build(tiny).eval()
        >>> model(nyala.tensor([[1, 2, 8], [1, 4, 8]]), nyala.zeros(3, 3, 8, 8)).logits_per_image.shape
        (3, 2)
    """

    whole_length = True
    each_alone = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if not config.vision_config.vision_use_head:
            raise DataError(
                "vision_use_head is false", why="nothing would make one vector of a picture", fix="build the classifier"
            )
        self.text_model = TextTower(config.text_config)
        self.vision_model = VisionTower(config.vision_config)
        self.logit_scale, self.logit_bias = nn.Parameter(zeros(1)), nn.Parameter(zeros(1))
        _initialise(self)

    def forward_head(self, hidden: Tensor, pre_logits: bool = False) -> Tensor:  # noqa: ARG002 - there are no logits of a picture
        """(N, patches, D) -> (N, D)."""
        return self.vision_model.head(hidden)

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(M, T) int64 -> (M, D), not of length 1."""
        return self.text_model(input_ids, attention_mask)

    def scores(self, texts: Tensor, pictures: Tensor) -> Tensor:
        """Unit vectors (M, D) and (N, D) -> logits (M, N)."""
        return (texts @ pictures.transpose(0, 1)) * self.logit_scale.exp() + self.logit_bias


class SiglipForImageClassification(towers.PictureClassifier):
    """The tower for pictures, and a linear classifier on the mean of its patches' vectors.

    Shape: ``pixel_values`` (N, C, H, W) -> logits (N, num_labels).
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config, VisionTower(config.vision_config))
        _initialise(self)


def _initialise(model: nn.Model) -> None:
    """As big_vision: Xavier in the layers, and narrow tables."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0.0, 1e-6) if ".mlp." in path else nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.Embedding, nn.Conv2d)):
            nn.init.normal_(module.weight, 0.0, module.weight[0].numel() ** -0.5)
        elif isinstance(module, AttentionPool):
            nn.init.xavier_uniform_(module.probe)


CLASSES: dict[str, type[nn.Model]] = {"SiglipModel": SiglipModel, "SiglipForImageClassification": SiglipForImageClassification}
HEADS = {"zero-shot-image-classification": "SiglipModel", "image-classification": "SiglipForImageClassification"}


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """What SigLIP was trained on, as ``preprocessor_config.json`` would say it, for weights that came without."""
    side = Config.from_dict(config).vision_config.image_size
    return {"size": {"height": side, "width": side}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}


def build(config: Mapping[str, Any], **overrides: Any) -> nn.Model:
    """The model that transformers' ``config.json`` describes; with ``num_labels`` the classifier."""
    return towers.class_of(config, overrides, CLASSES)(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """Published names are ours; a classifier leaves out what is for texts."""
    return towers.names_for(towers.class_of(config, (), CLASSES), ("text_model.*", "logit_*"))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    return towers.described(model, "siglip")
