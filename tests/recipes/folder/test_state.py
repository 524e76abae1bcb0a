"""Checkpoints: whole or not at all, damaged ones skipped, only as many kept as asked for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from nyala.core import atomic
from nyala.errors import IntegrityError
from nyala.recipes.folder.state import Store


def weights(value: float) -> dict[str, np.ndarray]:
    return {"model.w": np.full((3, 2), value, np.float32), "optim.0.step": np.array(value)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, keep=2)


def names(store: Store) -> list[str]:
    return sorted(p.name for p in store.folder.iterdir())


def test_what_was_saved_comes_back(store: Store) -> None:
    store.save(7, weights(1.5), {"epoch": 2, "best_step": None})
    saved, notes = store.latest()
    assert saved is not None and notes == []
    assert (saved.record["step"], saved.record["epoch"]) == (7, 2)
    assert {k: v.tolist() for k, v in saved.arrays.items()} == {k: v.tolist() for k, v in weights(1.5).items()}


def test_the_newest_are_kept_and_the_bests_they_refer_to(store: Store) -> None:
    for step in (10, 20, 30, 40):
        if step in (10, 30):
            store.save_best(step, weights(step))
        store.save(step, weights(step), {"best_step": 10 if step < 30 else 30})
    assert names(store) == ["best-00000030", "step-00000030", "step-00000040"]
    assert float(store.best(30).arrays["model.w"][0, 0]) == 30


def test_an_older_best_stays_while_an_older_checkpoint_needs_it(store: Store) -> None:
    store.save_best(10, weights(10))
    store.save(10, weights(10), {"best_step": 10})
    store.save_best(20, weights(20))
    assert "best-00000010" in names(store)


@pytest.mark.parametrize("damage", ["flip", "truncate", "no record", "bad record", "no arrays"])
def test_a_damaged_checkpoint_is_renamed_and_the_one_before_it_used(store: Store, damage: str) -> None:
    store.save(1, weights(1), {"best_step": None})
    store.save(2, weights(2), {"best_step": None})
    arrays, record = (store.folder / "step-00000002" / n for n in ("state.safetensors", "state.json"))
    content = bytearray(arrays.read_bytes())
    content[-1] ^= 1
    {
        "flip": lambda: arrays.write_bytes(content),
        "truncate": lambda: os.truncate(arrays, 20),
        "no record": record.unlink,
        "bad record": lambda: record.write_text("{"),
        "no arrays": arrays.unlink,
    }[damage]()
    saved, notes = store.latest()
    assert saved is not None and saved.record["step"] == 1
    assert len(notes) == 1 and "step-00000002" in notes[0] and "damaged-step-00000002" in notes[0]
    assert names(store) == ["damaged-step-00000002", "step-00000001"]
    store.save(2, weights(2), {"best_step": None})  # the name is free again


def test_a_checkpoint_whose_best_weights_are_damaged_is_no_use(store: Store) -> None:
    store.save(1, weights(1), {"best_step": None})
    store.save_best(2, weights(2))
    store.save(2, weights(2), {"best_step": 2})
    (store.folder / "best-00000002" / "state.safetensors").unlink()
    saved, notes = store.latest()
    assert saved is not None and saved.record["step"] == 1 and "refers to best-00000002" in notes[0]
    with pytest.raises(IntegrityError, match="best-00000002 is incomplete"):
        store.best(2)


def test_a_write_that_fails_leaves_nothing_and_harms_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(1, weights(1), {"best_step": None})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.save(2, weights(2), {"best_step": None})
    assert names(store) == ["step-00000001"]


def test_what_a_killed_process_left_is_removed(store: Store, tmp_path: Path) -> None:
    half = store.folder / ".nyala-tmp-1-ab"
    half.mkdir()
    (half / "state.safetensors").write_bytes(b"half")
    assert names(Store(tmp_path)) == []
