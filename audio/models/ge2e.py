"""A speaker encoder of GE2E (Wan, Wang, Papir, Moreno, arXiv:1710.10467): who speaks, as a vector of length 1.

Loads the file of the package ``resemblyzer``, ``pretrained.pt``: three layers of LSTM over mel frames of 1.6 s at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ...core import nn
from ...core.create import full
from ...core.errors import ArgumentError, ShapeError
from ...core.keymap import KeyMap
from ...core.nn import functional as F
from ...core.tensor import Tensor


@dataclass(frozen=True)
class Config:
    """What shapes the network; the defaults are the published one's."""

    sample_rate: int = 16_000
    """Samples a second."""
    num_mel_bins: int = 40
    """Mel bands of a frame."""
    partial_frames: int = 160
    """Frames of 10 ms that are heard at once."""
    hidden_size: int = 256
    """Width of the LSTM."""
    embedding_size: int = 256
    """Width of a vector."""
    num_layers: int = 3
    """Layers of the LSTM."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read a ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or a size that is none.
        """
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            named = ", ".join(map(repr, unknown))
            raise ArgumentError(f"the speaker encoder has no option {named}", fix=f"it has {', '.join(sorted(known))}")
        made = replace(Config(), **{**{k: v for k, v in config.items() if k in known}, **overrides})
        wrong = next((k for k, v in asdict(made).items() if not isinstance(v, int) or v < 1), None)
        if wrong:
            raise ArgumentError(f"a speaker encoder of {wrong}={getattr(made, wrong)!r}", fix="use a positive whole number")
        return made


@dataclass(frozen=True)
class VoiceOutput:
    """What the encoder gives.

    Attributes:
        embeddings: (N, embedding_size), of length 1 and nowhere negative: near for one voice by their cosine.
    """

    embeddings: Tensor


class SpeakerEncoder(nn.Model):
    """One vector a piece of speech.

    Shape: mel frames (N, T, 40), power and not its logarithm -> :class:`VoiceOutput`.

    Example:
        >>> import nyala
        >>> model = SpeakerEncoder(Config(hidden_size=8, embedding_size=4)).eval()
        >>> model(nyala.ones(2, 160, 40)).embeddings.shape
        (2, 4)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.similarity_weight = nn.Parameter(full((1,), 10.0))  # the values that the paper starts from
        self.similarity_bias = nn.Parameter(full((1,), -5.0))
        self.lstm = nn.LSTM(config.num_mel_bins, config.hidden_size, config.num_layers, batch_first=True)
        self.linear = nn.Linear(config.hidden_size, config.embedding_size)

    def forward(self, frames: Tensor) -> VoiceOutput:
        return VoiceOutput(self.forward_head(self.forward_features(frames)))

    def forward_features(self, frames: Tensor) -> Tensor:
        """(N, T, 40) -> (N, hidden_size), the last state of the last layer."""
        if frames.ndim != 3 or frames.shape[2] != self.config.num_mel_bins or not frames.shape[1]:
            raise ShapeError(
                f"frames of shape {frames.shape}",
                why=f"it takes (N, T, {self.config.num_mel_bins}) mel frames",
                fix="make them by nyala.audio.transforms.voices.VoiceMel",
            )
        return self.lstm(frames)[1][0][-1]

    def forward_head(self, features: Tensor) -> Tensor:
        """(N, hidden_size) -> (N, embedding_size), of length 1."""
        return F.normalize(F.relu(self.linear(features)), dim=1)

    def scores(self, embeddings: Tensor, centroids: Tensor) -> Tensor:
        """How surely each of (N, D) vectors is of each of (S, D) speakers: (N, S) logits, what GE2E's softmax loss looks at.

        Example:
            >>> import nyala
            >>> model = SpeakerEncoder(Config(hidden_size=8, embedding_size=4))
            >>> model.scores(nyala.eye(4), nyala.eye(4)[:2])[0].tolist()
            [5.0, -5.0]
        """
        cosines = F.normalize(embeddings, dim=1) @ F.normalize(centroids, dim=1).T
        return cosines * self.similarity_weight + self.similarity_bias


TASK = "sound-embedding"


def build(config: Mapping[str, Any], **overrides: Any) -> SpeakerEncoder:
    """The network that a ``config.json`` or a card describes."""
    return SpeakerEncoder(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """The names are the file's."""
    return KeyMap()


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    return {"model_type": "ge2e", **asdict(model.config)}
