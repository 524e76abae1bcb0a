"""``metrics.csv``: read back by Python's own reader it says what the metrics say."""

from __future__ import annotations

import csv as standard
import io
from pathlib import Path

from nyala.recipes.folder import csv, metrics

RECORDS = [
    {"kind": "step", "step": 1, "epoch": 0, "loss": 0.1, "lr": 1e-05, "samples": 8, "correct": 3},
    {"kind": "hash", "step": 1, "parameters": "ab"},
    {"kind": "eval", "step": 1, "part": 'a "b", c', "loss": "nan", "accuracy": 1 / 3},
]


def test_what_is_read_back_is_what_was_recorded() -> None:
    rows = list(standard.DictReader(io.StringIO(csv.table(RECORDS))))
    assert [r["kind"] for r in rows] == ["step", "eval"]
    assert float(rows[0]["lr"]) == 1e-05 and rows[1]["part"] == 'a "b", c' and rows[1]["loss"] == "nan"
    assert float(rows[1]["accuracy"]) == 1 / 3 and rows[0]["accuracy"] == "" and rows[1]["samples"] == ""


def test_the_same_metrics_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(map(metrics.encode, RECORDS)))
    first = csv.write(tmp_path).read_bytes()
    assert csv.write(tmp_path).read_bytes() == first and first.startswith(b"kind,part,step,epoch,loss,accuracy,lr,")
    assert b"\r" not in first
