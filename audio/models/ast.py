"""Audio spectrogram transformer, AST (Gong, Chung, Glass, arXiv:2104.01778): what kind of sound is it?

Loads checkpoints in transformers' layout: ``ASTForAudioClassification`` (``MIT/ast-finetuned-audioset-10-10-0.4593``,
``MIT/ast-finetuned-speech-commands-v2``) and ``ASTModel``. Our module names are the published ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ...core import nn
from ...core.create import zeros
from ...core.errors import ArgumentError, DataError, ShapeError
from ...core.keymap import Ignore, KeyMap, Prefix
from ...core.nn.activation import activation
from ...core.ops.shape import cat
from ...core.tensor import Tensor

_PREFIX = "audio_spectrogram_transformer."


@dataclass(frozen=True)
class Config:
    """What shapes an AST; the defaults are transformers'."""

    hidden_size: int = 768
    """Width of the stream."""
    num_hidden_layers: int = 12
    """Layers."""
    num_attention_heads: int = 12
    """Heads of each layer."""
    intermediate_size: int = 3072
    """Width inside the feed-forward part."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward part."""
    hidden_dropout_prob: float = 0.0
    """Dropout of the embeddings and of what is added to the stream."""
    attention_probs_dropout_prob: float = 0.0
    """Dropout of the attention weights."""
    initializer_range: float = 0.02
    """Standard deviation of new weights."""
    layer_norm_eps: float = 1e-12
    """Added to variances in layer norms."""
    patch_size: int = 16
    """Frames and bands of a patch."""
    qkv_bias: bool = True
    """Whether queries, keys and values have biases."""
    frequency_stride: int = 10
    """Bands from patch to patch."""
    time_stride: int = 10
    """Frames from patch to patch."""
    max_length: int = 1024
    """Frames of the log-mel pictures."""
    num_mel_bins: int = 128
    """Bands of them."""
    num_labels: int = 2
    """Classes of the classifier."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, heads that do not divide the width, or patches that do not fit.
        """
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ArgumentError(f"AST has no option {', '.join(map(repr, unknown))}", fix=f"it has {', '.join(sorted(known))}")
        labels = {"num_labels": len(config["id2label"])} if config.get("id2label") else {}
        made = replace(Config(), **{**labels, **{k: v for k, v in config.items() if k in known}, **overrides})
        if made.hidden_size % made.num_attention_heads:
            raise ArgumentError(
                f"hidden_size {made.hidden_size} is no multiple of num_attention_heads {made.num_attention_heads}",
                fix="correct the config.json",
            )
        if (
            not 1 <= made.patch_size <= min(made.num_mel_bins, made.max_length)
            or min(made.frequency_stride, made.time_stride) < 1
        ):
            raise ArgumentError(
                f"patches of {made.patch_size} in pictures of {made.max_length} frames and {made.num_mel_bins} bands",
                fix="correct the config.json",
            )
        activation(made.hidden_act)
        return made

    @property
    def patches(self) -> int:
        """Patches of a picture."""
        return ((self.num_mel_bins - self.patch_size) // self.frequency_stride + 1) * self.columns

    @property
    def columns(self) -> int:
        """Patches beside each other, in time."""
        return (self.max_length - self.patch_size) // self.time_stride + 1


_NAMES = {
    "q": "attention.attention.query",
    "k": "attention.attention.key",
    "v": "attention.attention.value",
    "attn_drop": "attention.attention.dropout",
    "out": "attention.output.dense",
    "drop1": "attention.output.dropout",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "fc1": "intermediate.dense",
    "mlp_drop": "intermediate.dropout",
    "fc2": "output.dense",
    "drop2": "output.dropout",
}


def _layer(config: Config) -> nn.TransformerBlock:
    return nn.TransformerBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        norm=lambda dim: nn.LayerNorm(dim, config.layer_norm_eps),
        dropout=config.hidden_dropout_prob,
        attention={
            "bias": dict.fromkeys(("q", "k", "v"), config.qkv_bias),
            "dropout": config.attention_probs_dropout_prob,
        },
        mlp={"act": config.hidden_act},
        names=_NAMES,
    )


class Embeddings(nn.Module):
    """Patches of the picture behind two tokens of their own, with positions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, strides = config.hidden_size, (config.frequency_stride, config.time_stride)
        self.cls_token = nn.Parameter(zeros(1, 1, width))
        self.distillation_token = nn.Parameter(zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(zeros(1, config.patches + 2, width))
        self.patch_embeddings = nn.Module()
        self.patch_embeddings.projection = nn.Conv2d(1, width, config.patch_size, strides)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_values: Tensor) -> Tensor:
        """(N, frames, bands) -> (N, 2 + patches, D)."""
        picture = input_values.transpose(1, 2).unsqueeze(1)  # (N, T, F) -> (N, 1, F, T)
        x = self.patch_embeddings.projection(picture).flatten(2).transpose(1, 2)
        first = [token.expand(x.shape[0], 1, x.shape[2]) for token in (self.cls_token, self.distillation_token)]
        return self.dropout(cat([*first, x], 1) + self.position_embeddings)


@dataclass(frozen=True)
class ASTOutput:
    """What the bare model returns.

    Attributes:
        last_hidden_state: (N, 2 + patches, D).
        pooler_output: (N, D), the mean of the two first vectors.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor


