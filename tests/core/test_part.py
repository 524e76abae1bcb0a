"""Files inside files: the same content as on their own, and no byte beyond their end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala import checkpoint
from nyala.core.part import FilePart
from nyala.errors import CheckpointError

PTH = sorted((Path(__file__).parents[1] / "goldens" / "pth").glob("*.pth"))


def inside(tmp_path: Path, content: bytes, before: int, name: str = "m/model.safetensors") -> FilePart:
    """``content`` in the middle of a larger file, ``before`` bytes from its beginning."""
    archive = tmp_path / "archive"
    archive.write_bytes(b"\xff" * before + content + b"\xff" * 5000)
    return FilePart(archive, name, before, before + len(content))


def test_a_part_reads_like_a_path(tmp_path):
    part = inside(tmp_path, '{"é": 1}\n'.encode(), 77, "m/config.json")
    assert (part.read_text(), part.read_bytes(), part.suffix) == ('{"é": 1}\n', '{"é": 1}\n'.encode(), ".json")
    assert part.stat().st_size == part.size == 10
    assert part.stat().st_mtime_ns == part.archive.stat().st_mtime_ns
    assert str(part) == f"{part.archive}/m/config.json" and part.parent == part.archive / "m"
    assert part.is_file() and not FilePart(part.archive, "x", 0, 10_000).is_file()


def test_reading_and_seeking_stay_inside(tmp_path):
    with inside(tmp_path, b"0123456789", 4096).open() as file:
        assert file.read(4) == b"0123"
        assert file.seek(0, 2) == 10 and file.read() == b""
        assert file.seek(20) == 20 and file.read() == b""
        assert file.seek(-3, 2) == 7 and file.read() == b"789"
        assert file.seek(2) == 2 and file.seek(1, 1) == 3 and file.read(100) == b"3456789"


@pytest.mark.parametrize("before", [0, 8, 64, 4096, 70_000])
def test_tensors_are_views_at_any_place(tmp_path, before):
    tensors = {"a": np.arange(1000, dtype=np.float32), "b": np.ones((2, 3), np.int64), "none": np.zeros((0, 2))}
    part = inside(tmp_path, checkpoint.save(tensors), before)
    loaded = checkpoint.load_file(part)
    assert all(np.array_equal(loaded[name], tensors[name]) for name in tensors)
    assert set(loaded) == set(tensors) and not loaded["a"].flags.owndata
    kept = part.archive.read_bytes()
    loaded["a"][:] = -1  # copy-on-write
    assert part.archive.read_bytes() == kept
    assert checkpoint.read_header(part).tensors["b"].shape == (2, 3)
    assert not checkpoint.load_file(part, writable=False)["a"].flags.writeable


def test_a_part_at_an_odd_place_is_still_right(tmp_path):
    tensors = {"a": np.arange(10, dtype=np.float64)}
    assert np.array_equal(checkpoint.load_file(inside(tmp_path, checkpoint.save(tensors), 3))["a"], tensors["a"])


def test_bytes_after_the_part_do_not_belong_to_it(tmp_path):
    part = inside(tmp_path, checkpoint.save({"a": np.arange(4)})[:-8], 64)
    with pytest.raises(CheckpointError, match=r"m/model.safetensors: tensor 'a' reaches byte"):
        checkpoint.load_file(part)


def test_an_archive_that_was_cut_is_an_error_and_no_crash(tmp_path):
    part = inside(tmp_path, checkpoint.save({"a": np.arange(4)}), 64)
    part.archive.write_bytes(part.archive.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="reaches beyond the end"):
        checkpoint.load_file(part)
    part.archive.unlink()
    with pytest.raises(CheckpointError, match="there is no file"):
        checkpoint.load_file(part)


@pytest.mark.parametrize("path", PTH, ids=lambda path: path.name)
def test_pytorch_files_read_the_same_inside_another(tmp_path, path):
    part = inside(tmp_path, path.read_bytes(), 4096 + 64, "m/x.pth")

    def outcome(source):
        try:
            return checkpoint.load_pth(source)
        except (CheckpointError, ValueError) as error:
            return type(error).__name__

    alone, inner = outcome(path), outcome(part)
    assert type(alone) is type(inner)
    if isinstance(alone, dict):
        assert list(alone) == list(inner) and all(np.array_equal(alone[k], inner[k], equal_nan=True) for k in alone)
    else:
        assert alone == inner


def test_shards_may_lie_in_an_archive(tmp_path):
    tensors = {"a": np.arange(4.0), "b": np.ones(4)}
    (tmp_path / "s").mkdir()
    names = checkpoint.save_sharded(tensors, tmp_path / "s", max_shard_bytes=32)
    index = tmp_path / "s" / "model.safetensors.index.json"
    parts = {}
    for i, name in enumerate([*names, index.name]):
        (tmp_path / str(i)).mkdir()
        parts[name] = inside(tmp_path / str(i), (tmp_path / "s" / name).read_bytes(), 128, f"m/{name}")
    loaded = checkpoint.load_sharded(parts[index.name], shards=parts)
    assert all(np.array_equal(loaded[name], tensors[name]) for name in tensors)
