"""What CLIP and SigLIP share: a tower for pictures and one for texts, whose vectors are compared.

Both are transformers with norms before the parts, under transformers' names. ``clip`` and ``siglip`` say what is their own: how a
tower's vector is made of its tokens', and how two vectors are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self

from ...core import nn
from ...core.create import arange, zeros
from ...core.errors import ArgumentError, DataError, ShapeError, kind_of
from ...core.keymap import Ignore, KeyMap
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.nn.embedding import check_token_ids
from ...core.ops.shape import cat
from ...core.tensor import Tensor

_NAMES = {
    **{role: f"self_attn.{role}_proj" for role in ("q", "k", "v", "out")},
    "attn_drop": "self_attn.dropout",
    "mlp_drop": "mlp.dropout",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
}


@dataclass(frozen=True)
class TowerConfig:
    """What the towers for pictures and for texts have in common."""

    hidden_size: int = 768
    """Width of the stream."""
    intermediate_size: int = 3072
    """Width inside the feed-forward part."""
    num_hidden_layers: int = 12
    """Layers."""
    num_attention_heads: int = 12
    """Heads of each layer."""
    hidden_act: str = "quick_gelu"
    """Activation of the feed-forward part."""
    layer_norm_eps: float = 1e-5
    """Added to variances in layer norms."""
    attention_dropout: float = 0.0
    """Dropout of the attention weights."""

    @classmethod
    def read(cls, described: Any, where: str) -> Self:
        """From a part of ``config.json``; keys that shape nothing are left alone.

        Raises:
            DataError: it is no object.
            ArgumentError: heads that do not divide the width, or an unknown activation.
        """
        if not isinstance(described, Mapping):
            raise DataError(f"{where} in the config.json is {kind_of(described)}", fix="correct the config.json")
        known = {f.name for f in fields(cls)}
        made = replace(cls(), **{k: v for k, v in described.items() if k in known and v is not None})
        if made.hidden_size % made.num_attention_heads:
            raise ArgumentError(
                f"{where}: hidden_size {made.hidden_size} is no multiple of num_attention_heads {made.num_attention_heads}",
                fix="correct the config.json",
            )
        activation(made.hidden_act)  # an unknown name is an error now, not in the middle of building
        return made


@dataclass(frozen=True)
class VisionConfig(TowerConfig):
    """The tower for pictures."""

    image_size: int = 224
    """Sides of the pictures that its positions were trained on, in pixels."""
    patch_size: int = 32
    """Sides of a patch."""
    num_channels: int = 3
    """Channels of a picture."""


@dataclass(frozen=True)
class TextConfig(TowerConfig):
    """The tower for texts."""

    vocab_size: int = 49408
    """Rows of the token table."""
    max_position_embeddings: int = 77
    """Tokens of the longest text."""


@dataclass(frozen=True)
class PairOutput:
    """What a model with two towers returns.

    Attributes:
        logits_per_image: (N, M), how well each of N pictures fits each of M texts.
        logits_per_text: (M, N), the same the other way around.
        text_embeds: (M, D), of length 1.
        image_embeds: (N, D), of length 1.
    """

    logits_per_image: Tensor
    logits_per_text: Tensor
    text_embeds: Tensor
    image_embeds: Tensor


def layer(config: TowerConfig, is_causal: bool = False) -> nn.TransformerBlock:
    """Attention, then feed-forward, each behind its norm."""
    return nn.TransformerBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        norm=lambda dim: nn.LayerNorm(dim, config.layer_norm_eps),
        attention={"dropout": config.attention_dropout, "is_causal": is_causal},
        mlp={"act": config.hidden_act},
        names=_NAMES,
    )


class Layers(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: TowerConfig, is_causal: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([layer(config, is_causal) for _ in range(config.num_hidden_layers)])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.layers:
            x = block(x, mask=mask)
        return x


class PatchEmbeddings(nn.Module):
    """Patches of a picture with positions, behind a class token where ``with_class``.

    Pictures of another size than the trained one get positions by bicubic interpolation, as transformers' do with
    ``interpolate_pos_encoding``.
    """

    def __init__(self, config: VisionConfig, with_class: bool) -> None:
        super().__init__()
        self.config, self.grid = config, config.image_size // config.patch_size
        if not self.grid:
            raise ArgumentError(
                f"patches of {config.patch_size} pixels in pictures of {config.image_size}", fix="correct the config.json"
            )
        if with_class:
            self.class_embedding = nn.Parameter(zeros(config.hidden_size))
        self.with_class = with_class
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, config.patch_size, config.patch_size, bias=not with_class
        )
        self.position_embedding = nn.Embedding(self.grid**2 + with_class, config.hidden_size)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, patches, D), one more with a class token."""
        self._check(pixel_values)
        patches = self.patch_embedding(pixel_values)
        x = patches.flatten(2).transpose(1, 2)
        if self.with_class:
            x = cat([self.class_embedding.expand(x.shape[0], 1, x.shape[2]), x], 1)
        return x + self.positions(*pixel_values.shape[2:])

    def positions(self, height: int, width: int) -> Tensor:
        """Positions of a picture of that size: (1, patches, D)."""
        table = self.position_embedding.weight.unsqueeze(0)
        rows, columns = height // self.config.patch_size, width // self.config.patch_size
        if height == width and rows == self.grid:
            return table
        own, grid = table[:, : int(self.with_class)], table[:, int(self.with_class) :]
        grid = grid.reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        return cat([own, grid.flatten(2).transpose(1, 2)], 1)

    def _check(self, pixel_values: Tensor) -> None:
        side, channels = self.config.patch_size, self.config.num_channels
        if pixel_values.ndim != 4 or pixel_values.shape[1] != channels or min(pixel_values.shape[2:]) < side:
            raise ShapeError(
                f"pixel_values of shape {pixel_values.shape}",
                why=f"this model takes (N, {channels}, H, W) with sides of at least {side} pixels",
                fix="prepare pictures with the pipeline's preprocess",
            )


