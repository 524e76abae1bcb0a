"""What wav2vec 2.0, HuBERT and WavLM share: convolutions over the samples, a convolution for places, and transformer layers.

Names are those of transformers' checkpoints. What differs between the three is in their own files, the heads are in
``speech_heads.py``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from ....core import nn
from ....core.create import arange, from_numpy, zeros
from ....core.errors import ArgumentError, DataError, ShapeError
from ....core.nn.activation import activation
from ....core.ops.elementwise import where
from ....core.random import Key, next_key
from ....core.tensor import Tensor

Spans = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class SpeechConfig:
    """What shapes a speech encoder and its heads; the defaults are transformers', of the base models."""

    vocab_size: int = 32
    """Letters that the CTC head knows, and its marks."""
    hidden_size: int = 768
    """Width of the stream."""
    num_hidden_layers: int = 12
    """Transformer layers."""
    num_attention_heads: int = 12
    """Heads of each layer."""
    intermediate_size: int = 3072
    """Width inside the feed-forward part."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward part."""
    hidden_dropout: float = 0.1
    """Dropout of what is added to the stream."""
    activation_dropout: float = 0.1
    """Dropout inside the feed-forward part."""
    attention_dropout: float = 0.1
    """Dropout of the attention weights."""
    feat_proj_dropout: float = 0.0
    """Dropout of what enters the transformer."""
    final_dropout: float = 0.1
    """Dropout before the CTC head."""
    layerdrop: float = 0.1
    """Share of the layers that are left out while training."""
    initializer_range: float = 0.02
    """Standard deviation of new weights."""
    layer_norm_eps: float = 1e-5
    """Added to variances in layer norms."""
    feat_extract_norm: str = "group"
    """"group": a norm over time behind the first convolution; "layer": one over features behind each."""
    feat_extract_activation: str = "gelu"
    """Activation of the convolutions."""
    conv_dim: tuple[int, ...] = (512,) * 7
    """Widths of the convolutions over the samples."""
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    """Their strides: 320 samples to a frame."""
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    """Their lengths."""
    conv_bias: bool = False
    """Whether they have biases."""
    num_conv_pos_embeddings: int = 128
    """Frames that the convolution for places sees."""
    num_conv_pos_embedding_groups: int = 16
    """Groups of it."""
    do_stable_layer_norm: bool = False
    """Norms before the parts of a layer, and one at the end (large models), rather than behind the residuals."""
    apply_spec_augment: bool = True
    """Whether spans are masked while training."""
    mask_time_prob: float = 0.05
    """Share of the frames that are masked while training, about."""
    mask_time_length: int = 10
    """Frames of a masked span."""
    mask_time_min_masks: int = 2
    """Spans there are at least."""
    mask_feature_prob: float = 0.0
    """Share of the features that are masked while training, about."""
    mask_feature_length: int = 10
    """Features of a masked span."""
    mask_feature_min_masks: int = 0
    """Spans there are at least."""
    ctc_loss_reduction: str = "sum"
    """How the CTC losses of a batch are joined."""
    ctc_zero_infinity: bool = False
    """Whether a text that is too long for its sound counts as no loss."""
    use_weighted_layer_sum: bool = False
    """Whether classifiers look at a learnt mean of all layers rather than at the last."""
    classifier_proj_size: int = 256
    """Width before the mean over time in classifiers."""
    tdnn_dim: tuple[int, ...] = (512, 512, 512, 512, 1500)
    """Widths of the x-vector head's convolutions."""
    tdnn_kernel: tuple[int, ...] = (5, 3, 3, 1, 1)
    """Their lengths."""
    tdnn_dilation: tuple[int, ...] = (1, 2, 3, 1, 1)
    """Their dilations."""
    xvector_output_dim: int = 512
    """Width of an x-vector."""
    num_labels: int = 2
    """Classes of a classifier."""
    pad_token_id: int = 0
    """The CTC head's blank."""
    bos_token_id: int | None = 1
    """Mark before a text."""
    eos_token_id: int | None = 2
    """Mark behind a text."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **overrides: Any) -> Self:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or sizes that do not fit each other.
            DataError: an option that is not built.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            named = ", ".join(map(repr, unknown))
            raise ArgumentError(f"this speech encoder has no option {named}", fix=f"it has {', '.join(sorted(known))}")
        if config.get("add_adapter") and "add_adapter" not in known:
            raise DataError("add_adapter: this encoder has no convolutions behind it", fix="choose a model without them")
        labels = {"num_labels": len(config["id2label"])} if config.get("id2label") else {}
        values: dict[str, Any] = {**labels, **{k: v for k, v in config.items() if k in known}, **overrides}
        changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        made = replace(cls(), **changes)
        made.check()
        return made

    def check(self) -> None:
        """Whether the sizes fit each other.

        Raises:
            ArgumentError: they do not.
        """
        why = None
        if self.hidden_size % self.num_attention_heads:
            why = f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
        elif self.hidden_size % self.num_conv_pos_embedding_groups:
            groups = self.num_conv_pos_embedding_groups
            why = f"hidden_size {self.hidden_size} is no multiple of num_conv_pos_embedding_groups {groups}"
        elif not len(self.conv_dim) == len(self.conv_stride) == len(self.conv_kernel) > 0:
            why = f"{len(self.conv_dim)} conv_dim, {len(self.conv_stride)} conv_stride, {len(self.conv_kernel)} conv_kernel"
        elif not len(self.tdnn_dim) == len(self.tdnn_kernel) == len(self.tdnn_dilation) > 0:
            why = f"{len(self.tdnn_dim)} tdnn_dim, {len(self.tdnn_kernel)} tdnn_kernel, {len(self.tdnn_dilation)} tdnn_dilation"
        elif min(*self.conv_dim, *self.conv_stride, *self.conv_kernel, self.num_conv_pos_embeddings) < 1:
            why = "a convolution of no width, length or stride"
        elif min(self.mask_time_length, self.mask_feature_length) < 1:
            why = "masked spans of no length"
        elif self.feat_extract_norm not in ("group", "layer"):
            why = f"feat_extract_norm is {self.feat_extract_norm!r}; there are 'group' and 'layer'"
        if why:
            raise ArgumentError("the configuration describes no speech encoder", why=why, fix="correct the config.json")
        activation(self.hidden_act)
        activation(self.feat_extract_activation)

    @property
    def masks(self) -> bool:
        """Whether there is a vector for masked frames."""
        return self.mask_time_prob > 0 or self.mask_feature_prob > 0

    @property
    def hop(self) -> int:
        """Samples from frame to frame: 320 are 20 ms."""
        return math.prod(self.conv_stride)

    @property
    def least(self) -> int:
        """Samples that the first frame takes: 400 are 25 ms."""
        found = 1
        for kernel, stride in zip(reversed(self.conv_kernel), reversed(self.conv_stride), strict=True):
            found = (found - 1) * stride + kernel
        return found

    @property
    def output_width(self) -> int:
        """Of the vectors that come out."""
        return self.hidden_size

    def frames(self, samples: Any) -> Any:
        """How many frames come out for so many samples; numbers, arrays and tensors.

        Example:
            >>> SpeechConfig().frames(16_000)
            49
        """
        return self.encoded(samples)

    def encoded(self, samples: Any) -> Any:
        """How many frames the transformer sees of so many samples."""
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


class ConvLayer(nn.Module):
    """A convolution, a norm perhaps, and the activation."""

    def __init__(self, config: SpeechConfig, i: int) -> None:
        super().__init__()
        before, width = config.conv_dim[i - 1] if i else 1, config.conv_dim[i]
        self.conv = nn.Conv1d(before, width, config.conv_kernel[i], config.conv_stride[i], bias=config.conv_bias)
        self.over_features = config.feat_extract_norm == "layer"
        if self.over_features:
            self.layer_norm: nn.Module = nn.LayerNorm(width)
        elif i == 0:
            self.layer_norm = nn.GroupNorm(width, width)
        self.has_norm = self.over_features or i == 0
        self.act = activation(config.feat_extract_activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.over_features:
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)
        elif self.has_norm:
            x = self.layer_norm(x)
        return self.act(x)


class FeatureExtractor(nn.Module):
    """Samples (N, T) -> (N, width, frames)."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList([ConvLayer(config, i) for i in range(len(config.conv_dim))])

    def forward(self, input_values: Tensor) -> Tensor:
        x = input_values.unsqueeze(1)
        for layer in self.conv_layers:
            x = layer(x)
        return x


