"""Weights in ONNX files: read as they lie, and every damage told."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from nyala.checkpoint import read_onnx
from nyala.errors import CheckpointError


def varint(value: int) -> bytes:
    """A protocol buffer's number."""
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    """A field: a number, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def tensor(name: str, array: np.ndarray, kind: int = 1, packed: bool = False, raw: bytes | None = None) -> bytes:
    """A TensorProto."""
    dims = field(1, b"".join(varint(n) for n in array.shape)) if packed else b"".join(field(1, n) for n in array.shape)
    return dims + field(2, kind) + field(8, name) + field(9, array.tobytes() if raw is None else raw)


def matmul(path: str, *inputs: str) -> bytes:
    """A NodeProto."""
    return b"".join(field(1, name) for name in inputs) + field(2, "y") + field(3, path) + field(4, "MatMul")


def onnx(*tensors: bytes, nodes: tuple[bytes, ...] = ()) -> bytes:
    """A ModelProto."""
    graph = b"".join(field(1, node) for node in nodes) + field(2, "graph") + b"".join(field(5, t) for t in tensors)
    return field(1, 8) + field(2, "pytorch") + field(7, graph) + field(8, field(2, 17))


MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_tensors_come_as_they_lie(tmp_path: Path, packed: bool) -> None:
    half = np.array([1.5, -2], np.float16)
    content = onnx(tensor("a.weight", MATRIX, packed=packed), tensor("b", half, 10), tensor("n", np.array(7, np.int64), 7))
    found = read_onnx(written(tmp_path, content)).load()
    assert list(found) == ["a.weight", "b", "n"]
    assert np.array_equal(found["a.weight"], MATRIX) and found["a.weight"].dtype == np.float32
    assert np.array_equal(found["b"], half) and found["b"].dtype == np.float16
    assert found["n"].shape == () and found["n"] == 7


def test_numbers_may_lie_in_float_data(tmp_path: Path) -> None:
    content = field(1, 3) + field(2, 1) + field(4, struct.pack("<3f", 1, 2, 3)) + field(8, "x")
    assert read_onnx(written(tmp_path, onnx(content))).load()["x"].tolist() == [1, 2, 3]


def test_folded_weights_of_linear_layers_get_their_names_back(tmp_path: Path) -> None:
    content = onnx(tensor("onnx::MatMul_5", MATRIX), nodes=(matmul("/body/layer.0/fc/MatMul", "x", "onnx::MatMul_5"),))
    head = read_onnx(written(tmp_path, content))
    assert head.linear == {"onnx::MatMul_5": "body.layer.0.fc.weight"}
    assert np.array_equal(head.load()["body.layer.0.fc.weight"], MATRIX.T)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "too short"),
        (b"\x00" * 40, "no graph"),
        (field(1, 8) + field(2, "pytorch" * 4), "no graph"),
        (onnx(tensor("a", MATRIX))[:-20], "reaches beyond"),
        (onnx(tensor("a", MATRIX, raw=b"1234")), "has 4 bytes"),
        (onnx(tensor("a", MATRIX), tensor("a", MATRIX)), "two tensors are called a"),
        (onnx(tensor("a", MATRIX, 8)), "numbers of kind 8"),
        (onnx(tensor("a", MATRIX) + field(14, 1)), "lies in another file"),
        (onnx(field(1, 1 << 62) * 2 + field(2, 1) + field(8, "a") + field(9, b"")), "which no memory holds"),
        (onnx(tensor("\n", MATRIX)), "tensor name"),
        (onnx(field(1, 1) * 9 + field(2, 1) + field(8, "a") + field(9, b"1234")), "which no memory holds"),
        (onnx(field(5, 3)), "no text|numbers of kind|name"),
        (varint(7 << 3 | 3) + b"\x00" * 20, "wire type 3"),
        (b"\xff" * 40, "more than ten bytes"),
    ],
)  # fmt: skip
def test_damage_is_told(tmp_path: Path, content: bytes, text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        read_onnx(written(tmp_path, content))


def test_cut_anywhere_it_is_refused_or_whole(tmp_path: Path) -> None:
    content = onnx(tensor("a.weight", MATRIX), nodes=(matmul("/a/MatMul", "x", "onnx::MatMul_5"),))
    for end in range(len(content)):
        try:
            found = read_onnx(written(tmp_path, content[:end])).load()
        except CheckpointError:
            continue
        assert np.array_equal(found["a.weight"], MATRIX)


def test_two_weights_never_get_one_name(tmp_path: Path) -> None:
    nodes = (matmul("/fc/MatMul", "x", "onnx::MatMul_1"), matmul("/fc/MatMul", "x", "onnx::MatMul_2"))
    content = onnx(tensor("onnx::MatMul_1", MATRIX), tensor("onnx::MatMul_2", MATRIX), nodes=nodes)
    with pytest.raises(CheckpointError, match="one name"):
        read_onnx(written(tmp_path, content))
