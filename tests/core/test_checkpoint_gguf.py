"""GGUF files: blocks against the gguf package, and damaged heads."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from nyala.checkpoint import load_file, read_gguf
from nyala.errors import CheckpointError

GOLDENS = load_file(Path(__file__).parents[1] / "goldens" / "gguf.safetensors")
NUMBERS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8, "Q4_K": 12, "Q6_K": 14, "BF16": 30, "ODD": 19}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf(tensors: dict[str, tuple[str, tuple[int, ...], bytes]], pairs: bytes = b"", count: int = 0, version: int = 3) -> bytes:
    """A file of these tensors: name -> (kind, shape, data)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), count) + pairs
    data = b""
    for name, (kind, shape, raw) in tensors.items():
        dims = b"".join(struct.pack("<Q", n) for n in reversed(shape))
        head += text(name) + struct.pack("<I", len(shape)) + dims + struct.pack("<IQ", NUMBERS[kind], len(data))
        data += raw + b"\0" * (-len(raw) % 32)
    return head + b"\0" * (-len(head) % 32) + data


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K"])
def test_blocks_are_the_reference(kind, tmp_path):
    raw, values = GOLDENS[f"{kind}.raw"], GOLDENS[f"{kind}.values"]
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf({"w": (kind, values.shape, raw.tobytes())}))
    found = read_gguf(path).load()["w"]
    assert found.shape == values.shape and found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_plain_numbers_and_metadata(tmp_path):
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(4, dtype=np.float16)
    pairs = text("s") + struct.pack("<I", 8) + text("ünï") + text("n") + struct.pack("<II", 4, 7)
    pairs += (
        text("l") + struct.pack("<IIQ3i", 9, 5, 3, 1, -2, 3) + text("t") + struct.pack("<IIQ", 9, 8, 2) + text("x") + text("")
    )
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf({"a": ("F32", (2, 3), a.tobytes()), "b": ("F16", (4,), b.tobytes())}, pairs, 4))
    file = read_gguf(path)
    assert file.metadata == {"s": "ünï", "n": 7, "l": [1, -2, 3], "t": ["x", ""]}
    assert file.shapes == {"a": (2, 3), "b": (4,)}
    found = file.load()
    np.testing.assert_array_equal(found["a"], a)
    np.testing.assert_array_equal(found["b"], b)


TWO = gguf({"a": ("F32", (4,), b"\0" * 16), "b": ("F32", (4,), b"\0" * 16)})
SHARED = TWO.replace(struct.pack("<QIQ", 4, 0, 32), struct.pack("<QIQ", 4, 0, 0))  # both begin where the first does
GOOD = gguf({"w": ("F32", (4,), b"\0" * 16)}, text("k") + struct.pack("<I", 8) + text("value"), 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a GGUF file"),
        (b"PK\3\4" + GOOD[4:], "not a GGUF file"),
        (GOOD[:4] + struct.pack("<I", 9) + GOOD[8:], "version 9"),
        (GOOD[:40], "damaged: .*it ends|damaged: a text"),
        (GOOD[:-20], "w lies behind its end"),
        (GOOD[:8] + struct.pack("<Q", 2**63) + GOOD[16:], "tensors and 1 values"),
        (gguf({"w": ("Q4_0", (20,), b"\0" * 18)}), "not made of blocks of 32"),
        (gguf({"w": ("F32", (2**40, 2**40), b"\0" * 16)}), "behind its end"),
        (gguf({}, text("k") + struct.pack("<IIQ", 9, 0, 2**60), 1), "a list of .* numbers is longer"),
        (gguf({}, text("k") + struct.pack("<I", 77), 1), "kind 77"),
        (gguf({}, struct.pack("<Q", 2**62), 1), "a text of .* bytes is longer"),
        (gguf({"w": ("ODD", (4,), b"\0" * 16)}), "numbers of kind 19"),
        (gguf({"w": ("F32", (0, 2**61), b"")}), "no memory holds shape"),
        (gguf({"../w": ("F32", (4,), b"\0" * 16)}), "climbs out of a folder"),
        (gguf({"": ("F32", (4,), b"\0" * 16)}), "is empty"),
        (gguf({}, 2 * (text("k") + struct.pack("<II", 4, 7)), 2), "has 'k' twice"),
        (SHARED, "b shares bytes with a"),
    ],
)
def test_damage_is_named(content, message, tmp_path):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_gguf(path)


def test_random_damage_ends_in_a_word(tmp_path):
    random, path = np.random.default_rng(0), tmp_path / "bad.gguf"
    for _ in range(400):
        content = bytearray(GOOD)
        for place in random.integers(0, len(content), 3):
            content[place] = random.integers(256)
        path.write_bytes(content[: random.integers(1, len(content) + 1)])
        with contextlib.suppress(CheckpointError):  # anything else fails the test
            read_gguf(path).load()
