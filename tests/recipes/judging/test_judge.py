"""``nyala.evaluate`` and the command: a run's own test part, foreign data with other names, bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, DataError
from nyala.recipes import cli
from nyala.recipes.folder import metrics


@pytest.fixture
def run(trained: Callable[..., Any]) -> Any:
    return trained("run")


def test_a_run_on_its_own_test_part_gives_the_scores_it_recorded(run: Any) -> None:
    found = nyala.evaluate(run.folder)
    final = [r for r in metrics.read(run.folder / "metrics.jsonl") if r["kind"] == "final"][-1]
    a = found.assessment
    assert len(a) == final["samples"] and a.accuracy.value == final["accuracy"]
    assert a.macro_f1.value == pytest.approx(final["macro_f1"]) and a.log_loss.value == pytest.approx(final["loss"], rel=1e-6)
    assert "its own test part" in found.data


def test_the_data_a_run_was_trained_on_are_judged_by_their_test_part_alone(run: Any, tiny_data: Path) -> None:
    assert len(nyala.evaluate(run.folder, tiny_data).assessment) == 12


def test_a_pipeline_and_other_numbers_of_threads_give_the_same(run: Any, tiny_data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_data, other)
    first = nyala.evaluate(run.folder, other, workers=0, batch_size=7)
    second = nyala.evaluate(nyala.load(run.folder), other, workers=3, batch_size=64)
    assert len(first.assessment) == 60
    assert np.array_equal(first.assessment.predicted, second.assessment.predicted)
    assert first.assessment.confidence == pytest.approx(second.assessment.confidence, rel=1e-6)


def test_other_names_are_mapped_and_left_out(run: Any, tiny_data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for name, new in {"blue": "Blue", "green": "verde", "red": "junk"}.items():
        shutil.copytree(tiny_data / name, other / new)
    with pytest.raises(DataError, match=r"2 of the 3 classes of .*other are not among the model's 3 \(blue, green, red\)"):
        nyala.evaluate(run.folder, other)
    found = nyala.evaluate(run.folder, other, mapping={"verde": "green", "junk": "-"})
    assert len(found.assessment) == 40 and found.left_out == 20
    assert [c.label for c in found.assessment.classes()][:2] == ["blue", "green"]
    given = nyala.evaluate(run.folder, other, mapping={"verde": "green", "junk": "-"}, only_given=True)
    assert given.assessment.labels == ["blue", "green"] and given.assessment.accuracy.value >= found.assessment.accuracy.value


def test_a_limit_draws_the_same_samples_each_time(run: Any, tiny_data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_data, other)
    first, again = (nyala.evaluate(run.folder, other, limit=9) for _ in range(2))
    assert len(first.assessment) == 9 and first.part.inputs == again.part.inputs


def test_columns_are_named_or_those_the_run_knows(text_recipe_file: Path, tmp_path: Path) -> None:
    from nyala.recipes.folder import run as runs
    from nyala.recipes.language import config
    from nyala.recipes.training import trainer

    rows = [json.loads(line) for line in (tmp_path / "moods.jsonl").read_text().splitlines()]
    table = tmp_path / "moods.csv"
    table.write_text("says,mood\n" + "".join(f"{r['text']},{r['label']}\n" for r in rows))
    columns = ["data.columns.text=['says']", "data.columns.label=mood"]
    run = runs.create(config.load(text_recipe_file, [f"data.name={table}", *columns, "train.epochs=1"]), tmp_path / "run")
    trainer.train(run)
    other = tmp_path / "other.csv"
    other.write_text(table.read_text())
    known = nyala.evaluate(run.folder, other)
    named = nyala.evaluate(nyala.load(run.folder), other, target="mood", text=["says"])
    assert len(known.assessment) == 90 and np.array_equal(known.assessment.predicted, named.assessment.predicted)
    assert cli.main(["evaluate", str(run.folder / "model"), "--data", str(other), "--quiet"]) == 2
    assert (
        cli.main(["evaluate", str(run.folder / "model"), "--data", str(other), "--target", "mood", "--text", "says", "--quiet"])
        == 0
    )


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"data": None}, ArgumentError, "needs data to be judged on"),
        ({"data": "no-such-folder"}, DataError, "no-such-folder"),
        ({"mapping": {"blu": "red"}}, ArgumentError, "did you mean 'blue'"),
        ({"mapping": {"blue": "-", "green": "-", "red": "-"}}, DataError, "no sample of .* is left"),
        ({"limit": 0}, ArgumentError, "limit=0"),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], text: str, tiny_model: Path, tiny_data: Path) -> None:
    if "mapping" in options and "blu" not in options["mapping"]:
        options = {**options, "model": "labelled"}
    model = _labelled(tiny_model) if options.pop("model", None) else tiny_model
    with pytest.raises(error, match=text):
        nyala.evaluate(model, **{"data": tiny_data, **options})


def _labelled(tiny_model: Path) -> Path:
    """The tiny model with the data's class names."""
    folder = tiny_model.parent / "labelled"
    if not folder.exists():
        shutil.copytree(tiny_model, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "label_names": ["blue", "green", "red", "x", "y"]}))
    return folder


def test_texts_for_a_picture_model_are_refused(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a", "label": "blue"}\n{"text": "b", "label": "red"}\n')
    with pytest.raises(DataError, match="is for vision and the data are texts"):
        nyala.evaluate(run.folder, path)


def test_a_model_without_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n')
    folder = Path(__file__).parents[2] / "goldens" / "text" / "bert"
    with pytest.raises(ArgumentError, match="tells no classes apart"):
        nyala.evaluate(nyala.load(str(folder), task="feature-extraction"), path)


def test_the_command_prints_json_and_writes_a_page(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert cli.main(["evaluate", str(run.folder), "--json", "--quiet", "--output", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["samples"] == 12
        and {"accuracy", "macro_f1", "log_loss", "calibration", "classes", "worst_mistakes"} <= found.keys()
    )
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
    assert "Reliability" in page.read_text() and page.read_text().count("data:image/png;base64,") == 12


def test_the_command_prints_tables(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(run.folder), "--quiet"]) == 0
    out = capsys.readouterr().out
    for text in ("95 % interval", "Calibration: on average", "most often taken for", "blue"):
        assert text in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["--output", "page.txt"], "end the name in .html"), (["--map", "x"], "no DATA=MODEL"), (["--limit", "0"], "whole number")],
)
def test_the_command_refuses_before_it_works(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main(["evaluate", "no-such-model", "--data", "x", *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2 and text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("planted", "text"),
    [(3.0, "It is too sure: logits divided by a temperature of"), (0.3, "It is not sure enough"), (1.0, "No temperature makes")],
)
def test_calibration_in_words(planted: float, text: str) -> None:
    from nyala.core import random
    from nyala.recipes.judging.assessment import Collector
    from nyala.recipes.judging.judge_text import calibration_sentence

    logits = 1.5 * random.key(7, "logits").normal((3000, 4)).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (p.cumsum(1) < random.key(7, "truth").uniform((3000, 1))).sum(1)
    found, few = Collector(list("abcd")), Collector(list("abcd"))
    found.add(planted * logits, truth)
    few.add(planted * logits[:50], truth[:50])
    assert text in calibration_sentence(found.finish())
    assert "50 samples are too few" in calibration_sentence(few.finish())
