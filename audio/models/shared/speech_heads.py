"""Heads of speech encoders: CTC, classes of sounds and of frames, x-vectors; and how a family of them is built and read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....core import nn
from ....core.create import ones, zeros
from ....core.errors import DataError, ShapeError
from ....core.keymap import Ignore, KeyMap, Prefix, WeightNorm
from ....core.nn import functional as F
from ....core.ops.elementwise import where
from ....core.ops.shape import cat, stack
from ....core.tensor import Tensor
from .speech_encoder import SpeechConfig, SpeechModel, as_json, initialise


class WithHead(nn.Model):
    """An encoder under the name of its family, and what looks at it."""

    base: ClassVar[str] = ""
    encoder_class: ClassVar[type[SpeechModel]] = SpeechModel
    weighted: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.add_module(self.base, self.encoder_class(config))
        if self.weighted and config.use_weighted_layer_sum:
            layers = config.num_hidden_layers + 1
            self.layer_weights = nn.Parameter(ones(layers) / layers)

    @property
    def speech(self) -> SpeechModel:
        """The encoder."""
        found = self._modules[self.base]
        assert isinstance(found, SpeechModel)
        return found

    def forward(self, input_values: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.forward_head(self.forward_features(input_values, attention_mask), attention_mask)

    def forward_features(self, input_values: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """One vector a frame, (N, frames, D): the last layer's, or a mean of all."""
        weighted = self.weighted and self.config.use_weighted_layer_sum
        found = self.speech(input_values, attention_mask, output_hidden_states=weighted)
        if not weighted or found.hidden_states is None:
            return found.last_hidden_state
        shares = F.softmax(self.layer_weights, -1)
        return (stack(list(found.hidden_states), 1) * shares.reshape(-1, 1, 1)).sum(1)

    def freeze_feature_encoder(self) -> None:
        """No more learning in the convolutions over the samples: so these models are fine-tuned."""
        for parameter in self.speech.feature_extractor.parameters():
            parameter.requires_grad_(False)

    def layer_of(self, name: str) -> int:
        """As :meth:`SpeechModel.layer_of`."""
        return self.speech.layer_of(name.removeprefix(self.base + "."))

    def checkpointed_blocks(self) -> Any:
        """The encoder's."""
        return self.speech.checkpointed_blocks()


