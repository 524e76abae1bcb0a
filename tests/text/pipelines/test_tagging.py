"""Tags, their stretches, and the pipeline that marks them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, DataError
from nyala.text.datasets import mail_marks, mail_subjects, read_pairs, read_tagged
from nyala.text.scores import tags

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-A I-A I-A", [("A", 0, 3)]),
        ("B-A B-A", [("A", 0, 1), ("A", 1, 2)]),
        ("I-A I-A O I-B", [("A", 0, 2), ("B", 3, 4)]),
        ("B-A I-B I-B", [("A", 0, 1), ("B", 1, 3)]),
        ("NOUN NOUN VERB", [("NOUN", 0, 2), ("VERB", 2, 3)]),
    ],
)
def test_spans(given, expected):
    assert tags.spans(given.split()) == expected


def test_span_f1_counts_whole_stretches():
    truth = [["B-A", "I-A", "O", "B-B"], ["O", "B-A"]]
    guess = [["B-A", "O", "O", "B-B"], ["B-A", "B-A"]]
    found = tags.span_f1(truth, guess)  # right: B and the last A; guessed: A, B, A, A; true: A, B, A
    assert found == pytest.approx({"precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7})
    assert tags.span_f1([["O"]], [["O"]])["f1"] == 1.0
    assert tags.span_f1([["O"]], [["B-A"]])["f1"] == 0.0


@pytest.fixture
def folder(tmp_path):
    """A tagger with a tokenizer of letters and a few words."""
    source = tmp_path / "tagger"
    shutil.copytree(GOLDENS / "bert_tagger", source)
    config = json.loads((source / "config.json").read_text())
    config |= {"id2label": {"0": "O", "1": "B-X", "2": "I-X"}, "label2id": {"O": 0, "B-X": 1, "I-X": 2}}
    (source / "config.json").write_text(json.dumps(config))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "fox", "##es", "run", "."]
    (source / "vocab.txt").write_text("\n".join(pieces + [f"w{i}" for i in range(61 - len(pieces))]))
    return source


def scripted(pipe, monkeypatch, chosen):
    """The pipeline's model, saying these tags of the tokens of its one text."""
    logits = np.full((1, len(chosen), 3), -5.0, np.float32)
    logits[0, np.arange(len(chosen)), chosen] = 5.0
    monkeypatch.setattr(type(pipe.model), "forward", lambda *_, **__: nyala.from_numpy(logits))


def test_pipeline_reads_a_word_by_its_first_piece(folder, monkeypatch):
    pipe = nyala.load(str(folder))
    assert type(pipe).__name__ == "TokenClassification" and pipe.labels == ("O", "B-X", "I-X")
    # [CLS] red fox ##es run . [SEP]: what the second piece of foxes and the special tokens say counts for nothing
    scripted(pipe, monkeypatch, [1, 0, 1, 0, 2, 0, 1])
    marks = pipe("red  foxes run.")
    assert [(m.label, m.text, m.start, m.end) for m in marks] == [("X", "foxes run", 5, 14)]
    assert marks[0].score > 0.99


def test_pipeline_reads_long_texts_in_windows(folder):
    pipe = nyala.load(str(folder))
    pipe.preprocess.max_length = 8
    long = "red foxes run . " * 9
    sizes = [len(row.ids) for _, row in pipe._windows(long.split())]
    starts = [start for start, _ in pipe._windows(long.split())]
    assert max(sizes) == 8 and starts[:3] == [0, 5, 10]
    assert sum(len(row.ids) - 2 for _, row in pipe._windows(long.split())) >= 36
    assert all(0 <= m.start < m.end <= len(long) for m in pipe(long))


def test_pipeline_prints_and_draws(folder, monkeypatch, tmp_path):
    pipe = nyala.load(str(folder))
    scripted(pipe, monkeypatch, [0, 1, 0, 0])
    found = pipe(["red fox"])
    assert "red fox" in repr(found) and "X" in repr(found)
    assert found.to_dict()[0]["marks"][0]["text"] == "red"
    found.save(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 1000
    scripted(pipe, monkeypatch, [0, 0, 0, 0])
    assert "(nothing)" in repr(pipe(["red fox"]))


def test_pipeline_refuses_what_is_no_text(folder):
    with pytest.raises(DataError, match="input 1 is"):
        nyala.load(str(folder))(["red", 3])


def test_a_task_chooses_the_head():
    pipe = nyala.load(str(GOLDENS / "bert_classifier"), task="token-classification", num_classes=3)
    assert type(pipe.model).__name__ == "BertForTokenClassification"
    ids = nyala.tensor([[1, 2, 3, 4]])
    assert pipe.model(ids).shape == (1, 4, 3)


def test_words_of_a_text(folder):
    rows = nyala.load(str(folder)).preprocess.encode_words([["red", "foxes", "zebra"], ["run"] * 9], 8)
    assert rows[0].pieces == [-1, 0, 1, 1, 2, -1]
    assert rows[1].pieces == [-1, 0, 1, 2, 3, 4, 5, -1] and len(rows[1].ids) == 8


def test_read_tagged_from_columns_and_json(tmp_path):
    columns = tmp_path / "train.conll"
    columns.write_text("-DOCSTART- -X- O\n\n# a remark\nAda NNP B-PER\nslept VBD O\n\nOslo NNP B-LOC\n")
    lines = tmp_path / "train.jsonl"
    lines.write_text('{"tokens": ["Ada", "slept"], "tags": ["B-PER", "O"]}\n\n{"tokens": ["Oslo"], "tags": ["B-LOC"]}\n')
    assert read_tagged(columns) == read_tagged(lines)
    assert read_tagged(lines)[0].words == ("Ada", "slept")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"tokens": ["a"], "tags": []}', "a.jsonl:1 has no lists"),
        ("a.jsonl", '{"tokens": ["a"], "tags": ["O", "O"]}', "1 token.* and 2 tag"),
        ("a.jsonl", "\n{", "a.jsonl:2 is not JSON"),
        ("a.txt", "Ada B-PER\nslept\n", "a.txt:2 has one column: 'slept'"),
        ("a.txt", "\n\n", "holds no text"),
    ],
)
def test_bad_lines_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_tagged(tmp_path / name)


def test_bad_pairs_are_named(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"anchor": "a", "positive": "b"}\n{"anchor": "a"}')
    with pytest.raises(DataError, match=r"p\.jsonl:2 has no two texts"):
        read_pairs(tmp_path / "p.jsonl")
    with pytest.raises(DataError, match="there is no file"):
        read_pairs(tmp_path / "q.jsonl")


def test_mail_tasks_are_what_the_mails_hold():
    pairs, marks = mail_subjects("test"), mail_marks("test")
    assert len(pairs) == 400 and all(p.anchor and p.positive for p in pairs)
    kinds = {tags.kind_of(t) for text in marks for t in text.tags}
    assert kinds == {"", "LINK", "ADDRESS", "MONEY", "DATE"}
    with_marks = sum(any(t != "O" for t in text.tags) for text in marks)
    assert 0.45 < with_marks / len(marks) < 0.55


def test_a_classifier_of_texts_is_none_of_words_unless_its_head_is_new() -> None:
    with pytest.raises(ArgumentError, match="is for text-classification, not for token-classification"):
        nyala.load(str(GOLDENS / "bert_classifier"), task="token-classification")
    with pytest.raises(ArgumentError, match="is for token-classification, not for text-classification"):
        nyala.load(str(GOLDENS / "bert_tagger"), task="text-classification")
    assert len(nyala.load(str(GOLDENS / "bert_classifier"), task="token-classification", num_classes=4).labels) == 4
