"""Questions whose answers stand in a text: SQuAD's JSON, or JSON lines ``{"question", "context", "answers"}``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ...core.errors import DataError
from .lines import numbered_lines, whole_text

_WANTED = 'write {"question": "Who slept?", "context": "Ada slept.", "answers": {"text": ["Ada"], "answer_start": [0]}}'


class Question(NamedTuple):
    """A question, the text it is asked of, and where the text answers it.

    Attributes:
        question, context: the texts.
        answers: (text, first character in the context) of each answer that counts as right; empty where the text has none.
    """

    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


def read_questions(path: str | Path) -> list[Question]:
    """All questions of a file: SQuAD's ``.json``, or ``.jsonl``; gzipped or not.

    A line has ``question``, ``context``, and ``answers`` as published datasets write them, or ``answer``, which is looked for in
    the context. No answers, or an empty one, say that the context does not answer the question.

    Raises:
        DataError: no such file, damaged, or a question that cannot be read; it names the place.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp(), "asked.jsonl")
        >>> _ = file.write_text('{"question": "Who slept?", "context": "Then Ada slept.", "answer": "Ada"}')
        >>> read_questions(file)
        [Question(question='Who slept?', context='Then Ada slept.', answers=(('Ada', 5),))]
    """
    path = Path(path)
    found = list(_from_lines(path) if ".jsonl" in path.suffixes else _from_squad(path))
    if not found:
        raise DataError(f"{path} holds no question", fix=_WANTED)
    return found


def is_squad(path: Path) -> bool:
    """Whether a file is JSON in SQuAD's layout: articles under ``data``, each of paragraphs."""
    try:
        return _articles(json.loads(whole_text(path))) is not None
    except (ValueError, RecursionError):
        return False


def _articles(tree: Any) -> list[Any] | None:
    articles = tree.get("data") if isinstance(tree, dict) else None
    listed = isinstance(articles, list) and all(isinstance(a, dict) and isinstance(a.get("paragraphs"), list) for a in articles)
    return articles if listed else None


def _from_lines(path: Path) -> Iterator[Question]:
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where} is not JSON: {error}", fix=_WANTED) from None
        row = row if isinstance(row, dict) else {}
        yield _question(row, row.get("context"), where)


def _from_squad(path: Path) -> Iterator[Question]:
    try:
        articles = _articles(json.loads(whole_text(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}", fix="get the file again") from None
    if articles is None:
        raise DataError(f"{path} is not in SQuAD's layout", fix=f"use JSON lines: {_WANTED}")
    for i, article in enumerate(articles):
        for j, paragraph in enumerate(article["paragraphs"]):
            where = f"{path}, data[{i}].paragraphs[{j}]"
            asked = paragraph.get("qas") if isinstance(paragraph, dict) else None
            if not isinstance(asked, list):
                raise DataError(f"{where} has no list of qas", fix="get the file again")
            for k, row in enumerate(asked):
                yield _question(row if isinstance(row, dict) else {}, paragraph.get("context"), f"{where}.qas[{k}]")


def _question(row: dict[str, Any], context: Any, where: str) -> Question:
    question: Any = row.get("question")
    for what, text in (("question", question), ("context", context)):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where} has no {what}", fix=_WANTED)
    return Question(question.strip(), context, tuple(dict.fromkeys(_answers(row, context, where))))


def _answers(row: dict[str, Any], context: str, where: str) -> Iterator[tuple[str, int]]:
    given = row.get("answers", row.get("answer"))
    if given is None and "is_impossible" not in row:
        raise DataError(f"{where} has no answers", fix=f'{_WANTED}; "answers": [] where the context has none')
    if isinstance(given, dict):
        texts, starts = given.get("text"), given.get("answer_start")
        given = False
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            given = [{"text": t, "answer_start": s} for t, s in zip(texts, starts, strict=True)]
    rows: Any = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(rows, list):
        raise DataError(f"{where} has answers that cannot be read", fix=_WANTED)
    for one in rows:
        text, start = (one.get("text"), one.get("answer_start")) if isinstance(one, dict) else (one, None)
        if text == "":
            continue
        start = context.find(text) if isinstance(text, str) and start is None else start
        if not isinstance(text, str) or not isinstance(start, int) or start < 0 or context[start : start + len(text)] != text:
            raise DataError(
                f"{where}: the answer {text!r} does not stand in the context"
                + (f" at {start}" if start not in (None, -1) else ""),
                why="an answer is a stretch of the context, letter for letter",
                fix="correct the answer, or its answer_start, which counts characters",
            )
        yield text, start
