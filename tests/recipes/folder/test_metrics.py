"""metrics.jsonl: exact bytes, cut back on resume, and honest about damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from nyala.errors import IntegrityError, StorageError
from nyala.recipes.folder import metrics


def test_records_come_back_as_written(tmp_path: Path) -> None:
    with metrics.Log(tmp_path / "m.jsonl") as log:
        log.write({"kind": "step", "step": 1, "loss": 0.1 + 0.2})
        log.write({"kind": "step", "step": 2, "loss": float("inf")})
    assert list(metrics.read(tmp_path / "m.jsonl")) == [
        {"kind": "step", "step": 1, "loss": 0.30000000000000004},
        {"kind": "step", "step": 2, "loss": "inf"},
    ]


def test_reopening_at_an_offset_drops_what_came_later(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with metrics.Log(path) as log:
        log.write({"step": 1})
        offset = log.sync()
        log.write({"step": 2})
    with metrics.Log(path, offset) as log:
        log.write({"step": 3})
    assert path.read_bytes() == b'{"step":1}\n{"step":3}\n'


def test_a_file_shorter_than_the_checkpoint_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"step":1}\n')
    with pytest.raises(IntegrityError, match=r"has 11 bytes and the checkpoint was written after 40"):
        metrics.Log(tmp_path / "m.jsonl", 40)


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"step":1}\n{"ste')
    assert list(metrics.read(tmp_path / "m.jsonl")) == [{"step": 1}]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"step":1}\n{"st\n{"step":3}\n')
    with pytest.raises(IntegrityError, match=r"m\.jsonl, line 2, is no JSON"):
        list(metrics.read(tmp_path / "m.jsonl"))


def test_a_full_disk_is_one_clear_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    log = metrics.Log(Path("/dev/full"))
    with pytest.raises(StorageError, match="No space left") as caught:
        log.write({"step": 1})
    assert caught.value.exit_code == 1
