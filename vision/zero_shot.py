"""The pipeline that sorts pictures into classes it has never seen: the classes are given as words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..core.tensor import Tensor
from ..hub.pipeline import as_is
from ..hub.results import Prediction
from ..hub.zero_shot import ComparedWithTexts
from .captions import captions_of
from .pipelines import PictureClasses, preprocessing_of

if TYPE_CHECKING:
    from ..hub.cards import Card
    from ..hub.files import Files


@dataclass(frozen=True, eq=False, repr=False)
class ZeroShotImages(ComparedWithTexts):
    """Pictures and names of classes -> classes. Call it on one picture (:class:`Prediction`) or a list (:class:`PictureClasses`).

    A picture is a path, bytes, a PIL image or a uint8 array. The model must have two towers (CLIP, SigLIP): each label becomes a
    sentence, and the sentence that fits a picture best wins.

    Attributes:
        captions: texts -> token ids.
        batch_size: pictures or texts that go through the model at once.

    Example:
        >>> import nyala
        >>> pipe = nyala.load("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> pipe("cat.jpg", labels=["cat", "dog"]).label  # doctest: +SKIP
        'cat'
    """

    template: ClassVar[str] = "a photo of a {}."

    @classmethod
    def from_files(cls, model: Any, files: Files, card: Card | None, config: dict[str, Any]) -> ZeroShotImages:
        """Preprocessing and tokenizer from the files.

        Raises:
            ArgumentError: the model has no tower for texts.
        """
        captions = cls.captions_of(
            model,
            files,
            lambda text: captions_of(files, text.max_position_embeddings, model.whole_length),
            things="pictures",
            choose="CLIP or a SigLIP",
        )
        return cls(model, preprocessing_of(files, card, config), as_is, card, files, config, captions)

    def embed_images(self, inputs: Any) -> np.ndarray[Any, Any]:
        """One picture or several -> (N, D) float32, vectors of length 1, comparable with those of :meth:`embed_texts`.

        Raises:
            DataError: a picture that cannot be read.
        """
        return self.embed(inputs)

    def features(self, part: Sequence[Any]) -> Tensor:
        """(N, D), one vector a picture."""
        model: Any = self.model
        found: Tensor = model.get_image_features(self.here(self.preprocess(part)))
        return found

    def results(self, found: Sequence[Prediction], things: Sequence[Any]) -> PictureClasses:
        """What a list of pictures gives."""
        return PictureClasses(found, things)
