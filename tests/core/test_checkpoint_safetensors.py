"""safetensors: equal to the safetensors package on good files, a clear refusal of every bad one."""

from __future__ import annotations

import errno
import json
import os
import random
import struct
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from nyala.core import checkpoint
from nyala.core.checkpoint import header as header_module
from nyala.core.errors import ArgumentError, CheckpointError, DtypeError, StorageError

ORACLE_DTYPES = ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]
WIDE_DTYPES = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz"]


def pack(header: object, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: object = "U8", shape: object = (4,), offsets: object = (0, 4), **more: object) -> dict[str, object]:
    shape, offsets = (list(x) if isinstance(x, tuple) else x for x in (shape, offsets))
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


FOUR = b"\0\1\2\3"
# The file, and what the error must say. Of the second half the safetensors package accepts all.
REJECTED = {
    "empty": (b"", "has 0 bytes: a safetensors file has at least 8. Remedy: download"),
    "short": (b"\1\0\0", "has 3 bytes: a safetensors file has at least 8"),
    "only a length": (struct.pack("<Q", 8), "announce a header of 8 bytes. Remedy: download"),
    "huge length": (struct.pack("<Q", 2**64 - 1) + b"{}", "announce a header of 18446744073709551615 bytes"),
    "length beyond the file": (struct.pack("<Q", 3) + b"{}", "has 10 bytes: its first 8 bytes announce a header of 3 bytes"),
    "empty header": (pack(b""), "does not begin with '{'"),
    "cut in the data": (pack({"w": entry()}, FOUR[:3]), "tensor 'w' reaches byte 72: the file has 71 bytes. Remedy: download"),
    "bytes at the end": (pack({"w": entry()}, FOUR + b"!"), "1 bytes at the end belong to no tensor"),
    "negative offset": (pack({"w": entry(offsets=(-1, 3))}, FOUR), "'w': an entry of data_offsets is [-1]"),
    "negative size": (pack({"w": entry(shape=(-4,))}, FOUR), "'w': size 0 of the shape is [-4]: it must lie between"),
    "ends before it begins": (pack({"w": entry(offsets=(4, 0))}, FOUR), "'w' has data_offsets [4, 0]: it ends before it begins"),
    "hole": (
        pack({"a": entry(shape=(1,), offsets=(0, 1)), "b": entry(shape=(2,), offsets=(2, 4))}, FOUR),
        "tensor 'b' comes after 1 unused bytes",
    ),
    "hole at the start": (pack({"a": entry(shape=(3,), offsets=(1, 4))}, FOUR), "tensor 'a' comes after 1 unused bytes"),
    "overlap": (
        pack({"a": entry(shape=(3,), offsets=(0, 3)), "b": entry(shape=(2,), offsets=(2, 4))}, FOUR),
        "tensor 'b' shares bytes with another tensor",
    ),
    "identical ranges": (pack({"a": entry(), "b": entry()}, FOUR), "tensor 'b' shares bytes with another tensor"),
    "shape and size": (pack({"w": entry(shape=(5,))}, FOUR), "that is 4 bytes: shape (5,) of U8 needs 5"),
    "dtype and size": (pack({"w": entry("F32")}, FOUR), "that is 4 bytes: shape (4,) of F32 needs 16"),
    "product overflow": (pack({"w": entry(shape=(2**32, 2**32))}, FOUR), "that is more than any memory holds"),
    "fraction in shape": (pack({"w": entry(shape=[4.0])}, FOUR), "'w': size 0 of the shape is a fraction: it must be a whole"),
    "boolean in shape": (pack({"w": entry(shape=[True], offsets=(0, 1))}, b"\0"), "'w': size 0 of the shape is a boolean"),
    "fraction in offsets": (pack({"w": entry(offsets=[0, 4.0])}, FOUR), "an entry of data_offsets is a fraction"),
    "infinite size": (pack(b'{"w":{"dtype":"U8","shape":[1e999],"data_offsets":[0,4]}}', FOUR), "is a fraction"),
    "shape is text": (pack({"w": entry(shape="4")}, FOUR), "'w' has a shape that is a text"),
    "one offset": (pack({"w": entry(offsets=[4])}, FOUR), "'w' has data_offsets that are not two numbers"),
    "unknown dtype": (pack({"w": entry("Q7")}, FOUR), "tensor 'w' has dtype 'Q7': nyala reads BOOL, U8"),
    "dtype is a list": (pack({"w": entry(["U8"])}, FOUR), "tensor 'w' has dtype a list"),
    "packed dtype": (pack({"w": entry("F4", (8,))}, FOUR), "tensor 'w' has dtype 'F4'"),
    "missing field": (pack({"w": {"dtype": "U8", "shape": [4]}}, FOUR), "tensor 'w' has no data_offsets"),
    "entry is a list": (pack({"w": [1]}, FOUR), "tensor 'w' is not described by an object: but by a list"),
    "entry is null": (pack({"w": None}, FOUR), "tensor 'w' is not described by an object: but by a null"),
    "metadata number": (pack({"__metadata__": {"a": 1}}), "__metadata__ entry 'a' is not a text: it is a number"),
    "metadata list": (pack({"__metadata__": ["a"]}), "__metadata__ is not an object of texts: it is a list"),
    "invalid UTF-8": (pack(b'{"\xff":1}'), "the header is not UTF-8: byte 2 is 0xff"),
    "a list": (pack(b"[]"), "does not begin with '{'"),
    "not JSON": (pack(b"{no}"), "the header is not valid JSON: Expecting property name"),
    "two objects": (pack(b"{}{}"), "the header is not valid JSON: Extra data"),
    "NaN": (pack(b'{"w":{"dtype":"U8","shape":[NaN],"data_offsets":[0,4]}}', FOUR), "the header holds NaN: JSON knows no such"),
    "Infinity": (pack(b'{"w":{"dtype":"U8","shape":[-Infinity],"data_offsets":[0,4]}}', FOUR), "holds -Infinity"),
    "deep nesting": (pack(b'{"w":' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "nested too deeply"),
    "thousands of digits": (pack(b'{"w":' + b"9" * 10_000 + b"}"), "not valid JSON: Exceeds the limit"),
    "lone surrogate in metadata": (pack(b'{"__metadata__":{"a":"\\ud800"}}'), "'a' is not valid Unicode"),
    "lone surrogate in name": (pack(b'{"\\ud800":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', FOUR), "cannot be printed"),
    "null byte after the JSON": (pack(b"{}\0"), "does not begin with '{' and end with '}'"),
}
ACCEPTED_ELSEWHERE = {
    "name given twice": (
        pack(b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}', FOUR),
        "'w' is given twice in the header: readers would disagree",
    ),
    "unknown field": (pack({"w": entry(order="F")}, FOUR), "tensor 'w' has unknown fields: 'order'"),
    "leading space": (pack(b" " + json.dumps({"w": entry()}).encode(), FOUR), "does not begin with '{'"),
    "empty name": (pack({"": entry()}, FOUR), "tensor name '' is empty"),
    "NUL in the name": (pack({"a\0b": entry()}, FOUR), r"tensor name 'a\x00b' holds characters that cannot be printed"),
    "path in the name": (pack({"../../etc": entry()}, FOUR), "tensor name '../../etc' climbs out of a folder"),
    "Windows path": (pack({"..\\etc": entry()}, FOUR), "climbs out of a folder"),
    "rank 40": (pack({"w": entry(shape=(4,) + (1,) * 39)}, FOUR), "tensor 'w' has 40 dimensions: the limit is 32"),
    "boolean of 2": (pack({"w": entry("BOOL")}, FOUR), "tensor 'w' holds booleans other than 0 and 1"),
    "long name": (pack({"n" * 2000: entry()}, FOUR), "has 2000 characters (the limit is 1024)"),
    "huge empty": (pack({"w": entry(shape=(0, 2**61), offsets=(0, 0))}), "that is more than any memory holds"),
}


@pytest.mark.parametrize("case", [*REJECTED, *ACCEPTED_ELSEWHERE])
def test_a_malformed_file_is_refused_by_name_and_cause(tmp_path, case):
    data, text = {**REJECTED, **ACCEPTED_ELSEWHERE}[case]
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    for read, name in ((lambda: checkpoint.load_file(path), str(path)), (lambda: checkpoint.load(data), "safetensors bytes")):
        with pytest.raises(CheckpointError) as caught:
            read()
        message = str(caught.value)
        assert text in message
        assert message.startswith(name)
        assert "Remedy: " in message
        assert caught.value.exit_code == 1


@pytest.mark.parametrize("case", [case for case in REJECTED if case != "packed dtype"])  # one that nyala does not read
def test_the_safetensors_package_refuses_the_first_list_too(case):
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(REJECTED[case][0])


@pytest.mark.parametrize("case", ACCEPTED_ELSEWHERE)
def test_the_second_list_is_stricter_than_the_safetensors_package(case):
    safetensors.deserialize(ACCEPTED_ELSEWHERE[case][0])


def test_too_many_tensors_stop_while_parsing(monkeypatch):
    monkeypatch.setattr(header_module, "MAX_TENSORS", 50)
    many = {f"t{i}": entry(shape=(0,), offsets=(0, 0)) for i in range(51)}
    with pytest.raises(CheckpointError, match=r"names more than 50 tensors"):
        checkpoint.load(pack(many))
    with pytest.raises(CheckpointError, match=r"names more than 50 tensors"):
        checkpoint.load(pack({f"t{i}": {"at": {"most": i}} for i in range(60)}))
    many.popitem()
    assert len(checkpoint.load(pack(many))) == 50


def test_a_header_over_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(header_module, "MAX_HEADER", 100)
    with pytest.raises(CheckpointError, match="the header has 101 bytes: the limit is 100"):
        checkpoint.load(pack(b"{" + b" " * 99 + b"}"))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>not found</html>", "is a web page"),
        (b"PK\x03\x04" + bytes(60), "is a zip archive, as PyTorch writes it. Remedy: read it with nyala.checkpoint.load_pth"),
        (b"\x80\x02\x8a\x0a" + b"x" * 60, "is a PyTorch file of the old kind"),
        (b"GGUF\x03\0\0\0" + bytes(60), "is a GGUF file"),
    ],
)
def test_another_kind_of_file_is_recognised(tmp_path, data, text):
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_file(tmp_path / "f")
    assert text in str(caught.value)