class TokenEmbeddings(nn.Module):
    """Tokens with positions."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(M, T) -> (M, T, D).

        Raises:
            ShapeError: not (M, T), no token, or more than there are positions.
            IndexRangeError: a token that is not in the vocabulary.
        """
        places, longest = input_ids.shape[-1] if input_ids.ndim == 2 else 0, self.config.max_position_embeddings
        if not 1 <= places <= longest:
            raise ShapeError(
                f"input_ids of shape {input_ids.shape}",
                why=f"the tower for texts takes (M, T) with 1 to {longest} tokens",
                fix="encode texts with the pipeline's tokenizer",
            )
        check_token_ids(input_ids, self.config.vocab_size)
        return self.token_embedding(input_ids) + self.position_embedding(arange(places, device=input_ids.device))


def padding_mask(attention_mask: Tensor | None, input_ids: Tensor) -> Tensor | None:
    """(M, T), 1 for tokens -> (M, 1, 1, T), True for tokens.

    Raises:
        ShapeError: the shapes differ.
    """
    if attention_mask is None:
        return None
    if attention_mask.shape != input_ids.shape:
        raise ShapeError(f"attention_mask {attention_mask.shape} for input_ids {input_ids.shape}", fix="make their shapes equal")
    return (attention_mask != 0).unsqueeze(1).unsqueeze(2)


def unit(x: Tensor) -> Tensor:
    """The vectors with length 1."""
    return x / x.square().sum(-1, keepdim=True).sqrt()


class TowerModel(nn.Model):
    """What all models with a tower for pictures offer; ``vision_model`` is the tower."""

    vision_model: Any

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """The vectors of a picture's patches, the class token's first where there is one: (N, T, D)."""
        hidden: Tensor = self.vision_model.tokens(pixel_values)
        return hidden

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies in its tower: 0 for the embeddings, 1.. for the layers, the last number for what follows."""
        config = self.config
        if "encoder.layers." in name:
            return int(name.partition("encoder.layers.")[2].partition(".")[0]) + 1
        if ".embeddings." in name or ".pre_layrnorm." in name:
            return 0
        return 1 + max(part.num_hidden_layers for part in (config.vision_config, config.text_config) if part is not None)


class TwoTowers(TowerModel):
    """Two towers, and how their vectors are compared; subclasses define ``get_image_features`` and ``scores``."""

    text_model: Any
    whole_length: ClassVar[bool] = False
    """Whether each text is filled up to the longest length, and the padding is read too."""
    each_alone: ClassVar[bool] = False
    """Whether a logit says how likely text and picture belong together; otherwise a picture's logits compete."""

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(M, T) int64 -> (M, D), not of length 1."""
        raise NotImplementedError(f"{type(self).__name__}.get_text_features")

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D), not of length 1."""
        return self.forward_head(self.forward_features(pixel_values))

    def scores(self, texts: Tensor, pictures: Tensor) -> Tensor:
        """Unit vectors (M, D) and (N, D) -> logits (M, N)."""
        raise NotImplementedError(f"{type(self).__name__}.scores")

    def forward(self, input_ids: Tensor, pixel_values: Tensor, attention_mask: Tensor | None = None) -> PairOutput:  # type: ignore[override]
        pictures = unit(self.get_image_features(pixel_values))
        texts = unit(self.get_text_features(input_ids, attention_mask))
        logits = self.scores(texts, pictures)
        return PairOutput(logits.transpose(0, 1), logits, texts, pictures)


