"""A card's golden answer: an input that everybody can make, and what the reference implementation said to it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ..core.tensor import Tensor
from .cards import Golden
from .pipeline import Pipeline, no_grad

SENTENCE = "The cat sat on the mat."
SOUND = "chirp 2"
KEPT = 8  # numbers of an answer that a golden holds
TOLERANCE = 1e-4  # between machines: their kernels add in the same order, but not all have the same instructions

_MOST = 1 << 26  # numbers of an input: a card may come from anywhere
_WAVES = re.compile(r"waves (\d+)x(\d+)x(\d+)")
_CHIRP = re.compile(r"chirp (\d+)")
_LONGEST = 600  # seconds
_RATE = 16_000  # Hz


@dataclass(frozen=True)
class Answer:
    """What a model answered to a golden input.

    Attributes:
        input: the input.
        numbers: how many numbers were compared.
        worst: the largest difference; infinity where the answer is too short or not finite.
        atol: the largest that is allowed.
        argmax, expected: the class with the largest logit, got and wanted; None where the golden names none.
        known_from: who gave the answer to compare with.
    """

    input: str
    numbers: int
    worst: float
    atol: float
    argmax: int | None = None
    expected: int | None = None
    known_from: str = "the card"

    @property
    def right(self) -> bool:
        """Whether it is the golden answer."""
        return self.worst <= self.atol and self.argmax == self.expected

    def __str__(self) -> str:
        first = f"largest difference {self.worst:.1e}, allowed {self.atol:.0e}, over {self.numbers} numbers"
        wrong = f"; class {self.argmax} instead of {self.expected}" if self.argmax != self.expected else ""
        return f"{self.input!r}: {first}{wrong}"


def check(pipeline: Pipeline, golden: Golden, known_from: str = "the card") -> Answer:
    """Run a pipeline on its golden input and compare.

    Raises:
        DataError: an input that this kind of pipeline cannot take.
    """
    got = answer(pipeline, golden.input)
    wanted = np.asarray(golden.output, np.float64)
    worst = float("inf")
    if got.size >= wanted.size and np.isfinite(got[: wanted.size]).all():
        worst = float(np.abs(got[: wanted.size] - wanted).max(initial=0.0))
    argmax = None if golden.argmax is None else int(got.argmax())
    return Answer(golden.input, wanted.size, worst, golden.atol, argmax, golden.argmax, known_from)


def record(pipeline: Pipeline) -> Golden:
    """A golden of a model that has none: what it answers here, for another machine to compare with.

    Raises:
        DataError: its answer is not finite.
    """
    size = getattr(pipeline.preprocess, "size", None)  # of pictures
    hears = hasattr(pipeline.preprocess, "sample_rate")
    source = f"waves 3x{size[0]}x{size[1]}" if size else SOUND if hears else SENTENCE
    got = answer(pipeline, source)
    if not np.isfinite(got).all():
        raise DataError(f"{pipeline.name} answers {source!r} with numbers that are not finite", fix="check its weights")
    is_classifier = hasattr(pipeline, "logits") and got.ndim == 1
    return Golden(source, [float(f"{v:.9g}") for v in got[:KEPT]], TOLERANCE, int(got.argmax()) if is_classifier else None)


def answer(pipeline: Pipeline, source: str) -> npt.NDArray[np.float64]:
    """What a model says to a golden input, as one row of numbers: logits, or the embedding.

    Args:
        pipeline: the model.
        source: ``"waves CxHxW"``, ``"chirp SECONDS"`` or a text; see :class:`.cards.Golden`.

    Raises:
        DataError: an input that this kind of pipeline cannot take.
    """
    shape = _WAVES.fullmatch(source)
    if shape:
        sides = [int(n) for n in shape.groups()]
        if not 0 < math.prod(sides) <= _MOST:
            raise DataError(f"the golden input {source!r} has no size of a picture", fix="correct the card")
        return _row(_forward(pipeline, Tensor(waves(*sides))))
    seconds = _CHIRP.fullmatch(source) if hasattr(pipeline.preprocess, "sample_rate") else None
    if seconds:
        if not 0 < int(seconds[1]) <= _LONGEST:
            raise DataError(f"the golden input {source!r} has no length of a sound", fix="correct the card")
        sound = chirp(int(seconds[1]))
        return _row(pipeline.logits([sound])[0] if hasattr(pipeline, "logits") else pipeline(sound))
    if not hasattr(pipeline.preprocess, "encode"):
        raise DataError(f"{pipeline.name} takes no text, and its golden input is {source!r}", fix="correct the card")
    if hasattr(pipeline, "logits"):
        return _row(pipeline.logits([source])[0])
    said = pipeline(source)
    return _row(said if isinstance(said, np.ndarray) else _forward(pipeline, pipeline.preprocess([source])))


def _forward(pipeline: Pipeline, prepared: Tensor | Mapping[str, Tensor]) -> npt.NDArray[np.float32]:
    """What the model itself says to one prepared input."""
    parameter: Tensor = next(iter(pipeline.model.parameters()))
    with no_grad():
        if isinstance(prepared, Mapping):
            output = pipeline.model(**{name: value.to(parameter.device) for name, value in prepared.items()})
        else:
            output = pipeline.model(prepared.to(parameter.device).to(parameter.dtype))
    return np.asarray(output.float().cpu().numpy()[0])


def _row(values: Any) -> npt.NDArray[np.float64]:
    return np.asarray(values).astype(np.float64).reshape(-1)


def waves(channels: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """(1, C, H, W): the picture ``sin(0.1 (c+1) i) cos(0.07 (c+1) j)``, which needs no file.

    Example:
        >>> waves(3, 4, 5).shape
        (1, 3, 4, 5)
    """
    c, i, j = np.meshgrid(np.arange(channels), np.arange(height), np.arange(width), indexing="ij")
    return (np.sin(0.1 * (c + 1) * i) * np.cos(0.07 * (c + 1) * j)).astype(np.float32)[None]


def chirp(seconds: int) -> npt.NDArray[np.float32]:
    """(16,000 * seconds,): a tone at 16 kHz that rises from 200 Hz by 400 Hz a second and swells and fades twice a second.

    Example:
        >>> chirp(2).shape
        (32000,)
    """
    time = np.arange(_RATE * seconds) / _RATE
    return (0.3 * np.sin(2 * np.pi * (200 * time + 200 * time**2)) * np.sin(2 * np.pi * time) ** 2).astype(np.float32)