def test_a_missing_file_a_folder_and_a_pipe(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"did you mean 'model.safetensors'"):
        checkpoint.load_file(tmp_path / "model.safetensor")
    with pytest.raises(CheckpointError, match=r"there is no file .*none/x. Remedy: check the path"):
        checkpoint.load_file(tmp_path / "none" / "x")
    with pytest.raises(CheckpointError, match=r"is a folder, not a file. Remedy: name a file in it: model.safetensors"):
        checkpoint.load_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="is not a regular file"):  # opening it would wait for ever
        checkpoint.read_header(tmp_path / "pipe")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(pack({}))

    def deny(*_args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", deny)
    with pytest.raises(StorageError, match=r"could not read .*f: Permission denied. Remedy: check its permissions"):
        checkpoint.load_file(tmp_path / "f")


# ---- good files


def arrays_of(names: list[str]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {n: rng.integers(0, 2, (3, 5)).astype(np.dtype(getattr(ml_dtypes, n, n))) for n in names}


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype and left[name].shape == right[name].shape, name
        assert left[name].tobytes() == right[name].tobytes(), name


@pytest.mark.parametrize("writable", [True, False])
def test_every_dtype_comes_back(tmp_path, writable):
    arrays = arrays_of(ORACLE_DTYPES + WIDE_DTYPES)
    checkpoint.save_file(arrays, tmp_path / "f")
    read = checkpoint.load_file(tmp_path / "f", writable=writable)
    same(arrays, read)
    assert all(a.flags.aligned and a.flags.writeable == writable and not a.flags.owndata for a in read.values())


SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
NAMES = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12).filter(lambda n: ".." not in n)


@st.composite
def checkpoints(draw):
    count = draw(st.integers(0, 6))
    made = {}
    for name in draw(st.lists(NAMES, min_size=count, max_size=count, unique=True)):
        shape, dtype = draw(SHAPES), np.dtype(draw(st.sampled_from(ORACLE_DTYPES)))
        size = int(np.prod(shape)) * dtype.itemsize
        raw = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)
        made[name] = (raw % 2 if dtype == np.bool_ else raw).view(dtype).reshape(shape)
    return made