class ASTModel(nn.Model):
    """The encoder alone.

    Shape: ``input_values`` (N, max_length, num_mel_bins), normalised log-mel frames -> :class:`ASTOutput`.

    Example:
        >>> import nyala
        >>> tiny = Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_length=36)
        >>> ASTModel(tiny).eval()(nyala.zeros(1, 36, 128)).pooler_output.shape
        (1, 8)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList([_layer(config) for _ in range(config.num_hidden_layers)])
        self.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        _initialise(self, config)

    def forward(self, input_values: Tensor) -> ASTOutput:
        hidden = self.forward_features(input_values)
        return ASTOutput(hidden, (hidden[:, 0] + hidden[:, 1]) / 2)

    def forward_features(self, input_values: Tensor) -> Tensor:
        """One vector a patch, behind those of the two tokens: (N, 2 + patches, D)."""
        expected = (self.config.max_length, self.config.num_mel_bins)
        if input_values.ndim != 3 or input_values.shape[1:] != expected:
            raise ShapeError(
                f"input_values of shape {input_values.shape}",
                why=f"this AST takes (N, {expected[0]}, {expected[1]}): frames of 10 ms, and mel bands",
                fix="pad or cut the frames of kaldi_fbank",
            )
        x = self.embeddings(input_values)
        for layer in self.encoder.layer:
            x = layer(x)
        return self.layernorm(x)

    def keep_frames(self, frames: int) -> None:
        """From now on the model takes pictures of the first ``frames`` frames: the other positions are taken out.

        Raises:
            ArgumentError: more frames than there are positions for, or fewer than a patch.
        """
        old, embeddings = self.config, self.embeddings
        if not old.patch_size <= frames <= old.max_length:
            raise ArgumentError(
                f"{frames} frames",
                why=f"this AST has positions for {old.patch_size} to {old.max_length}",
                fix="choose a number between",
            )
        new = replace(old, max_length=frames)
        width = old.hidden_size
        first, grid = embeddings.position_embeddings[:, :2], embeddings.position_embeddings[:, 2:]
        kept = grid.reshape(1, -1, old.columns, width)[:, :, : new.columns].reshape(1, -1, width)
        embeddings.position_embeddings = nn.Parameter(cat([first, kept], 1).detach())
        self.config = embeddings.config = new

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the embeddings, 1.. for the layers, the last number for what follows."""
        if "encoder.layer." in name:
            return int(name.partition("encoder.layer.")[2].partition(".")[0]) + 1
        return 0 if "embeddings." in name else self.config.num_hidden_layers + 1


def _initialise(part: nn.Module, config: Config) -> None:
    for module in part.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(module.weight, 0.0, config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class ASTForAudioClassification(nn.Model):
    """The encoder, and a norm and a linear classifier on the mean of its two first vectors.

    Shape: as :class:`ASTModel` -> logits (N, num_labels).
    """

    classifier_name = "classifier.dense"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.audio_spectrogram_transformer = ASTModel(config)
        self.classifier = nn.Module()
        self.classifier.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.classifier.dense = nn.Linear(config.hidden_size, config.num_labels)
        _initialise(self.classifier, config)

    def forward(self, input_values: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(input_values))

    def forward_features(self, input_values: Tensor) -> Tensor:
        """As :meth:`ASTModel.forward_features`."""
        return self.audio_spectrogram_transformer.forward_features(input_values)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, 2 + patches, D) -> (N, num_labels)."""
        pooled = (hidden[:, 0] + hidden[:, 1]) / 2
        return self.classifier.dense(self.classifier.layernorm(pooled))

    def keep_frames(self, frames: int) -> None:
        """As :meth:`ASTModel.keep_frames`."""
        self.audio_spectrogram_transformer.keep_frames(frames)
        self.config = replace(self.config, max_length=frames)

    def layer_of(self, name: str) -> int:
        """As :meth:`ASTModel.layer_of`."""
        return self.audio_spectrogram_transformer.layer_of(name)


CLASSES: dict[str, type[nn.Model]] = {"ASTModel": ASTModel, "ASTForAudioClassification": ASTForAudioClassification}


HEADS = {"audio-classification": "ASTForAudioClassification"}


def _class_of(config: Mapping[str, Any]) -> type[nn.Model]:
    name = (config.get("architectures") or ["ASTModel"])[0]
    if name not in CLASSES:
        raise DataError(f"the architecture {name!r} of AST is not built", why=f"there are {', '.join(CLASSES)}", fix="choose one")
    return CLASSES[name]


def build(config: Mapping[str, Any], **overrides: Any) -> nn.Model:
    """The model that transformers' ``config.json`` describes; with ``num_labels`` a classifier, where it has none."""
    described = _class_of(config)
    made = ASTForAudioClassification if "num_labels" in overrides and not described.classifier_name else described
    return made(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """The optional prefix; and the classifier, where the model has none."""
    if _class_of(config) is ASTModel:
        return KeyMap(Ignore("classifier.*"), Prefix(_PREFIX, ours=False, written=False))
    return KeyMap(Prefix(_PREFIX, ours=True, written=True, outside=("classifier.*",)))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    plain = {f.name: getattr(model.config, f.name) for f in fields(Config) if f.name != "num_labels"}
    names = {str(i): f"LABEL_{i}" for i in range(model.config.num_labels)}
    labels = {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
    kind = "audio-spectrogram-transformer"
    return {"model_type": kind, "architectures": [type(model).__name__], **plain, **labels}
