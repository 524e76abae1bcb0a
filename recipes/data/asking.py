"""Questions and the texts that answer them, in the windows that the model can read at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...core.create import from_numpy
from ...core.random import Key
from ...text.datasets.questions import Question
from ...text.pipelines.answering import QuestionAnswering
from ...text.tokenizers.tokenizer import Window
from ..language.schema import Augment
from .tasks import Task, check_tokens

ASKED = "asked"  # the questions of a batch, beside what the model takes
USABLE = "usable"  # which tokens an answer may begin or end at


class Asked(NamedTuple):
    """A question in windows.

    Attributes:
        question: as it was read.
        windows: of its context, the question before it.
        ends: int64 (windows, 2): the answer's first and last token in each; 0, 0 where the window has none.
    """

    question: Question
    windows: Sequence[Window]
    ends: np.ndarray


class Asking(Task):
    """Questions: in evaluation all windows of the context, in training one of them, drawn by the sample's key; every second time
    it is one that holds the answer, where there are both kinds.

    Args:
        pipeline: of an encoder that answers questions.
    """

    def __init__(self, pipeline: QuestionAnswering) -> None:
        self.pipeline = pipeline
        self.tokenizer = pipeline.tokenizer().replace(padding_side="right")  # places in a row are those in its window
        self.vocabulary = int(pipeline.model.config.vocab_size)

    def prepare(self, raw: Question, augments: Sequence[Augment] = (), key: Key | None = None) -> Asked:  # noqa: ARG002 - none is for them
        windows = self.pipeline.windows(raw.question, raw.context)
        ends = np.array([_ends(window, raw.answers) for window in windows], np.int64)
        if key is None or len(windows) == 1:
            return Asked(raw, windows, ends)
        answering = ends[:, 0] > 0
        key = key.fold("window")
        wanted = answering if float(key.uniform()) < 0.5 else ~answering
        among = np.flatnonzero(wanted) if wanted.any() else np.arange(len(windows))
        chosen = int(among[int(key.fold("which").integers(0, len(among)))])
        return Asked(raw, [windows[chosen]], ends[chosen : chosen + 1])

    def collate(self, prepared: Sequence[Asked], indices: np.ndarray) -> dict[str, Any]:
        rows = [window for one in prepared for window in one.windows]
        tokens = dict(self.tokenizer.pad(rows))
        owners = np.repeat(indices, [len(one.windows) for one in prepared])
        check_tokens(np.asarray(tokens["input_ids"]), self.vocabulary, owners)
        usable = np.zeros(tokens["input_ids"].shape, bool)
        for marks, row in zip(usable, rows, strict=True):
            marks[: len(row.ids)] = [i == 0 or place is not None for i, place in enumerate(row.offsets)]
        return {**tokens, USABLE: from_numpy(usable), ASKED: tuple(prepared)}

    def targets(self, prepared: Sequence[Asked], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - they are in the text
        return np.concatenate([one.ends for one in prepared])

    def show(self, raw: Question) -> dict[str, Any]:
        return {"text": f"{raw.question}\n{raw.context}"[:600]}


def _ends(window: Window, answers: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """The first and the last token of the first answer that stands whole in the window; 0, 0 where none does.

    Example:
        >>> window = Window([101, 7, 102, 8, 9, 102], [0] * 6, [None, None, None, (0, 4), (4, 9), None])
        >>> _ends(window, [("Ada", 20), ("slept", 4)]), _ends(window, [("Ada", 20)])
        ((4, 4), (0, 0))
    """
    places = [(i, a, b) for i, o in enumerate(window.offsets) if o is not None for a, b in [o] if a < b]
    for text, start in answers:
        end = start + len(text)
        if places and places[0][1] <= start and end <= places[-1][2]:
            inside = [i for i, a, b in places if a < end and b > start]
            if inside:
                return inside[0], inside[-1]
    return 0, 0
