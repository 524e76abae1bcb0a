"""CLIP (Radford et al., "Learning transferable visual models from natural language supervision", arXiv:2103.00020).

Loads checkpoints in transformers' layout: ``openai/clip-vit-base-patch32``, ``openai/clip-vit-base-patch16``,
``openai/clip-vit-large-patch14``, ``laion/CLIP-ViT-B-32-laion2B-s34B-b79K``; a classifier on the tower for pictures is
transformers' ``CLIPForImageClassification``. Our module names are the published ones, misspelt ``pre_layrnorm`` included.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core import nn
from ...core.create import arange, tensor
from ...core.keymap import KeyMap
from ...core.tensor import Tensor
from . import towers

TASK = "zero-shot-image-classification"
_LEGACY_EOS = 2  # what configurations said before 2023, whatever the vocabulary


@dataclass(frozen=True)
class VisionConfig(towers.VisionConfig):
    """The tower for pictures; the defaults are transformers'."""


@dataclass(frozen=True)
class TextConfig(towers.TextConfig):
    """The tower for texts; the defaults are transformers'."""

    hidden_size: int = 512
    """Width of the stream."""
    intermediate_size: int = 2048
    """Width inside the feed-forward part."""
    num_attention_heads: int = 8
    """Heads of each layer."""
    eos_token_id: int = 49407
    """The token that ends a text, whose vector stands for it; 2 means the highest number in the text."""


@dataclass(frozen=True)
class Config:
    """What shapes a CLIP."""

    vision_config: VisionConfig = field(default_factory=VisionConfig)
    """The tower for pictures."""
    text_config: TextConfig = field(default_factory=TextConfig)
    """The tower for texts."""
    projection_dim: int = 512
    """Width of the vectors that are compared."""
    logit_scale_init_value: float = 2.6592
    """Logarithm of what cosines are multiplied by, before training."""
    num_labels: int = 2
    """Classes of the classifier, where the model is one."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or sizes that do not fit each other.
            DataError: a tower that is described by something else than an object.
        """
        # old files keep a second description of each tower, which wins
        older = {name: config[f"{name}_dict"] for name in ("vision_config", "text_config") if config.get(f"{name}_dict")}
        parts = {"vision_config": VisionConfig.read, "text_config": TextConfig.read}
        found: Config = towers.towers_in({**config, **older}, overrides, Config, parts)
        return found


class VisionTower(nn.Module):
    """Pictures -> the vectors of their patches, a class token's first."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = towers.PatchEmbeddings(config, with_class=True)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.encoder = towers.Layers(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def tokens(self, pixel_values: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1 + patches, D)."""
        return self.encoder(self.pre_layrnorm(self.embeddings(pixel_values)))

    def pool(self, hidden: Tensor) -> Tensor:
        """(N, 1 + patches, D) -> (N, D): the class token's, normalised."""
        return self.post_layernorm(hidden[:, 0])


class TextTower(nn.Module):
    """Texts -> vectors; each token sees those before it."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = towers.TokenEmbeddings(config)
        self.encoder = towers.Layers(config, is_causal=True)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def tokens(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(M, T) -> (M, T, D)."""
        mask = towers.padding_mask(attention_mask, input_ids)
        return self.final_layer_norm(self.encoder(self.embeddings(input_ids), mask))

    def pool(self, hidden: Tensor, input_ids: Tensor) -> Tensor:
        """(M, T, D) -> (M, D): the vector of the first token that ends the text."""
        end = self.config.eos_token_id
        last = input_ids.argmax(dim=-1) if end == _LEGACY_EOS else (input_ids == end).to("int64").argmax(dim=-1)
        return hidden[arange(hidden.shape[0], device=hidden.device), last]