class FeatureProjection(nn.Module):
    """A norm, and the way to the width of the stream."""

    def __init__(self, config: SpeechConfig, norm: bool = True) -> None:
        super().__init__()
        self.norm = norm
        if norm:
            self.layer_norm = nn.LayerNorm(config.conv_dim[-1], config.layer_norm_eps)
        self.projection = nn.Linear(config.conv_dim[-1], config.hidden_size)
        self.dropout = nn.Dropout(config.feat_proj_dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, width) -> (N, T, D), and the normalised features."""
        x = self.layer_norm(x) if self.norm else x
        return self.dropout(self.projection(x)), x


class PositionalConv(nn.Module):
    """A convolution over many frames: it tells where a frame is among the others. Its weight is normalised, or its input."""

    def __init__(self, config: SpeechConfig, batch_norm: bool = False) -> None:
        super().__init__()
        width, kernel = config.hidden_size, config.num_conv_pos_embeddings
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=config.num_conv_pos_embedding_groups)
        self.normed = not batch_norm
        if batch_norm:
            self.batch_norm = nn.BatchNorm1d(width)
        else:
            nn.utils.parametrizations.weight_norm(self.conv, dim=2)
        self.even = kernel % 2 == 0
        self.act = activation(config.feat_extract_activation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D)."""
        x = x.transpose(1, 2)
        x = self.conv(x if self.normed else self.batch_norm(x))
        return self.act(x[:, :, :-1] if self.even else x).transpose(1, 2)

    def reset_parameters(self, config: SpeechConfig) -> None:
        """Fresh values, as they are published before training."""
        std = 2 / math.sqrt(config.num_conv_pos_embeddings * config.hidden_size)
        if self.normed:
            weight = nn.init.normal_(zeros(*self.conv.parametrizations.weight.original1.shape), 0.0, std)
            self.conv.parametrizations.weight.set(weight)
        else:
            nn.init.normal_(self.conv.weight, 0.0, std)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)


