"""The pipeline that finds the answer to a question in a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ArgumentError, DataError, kind_of
from ...hub.pipeline import as_is
from ...hub.results import Results, shortened, table
from ..tokenizers.tokenizer import Window
from .batching import TextPipeline, longest_of, tokenizer_of
from .pooling import Pooling

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

TASK = "question-answering"
LONGEST = 30  # tokens of an answer
_NO_ANSWER = "handle_impossible_answer"  # as transformers' pipeline calls it
_STRIDE = 128  # tokens that windows have in common: an answer that one cuts apart stands whole in the next


@dataclass(frozen=True)
class Answer:
    """Where the answer stands.

    Attributes:
        text: the answer itself; empty where the text does not answer the question.
        start, end: where it stands in the context, in characters.
        score: its probability, among all stretches of the context.
    """

    text: str
    start: int
    end: int
    score: float


class Answers(Results, Sequence[Answer]):
    """One :class:`Answer` a question. Prints as a table and marks the answers in their texts."""

    def __init__(self, found: Sequence[Answer], asked: Sequence[tuple[str, str]]) -> None:
        self.found, self.asked = tuple(found), tuple(asked)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __repr__(self) -> str:
        pairs = zip(self.asked, self.found, strict=True)
        rows = [[shortened(q, 50), shortened(a.text, 50) if a.text else "(no answer)", a.score] for (q, _), a in pairs]
        return table(["question", "answer", "score"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each question its answer."""
        return [{"question": q, "context": c, **vars(a)} for (q, c), a in zip(self.asked, self.found, strict=True)]

    def draw(self) -> Image:
        """Each question over its context, the answer marked in it."""
        from .drawing import marked

        pairs = list(zip(self.asked, self.found, strict=True))
        return marked([(c, [(a.start, a.end, shortened(q, 60))] if a.text else []) for (q, c), a in pairs])


