"""The pipeline that sorts sounds into classes it has never heard: the classes are given as words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...core.tensor import Tensor
from ...hub.captions import Captions
from ...hub.pipeline import as_is
from ...hub.results import Prediction
from ...hub.zero_shot import ComparedWithTexts
from .classification import SoundClasses, features_of, preprocessing

if TYPE_CHECKING:
    from ...hub.cards import Card
    from ...hub.files import Files


@dataclass(frozen=True, eq=False, repr=False)
class ZeroShotSounds(ComparedWithTexts):
    """Sounds and names of classes -> classes. Call it on one sound (a prediction comes back) or a list (:class:`SoundClasses`).

    A sound is a path, an open binary file, samples at the model's rate, or a pair (samples, sample rate). The model must be a
    CLAP: each label becomes a sentence, and the sentence that fits a sound best wins. Of sounds longer than ten seconds a model
    without fusion hears the middle, one with fusion the whole, squeezed, and three pieces.

    Attributes:
        captions: texts -> token ids.
        batch_size: sounds or texts that go through the model at once.

    Example:
        >>> import nyala
        >>> pipe = nyala.load("laion/clap-htsat-unfused")  # doctest: +SKIP
        >>> pipe("barking.wav", labels=["a dog", "a cat"]).label  # doctest: +SKIP
        'a dog'
    """

    template: ClassVar[str] = "This is a sound of {}."

    @classmethod
    def from_files(cls, model: Any, files: Files, card: Card | None, config: dict[str, Any]) -> ZeroShotSounds:
        """Preprocessing and tokenizer from the files.

        Raises:
            ArgumentError: the model has no tower for texts.
        """
        captions = cls.captions_of(
            model,
            files,
            lambda text: Captions.from_files(files, text.max_tokens, pad_token="<pad>"),
            things="sounds",
            choose="CLAP, e.g. laion/clap-htsat-unfused",
        )
        return cls(model, preprocessing(model, files, card), as_is, card, files, config, captions, 8)

    @staticmethod
    def several(inputs: Any) -> bool:
        """Whether these are a list of sounds: a tuple is one with its rate."""
        return isinstance(inputs, list)

    def embed_sounds(self, inputs: Any) -> Any:
        """One sound or several -> (N, D) float32, vectors of length 1, comparable with those of :meth:`embed_texts`.

        Raises:
            DataError: a sound that cannot be read.
        """
        return self.embed(inputs)

    def features(self, part: Sequence[Any]) -> Tensor:
        """(N, D), one vector a sound."""
        return features_of(self.model, self.preprocess(list(part)))

    def results(self, found: Sequence[Prediction], things: Sequence[Any]) -> SoundClasses:
        """What a list of sounds gives."""
        return SoundClasses(found, things)