class ForCTC(WithHead):
    """A letter, or the blank, for each frame (Graves et al., 2006).

    Shape: as :class:`SpeechModel` -> logits (N, frames, vocab_size); ``config.pad_token_id`` is the blank.
    """

    classifier_name = "lm_head"
    weighted = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.final_dropout)
        self.lm_head = nn.Linear(config.output_width, config.vocab_size)
        initialise(self.lm_head, config)

    def forward_head(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:  # noqa: ARG002 - every frame's own
        """(N, frames, D) -> (N, frames, vocab_size)."""
        return self.lm_head(self.dropout(hidden))

    def reset_head(self, num_classes: int) -> None:
        """A new head for another alphabet."""
        super().reset_head(num_classes)
        self.config = type(self.config).from_dict({**as_json(self.config), "vocab_size": num_classes})


class ForSequenceClassification(WithHead):
    """The mean of all frames, and a linear classifier.

    Shape: as :class:`SpeechModel` -> logits (N, num_labels).
    """

    classifier_name = "classifier"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.projector = nn.Linear(config.hidden_size, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)
        initialise(self.projector, config)
        initialise(self.classifier, config)

    def forward_head(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(N, frames, D) -> (N, num_labels)."""
        x = self.projector(hidden)
        if attention_mask is None:
            return self.classifier(x.mean(1))
        valid = self.speech.valid_frames(attention_mask).unsqueeze(-1)
        return self.classifier(where(valid, x, 0.0).sum(1) / valid.sum(1).to(x.dtype))


class ForAudioFrameClassification(WithHead):
    """Classes of each frame, as who speaks.

    Shape: as :class:`SpeechModel` -> logits (N, frames, num_labels).
    """

    classifier_name = "classifier"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        initialise(self.classifier, config)

    def forward_head(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:  # noqa: ARG002 - every frame's own
        """(N, frames, D) -> (N, frames, num_labels)."""
        return self.classifier(hidden)


class TDNNLayer(nn.Module):
    """A convolution over frames, whose weight is published as a linear layer's."""

    def __init__(self, config: SpeechConfig, i: int) -> None:
        super().__init__()
        self.before, self.width = config.tdnn_dim[max(i - 1, 0)], config.tdnn_dim[i]
        self.length, self.dilation = config.tdnn_kernel[i], config.tdnn_dilation[i]
        self.kernel = nn.Linear(self.before * self.length, self.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, T) -> (N, width, fewer)."""
        weight = self.kernel.weight.reshape(self.width, self.length, self.before).transpose(1, 2)
        return F.relu(F.conv1d(x, weight, self.kernel.bias, dilation=self.dilation))


class AMSoftmax(nn.Module):
    """The weight of the loss that x-vectors are trained with (Wang et al., arXiv:1801.05599)."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(zeros(config.xvector_output_dim, config.num_labels))
        nn.init.normal_(self.weight)

    def forward(self, vectors: Tensor, labels: Tensor, scale: float = 30.0, margin: float = 0.4) -> Tensor:
        """The loss of (N, D) vectors and (N,) speakers."""
        cosines = F.normalize(vectors, dim=1) @ F.normalize(self.weight, dim=0)
        hit = F.one_hot(labels, cosines.shape[1]) != 0
        return F.cross_entropy(scale * where(hit, cosines - margin, cosines), labels)


@dataclass(frozen=True)
class XVectorOutput:
    """What the x-vector head gives.

    Attributes:
        logits: (N, xvector_output_dim), what the training loss looks at.
        embeddings: (N, xvector_output_dim): who speaks; near for one voice by their cosine.
    """

    logits: Tensor
    embeddings: Tensor


class ForXVector(WithHead):
    """One vector a voice (Snyder et al., 2018): convolutions over frames, then their mean and deviation.

    Shape: as :class:`SpeechModel` -> :class:`XVectorOutput`.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.projector = nn.Linear(config.hidden_size, config.tdnn_dim[0])
        self.tdnn = nn.ModuleList([TDNNLayer(config, i) for i in range(len(config.tdnn_dim))])
        self.feature_extractor = nn.Linear(config.tdnn_dim[-1] * 2, config.xvector_output_dim)
        self.classifier = nn.Linear(config.xvector_output_dim, config.xvector_output_dim)
        for part in (self.projector, self.tdnn, self.feature_extractor, self.classifier):
            initialise(part, config)
        self.objective = AMSoftmax(config)

    def forward_head(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Any:
        """(N, frames, D) -> :class:`XVectorOutput`."""
        x = self.projector(hidden).transpose(1, 2)
        seen = 1 + sum((k - 1) * d for k, d in zip(self.config.tdnn_kernel, self.config.tdnn_dilation, strict=True))
        if x.shape[2] <= seen:
            least = self.config.least + seen * self.config.hop
            raise ShapeError(f"{x.shape[2]} frames for an x-vector", why=f"it takes {least} samples", fix="pass longer sounds")
        for layer in self.tdnn:
            x = layer(x)
        embeddings = self.feature_extractor(self._pooled(x, attention_mask))
        return XVectorOutput(self.classifier(embeddings), embeddings)

    def _pooled(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(N, C, T) -> (N, 2 C): mean and deviation over the frames that are no padding."""
        if attention_mask is None:
            return cat([x.mean(2), x.std(2)], 1)
        lengths = self.config.frames(attention_mask.detach().cpu().numpy().astype(bool).sum(1))
        lengths = lengths - sum(k - 1 for k in self.config.tdnn_kernel)  # as transformers counts them: without dilation
        if (lengths < 2).any():
            raise ShapeError("a sound of too few frames for an x-vector", fix="pass longer ones, or a model without the mask")
        rows = [x[i, :, : int(n)] for i, n in enumerate(lengths)]
        return stack([cat([row.mean(1), row.std(1)], 0) for row in rows], 0)


class _Absent:
    """The vector of masked frames, where a file lacks it: nothing but training with masks looks at it."""

    def __init__(self, name: str, width: int) -> None:
        self.name, self.width = name, width

    def to_ours(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return arrays if self.name in arrays else {**arrays, self.name: zeros(self.width).numpy()}

    def to_published(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return arrays


_PRETRAINING = ("quantizer.*", "project_hid.*", "project_q.*", "label_embs_concat", "final_proj.*")
_OUTSIDE = ("lm_head.*", "classifier.*", "projector.*", "tdnn.*", "objective.*", "layer_weights")


@dataclass(frozen=True)
class Family:
    """How a family of speech encoders is built, read and written.

    Attributes:
        model_type: its name in ``config.json``, and the name of the encoder in files.
        model: the encoder's class.
        heads: the classes with a head.
        like_bare: further architectures that are read as the encoder alone.
    """

    model_type: str
    model: type[SpeechModel]
    heads: tuple[type[WithHead], ...]
    like_bare: tuple[str, ...] = ()

    @property
    def classes(self) -> dict[str, type[nn.Model]]:
        """All classes by their names."""
        return {kind.__name__: kind for kind in (self.model, *self.heads)}

    def class_of(self, config: Mapping[str, Any]) -> type[nn.Model]:
        """The class that a ``config.json`` names.

        Raises:
            DataError: one that is not built.
        """
        name = (config.get("architectures") or [self.model.__name__])[0]
        known = self.classes
        if name in self.like_bare:
            return self.model
        if name not in known:
            raise DataError(f"the architecture {name!r} is not built", why=f"there are {', '.join(known)}", fix="choose one")
        return known[name]

    def build(self, config: Mapping[str, Any], **overrides: Any) -> nn.Model:
        """The model that transformers' ``config.json`` describes; with ``num_labels`` a classifier, where it has none."""
        made = self.class_of(config)
        if "num_labels" in overrides and not made.classifier_name:
            made = next(kind for kind in self.heads if issubclass(kind, ForSequenceClassification))
        if "num_labels" in overrides and issubclass(made, ForCTC):  # its classes are letters
            overrides["vocab_size"] = overrides.pop("num_labels")
        settings = self.model.config_class.from_dict(config, **overrides)
        if getattr(settings, "add_adapter", False) and not issubclass(made, (self.model, ForCTC)):
            why = "as in transformers, only letters and the encoder alone have convolutions behind the encoder"
            raise DataError(f"add_adapter in a {made.__name__}", why=why, fix="choose a model without them")
        return made(settings)

    def key_map(self, config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
        """The optional prefix, either spelling of the weight norm, what only training before needs, and heads."""
        bare = self.class_of(config) is self.model
        prefix = f"{self.model_type}."
        old = any(name.endswith("conv.weight_g") for name in published_names)
        outside = [*_OUTSIDE, *([] if bare else ["feature_extractor.weight", "feature_extractor.bias"])]
        rules: list[Any] = [WeightNorm("old" if old else "new"), Ignore(*_PRETRAINING)]
        if bare:
            rules += [Ignore(*outside, "feature_extractor.weight", "feature_extractor.bias")]
        rules.append(Prefix(prefix, ours=not bare, written=not bare, outside=outside))
        settings = self.model.config_class.from_dict(config)
        if settings.masks:
            rules.append(_Absent(("" if bare else prefix) + "masked_spec_embed", settings.hidden_size))
        return KeyMap(*rules)

    def export_config(self, model: nn.Model) -> dict[str, Any]:
        """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
        config = {"model_type": self.model_type, "architectures": [type(model).__name__], **as_json(model.config)}
        names = {str(i): f"LABEL_{i}" for i in range(model.config.num_labels)}
        return {**config, "id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