@dataclass(frozen=True, eq=False, repr=False)
class QuestionAnswering(TextPipeline):
    """A question and a text of any length -> the stretch of the text that answers it.

    The text is read in windows that overlap; probabilities are taken over all of them at once.

    Attributes:
        no_answer: "no answer" is an answer too, unless a call says otherwise: the model was trained so (SQuAD 2).
    """

    no_answer: bool = False

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> QuestionAnswering:
        """Tokenizer from the files; whether there may be no answer from ``task_specific_params``, as nyala's runs write them."""
        longest = longest_of(model)
        length = min(Pooling.max_length(files) or 384, longest)
        tasks = config.get("task_specific_params")
        own = tasks.get(TASK) if isinstance(tasks, dict) else None
        none = isinstance(own, dict) and own.get(_NO_ANSWER) is True
        return cls(model, tokenizer_of(files, length, model), as_is, card, files, config, no_answer=none)

    def to_task(self) -> dict[str, dict[str, Any]]:
        """What ``from_files`` reads of a configuration's ``task_specific_params``."""
        return {TASK: {_NO_ANSWER: True}} if self.no_answer else {}

    def __call__(
        self, inputs: Any, context: str | None = None, *, no_answer: bool | None = None, max_answer_tokens: int = LONGEST
    ) -> Any:
        """A question and its context -> :class:`Answer`; a list of pairs -> :class:`Answers`.

        Args:
            inputs: the question, with ``context``; or pairs, as tuples or ``{"question": ..., "context": ...}``.
            context: the text that answers it.
            no_answer: "no answer" is an answer too, for models that were trained so (SQuAD 2): its text is empty. By default
                as the model was trained, where its files say it.
            max_answer_tokens: an answer is no longer.

        Raises:
            DataError: no question, no context, an empty one, or a question that leaves no room for the context.
            ArgumentError: ``max_answer_tokens`` below 1.
        """
        if max_answer_tokens < 1:
            raise ArgumentError(f"max_answer_tokens={max_answer_tokens}", fix="use at least 1")
        asked = [(inputs, context)] if context is not None else list(map(_pair, _listed(inputs)))
        for i, (question, text) in enumerate(asked):
            _check_pair(question, text, i)
        none = self.no_answer if no_answer is None else no_answer
        windows = [self.windows(question, text) for question, text in asked]
        rows = [window for group in windows for window in group]
        self.check(rows, [question for (question, _), group in zip(asked, windows, strict=True) for _ in group])
        ends = iter(self._ends(rows))
        found = [
            likeliest(text, group, [next(ends) for _ in group], none, max_answer_tokens)
            for (_, text), group in zip(asked, windows, strict=True)
        ]
        return found[0] if context is not None else Answers(found, asked)

    def from_arguments(self, inputs: Sequence[str]) -> Answers:
        """A question, then the texts that may answer it."""
        if len(inputs) < 2:
            raise DataError("a question and no text", fix="give the question first, then the text that answers it")
        return self([(inputs[0], text) for text in inputs[1:]])  # type: ignore[no-any-return]

    def windows(self, question: str, context: str) -> list[Window]:
        """The context in stretches that the model can read at once, the question before each."""
        tokenizer = self.tokenizer()
        asked = len(tokenizer.backend.encode(question, add_special_tokens=False).ids)
        room = tokenizer.max_length - asked - tokenizer.backend.num_special_tokens_to_add(True)
        return tokenizer.windows(context, max(0, min(_STRIDE, room // 2)), before=question)

    def _ends(self, rows: Sequence[Window]) -> list[np.ndarray[Any, Any]]:
        """For each window its tokens' logits of being the first and the last of the answer, float64 (2, T)."""
        found: list[Any] = [None] * len(rows)
        for part, batch in self.batches(rows):
            output, real = self.model(**batch), batch["attention_mask"].cpu().numpy() != 0
            both = [logits.float().cpu().numpy().astype(np.float64) for logits in (output.start_logits, output.end_logits)]
            for row, i in enumerate(part):
                found[i] = np.stack([logits[row][real[row]] for logits in both])
        return found


def _listed(inputs: Any) -> list[Any]:
    if isinstance(inputs, str):
        raise DataError("a question and no text", fix="pass context=, the text that answers it")
    if isinstance(inputs, dict):
        return [inputs]
    if not isinstance(inputs, Iterable):
        raise DataError(f"the input is {kind_of(inputs)}", fix="pass a question and its context, or a list of such pairs")
    found = list(inputs)
    if not found:
        raise DataError("no question to work on", fix="pass at least one")
    return found


def _pair(one: Any) -> tuple[Any, Any]:
    if isinstance(one, dict) and {"question", "context"} <= set(one):
        return one["question"], one["context"]
    if isinstance(one, (tuple, list)) and len(one) == 2:
        return one[0], one[1]
    raise DataError(
        f"a question is given as {kind_of(one)}", fix='pass (question, context), or {"question": ..., "context": ...}'
    )


def _check_pair(question: Any, context: Any, number: int) -> None:
    for what, text in (("question", question), ("context", context)):
        if not isinstance(text, str):
            raise DataError(f"the {what} of input {number} is {kind_of(text)}, not a text", fix="pass strings")
        if not text.strip():
            raise DataError(f"the {what} of input {number} is empty", fix="give the question, and the text that answers it")


def likeliest(
    context: str,
    windows: Sequence[Window],
    ends: Sequence[np.ndarray[Any, Any]],
    no_answer: bool = False,
    longest: int = LONGEST,
) -> Answer:
    """The likeliest stretch of all windows.

    A window's first token, which is none of the context, stands for "no answer here"; the context as a whole has none where that
    is likelier than any stretch in every window (Devlin et al., section 4.3).

    Args:
        context: the text.
        windows: of it.
        ends: for each window the logits of its tokens of being the first and the last, float64 (2, T).
        no_answer: "no answer" is an answer too.
        longest: tokens of an answer at most.
    """
    usable = [np.array([o is not None or (no_answer and i == 0) for i, o in enumerate(w.offsets)]) for w in windows]
    scores = [np.where(use, e, -np.inf) for use, e in zip(usable, ends, strict=True)]
    totals = [np.logaddexp.reduce(np.concatenate([s[k] for s in scores])) for k in (0, 1)]
    best, place, none = -np.inf, (0, 0, 0), np.inf
    for number, (first, last) in enumerate(scores):
        none = min(none, first[0] + last[0])
        spans = first[1:, None] + last[None, 1:]
        after = np.arange(len(spans))[None] - np.arange(len(spans))[:, None]
        spans[(after < 0) | (after >= longest)] = -np.inf  # the last is not before the first, and not too far behind it
        i, j = divmod(int(spans.argmax()), len(spans))
        if spans[i, j] > best:
            best, place = float(spans[i, j]), (number, i + 1, j + 1)
    if best == -np.inf or (no_answer and none >= best):
        return Answer("", 0, 0, float(np.exp(none - sum(totals))) if no_answer else 0.0)
    number, i, j = place
    offsets = windows[number].offsets
    start, end = offsets[i][0], offsets[j][1]  # type: ignore[index]
    text = context[start:end].strip()  # tokens of bytes have the space before a word in them
    start += context[start:end].find(text)
    return Answer(text, start, start + len(text), float(np.exp(best - sum(totals))))
