"""Verification: equal runs are called equal, and a changed one is named by its first differing step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from nyala.errors import ReproducibilityError
from nyala.recipes import cli
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.proof.verify import first_difference, verify
from nyala.recipes.training import trainer

Trained = Callable[..., runs.Run]


def edit(path: Path, step: int, kind: str, **changes: object) -> None:
    """Changes one record of a metrics file."""
    lines = path.read_text().splitlines()
    for i, line in enumerate(lines):
        record = json.loads(line)
        if (record["step"], record["kind"]) == (step, kind):
            lines[i] = json.dumps({**record, **changes}, separators=(",", ":"))
    path.write_text("\n".join(lines) + "\n")


def test_an_honest_run_is_equal_hash_by_hash(trained: Trained) -> None:
    result = verify(trained("run").folder)
    assert result.equal and result.steps == 12 and result.first == ""
    assert {"metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"} == set(result.compared)
    assert all(result.compared.values()) and "every bit the same" in str(result)


def test_a_changed_loss_is_named_by_its_step(trained: Trained) -> None:
    run = trained("run")
    edit(run.folder / "metrics.jsonl", 5, "step", loss=0.25)
    result = verify(run.folder)
    assert not result.equal and result.first.startswith("step 5 (step) differs first: loss 0.25 -> ")
    assert result.compared["metrics.jsonl"] is False


def test_changed_parameters_show_in_the_hash_of_their_step(trained: Trained) -> None:
    run = trained("run")
    edit(run.folder / "metrics.jsonl", 6, "hash", parameters="0" * 64)
    assert verify(run.folder).first.startswith("step 6 (hash) differs first: parameters 000")


def test_weights_changed_after_the_run_are_told_from_a_run_that_differs(trained: Trained) -> None:
    run = trained("run")
    path = run.folder / "model" / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    result = verify(run.folder)
    assert not result.equal and "model/model.safetensors changed after the run" in result.first


def test_only_the_first_steps(trained: Trained) -> None:
    run = trained("run")
    edit(run.folder / "metrics.jsonl", 9, "step", loss=0.25)
    result = verify(run.folder, steps=6)
    assert result.steps == 6 and not result.equal
    assert result.first.startswith("metrics.jsonl changed after the run")  # but no step up to the sixth differs


def test_first_difference_by_hand(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text('{"kind":"step","step":1,"loss":1.0}\n{"kind":"step","step":2,"loss":1.0}\n')
    b.write_text('{"kind":"step","step":1,"loss":1.0}\n')
    assert first_difference(a, a) == ""
    assert first_difference(a, b) == "step 2 (step) is in one of the two runs only"
    assert first_difference(a, b, steps=1) == ""


def test_an_unfinished_run_cannot_be_verified(recipe_file: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe_file), tmp_path / "run")
    trainer.train(run, stop_after=2)
    with pytest.raises(ReproducibilityError, match=r"is not finished.*nyala resume"):
        verify(run.folder)


def test_the_commands_run_resume_verify_and_predict(
    recipe_file: Path, tmp_path: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    assert cli.main(["run", str(recipe_file), "--folder", folder, "--json"]) == 0
    out = capsys.readouterr()
    (line,) = out.out.splitlines()
    told = json.loads(line)
    assert told["run"] == folder and set(told["metrics"]) == {"accuracy", "macro_f1", "loss", "weights_step"}
    assert "step 12: validation accuracy" in out.err
    assert cli.main(["resume", folder, "--quiet"]) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert cli.main(["verify", folder, "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["equal"] is True
    picture = str(next((tiny_data / "red").iterdir()))
    assert cli.main(["predict", folder, picture, "--output", str(tmp_path / "drawn.png"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["results"][0]["labels"]) == {"blue", "green", "red"}
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
    edit(tmp_path / "run" / "metrics.jsonl", 3, "step", loss=0.5)
    assert cli.main(["verify", folder, "--quiet"]) == 1
    assert "step 3 (step) differs first" in capsys.readouterr().out
