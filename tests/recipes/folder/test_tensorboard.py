"""Event files: the wire format against known bytes, and that a run that goes on has no point twice."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from nyala.errors import IntegrityError
from nyala.recipes.folder import metrics, tensorboard

STEP = {"kind": "step", "step": 3, "loss": 0.5, "lr": 0.01, "samples": 8, "correct": 2}


def test_the_bytes_of_a_known_event() -> None:
    """An event as TensorFlow's own writer makes it: wall_time 1.0, step 2, one scalar."""
    expected = (
        b"\x09"
        + struct.pack("<d", 1.0)
        + b"\x10\x02"
        + b"\x2a\x0a"
        + b"\x0a\x08"
        + b"\x0a\x01a"
        + b"\x15"
        + struct.pack("<f", 0.5)
    )
    assert tensorboard.event(1.0, 2, {"a": 0.5}) == expected
    version = tensorboard.record(tensorboard.event(0.0, version=b"brain.Event:2"))
    assert version[:8] == struct.pack("<Q", 24) and version[12:][9:24] == b"\x1a\x0dbrain.Event:2"


@pytest.mark.parametrize(("content", "crc"), [(b"", 0), (b"\x00" * 32, 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)])
def test_checksums_of_the_rfc(content: bytes, crc: int) -> None:
    assert tensorboard.crc32c(content) == crc


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / tensorboard.FILE
    with tensorboard.Events(path) as events:
        events.write(STEP, 10.0)
        events.write({"kind": "hash", "step": 3, "parameters": "ab"}, 10.0)
        events.write({"kind": "eval", "step": 300, "part": "validation", "loss": float("nan"), "accuracy": 1e300}, 9.0)
    (first, clock, values), (second, later, more) = tensorboard.read(path)
    assert (first, clock, second, later) == (3, 10.0, 300, 10.0)  # time never goes back
    assert values == {"train/loss": 0.5, "train/lr": pytest.approx(0.01), "train/accuracy": 0.25}
    assert more["validation/loss"] != more["validation/loss"] and more["validation/accuracy"] == float("inf")


def test_a_file_that_is_cut_off_gives_what_is_whole_and_a_changed_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / tensorboard.FILE
    with tensorboard.Events(path, [(STEP, 1.0), ({**STEP, "step": 4}, 2.0)]):
        pass
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    assert [step for step, _, _ in tensorboard.read(path)] == [3]
    path.write_bytes(content[:-10] + b"\x00" + content[-9:])
    with pytest.raises(IntegrityError, match="damaged at byte"):
        list(tensorboard.read(path))


def test_a_run_that_went_on_has_no_point_twice(recipe_file: Path, tmp_path: Path) -> None:
    from nyala.recipes.folder import run as runs
    from nyala.recipes.language import config
    from nyala.recipes.training import trainer

    run = runs.create(config.load(recipe_file), tmp_path / "run")
    trainer.train(run, stop_after=7)  # beyond the checkpoint of step 4
    stopped = points(run.folder)
    trainer.train(runs.open_run(run.folder))
    other = runs.create(config.load(recipe_file), tmp_path / "other")
    trainer.train(other)
    went_on = points(run.folder)
    assert went_on == points(other.folder) and stopped["train/loss"] == went_on["train/loss"][:7]
    assert [step for step, _ in went_on["train/loss"]] == list(range(1, 13))
    losses = [(r["step"], r["loss"]) for r in metrics.read(run.folder / "metrics.jsonl") if r["kind"] == "step"]
    assert went_on["train/loss"] == [(s, pytest.approx(v, rel=1e-6)) for s, v in losses]


def points(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    for step, _, values in tensorboard.read(folder / tensorboard.FILE):
        for tag, value in values.items():
            found.setdefault(tag, []).append((step, value))
    return found
