"""One vector a sound: who speaks, or what it is like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import no_grad
from ...core.errors import DataError
from ...hub.pipeline import Pipeline, as_is
from ...hub.results import Results, shortened, table
from ...hub.zero_shot import unit
from .classification import features_of, preprocessing, values_of
from .sounds import name_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files


class SoundVectors(Results, Sequence[Any]):
    """One vector a sound. ``.array`` is (N, D) float32; prints each sound with the one that is most alike.

    Example:
        >>> found = SoundVectors(np.eye(2, dtype=np.float32), ["a.wav", "b.wav"])
        >>> found.similarity().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, array: np.ndarray[Any, Any], sounds: Sequence[Any]) -> None:
        self.array, self.names = array, tuple(name_of(sound, i) for i, sound in enumerate(sounds))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.array, dtype, copy=copy)

    def similarity(self, other: SoundVectors | None = None) -> np.ndarray[Any, Any]:
        """(N, M) cosines between these sounds and others, or among themselves."""
        mine, theirs = (
            v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (self.array, (other or self).array)
        )
        return mine @ theirs.T

    def __repr__(self) -> str:
        if len(self) < 2:
            vectors = [" ".join(f"{v:.4f}" for v in row[:4]) + f" ... ({len(row)} numbers)" for row in self.array]
            return table(["sound", "vector"], list(zip(self.names, vectors, strict=True)))
        near = self.similarity()
        np.fill_diagonal(near, -2)
        best = near.argmax(1)
        rows = [
            [shortened(n, 44), shortened(self.names[b], 44), float(near[i, b])]
            for i, (n, b) in enumerate(zip(self.names, best, strict=True))
        ]
        return table(["sound", "nearest", "cosine"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each sound its vector."""
        return [{"input": n, "embedding": [float(v) for v in row]} for n, row in zip(self.names, self.array, strict=True)]

    def draw(self) -> Image:
        """The table as a picture."""
        from .drawing import text

        return text(repr(self))


@dataclass(frozen=True, eq=False, repr=False)
class SoundEmbedding(Pipeline):
    """Sounds -> vectors. Call it on one sound ((D,) float32 comes back) or a list (:class:`SoundVectors`).

    The head's vector of a voice where the model has one, or the one that CLAP compares with texts, else what the model pools,
    else the mean over its frames. Each sound goes through the model alone, so that its vector does not depend on its neighbours;
    a model that hears pieces of a sound gives their mean.
    """

    preprocess: Any

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> SoundEmbedding:
        """Preprocessing from ``preprocessor_config.json``."""
        return cls(model, preprocessing(model, files, card), as_is, card, files, config)

    def __call__(self, inputs: Any) -> Any:
        """One sound -> its vector; a list -> :class:`SoundVectors`.

        Raises:
            DataError: no sound, or one that is too short.
            MissingFileError: no such file.
        """
        sounds = inputs if isinstance(inputs, list) else [inputs]
        if not sounds:
            raise DataError("no sound to work on", fix="pass at least one")
        rows = np.stack([self._vector(sound) for sound in sounds])
        return SoundVectors(rows, sounds) if isinstance(inputs, list) else rows[0]

    def _vector(self, sound: Any) -> np.ndarray[Any, Any]:
        with no_grad():
            if hasattr(self.model, "get_audio_features"):
                return unit(features_of(self.model, self.preprocess([sound])).float().cpu().numpy())[0]
            found = self.model(values_of(self.preprocess([sound]), self.model))
            for name in ("embeddings", "pooler_output"):
                if hasattr(found, name):
                    return _joined(getattr(found, name).float().cpu().numpy())
            hidden = getattr(found, "last_hidden_state", None)
            if hidden is None:
                raise DataError(f"{type(self.model).__name__} has no vectors", fix="load the model without its head")
            return hidden.mean(1).float().cpu().numpy()[0]


def _joined(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The vector of a sound from those of its pieces: their mean, of length 1."""
    if len(rows) == 1:
        return rows[0]
    mean = rows.mean(0)
    return mean / np.maximum(np.linalg.norm(mean), 1e-12)
