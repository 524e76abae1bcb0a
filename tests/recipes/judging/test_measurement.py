"""Scores of tags and of pairs with their intervals, and what the command and the report make of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.core import random
from nyala.core.scores.intervals import of_record
from nyala.errors import ArgumentError, DataError
from nyala.recipes import cli, report
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.judging.measurement import Measurement
from nyala.recipes.language import config
from nyala.recipes.training import trainer
from nyala.recipes.training.objectives.pairs import PairResult
from nyala.recipes.training.objectives.tags import TagResult

WORDS = ["sun", "joy", "rain", "grief", "the", "of"]
TAGS = ("O", "B-GOOD", "B-BAD")


def tag_result(texts: int = 40) -> TagResult:
    truth = [random.key(1, "truth", i).integers(0, 3, (4 + i % 5,)) for i in range(texts)]
    logits = [2 * np.eye(3)[t] + random.key(1, "logits", i).normal((len(t), 3)) for i, t in enumerate(truth)]
    log_p = np.concatenate([x - np.log(np.exp(x).sum(1, keepdims=True)) for x in logits])
    return TagResult(TAGS, truth, [x.argmax(1) for x in logits], log_p)


def pair_result(count: int = 50) -> PairResult:
    vectors = random.key(2, "pairs").normal((count, 8)).astype(np.float64)
    partners = vectors + 0.8 * random.key(3, "pairs").normal((count, 8))
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (vectors, partners)]
    return PairResult.of(unit[0], unit[1], 20.0)


@pytest.mark.parametrize("make", [tag_result, pair_result])
def test_each_sample_once_gives_the_scores_themselves(make) -> None:
    result = make()
    once = result.resampled(np.ones(result.samples, np.int64))
    assert once == pytest.approx(result.record())
    for _, e in of_record(result.record(), result.resampled, result.samples).items():
        assert e.low < e.value < e.high or e.low == e.high == e.value


def test_a_resample_of_tags_is_what_those_texts_alone_would_give() -> None:
    result = tag_result(6)
    times = np.array([2, 0, 1, 0, 3, 0])
    chosen = [i for i, n in enumerate(times) for _ in range(n)]
    ends = np.cumsum([0, *map(len, result.truth)])
    rows = np.concatenate([result.log_probabilities[ends[i] : ends[i + 1]] for i in chosen])
    alone = TagResult(TAGS, [result.truth[i] for i in chosen], [result.guesses[i] for i in chosen], rows)
    assert result.resampled(times) == pytest.approx(alone.record())


def test_it_survives_as_json() -> None:
    one = Measurement(2, of_record({"f1": 0.5, "loss": 1.0}, lambda t: {"f1": 0.5, "loss": float(t.sum())}, 2), [{"index": 0}])
    assert Measurement.from_json(json.loads(json.dumps(one.as_json()))) == one
    assert [key for key, _, _ in one.summary()] == ["f1", "loss"]


@pytest.fixture
def tagged_run(tmp_path: Path, tiny_bert: Path) -> runs.Run:
    """A finished run on texts in which good words are marked."""
    rng = np.random.default_rng(4)
    rows = [[str(w) for w in rng.choice(WORDS, 5)] for _ in range(60)]
    lines = [{"tokens": words, "tags": ["B-GOOD" if w in ("sun", "joy") else "O" for w in words]} for words in rows]
    (tmp_path / "tagged.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "tagged.toml").write_text(
        f"""schema = 1
[data]
name = "tagged.jsonl"
workers = 0
[model]
name = "{tiny_bert}"
max_length = 12
[train]
epochs = 1
"""
    )
    run = runs.create(config.load(tmp_path / "tagged.toml"), tmp_path / "run")
    trainer.train(run)
    return run


def test_a_run_of_tags_is_judged_and_reported(tagged_run: runs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tagged_run.folder
    final = [r for r in metrics.read(folder / "metrics.jsonl") if r["kind"] == "final"][-1]
    assert cli.main(["evaluate", str(folder), "--json", "--quiet", "--output", str(tmp_path / "page.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == final["samples"]
    assert {k: e["value"] for k, e in found["scores"].items()} == pytest.approx({k: final[k] for k in found["scores"]})
    assert "<blockquote>" in (tmp_path / "page.html").read_text()
    assert cli.main(["evaluate", str(folder), "--quiet"]) == 0
    assert "95 % interval" in capsys.readouterr().out
    at_the_end = (folder / "report.html").read_bytes()
    assert cli.main(["report", str(folder)]) == 0 and (folder / "report.html").read_bytes() == at_the_end
    view = report.read(folder)
    assert view.measurement is not None and view.samples and b"macro F1" in at_the_end
    assert "<th>F1</th>" in report.comparison_page([view, view]) and b"Mistakes, the worst first" in at_the_end


def test_a_model_for_another_task_is_refused(tagged_run: runs.Run, tiny_bert: Path, tmp_path: Path) -> None:
    classifier = nyala.load(tiny_bert, num_classes=2)
    with pytest.raises(DataError, match="is for TextClassification"):
        nyala.evaluate(classifier, tmp_path / "tagged.jsonl")
    with pytest.raises(ArgumentError, match="a mapping is for samples with a class each"):
        nyala.evaluate(tagged_run.folder, mapping={"B-GOOD": "O"})