LAYER_NAMES = {
    "q": "attention.q_proj",
    "k": "attention.k_proj",
    "v": "attention.v_proj",
    "out": "attention.out_proj",
    "attn_drop": "attention.dropout",
    "drop1": "dropout",
    "norm1": "layer_norm",
    "fc1": "feed_forward.intermediate_dense",
    "mlp_drop": "feed_forward.intermediate_dropout",
    "fc2": "feed_forward.output_dense",
    "drop2": "feed_forward.output_dropout",
    "norm2": "final_layer_norm",
}


def layer_settings(config: SpeechConfig) -> dict[str, Any]:
    """What a transformer layer is built with, beside its sizes."""
    return {
        "norm_first": config.do_stable_layer_norm,
        "norm": lambda dim: nn.LayerNorm(dim, config.layer_norm_eps),
        "dropout": config.hidden_dropout,
        "attention": {"dropout": config.attention_dropout},
        "mlp": {"act": config.hidden_act, "dropout": config.activation_dropout},
        "names": LAYER_NAMES,
    }


class Encoder(nn.Module):
    """Places, and layer after layer."""

    def __init__(self, config: SpeechConfig, layers: Sequence[nn.Module], batch_norm: bool = False) -> None:
        super().__init__()
        self.stable, self.layerdrop = config.do_stable_layer_norm, config.layerdrop
        self.pos_conv_embed = PositionalConv(config, batch_norm)
        self.layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, valid: Tensor | None = None, states: list[Tensor] | None = None) -> Tensor:
        """(N, T, D) -> (N, T, D).

        Args:
            x: vectors of the frames.
            valid: (N, T) bool, False for padding.
            states: gets what enters the layers, one after the other, and the result. Where norms come first, the result is behind
                the last norm: so the published classifiers were trained, and so transformers had it before version 5.
        """
        if valid is not None:
            x = where(valid.unsqueeze(-1), x, 0.0)
        x = x + self.pos_conv_embed(x)
        x = self.dropout(x if self.stable else self.layer_norm(x))
        kept = [] if states is None else states
        settings = self.settings(x, valid)
        for i, layer in enumerate(self.layers):
            if states is not None:
                kept.append(x)
            if not (self.training and self.layerdrop > 0 and self._left_out(i)):
                x = layer(x, **settings)
        x = self.layer_norm(x) if self.stable else x
        kept.append(x)
        return x

    def settings(self, x: Tensor, valid: Tensor | None) -> dict[str, Any]:  # noqa: ARG002 - WavLM's looks at it
        """What each layer is told beside the stream."""
        return {"mask": None if valid is None else valid.unsqueeze(1).unsqueeze(2)}

    def _left_out(self, i: int) -> bool:  # noqa: ARG002 - WavLM keeps the first
        return float(next_key("layerdrop").uniform(())) < self.layerdrop


