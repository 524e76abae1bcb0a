"""Files of questions: SQuAD's layout, lines of JSON, and what cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from nyala.errors import DataError
from nyala.text.datasets import Question, is_squad, kind_of_row, mail_questions, read_questions
from nyala.text.scores.answers import judged

CONTEXT = "Ada wrote the notes in 1843. Ada was 27."


def squad(*asked: dict) -> str:
    return json.dumps({"version": "v2.0", "data": [{"title": "Ada", "paragraphs": [{"context": CONTEXT, "qas": list(asked)}]}]})


def test_squad_and_lines_say_the_same(tmp_path: Path) -> None:
    answer = {"text": "1843", "answer_start": 23}
    asked = [
        {"question": " When?", "id": "1", "answers": [answer, answer], "is_impossible": False},
        {"question": "Where?", "id": "2", "answers": [], "plausible_answers": [answer], "is_impossible": True},
    ]
    whole, packed, lines = tmp_path / "dev.json", tmp_path / "dev.json.gz", tmp_path / "dev.jsonl"
    whole.write_text(squad(*asked))
    packed.write_bytes(gzip.compress(squad(*asked).encode()))
    rows = [
        {"question": "When?", "context": CONTEXT, "answers": {"text": ["1843"], "answer_start": [23]}},
        {"question": "Where?", "context": CONTEXT, "answer": ""},
    ]
    lines.write_text("\n\n".join(map(json.dumps, rows)))
    expected = [Question("When?", CONTEXT, (("1843", 23),)), Question("Where?", CONTEXT, ())]
    assert read_questions(whole) == read_questions(packed) == read_questions(lines) == expected
    assert is_squad(whole) and is_squad(packed) and not is_squad(lines) and kind_of_row(lines) == "questions"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"question": "Who?", "context": "Ada."}', "a.jsonl:1 has no answers"),
        ("a.jsonl", '{"question": "Who?", "context": "Ada.", "answer": "Bob"}', "'Bob' does not stand in the context"),
        ("a.jsonl", '{"question": "Who?", "context": "A", "answers": {"text": ["A"], "answer_start": []}}', "cannot be read"),
        ("a.jsonl", '{"question": "Who?", "context": "A", "answers": [7]}', "7 does not stand"),
        ("a.jsonl", '\n{"question": " ", "context": "Ada.", "answer": "Ada"}', "a.jsonl:2 has no question"),
        ("a.jsonl", '["Who?"]', "has no question"),
        ("a.jsonl", "{", "a.jsonl:1 is not JSON"),
        ("a.jsonl", "", "holds no question"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"data": 3}', "not in SQuAD's layout"),
        ("a.json", '{"data": [{"paragraphs": [{"context": "Ada."}]}]}', r"data\[0\].paragraphs\[0\] has no list of qas"),
        ("a.json", squad({"question": "Who?", "answers": [{"text": "Ada", "answer_start": 1}]}), r"qas\[0\]: .* at 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        read_questions(tmp_path / name)


def test_the_questions_about_mails_are_answered_where_they_say() -> None:
    found = mail_questions("test")
    assert len(found) == 402 and sum(not one.answers for one in found) == 106
    assert all(one.context[at : at + len(text)] == text for one in found for text, at in one.answers)
    train = {one.context for one in mail_questions("train")}
    assert len(train & {one.context for one in found}) < 10  # newsletters that were sent twice


def test_an_answer_is_judged_as_squad_does() -> None:
    assert judged("The 1843.", ["1842", "1843"]) == (1.0, 1.0)
    assert judged("in 1843", ["1843"]) == (0.0, pytest.approx(2 / 3))
    assert judged("", ["1843"]) == (0.0, 0.0)
