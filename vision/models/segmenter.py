"""What models share that give every pixel a class: a classifier of 1x1 convolutions, and how it is replaced."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

from ...core import nn
from ...core.errors import ArgumentError
from ...core.tensor import Tensor
from .config import transformers_labels


class Segmenter(nn.Model):
    """Base of the models that give every pixel a class.

    ``forward_head`` gives logits (N, num_classes, H', W'), coarser than the picture where the architecture says so.

    Attributes:
        classifier_names: names of the convolutions that have an output a class; the first is of the result.
        decoder_names: names of what stands between the encoder and the classes, classifiers included: what is new where weights
            are read that were published without it.
        auxiliary_weight: what the loss of each further classifier counts for in training.
    """

    classifier_names: ClassVar[tuple[str, ...]] = ("decode_head.classifier",)
    decoder_names: ClassVar[tuple[str, ...]] = ("decode_head",)
    auxiliary_weight: float = 0.0

    def classifiers(self) -> Iterator[tuple[str, nn.Module]]:
        """The classifiers that this model has, by name."""
        modules = dict(self.named_modules())
        yield from ((name, modules[name]) for name in self.classifier_names if name in modules)

    def head_names(self) -> list[str]:
        """The names of the classifiers' parameters, or of all of a decoder that weights were read without."""
        chosen = self.decoder_names if self._new_decoder else tuple(name for name, _ in self.classifiers())
        starts = tuple(f"{name}." for name in chosen)
        return [name for name, _ in self.named_parameters() if name.startswith(starts)]

    _new_decoder = False

    def settle(self, names: Collection[str], fresh: Collection[str]) -> set[str]:
        """What is new with a new head, as published weights, ``names``, have none of it: the decoder of a bare encoder."""
        starts = tuple(f"{name}." for name in self.decoder_names)
        decoder = {name for name in self.state_dict() if name.startswith(starts)}
        self._new_decoder = decoder.isdisjoint(names) and set(self.head_names()) <= set(fresh)
        return decoder if self._new_decoder else set()

    def reset_head(self, num_classes: int) -> None:
        """New, freshly initialised classifiers for ``num_classes`` classes.

        Raises:
            ArgumentError: no class.
        """
        if num_classes < 1:
            raise ArgumentError(f"reset_head({num_classes})", why="every pixel has a class", fix="for features, forward_features")
        for name, old in list(self.classifiers()):
            self.set_submodule(name, self.new_classifier(old, num_classes).to(next(old.parameters())))
        self._update_config(num_classes)

    def new_classifier(self, old: Any, num_classes: int) -> nn.Module:
        """A classifier like ``old``, for other classes."""
        return type(old)(old.in_channels, num_classes, old.kernel_size, old.stride, old.padding, bias=old.bias is not None)

    def forward_training(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes * classifiers, H', W'): those of the result first, then those of further classifiers."""
        found: Tensor = self(x)
        return found


def segmentation_labels(name: str, num_classes: int) -> dict[str, Any]:
    """The keys of transformers' ``config.json`` that name a class of models for segmentation, and its labels.

    Example:
        >>> segmentation_labels("Segformer", 2)["architectures"]
        ['SegformerForSemanticSegmentation']
    """
    return {**transformers_labels(name, num_classes), "architectures": [f"{name}ForSemanticSegmentation"]}


def is_segmentation(config: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` describes a model with a head for segmentation."""
    return any(name.endswith("ForSemanticSegmentation") for name in config.get("architectures") or ())