@dataclass(frozen=True)
class SpeechOutput:
    """What a bare encoder returns.

    Attributes:
        last_hidden_state: (N, frames, D).
        extract_features: (N, frames, conv_dim[-1]): what the convolutions found, normalised.
        hidden_states: the stream before each layer and the last result, where asked for.
    """

    last_hidden_state: Tensor
    extract_features: Tensor
    hidden_states: tuple[Tensor, ...] | None = None


class SpeechModel(nn.Model):
    """An encoder alone; the three families derive theirs.

    Shape: ``input_values`` (N, samples), at 16 kHz and normalised as the model wants it, ``attention_mask`` (N, samples) with 0
    for padding behind the sound -> :class:`SpeechOutput`. ``mask_time_indices`` (N, frames) bool masks these frames; while
    training, spans are drawn.
    """

    config_class: ClassVar[type[SpeechConfig]] = SpeechConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = self.build_projection(config)
        if config.masks:
            self.masked_spec_embed = nn.Parameter(zeros(config.hidden_size))
        self.encoder = self.build_encoder(config)
        self.adapter = self.build_adapter(config)
        initialise(self, config)

    def build_projection(self, config: Any) -> FeatureProjection:
        """What leads from the convolutions to the transformer."""
        return FeatureProjection(config)

    def build_encoder(self, config: Any) -> Encoder:
        """The transformer."""
        sizes = config.hidden_size, config.num_attention_heads, config.intermediate_size
        layers = [nn.TransformerBlock(*sizes, **layer_settings(config)) for _ in range(config.num_hidden_layers)]
        return Encoder(config, layers)

    def build_adapter(self, config: Any) -> nn.Module | None:  # noqa: ARG002 - HuBERT has none
        """What makes frames fewer behind the transformer; None for nothing."""
        return None

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        mask_time_indices: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> SpeechOutput:
        _check_input(input_values, attention_mask, self.config)
        features = self.feature_extractor(input_values).transpose(1, 2)
        valid = None if attention_mask is None else self.valid_frames(attention_mask)
        x, features = self.feature_projection(features)
        x = self._masked(x, valid, mask_time_indices)
        states: list[Tensor] | None = [] if output_hidden_states else None
        x = self.encoder(x, valid, states)
        x = x if self.adapter is None else self.adapter(x)
        return SpeechOutput(x, features, None if states is None else tuple(states))

    def forward_features(self, input_values: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """One vector a frame: (N, frames, D)."""
        return self(input_values, attention_mask).last_hidden_state

    def valid_frames(self, attention_mask: Tensor) -> Tensor:
        """(N, samples) with 0 for padding -> (N, frames of the transformer) bool."""
        frames = self.config.encoded(attention_mask.shape[1])
        lengths = Tensor(self.config.encoded((attention_mask != 0).sum(1).array))  # a tensor's // would look for zeros
        return arange(frames, device=attention_mask.device) < lengths.clamp(min=1).unsqueeze(1)

    def _masked(self, x: Tensor, valid: Tensor | None, chosen: Tensor | None) -> Tensor:
        """Spans of frames are replaced by a learnt vector, and spans of features by 0 (Park et al., arXiv:1904.08779)."""
        config = self.config
        if not config.apply_spec_augment:
            return x
        drawn = self.training and config.masks
        if chosen is None and drawn and config.mask_time_prob > 0:
            lengths = [x.shape[1]] * x.shape[0] if valid is None else valid.cpu().numpy().sum(1).tolist()
            settings = config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks
            found = spans(next_key("mask"), x.shape[1], lengths, *settings)
            chosen = from_numpy(found).to(x.device)
        if chosen is not None:
            if not config.masks:
                raise ArgumentError("mask_time_indices for a model without a vector for masked frames", fix="mask_time_prob=0.05")
            x = where(chosen.unsqueeze(-1), self.masked_spec_embed.to(x.dtype), x)
        if drawn and config.mask_feature_prob > 0:
            settings = config.mask_feature_prob, config.mask_feature_length, config.mask_feature_min_masks
            found = spans(next_key("mask"), x.shape[2], [x.shape[2]] * x.shape[0], *settings)
            x = where(from_numpy(found).to(x.device).unsqueeze(1), 0.0, x)
        return x

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the convolutions, 1.. for the layers, the last number for what follows."""
        if "encoder.layers." in name:
            return int(name.partition("encoder.layers.")[2].partition(".")[0]) + 1
        front = ("feature_extractor.", "feature_projection.", "masked_spec_embed", "encoder.")
        return 0 if any(name.startswith(p) for p in front) else self.config.num_hidden_layers + 1

    def checkpointed_blocks(self) -> Any:
        """The convolutions and the layers."""
        return [*self.feature_extractor.conv_layers, *self.encoder.layers]


def spans(key: Key, size: int, lengths: Sequence[int], prob: float, span: int, least: int) -> Spans:
    """(N, size) bool: True in spans of ``span`` places that begin anywhere within each length; they may overlap.

    A length that is shorter than a span is left as it is.

    Args:
        key: where the draws come from: one key, one result.
        size: places of a row.
        lengths: places of each row that may be masked.
        prob: share of them that would be masked if no spans overlapped.
        span: places of a span.
        least: spans there are at least, where they fit.

    Example:
        >>> from nyala.core import random
        >>> spans(random.key(0, "mask"), 20, [20, 6], 0.3, 3, 1).sum(1).tolist()
        [6, 3]
    """
    chance = float(key.uniform(()))
    found = np.zeros((len(lengths), size), bool)
    for row, length in enumerate(lengths):
        starts = max(0, length - span + 1)
        count = min(max(int(prob * length / span + chance), least), size // span, starts)
        for first in key.fold(row).permutation(starts)[:count] if count else ():
            found[row, first : first + span] = True
    return found


def initialise(part: nn.Module, config: SpeechConfig) -> None:
    """Fresh values for a new model, as transformers draws them."""
    for name, module in part.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv1d) and "pos_conv_embed" not in name:
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, PositionalConv):
            module.reset_parameters(config)
        elif isinstance(module, FeatureProjection):
            bound = 1 / math.sqrt(config.conv_dim[-1])
            for parameter in module.projection.parameters():
                nn.init.uniform_(parameter, -bound, bound)
        elif isinstance(module, SpeechModel) and config.masks:
            nn.init.uniform_(module.masked_spec_embed)


def _check_input(input_values: Tensor, attention_mask: Tensor | None, config: SpeechConfig) -> None:
    if input_values.ndim != 2 or input_values.dtype.kind not in "fV":
        raise ShapeError(
            f"input_values of shape {input_values.shape}, {input_values.dtype}",
            why="a speech encoder takes samples, (N, T) floats at 16 kHz",
            fix="pass one row a sound",
        )
    if input_values.shape[1] < config.least:
        raise ShapeError(
            f"sounds of {input_values.shape[1]} samples", why=f"the first frame takes {config.least}", fix="pass longer ones"
        )
    if attention_mask is not None and attention_mask.shape != input_values.shape:
        raise ShapeError(
            f"attention_mask {attention_mask.shape} for input_values {input_values.shape}",
            fix="pass one number a sample: 1 for sound, 0 for the padding behind it",
        )


def as_json(config: SpeechConfig) -> dict[str, Any]:
    """The fields as a ``config.json`` has them."""
    values = {k: v for k, v in dataclasses.asdict(config).items() if k != "num_labels"}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
