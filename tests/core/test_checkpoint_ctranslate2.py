"""CTranslate2's files: read whole, and every damage told."""

from __future__ import annotations

import struct

import fuzz
import ml_dtypes
import numpy as np
import pytest
from nyala.checkpoint import is_ctranslate2, read_ctranslate2
from nyala.errors import CheckpointError

KINDS = {np.dtype("f4"): 0, np.dtype("i1"): 1, np.dtype("i2"): 2, np.dtype("i4"): 3, np.dtype("f2"): 4}
KINDS[np.dtype(ml_dtypes.bfloat16)] = 5


def text(name: str) -> bytes:
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def file_of(tensors: dict[str, np.ndarray], aliases: dict[str, str] | None = None, version: int = 6) -> bytes:
    out = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, array in tensors.items():
        out += text(name) + struct.pack("<B", array.ndim) + struct.pack(f"<{array.ndim}I", *array.shape)
        out += struct.pack("<BI", KINDS[array.dtype], array.nbytes) + array.tobytes()
    out += struct.pack("<I", len(aliases or {}))
    return out + b"".join(text(a) + text(b) for a, b in (aliases or {}).items())


TENSORS = {
    "a/weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b/weight": np.arange(4, dtype=np.float16),
    "c/weight": np.arange(4).astype(ml_dtypes.bfloat16),
    "d/weight": np.array([[127, -127], [64, 0]], np.int8),
    "d/weight_scale": np.array([127.0, 64.0], np.float32),
    "heads": np.array(6, np.int16),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.bin"


def test_tensors_numbers_and_aliases(path):
    path.write_bytes(file_of(TENSORS, {"z": "a/weight"}))
    assert is_ctranslate2(path)
    head = read_ctranslate2(path)
    assert (head.spec, head.revision, head.aliases) == ("WhisperSpec", 3, {"z": "a/weight"})
    assert head.shapes["a/weight"] == (2, 3) and head.number("heads") == 6 and head.number("a/weight") is None
    found = head.load()
    assert set(found) == set(TENSORS) - {"d/weight_scale"}
    for name in ("a/weight", "b/weight", "c/weight", "heads"):
        np.testing.assert_array_equal(found[name], TENSORS[name])
        assert found[name].dtype == TENSORS[name].dtype
    np.testing.assert_allclose(found["d/weight"], [[1, -1], [1, 0]])


def test_other_files_are_none(path):
    for content in (
        b"",
        b"PK\x03\x04" + bytes(60),
        b"\x80\x02}q\x00." + bytes(60),
        struct.pack("<IH", 6, 3) + b"a b\0" + bytes(50),
    ):
        path.write_bytes(content)
        assert not is_ctranslate2(path)
    path.write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(CheckpointError, match="no CTranslate2 file"):
        read_ctranslate2(path)
    path.write_bytes(bytes(4))
    with pytest.raises(CheckpointError, match="too short"):
        read_ctranslate2(path)


def test_every_file_that_is_cut_short_is_refused(path):
    whole = file_of(TENSORS, {"z": "a/weight"})
    for length in range(16, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_ctranslate2(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw + b"x", "left over"),
        (lambda raw: raw.replace(struct.pack("<BII", 2, 2, 3), struct.pack("<BII", 2, 2, 4)), "said to have 24 bytes"),
        (lambda raw: raw.replace(struct.pack("<BII", 2, 2, 3), struct.pack("<BII", 9, 2, 3)), "9 dimensions"),
        (lambda raw: raw.replace(b"b/weight", b"a/weight"), "two tensors"),
        (lambda raw: raw.replace(struct.pack("<BI", 4, 8), struct.pack("<BI", 7, 8)), "numbers of kind 7"),
        (lambda raw: raw.replace(b"b/weight\0", b"b/weight!"), "no text"),
        (lambda raw: raw[:-9] + b"b/weighx\0", "stand for"),
    ],
)
def test_damage_is_named(path, change, said):
    raw = change(file_of(TENSORS, {"z": "a/weight"}))
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=said):
        read_ctranslate2(path)


def test_a_scale_that_does_not_fit_is_refused(path):
    path.write_bytes(file_of({**TENSORS, "d/weight_scale": np.ones(5, np.float32)}))
    with pytest.raises(CheckpointError, match=r"d/weight_scale of shape \(5,\)"):
        read_ctranslate2(path).load()


def test_a_giant_is_refused_before_anything_is_allocated(path):
    raw = file_of({"a": np.zeros((1, 1), np.float32)})
    giant = raw.replace(struct.pack("<BII", 2, 1, 1), struct.pack("<BII", 2, 2**31, 2**31))
    path.write_bytes(giant)
    with pytest.raises(CheckpointError, match="no memory holds"):
        read_ctranslate2(path)


GOOD = fuzz.ctranslate2_file(
    {"enc/w": ((2, 3), 1, bytes([1, 2, 3, 4, 5, 0xFF])), "enc/w_scale": ((2,), 0, struct.pack("<2f", 2, 4))}
)


def test_whole_numbers_are_widened_by_the_scale_of_their_row(path):
    path.write_bytes(GOOD)
    file = read_ctranslate2(path)
    assert (file.spec, file.revision, file.aliases) == ("WhisperSpec", 3, {"alias": "enc/w"})
    found = file.load()
    assert list(found) == ["enc/w"]
    np.testing.assert_array_equal(found["enc/w"], np.float32([[0.5, 1, 1.5], [1, 1.25, -0.25]]))


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"PK\3\4" + bytes(20), "is no CTranslate2 file of version 3 to 6"),
        (GOOD[:40], "it ends too early|lies behind its end|longer than the file"),
        (GOOD + b"x", r"1 byte\(s\) are left over"),
        (fuzz.ctranslate2_file({"w": ((4,), 9, b"")}), "has numbers of kind 9"),
        (fuzz.ctranslate2_file({"w": ((4,), 0, bytes(12))}), "is said to have 12 bytes"),
        (fuzz.ctranslate2_file({"w": ((0, 2**31, 2**31), 0, b"")}), "which no memory holds"),
        (fuzz.ctranslate2_file({"../w": ((1,), 1, b"\0")}), "climbs out of a folder"),
        (fuzz.ctranslate2_file({"": ((1,), 1, b"\0")}), "is empty"),
    ],
)
def test_damage_of_a_made_up_file_is_named(path, content, shown):
    with pytest.raises(CheckpointError, match=shown) as caught:
        path.write_bytes(content)
        read_ctranslate2(path)
    assert "Remedy: " in str(caught.value)