class PictureClassifier(TowerModel):
    """The tower for pictures, and a linear classifier on the mean of its patches' vectors.

    Shape: ``pixel_values`` (N, C, H, W) -> logits (N, num_labels).
    """

    classifier_name = "classifier"
    skipped: ClassVar[int] = 0
    """Tokens before the patches, which the mean leaves out."""

    def __init__(self, config: Any, tower: nn.Module) -> None:
        super().__init__(config)
        self.vision_model = tower
        self.classifier = nn.Linear(config.vision_config.hidden_size, config.num_labels)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(pixel_values))

    def forward_head(self, hidden: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, T, D) -> (N, num_labels), or the mean (N, D) where ``pre_logits``."""
        pooled = hidden[:, self.skipped :].mean(dim=1)
        return pooled if pre_logits else self.classifier(pooled)


def class_of(config: Mapping[str, Any], overrides: Iterable[str], classes: Mapping[str, type[nn.Model]]) -> type[nn.Model]:
    """The class that a ``config.json`` names, of ``classes``: both towers first, the classifier second.

    Raises:
        DataError: it names another one.
    """
    both, classifier = classes
    name = (config.get("architectures") or [both])[0]
    if name not in classes:
        raise DataError(f"the architecture {name!r} is not built", why=f"there are {', '.join(classes)}", fix="choose one")
    return classes[classifier if "num_labels" in overrides else name]


def names_for(model: type[nn.Model], published_extra: Iterable[str]) -> KeyMap:
    """Published names are ours; of a model with both towers, a classifier takes the one for pictures alone."""
    buffers = Ignore("*.position_ids")
    if issubclass(model, PictureClassifier):
        return KeyMap(buffers, *[Ignore(pattern) for pattern in published_extra])
    return KeyMap(buffers, Ignore("classifier.*"))


def towers_in(
    config: Mapping[str, Any], overrides: Mapping[str, Any], config_class: type[Any], parts: Mapping[str, Callable[..., Any]]
) -> Any:
    """A ``Config`` from transformers' ``config.json``: each tower's part is read by ``parts``; ``overrides`` replace values.

    Raises:
        ArgumentError: an override that is not a field.
        DataError: a part that is no object.
    """
    known = {f.name for f in fields(config_class)}
    unknown = sorted(set(overrides) - known)
    if unknown:
        what = f"{config_class.__module__.rpartition('.')[2]} has no option {', '.join(map(repr, unknown))}"
        raise ArgumentError(what, fix=f"it has {', '.join(sorted(known))}")
    labels = {"num_labels": len(config["id2label"])} if config.get("id2label") else {}
    given = {**labels, **{k: v for k, v in config.items() if k in known}, **overrides}
    for name, read in parts.items():
        value, changed = config.get(name) or {}, overrides.get(name) or {}
        given[name] = read({**value, **changed} if isinstance(value, Mapping) and isinstance(changed, Mapping) else value, name)
    return replace(config_class(), **given)


def described(model: nn.Model, kind: str) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    plain = asdict(model.config)
    labels = plain.pop("num_labels")
    found = {"model_type": kind, "architectures": [type(model).__name__], **plain}
    for part in ("vision", "text"):
        found[f"{part}_config"] = {"model_type": f"{kind}_{part}_model", **found[f"{part}_config"]}
    if isinstance(model, PictureClassifier):
        names = {str(i): f"LABEL_{i}" for i in range(labels)}
        found |= {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
    return found
