"""Hashes: equal for equal things, different for every kind of difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nyala.recipes.proof import hashing


def test_arrays_hash_by_name_dtype_shape_and_bytes_in_any_order() -> None:
    a = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((), np.int64)}
    changes = [
        {**a, "w": a["w"].reshape(3, 2)},
        {**a, "w": a["w"].view(np.int32)},
        {**a, "w": a["w"] + np.float32(1e-6)},
        {"v": a["w"], "b": a["b"]},
    ]
    assert hashing.of_arrays(a) == hashing.of_arrays(dict(reversed(a.items())))
    assert hashing.of_arrays({"w": a["w"].T}) == hashing.of_arrays({"w": a["w"].T.copy()})  # memory order does not count
    assert len({hashing.of_arrays(a), *map(hashing.of_arrays, changes)}) == 5


def test_files_hash_by_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    named = [("x", tmp_path / "a"), ("y", tmp_path / "b")]
    assert hashing.of_files(named) == hashing.of_files(named[::-1])
    assert hashing.of_files(named) != hashing.of_files([("x", tmp_path / "b"), ("y", tmp_path / "a")])
    assert hashing.of_file(tmp_path / "a") == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"


def test_the_code_has_one_hash() -> None:
    assert hashing.of_code() == hashing.of_code() and len(hashing.of_code()) == 64