class CLIPModel(towers.TwoTowers):
    """Both towers. Pictures and texts that belong together get vectors of one direction.

    Shape: ``input_ids`` (M, T) int64, ``pixel_values`` (N, C, H, W), ``attention_mask`` (M, T), 1 for tokens and 0 for padding
    -> :class:`.towers.PairOutput`; ``logits_per_image`` (N, M) are cosines times exp(``logit_scale``).

    Example:
        >>> import nyala
        >>> part = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        >>> tiny = {"vision_config": {**part, "image_size": 8, "patch_size": 4}, "text_config": {**part, "vocab_size": 9}}
        >>> model = build({**tiny, "projection_dim": 6}).eval()
        >>> model(nyala.tensor([[1, 2, 8], [1, 4, 8]]), nyala.zeros(3, 3, 8, 8)).logits_per_image.shape
        (3, 2)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        vision, text, width = config.vision_config, config.text_config, config.projection_dim
        self.text_model, self.vision_model = TextTower(text), VisionTower(vision)
        self.visual_projection = nn.Linear(vision.hidden_size, width, bias=False)
        self.text_projection = nn.Linear(text.hidden_size, width, bias=False)
        self.logit_scale = nn.Parameter(tensor(config.logit_scale_init_value))
        _initialise(self, config)

    def forward_head(self, hidden: Tensor, pre_logits: bool = False) -> Tensor:  # noqa: ARG002 - there are no logits of a picture
        """(N, 1 + patches, D) -> (N, projection_dim)."""
        return self.visual_projection(self.vision_model.pool(hidden))

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(M, T) int64 -> (M, projection_dim), not of length 1."""
        hidden = self.text_model.tokens(input_ids, attention_mask)
        return self.text_projection(self.text_model.pool(hidden, input_ids))

    def scores(self, texts: Tensor, pictures: Tensor) -> Tensor:
        """Unit vectors (M, D) and (N, D) -> logits (M, N)."""
        return (texts @ pictures.transpose(0, 1)) * self.logit_scale.exp()


class CLIPForImageClassification(towers.PictureClassifier):
    """The tower for pictures, and a linear classifier on the mean of its patches' vectors.

    Shape: ``pixel_values`` (N, C, H, W) -> logits (N, num_labels).
    """

    skipped = 1

    def __init__(self, config: Config) -> None:
        super().__init__(config, VisionTower(config.vision_config))
        _initialise(self, config)


def _initialise(model: nn.Model, config: Config) -> None:
    """As OpenAI's code: narrower the deeper the tower."""
    for name, part in (("vision_model", config.vision_config), ("text_model", config.text_config)):
        if not hasattr(model, name):
            continue
        width, deep = part.hidden_size**-0.5, (2 * part.num_hidden_layers) ** -0.5
        for path, module in getattr(model, name).named_modules():
            if isinstance(module, nn.Linear):
                std = width if path.endswith(("q_proj", "k_proj", "v_proj")) else width * deep
                nn.init.normal_(module.weight, 0.0, (2 * part.hidden_size) ** -0.5 if path.endswith("fc1") else std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, (nn.Embedding, nn.Conv2d)):
                nn.init.normal_(module.weight, 0.0, 0.02)
    for name in ("visual_projection", "text_projection", "classifier"):
        if hasattr(model, name):
            projection = getattr(model, name)
            nn.init.normal_(projection.weight, 0.0, projection.in_features**-0.5)
    nn.init.normal_(model.get_parameter("vision_model.embeddings.class_embedding"), 0.0, config.vision_config.hidden_size**-0.5)


CLASSES: dict[str, type[nn.Model]] = {"CLIPModel": CLIPModel, "CLIPForImageClassification": CLIPForImageClassification}
HEADS = {"zero-shot-image-classification": "CLIPModel", "image-classification": "CLIPForImageClassification"}


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenAI's CLIP was trained on, as ``preprocessor_config.json`` would say it, for weights that came without."""
    side = Config.from_dict(config).vision_config.image_size
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    return {"size": {"shortest_edge": side}, "crop_size": side, "image_mean": mean, "image_std": std, "resample": 3}


def build(config: Mapping[str, Any], **overrides: Any) -> nn.Model:
    """The model that transformers' ``config.json`` describes; with ``num_labels`` the classifier."""
    return towers.class_of(config, overrides, CLASSES)(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """Published names are ours; a classifier leaves out what is for texts."""
    return towers.names_for(towers.class_of(config, (), CLASSES), ("text_model.*", "*_projection.weight", "logit_scale"))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    return towers.described(model, "clip")
