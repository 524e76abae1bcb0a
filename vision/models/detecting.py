"""What detectors that answer with a fixed number of boxes share (DETR, YOLOS): settings, heads, result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar, Self

from ...core import nn
from ...core.errors import ArgumentError, DataError, did_you_mean
from ...core.nn import functional as F
from ...core.tensor import Tensor


@dataclass(frozen=True)
class DetectionOutput:
    """What a detector says of pictures.

    Attributes:
        logits: (N, Q, num_labels + 1); the last class is "nothing here".
        pred_boxes: (N, Q, 4): middle (x, y), width and height, in shares of the picture.
        last_hidden_state: (N, Q, D), what both were read from.
        auxiliary_outputs: what earlier layers say, where the configuration asks for it while training.
    """

    logits: Tensor
    pred_boxes: Tensor
    last_hidden_state: Tensor | None = None
    auxiliary_outputs: tuple[DetectionOutput, ...] = ()


@dataclass(frozen=True)
class DetectionConfig:
    """What the losses and the heads need to know; the defaults are DETR's."""

    num_labels: int = 91
    """Classes, without "nothing here"."""
    auxiliary_loss: bool = False
    """Whether earlier layers are trained to answer too."""
    class_cost: float = 1
    """What a class counts in the matching of answers with objects."""
    bbox_cost: float = 5
    """What the distance of boxes counts there."""
    giou_cost: float = 2
    """What their overlap counts there."""
    bbox_loss_coefficient: float = 5
    """What the distance of boxes counts in the loss, where the class counts 1."""
    giou_loss_coefficient: float = 2
    """What their overlap counts in the loss."""
    eos_coefficient: float = 0.1
    """What "nothing here" counts against the other classes."""

    model_type: ClassVar[str]
    """Name in transformers' ``config.json``."""
    kind: ClassVar[str]
    """Class in transformers' ``config.json``."""
    unwritten: ClassVar[tuple[str, ...]] = ("num_labels",)
    """Fields that are no keys of it."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **overrides: Any) -> Self:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field.
            DataError: another class of the architecture.
        """
        options = {f.name for f in fields(cls)} - set(cls.unwritten) | {"num_labels"}
        unknown = sorted(set(overrides) - options)
        if unknown:
            fix = did_you_mean(unknown[0], options) or f"it has {', '.join(sorted(options))}"
            raise ArgumentError(f"{cls.model_type} has no option {', '.join(map(repr, unknown))}", fix=fix)
        published = (config.get("architectures") or [cls.kind])[0]
        if published != cls.kind:
            raise DataError(f"architectures names {published!r}", why=f"nyala builds {cls.kind}", fix="choose other weights")
        said = {**config, **overrides}
        values: dict[str, Any] = {name: said[name] for name in options if said.get(name) is not None}
        if "num_labels" not in values:
            values["num_labels"] = len(config.get("id2label") or (0, 1))
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The ``config.json`` that :meth:`from_dict` reads."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.unwritten}
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        names = {str(i): f"LABEL_{i}" for i in range(self.num_labels)}
        labels = {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
        return {"model_type": self.model_type, "architectures": [self.kind], **values, **labels}


class PredictionHead(nn.Module):
    """Linear layers with ReLU between them: (..., inputs) -> (..., outputs)."""

    def __init__(self, inputs: int, outputs: int, layers: int = 3) -> None:
        super().__init__()
        widths = [inputs] * layers + [outputs]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(widths)])

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x if i == 0 else F.relu(x))
        return x


class Detector(nn.Model):
    """A model with a head for classes, ``class_labels_classifier``, and one for boxes, ``bbox_predictor``.

    Attributes:
        takes_mask: whether the model is told which pixels of a batch are no part of a picture.
        layered: whether the paper trains earlier layers to answer too.
        auxiliary: whether they do, while training; at first what the configuration says.
    """

    takes_mask: ClassVar[bool] = False
    layered: ClassVar[bool] = False
    class_labels_classifier: nn.Module
    bbox_predictor: nn.Module

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.auxiliary: bool = config.auxiliary_loss

    def forward_head(self, x: Tensor) -> DetectionOutput:
        """(N, Q, D), what is known of each answer, -> classes and boxes."""
        return DetectionOutput(self.class_labels_classifier(x), self.bbox_predictor(x).sigmoid(), x)

    def answers(self, states: list[Tensor]) -> DetectionOutput:
        """What the last of several layers says, with what the others say where that is trained too."""
        last = self.forward_head(states[-1])
        if not (self.training and self.auxiliary):
            return last
        earlier = tuple(self.forward_head(x) for x in states[:-1])
        return DetectionOutput(last.logits, last.pred_boxes, last.last_hidden_state, earlier)

    def head_names(self) -> list[str]:
        """The parameters of the head for classes: boxes are boxes, whatever is in them."""
        return [n for n, _ in self.named_parameters() if n.startswith("class_labels_classifier.")]

    def reset_head(self, num_classes: int) -> None:
        """A new head for ``num_classes`` classes and "nothing here".

        Raises:
            ArgumentError: no class at all.
        """
        if num_classes < 1:
            raise ArgumentError(f"a detector of {num_classes} classes", fix="for features use forward_features")
        old = self.class_labels_classifier
        *_, last = (m for m in old.modules() if isinstance(m, nn.Linear))
        new = nn.Linear(last.in_features, num_classes + 1).to(last.weight)
        if last is old:
            self.class_labels_classifier = new
        else:
            old.layers[len(old.layers) - 1] = new  # type: ignore[index, arg-type]
        self._update_config(num_classes)


def read_classes(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest class of each answer but "nothing here", and its probability: (N, Q, K + 1) -> (N, Q) int64 and (N, Q)."""
    best = F.softmax(logits, -1)[..., :-1].max(dim=-1)
    return best.indices, best.values