@settings(max_examples=150, deadline=None)
@given(
    checkpoints(),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_the_safetensors_package_reads_ours_and_we_read_its(arrays, metadata):
    ours = checkpoint.save(arrays, metadata)
    same(arrays, safetensors.numpy.load(ours))
    same(arrays, checkpoint.load(ours))
    same(arrays, checkpoint.load(safetensors.numpy.save(arrays, metadata or None)))
    shuffled = dict(random.sample(sorted(arrays.items()), len(arrays)))
    assert checkpoint.save(shuffled, dict(reversed(metadata.items()))) == ours
    assert int.from_bytes(ours[:8], "little") % 8 == 0


def test_metadata_and_header_agree_with_the_package(tmp_path):
    checkpoint.save_file({"a": np.zeros((2, 0, 3), "f2"), "b": np.ones(3, "i4")}, tmp_path / "f", {"z": "1", "a": "größe"})
    with safetensors.safe_open(tmp_path / "f", "np") as oracle:
        header = checkpoint.read_header(tmp_path / "f")
        assert header.metadata == oracle.metadata()
        assert set(header.tensors) == set(oracle.keys())
        assert header.tensors["a"].shape == (2, 0, 3) and header.tensors["b"].dtype == np.int32


VIEWS = {
    "transposed": lambda x: x.T,
    "stepped": lambda x: x[:, ::2],
    "reversed": lambda x: x[::-1],
    "broadcast": lambda x: np.broadcast_to(x[0, 0], (5, 2)),
    "Fortran": np.asfortranarray,
    "0-d array": lambda x: np.asarray(x[1, 1]),
    "0-d scalar": lambda x: x[1, 1],
    "big-endian": lambda x: x.astype(">f4"),
    "big-endian transposed": lambda x: x.astype(">f4").T,
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_written_as_what_it_shows(view):
    value = VIEWS[view](np.arange(12, dtype=np.float32).reshape(3, 4))
    for read in (checkpoint.load, safetensors.numpy.load):
        back = read(checkpoint.save({"x": value}))["x"]
        assert back.shape == value.shape
        np.testing.assert_array_equal(back, np.asarray(value))


def test_a_boolean_view_of_other_bytes_is_written_as_0_and_1():
    value = np.array([0, 1, 2, 255], np.uint8).view(np.bool_)
    assert checkpoint.save({"x": value})[-4:] == b"\0\1\1\1"


def test_an_unaligned_tensor_is_copied(tmp_path):
    header = {"a": entry("U8", (1,), (0, 1)), "b": entry("F32", (2,), (1, 9))}
    (tmp_path / "f").write_bytes(pack(header, b"\7" + np.float32([1.5, -2]).tobytes()))
    b = checkpoint.load_file(tmp_path / "f")["b"]
    assert b.flags.aligned
    np.testing.assert_array_equal(b, [1.5, -2])


def test_changing_a_loaded_array_never_changes_the_file(tmp_path):
    checkpoint.save_file({"w": np.zeros(4)}, tmp_path / "f")
    before = (tmp_path / "f").read_bytes()
    w = checkpoint.load_file(tmp_path / "f")["w"]
    w[:] = 7
    assert (tmp_path / "f").read_bytes() == before
    assert checkpoint.load_file(tmp_path / "f")["w"].sum() == 0
    with pytest.raises(ValueError, match="read-only"):
        checkpoint.load_file(tmp_path / "f", writable=False)["w"][:] = 1


def test_saving_over_a_file_that_is_mapped_keeps_the_arrays(tmp_path):
    checkpoint.save_file({"w": np.zeros(4)}, tmp_path / "f")
    old = checkpoint.load_file(tmp_path / "f")
    checkpoint.save_file({"w": old["w"] + 1}, tmp_path / "f")
    assert old["w"].sum() == 0
    assert checkpoint.load_file(tmp_path / "f")["w"].sum() == 4


def test_loading_copies_nothing(tmp_path):
    checkpoint.save_file({"w": np.zeros(4_000_000, np.float32)}, tmp_path / "f")
    tracemalloc.start()
    w = checkpoint.load_file(tmp_path / "f")["w"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert w.nbytes == 16_000_000 and peak < 500_000


def test_load_of_bytes_is_independent_of_them():
    data = bytearray(checkpoint.save({"w": np.zeros(4, np.uint8)}))
    w = checkpoint.load(data)["w"]
    data[-1] = 9
    w[0] = 5
    assert w.tolist() == [5, 0, 0, 0] and data[-4] == 0


def test_dtype_converts_floats_alone(tmp_path):
    checkpoint.save_file(arrays_of(["bool", "i8", "f2", "f4", "f8", *WIDE_DTYPES[:3]]), tmp_path / "f")
    read = checkpoint.load_file(tmp_path / "f", dtype="float32")
    assert {n: a.dtype.name for n, a in read.items() if a.dtype != np.float32} == {"bool": "bool", "i8": "int64"}
    assert not read["f4"].flags.owndata  # already right: still the mapped file
    np.testing.assert_array_equal(read["bfloat16"], checkpoint.load_file(tmp_path / "f")["bfloat16"].astype(np.float32))


def test_widen_leaves_wide_and_whole_numbers_alone():
    arrays = arrays_of(["f8", "i1", "f2", "bfloat16", "float8_e5m2", "c8"])
    wide = checkpoint.widen(arrays)
    assert [a.dtype.name for a in wide.values()] == ["float64", "int8", "float32", "float32", "float32", "complex64"]
    assert wide["f8"] is arrays["f8"]


def test_every_bfloat16_widens_to_the_float32_with_the_same_upper_half():
    bits = np.arange(1 << 16, dtype=np.uint16)
    wide = checkpoint.widen(checkpoint.load(checkpoint.save({"w": bits.view(ml_dtypes.bfloat16)})))["w"]
    finite = np.isfinite(wide)
    np.testing.assert_array_equal(wide.view(np.uint32)[finite], (bits.astype(np.uint32) << 16)[finite])


class OnTheGpu:
    """Refuses as CuPy's arrays do."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion is not allowed")


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "text"),
    [
        ({"": np.zeros(1)}, None, ArgumentError, "tensor name '' is empty"),
        ({"../x": np.zeros(1)}, None, ArgumentError, "tensor name '../x' climbs out of a folder"),
        ({"__metadata__": np.zeros(1)}, None, ArgumentError, "tensor name '__metadata__' is reserved"),
        ({3: np.zeros(1)}, None, ArgumentError, "tensor name 3 is an int, not a text"),
        ({"w": np.zeros(1, "c16")}, None, DtypeError, "tensor 'w' has dtype complex128"),
        ({"w": np.array([object()])}, None, DtypeError, "tensor 'w' has dtype object"),
        ({"w": np.array(["a"])}, None, DtypeError, "tensor 'w' has dtype <U1"),
        ({"w": np.zeros(1, ml_dtypes.int4)}, None, DtypeError, "tensor 'w' has dtype int4"),
        ({"w": [[1.0], [1.0, 2.0]]}, None, ArgumentError, "tensor 'w' is a list: setting an array element with a sequence"),
        ({"w": OnTheGpu()}, None, ArgumentError, "tensor 'w' is an OnTheGpu: Implicit conversion is not allowed"),
        ({"w": np.zeros(1)}, {"step": 3}, ArgumentError, "metadata 'step' is an int: names and values must be texts"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_before_writing(tmp_path, tensors, metadata, error, text):
    with pytest.raises(error) as caught:
        checkpoint.save_file(tensors, tmp_path / "f", metadata)
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_saving_leaves_the_old_file(tmp_path, monkeypatch):
    checkpoint.save_file({"w": np.zeros(4)}, tmp_path / "f")
    before = (tmp_path / "f").read_bytes()

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="free some space"):
        checkpoint.save_file({"w": np.ones(400)}, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


# ---- mutated files


def mutate(rng: random.Random, data: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made)) if made else 0
        kind = rng.randrange(5)
        if kind == 0 and made:
            made[at] = rng.randrange(256)
        elif kind == 1:
            made[at:at] = rng.choice([b"9", b"[", b'"', b"{", b"-", b"\0", b"1e9", b',"w":1', bytes([rng.randrange(256)])])
        elif kind == 2:
            del made[at : at + rng.randint(1, 8)]
        elif kind == 3:
            del made[at:]
        elif made:
            source = rng.randrange(len(made))
            made[at:at] = made[source : source + rng.randint(1, 30)]
    return bytes(made)


def test_3000_mutated_files_never_crash_nor_allocate_beyond_their_size(tmp_path):
    rng = random.Random(1)
    good = checkpoint.save({"a.weight": np.ones((3, 2), "f4"), "b": np.ones(3, bool), "c": np.ones((), "i8")}, {"k": "v"})
    refused = 0
    path = Path(tmp_path, "f")
    tracemalloc.start()
    for turn in range(3000):
        data = mutate(rng, good)
        if turn % 2:  # keep the length right, so that the JSON itself is reached
            body = data[8:]
            data = struct.pack("<Q", max(body.rfind(b"}") + 1, 0)) + body
        try:
            read = checkpoint.load(data)
            assert sum(a.nbytes for a in read.values()) <= len(data)
        except CheckpointError as error:
            refused += 1
            assert "safetensors bytes" in str(error)
        if turn % 20 == 0:
            path.write_bytes(data)
            try:
                checkpoint.load_file(path)
            except CheckpointError as error:
                assert str(path) in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 2000 < refused <= 3000
    assert peak < 4_000_000
