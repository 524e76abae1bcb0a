"""PyTorch files: tensors as PyTorch reads them, and nothing else; no program in a file is ever run."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from nyala.core import checkpoint
from nyala.core.errors import CheckpointError, UnsafeFileError
from pth_format import (
    MAGIC,
    NUMBERS,
    WRITERS,
    call,
    integer,
    items,
    name,
    program,
    state,
    storage,
    streamed,
    tensor,
    text,
    zipped,
)

GOLDENS = Path(__file__).parents[1] / "goldens" / "pth"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.pth"


# ---- good files


@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.parametrize("what", ["tensors", "training"])
def test_files_written_by_pytorch_hold_what_pytorch_says(what, kind):
    expected = checkpoint.load_file(GOLDENS / f"{what}.expected.safetensors")
    read = checkpoint.load_pth(GOLDENS / f"{what}.{kind}.pth")
    assert read.keys() == expected.keys()
    for key, array in read.items():
        assert (array.dtype, array.shape) == (expected[key].dtype, expected[key].shape), key
        assert array.tobytes() == expected[key].tobytes(), key


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_views_and_tied_tensors_share_memory_as_in_pytorch(kind):
    read = checkpoint.load_pth(GOLDENS / f"tensors.{kind}.pth")
    assert read["tied"] is read["base"]
    assert read["transposed"].strides == read["base"].strides[::-1]
    read["base"][1, 1] = 99
    assert read["sliced"][0, 0] == 99 and read["transposed"][1, 1] == 99
    assert all(array.flags.aligned for array in read.values())


def test_a_zip_archive_is_not_copied_and_never_changed():
    file = GOLDENS / "tensors.zip.pth"
    before = file.read_bytes()
    read = checkpoint.load_pth(file)
    assert not read["float32"].flags.owndata
    read["float32"][:] = 5
    assert file.read_bytes() == before
    with pytest.raises(ValueError, match="read-only"):
        checkpoint.load_pth(file, writable=False)["float32"][:] = 1


def test_dtype_converts_floats_alone():
    read = checkpoint.load_pth(GOLDENS / "tensors.zip.pth", dtype="float32")
    assert read["bfloat16"].dtype == read["float8_e5m2"].dtype == read["float64"].dtype == np.float32
    assert read["int64"].dtype == np.int64 and read["bool"].dtype == np.bool_


def test_what_is_read_can_be_saved_and_read_again():
    read = checkpoint.load_pth(GOLDENS / "tensors.legacy.pth")
    back = checkpoint.load(checkpoint.save(read))
    assert all(back[key].tobytes() == read[key].tobytes() for key in read)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model_state", "model", None])
def test_a_wrapped_state_dict_is_unwrapped_and_its_names_kept(path, write, wrapper):
    inner = b"}" + text("module.w") + tensor() + b"s"
    code = program(b"}(" + text("epoch") + integer(3) + text(wrapper) + inner + b"u") if wrapper else program(inner)
    read = checkpoint.load_pth(write(path, code))
    assert list(read) == ["module.w"]
    np.testing.assert_array_equal(read["module.w"], NUMBERS.reshape(2, 3))


def test_states_of_optimizers_beside_it_may_have_addresses_as_keys(path):
    beside = text("optimizer_state") + b"}" + integer(140_234_567_890_123) + integer(3) + b"s"
    code = program(b"}(" + beside + text("model_state") + b"}" + text("w") + tensor() + b"su")
    assert list(checkpoint.load_pth(WRITERS[0](path, code))) == ["w"]


FORMS = {
    "empty state dict": (program(b"}"), []),
    "make dict from mark": (program(b"(" + text("w") + tensor() + b"d"), ["w"]),
    "pairs": (program(call(name("collections", "OrderedDict"), b"](" + items(text("w"), tensor()) + b"e")), ["w"]),
    "memo": (program(b"}(" + text("a") + tensor() + b"q\x07" + text("b") + b"h\x07u"), ["a", "b"]),
    "long memo": (program(b"}(" + text("a") + tensor() + b"r\0\1\0\0" + text("b") + b"j\0\1\0\0u"), ["a", "b"]),
    "memoize": (program(b"}(" + text("a") + tensor() + b"\x94" + text("b") + b"h\x00u"), ["a", "b"]),
    "protocol 4 text": (b"\x80\x04\x95" + bytes(8) + b"}\x8c\1w" + tensor() + b"s.", ["w"]),
    "Python 2 text": (program(b"}U\1w" + tensor() + b"s"), ["w"]),
    "stack global": (state(w=tensor(function=text("torch._utils") + text("_rebuild_tensor_v2") + b"\x93")), ["w"]),
    "first rebuild": (state(w=tensor(rest=(), function=name("torch._utils", "_rebuild_tensor"))), ["w"]),
    "CUDA storage": (state(w=tensor(storage(kind=name("torch.cuda", "FloatStorage")))), ["w"]),
    "parameter": (state(w=call(name("torch._utils", "_rebuild_parameter"), tensor(), b"\x88", b"N")), ["w"]),
    "attributes dropped": (program(call(name("collections", "OrderedDict")) + b"}" + text("_metadata") + b"Nsb"), []),
    "duplicate and pop": (program(b"}20"), []),
    "pop to mark": (program(b"}(NNN1"), []),
    "size": (
        state(w=tensor().replace(items(integer(2), integer(3)), call(name("torch", "Size"), items(integer(2), integer(3))))),
        ["w"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("write", WRITERS)
def test_every_form_of_the_format_is_read(path, write, form):
    code, expected = FORMS[form]
    if write is streamed and not expected:
        streamed(path, code, blocks=())
    else:
        write(path, code)
    read = checkpoint.load_pth(path)
    assert list(read) == expected
    assert all(array.tobytes() == NUMBERS.tobytes() for array in read.values())


def test_an_old_view_of_a_storage_is_not_misread(path):
    view = items(text("key"), integer(1), integer(2))
    with pytest.raises(CheckpointError, match="a storage is not described as PyTorch describes one"):
        checkpoint.load_pth(streamed(path, state(w=tensor(storage("0", name("torch", "FloatStorage"), integer(6), view)))))


# ---- programs that would do something


def touch(marker: str) -> bytes:
    return text(f"touch {marker}")


def hostile(marker: str) -> dict[str, tuple[bytes, str]]:
    shell = touch(marker)
    system = name("os", "system")
    ordered = name("collections", "OrderedDict")
    return {
        "call": (program(call(system, shell)), "os.system"),
        "posix": (program(call(name("posix", "system"), shell)), "posix.system"),
        "eval": (program(call(name("builtins", "eval"), text(f"open({marker!r}, 'w')"))), "builtins.eval"),
        "exec of Python 2": (program(call(name("__builtin__", "execfile"), shell)), "__builtin__.execfile"),
        "getattr": (program(call(name("builtins", "getattr"), text("os"), text("system"))), "builtins.getattr"),
        "import": (program(call(name("builtins", "__import__"), text("os"))), "builtins.__import__"),
        "stack global": (program(text("os") + text("system") + b"\x93" + items(shell) + b"R"), "os.system"),
        "dotted stack global": (program(text("collections") + text("OrderedDict.__init__.__globals__") + b"\x93"), "__globals__"),
        "dotted module": (
            program(text("torch") + text("_utils._rebuild_tensor_v2") + b"\x93"),
            "torch._utils._rebuild_tensor_v2",
        ),
        "computed name": (program(integer(3) + text("system") + b"\x93"), "it computes the name"),
        "inside a state dict": (state(a=tensor(), b=call(system, shell)), "os.system"),
        "as a hook": (state(a=tensor(rest=(b"\x89", call(system, shell)))), "os.system"),
        "as an attribute": (program(call(ordered) + b"}" + text("x") + call(system, shell) + b"sb"), "os.system"),
        "as a key": (program(b"}" + call(system, shell) + b"Ns"), "os.system"),
        "after the value": (program(b"}" + call(system, shell) + b"0"), "os.system"),
        "torch.load": (program(call(name("torch", "load"), shell)), "torch.load"),
        "bytes of another": (program(call(name("torch.storage", "_load_from_bytes"), shell)), "torch.storage._load_from_bytes"),
        "hub": (program(call(name("torch.hub", "load"), shell)), "torch.hub.load"),
        "a whole model": (program(name("torchvision.models.resnet", "ResNet") + b")\x81"), "torchvision.models.resnet.ResNet"),
        "namespace": (program(name("argparse", "Namespace") + b")\x81"), "argparse.Namespace"),
        "numpy": (program(name("numpy.core.multiarray", "scalar")), "numpy.core.multiarray.scalar"),
        "namedtuple": (program(name("collections", "namedtuple")), "collections.namedtuple"),
        "reconstructor": (program(name("copyreg", "_reconstructor")), "copyreg._reconstructor"),
        "INST": (program(b"(" + shell + b"ios\nsystem\n"), "os.system (INST)"),
        "OBJ": (program(b"(" + ordered + shell + b"o"), "OBJ"),
        "NEWOBJ": (program(ordered + b")\x81"), "NEWOBJ"),
        "NEWOBJ_EX": (program(ordered + b")}\x92"), "NEWOBJ_EX"),
        "EXT1": (program(b"\x82\x01"), "EXT1"),
        "EXT2": (program(b"\x83\x01\x00"), "EXT2"),
        "EXT4": (program(b"\x84\x01\x00\x00\x00"), "EXT4"),
        "PERSID": (program(b"Pabc\n"), "PERSID"),
        "NEXT_BUFFER": (program(b"\x97"), "NEXT_BUFFER"),
        "BUILD on a dict": (program(b"}}b"), "sets the state of a dict (BUILD)"),
        "BUILD on a tensor": (program(tensor() + b"}b"), "sets the state of a TensorRecord (BUILD)"),
        "BUILD on a function": (program(ordered + b"}b"), "(BUILD)"),
        "call of a text": (program(text("os.system") + items(shell) + b"R"), "it calls a str"),
        "call of a dtype": (program(call(name("torch", "float32"), shell)), "it calls a "),
        "call of a storage type": (program(call(name("torch", "FloatStorage"), shell)), "it calls a "),
        "arguments no tuple": (program(ordered + b"]R"), "it calls a "),
        "control characters in a name": (program(name("os\x1b[2J", "system")), r"os\x1b[2J.system"),
    }


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("case", hostile(""))
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path, path, write, case):
    marker = tmp_path / "marker"
    code, shown = hostile(str(marker))[case]
    with pytest.raises(UnsafeFileError) as caught:
        checkpoint.load_pth(write(path, code))
    message = str(caught.value)
    assert shown in message and str(path) in message
    assert "runs code that its author chose" in message and "Remedy: get these weights as safetensors" in message
    assert caught.value.exit_code == 1
    assert not marker.exists()


def test_code_before_the_tensors_of_a_stream_is_refused_too(tmp_path, path):
    evil = program(call(name("os", "system"), touch(str(tmp_path / "marker"))))
    for data in (evil, program(integer(MAGIC)) + evil, program(integer(MAGIC)) + program(integer(1001)) + evil):
        path.write_bytes(data.ljust(64, b"\0"))
        with pytest.raises(UnsafeFileError, match=r"os\.system"):
            checkpoint.load_pth(path)
    assert not (tmp_path / "marker").exists()


def test_a_torchscript_program_is_refused(path):
    zipped(path, state(w=tensor()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/constants.pkl", b"")
    with pytest.raises(UnsafeFileError, match="is a TorchScript program"):
        checkpoint.load_pth(path)


# ---- programs that waste or make no sense

BOMB = b"]q\0" + b"".join(b"0](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
PAIRS = b"](" + items(text("a"), b"N") * 60_000 + b"e\x94"
WASTEFUL = {
    "billion laughs": (state(w=BOMB), "entry 'w' is a list, not a tensor"),
    "deep tuples": (state(w=b"N" + b"\x85" * 400_000), "entry 'w' is a tuple"),
    "deep lists": (state(w=b"]" * 300_000 + b"a" * 299_999), "entry 'w' is a list"),
    "tuple as a key": (program(b"}" + b")q\0" + b"0h\0h\0\x86q\0" * 60 + b"Ns"), "a dict has a key that is a tuple"),
    "huge key": (program(b"}" + integer(1 << 100) + b"Ns"), "a dict has a key that is a int"),
    "float key": (program(b"}G" + bytes(8) + b"Ns"), "a dict has a key that is a float"),
    "a list that holds itself": (state(w=b"]q\0h\0a"), "entry 'w' is a list"),
    "a dict that holds itself": (program(b"}q\0" + text("w") + b"h\0s"), "entry 'w' is a dict"),
    "too many steps": (program(b"N0" * 1_000_001 + b"}"), "is longer than 2000000 steps"),
    "the same pairs again and again": (
        program(PAIRS + (b"0" + name("collections", "OrderedDict") + b"h\0\x85R") * 50),
        "is longer than 2000000 steps",
    ),
    "text beyond the end": (program(b"X\xff\xff\xff\xff"), "a text of 4294967295 bytes reaches beyond"),
    "text of 2**63": (program(b"\x8d" + b"\xff" * 8), "a text of 18446744073709551615 bytes reaches beyond"),
    "integer of 2**31 bytes": (program(b"\x8b\0\0\0\x80"), "an integer of 2147483648 bytes"),
    "integer of 255 bytes": (program(b"\x8a\xff" + bytes(255)), "an integer of 255 bytes"),
    "text not UTF-8": (program(b"X\1\0\0\0\xff"), "a text is not UTF-8"),
    "name without end": (b"\x80\x02cos" + b"x" * 2000, "a name does not end"),
    "nothing to work on": (program(b"R"), "finds no value to work on"),
    "value below the mark": (program(b"N(0a"), "finds no value to work on"),
    "no mark": (program(b"t"), "an instruction finds no mark"),
    "unknown value": (program(b"h\x05"), "value 5 is used before it is made"),
    "key without a value": (program(b"}(NNNu"), "a dict has a key without a value"),
    "append to a dict": (program(b"}Na"), "an instruction for a list finds a dict"),
    "items of a list": (program(b"](u"), "an instruction for a dict finds a list"),
    "protocol 9": (b"\x80\x09}.", "protocol 9 is unknown"),
    "text instruction": (program(b"I5\n"), "text instruction 'I'"),
    "unknown instruction": (program(b"\xff"), "instruction 0xff has no place in a weight file"),
    "bytes": (program(b"C\1x"), "instruction 0x43 has no place"),
    "set": (program(b"\x8f"), "instruction 0x8f has no place"),
    "a tensor": (program(tensor()), "holds a tensor, not a state dict"),
    "a list": (program(b"]"), "holds a list, not a state dict"),
    "a number in it": (state(w=integer(3)), "entry 'w' is a int, not a tensor. Remedy: save model.state_dict()"),
    "a number as name": (program(b"}" + integer(3) + tensor() + b"s"), "tensor name '3' is no text"),
    "a path as name": (program(b"}" + text("../w") + tensor() + b"s"), "tensor name '../w' climbs out"),
    "wrong argument count": (state(w=call(name("torch._utils", "_rebuild_tensor_v2"), storage())), "is given 1 arguments"),
    "OrderedDict of a number": (program(call(name("collections", "OrderedDict"), integer(3))), "OrderedDict is given a int"),
    "OrderedDict of numbers": (program(call(name("collections", "OrderedDict"), b"](K\1e")), "something else than pairs"),
    "Size of a number": (program(call(name("torch", "Size"), integer(3))), "torch.Size is given a int"),
    "parameter of a number": (
        state(w=call(name("torch._utils", "_rebuild_parameter"), b"N", b"N", b"N")),
        "is made of a NoneType",
    ),
    "no storage": (state(w=tensor(b"N")), "a tensor has no storage or no dtype"),
    "storage of a text": (state(w=tensor(text("0") + b"Q")), "a storage is not described as PyTorch"),
    "storage of a negative size": (state(w=tensor(storage(size=integer(-1)))), "storage '0' has a size that no storage can have"),
    "storage of a boolean size": (state(a=tensor(storage(size=b"\x88"))), "storage '0' has a size that no storage can have"),
    "storage of two kinds": (
        state(a=tensor(), b=tensor(storage(kind=name("torch", "IntStorage")))),
        "is described twice, differently",
    ),
    "untyped without dtype": (state(w=tensor(storage(kind=name("torch.storage", "UntypedStorage")))), "no storage or no dtype"),
    "conjugate": (state(w=tensor(rest=(b"\x89", b"N", b"}" + text("conj") + b"\x88s"))), "is a lazy conjugate or negative"),
    "negative offset": (state(w=tensor(offset=-1)), "has a offset no tensor can have"),
    "negative size": (state(w=tensor(shape=(-2, 3))), "has a shape no tensor can have"),
    "negative stride": (state(w=tensor(stride=(-3, 1))), "has a stride no tensor can have"),
    "huge size": (state(w=tensor(shape=(1 << 62, 1))), "has a shape no tensor can have"),
    "boolean size": (state(w=tensor().replace(integer(2) + integer(3), b"\x88" + integer(3))), "has a shape no tensor"),
    "rank": (state(w=tensor(shape=(1,) * 40, stride=(1,) * 40)), "a tensor has 40 sizes and 40 strides"),
    "sizes and strides": (state(w=tensor(stride=(1,))), "has 2 sizes and 1 strides"),
    "view beyond the storage": (state(w=tensor(offset=1)), "tensor 'w' reaches item 6 of its storage: that has 6"),
    "view far beyond": (state(w=tensor(stride=(1 << 60, 1))), "tensor 'w' reaches item"),
    "empty but huge": (state(w=tensor(shape=(0, 1 << 60))), "has a shape that is more than any memory holds"),
    "expanded without limit": (state(w=tensor(shape=(1 << 20, 1 << 20), stride=(0, 0))), "show far more than the file holds"),
    "expanded many times": (
        program(b"}(" + b"".join(text(f"w{i}") + tensor(shape=(1 << 12, 1 << 11), stride=(0, 0)) for i in range(3)) + b"u"),
        "tensor 'w2' shows 33554432 bytes: the file's tensors show far more",
    ),
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("case", WASTEFUL)
def test_a_program_that_wastes_or_makes_no_sense_is_refused(path, write, case):
    code, shown = WASTEFUL[case]
    write(path, code)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_pth(path)
    assert shown in str(caught.value)
    assert str(path) in str(caught.value)
    assert "Remedy: " in str(caught.value)


def test_booleans_other_than_0_and_1_are_refused(path):
    block = storage(kind=name("torch", "BoolStorage"))
    zipped(path, state(w=tensor(block)), {"0": b"\0\1\0\1\0\2"})
    with pytest.raises(CheckpointError, match="tensor 'w' holds booleans other than 0 and 1"):
        checkpoint.load_pth(path)


# ---- archives


def test_a_storage_larger_than_its_member_or_missing(path):
    with pytest.raises(CheckpointError, match="has a storage of 24 bytes: the file holds 20 of them"):
        checkpoint.load_pth(zipped(path, state(w=tensor()), {"0": bytes(20)}))
    with pytest.raises(CheckpointError, match="the zip archive has no 'm/data/0': a tensor needs it"):
        checkpoint.load_pth(zipped(path, state(w=tensor()), {}))
    with pytest.raises(CheckpointError, match=r"has a storage of \d+ bytes"):
        checkpoint.load_pth(zipped(path, state(w=tensor(storage(size=integer(1 << 60)), shape=(1 << 50,), stride=(1,)))))
    with pytest.raises(CheckpointError, match=r"the zip archive has no 'm/data/\.\./version'"):
        checkpoint.load_pth(zipped(path, state(w=tensor(storage("../version")))))


def test_a_compressed_archive_is_refused_without_unpacking(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", program(b"N0" * 500_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match=r"'m/data\.pkl' is compressed: PyTorch stores it plainly"):
        checkpoint.load_pth(path)


@pytest.mark.parametrize("bad", ["../../evil", "/etc/evil", "m/../../evil", "m\\evil", "m/\x1bevil"])
def test_member_names_that_lead_out_are_refused(path, bad):
    zipped(path, state(w=tensor()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(bad, b"")
    with pytest.raises(CheckpointError, match="is empty, or leads out of the archive"):
        checkpoint.load_pth(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_can_be_read_in_two_ways_are_refused(path):
    good = zipped(path, state(w=tensor())).read_bytes()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/data.pkl", program(b"}"))
    cases = {
        "holds 'm/data.pkl' twice": path.read_bytes(),
        "bytes before the first zip member": None,
        "has another name or method": good.replace(b"m/version", b"m/vorsion", 1),
        "the zip archive has no end": good + b"x",
        "or has a comment": good[:-2] + b"\1\0",
        "table of members lies outside": good[:-6] + struct.pack("<I", len(good)) + good[-2:],
    }
    table = struct.unpack("<I", good[-6:-2])[0]
    prefix = b"PK\x03\x04" + bytes(26)  # looks like a member, belongs to none
    moved = bytearray(prefix + good)
    at = len(prefix) + table
    for _ in range(4):
        where = struct.unpack_from("<I", moved, at + 42)[0]
        struct.pack_into("<I", moved, at + 42, where + len(prefix))
        at += 46 + sum(struct.unpack_from("<3H", moved, at + 28))
    struct.pack_into("<I", moved, len(moved) - 6, table + len(prefix))
    cases["bytes before the first zip member"] = bytes(moved)
    encrypted = bytearray(good)
    encrypted[table + 8] |= 1
    cases["is encrypted"] = bytes(encrypted)
    liar = bytearray(good)
    struct.pack_into("<2I", liar, table + 20, 1 << 20, 1 << 20)
    cases["more than the archive holds"] = bytes(liar)
    longer = bytearray(good)
    sizes = struct.unpack_from("<2I", longer, table + 20)
    struct.pack_into("<2I", longer, table + 20, sizes[0] + 60, sizes[1] + 60)
    cases["shares bytes with another member"] = bytes(longer)
    for shown, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=shown):
            checkpoint.load_pth(path)


def with_64_bit_table(data: bytes) -> bytes:
    """The archive as it would be written beyond 4 GiB: sizes and places of members in 64-bit fields."""
    count, length, table = struct.unpack("<H2I", data[-12:-2])
    entries, at = b"", table
    for _ in range(count):
        fixed = bytearray(data[at : at + 46])
        packed, size, named = struct.unpack("<2IH", fixed[20:30])
        place = struct.unpack("<I", fixed[42:46])[0]
        fixed[20:28], fixed[30:32], fixed[42:46] = b"\xff" * 8, struct.pack("<H", 28), b"\xff" * 4
        entries += bytes(fixed) + data[at + 46 : at + 46 + named] + struct.pack("<2H3Q", 1, 24, size, packed, place)
        at += 46 + named
    assert at == table + length
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(entries), table)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, table + len(entries), 1)
    return data[:table] + entries + end64 + locator + b"PK\x05\x06" + b"\0" * 4 + b"\xff" * 12 + b"\0\0"


def test_an_archive_with_64_bit_sizes_is_read(path):
    data = with_64_bit_table(zipped(path, state(w=tensor())).read_bytes())
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:  # the standard library agrees that it is one
        assert archive.testzip() is None
    np.testing.assert_array_equal(checkpoint.load_pth(path)["w"], NUMBERS.reshape(2, 3))
    path.write_bytes(data.replace(struct.pack("<2H", 1, 24), struct.pack("<2H", 1, 8)))
    with pytest.raises(CheckpointError, match="has no 64-bit size"):
        checkpoint.load_pth(path)
    path.write_bytes(data.replace(struct.pack("<2H", 1, 24), struct.pack("<2H", 1, 240)))
    with pytest.raises(CheckpointError, match="has a damaged extra field"):
        checkpoint.load_pth(path)


def test_archives_that_pytorch_did_not_write(path, monkeypatch):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="is a zip archive, but none that PyTorch wrote"):
        checkpoint.load_pth(path)
    with pytest.raises(CheckpointError, match="saved on a big-endian machine"):
        checkpoint.load_pth(zipped(path, state(w=tensor()), order=b"big"))
    monkeypatch.setattr(checkpoint.archive, "MAX_MEMBERS", 3)
    with pytest.raises(CheckpointError, match="has 4 members: the limit is 3"):
        checkpoint.load_pth(zipped(path, state(w=tensor())))


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_a_file_cut_anywhere_is_refused(path, kind):
    whole = (GOLDENS / f"training.{kind}.pth").read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"Remedy: download|written by torch\.save"):
            checkpoint.load_pth(path)


# ---- streams


def test_streams_that_do_not_add_up(path):
    good = state(w=tensor())
    six = NUMBERS.tobytes()
    cases = {
        "was not written by torch.save": streamed(path, good, magic=3).read_bytes(),
        "version 7 is unknown": streamed(path, good, version=7).read_bytes(),
        "big-endian": streamed(path, good, system=program(b"}" + text("little_endian") + b"\x89s")).read_bytes(),
        "version 1001 is unknown": streamed(path, good, system=program(b"N")).read_bytes(),
        "1 bytes at the end belong to no tensor": streamed(path, good, tail=b"x").read_bytes(),
        "of 24 bytes is cut": streamed(path, good, blocks=(("0", 6, six[:-1]),)).read_bytes(),
        "of 24 bytes is cut, or given twice": streamed(path, good, blocks=(("0", 5, six[:-4]),)).read_bytes(),
        "does not match the tensors": streamed(path, good, blocks=(("1", 6, six),)).read_bytes(),
        "list of storages does not": streamed(path, good, blocks=()).read_bytes(),
        "or given twice": streamed(path, good, blocks=(("0", 6, six), ("0", 6, six))).read_bytes(),
        "is not a PyTorch file": b"hello world, this is text",
        "read .safetensors files with load_file": checkpoint.save({"w": NUMBERS}),
        "is a tar file": bytes(257) + b"ustar" + bytes(300),
        "is a web page": b"<!DOCTYPE html><html></html>",
        "is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "has 3 bytes: that is too short": b"abc",
    }
    for shown, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load_pth(path)
        assert shown in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match="there is no file"):
        checkpoint.load_pth(tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match="is a folder, not a file"):
        checkpoint.load_pth(tmp_path)


# ---- mutated files


def mutate(rng: random.Random, data: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(made)) if made else 0
        kind = rng.randrange(6)
        if kind == 0 and made:
            made[at] = rng.randrange(256)
        elif kind == 1:
            made[at:at] = rng.choice(
                [b"(", b"t", b"R", b"h\0", b"2", b"0", b"\x85", b"b", b"}", b"]", b"Q", b"\xff\xff", b"J\xff\xff\xff\x7f"]
            )
        elif kind == 2:
            del made[at : at + rng.randint(1, 6)]
        elif kind == 3 and made:
            made[at] ^= 1 << rng.randrange(8)
        elif kind == 4:
            source = rng.randrange(len(made)) if made else 0
            made[at:at] = made[source : source + rng.randint(1, 40)]
        else:
            made[at : at + 4] = struct.pack("<I", rng.choice([0, 1, 255, 1 << 16, (1 << 31) - 1, (1 << 32) - 1]))
    return bytes(made)


UNTYPED = storage("1", name("torch.storage", "UntypedStorage"), integer(8))
EVERYTHING = state(
    base=tensor() + b"q\0",
    tied=b"h\0",
    turned=tensor(shape=(3, 2), stride=(1, 3), offset=0),
    parameter=call(name("torch._utils", "_rebuild_parameter"), tensor(shape=(2,), stride=(1,), offset=4), b"\x88", b"N"),
    new=tensor(UNTYPED, 1, (3,), (1,), (b"\x89", b"N", name("torch", "uint16")), name("torch._utils", "_rebuild_tensor_v3")),
)


def put_program(path: Path, rng: random.Random, kind: str) -> None:
    code = mutate(rng, EVERYTHING)
    if kind == "zip":
        zipped(path, code, {"0": NUMBERS.tobytes(), "1": bytes(8)})
    else:
        streamed(path, code, (("0", 6, NUMBERS.tobytes()), ("1", 8, bytes(8))))


def put_file(path: Path, rng: random.Random, kind: str) -> None:
    path.write_bytes(mutate(rng, (GOLDENS / f"tensors.{kind}.pth").read_bytes()))


@pytest.mark.parametrize(("put", "turns"), [(put_program, 1200), (put_file, 300)])
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_3000_mutated_files_never_crash_nor_allocate_beyond_their_size(path, kind, put, turns):
    rng = random.Random(1)
    refused = {CheckpointError: 0, UnsafeFileError: 0}
    tracemalloc.start()
    for _ in range(turns):
        put(path, rng, kind)
        try:
            shown = sum(array.nbytes for array in checkpoint.load_pth(path).values())
            assert shown <= 64 << 20
        except (CheckpointError, UnsafeFileError) as error:
            refused[type(error)] += 1
            assert str(path) in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused[CheckpointError] > turns // 4
    assert refused[UnsafeFileError] > turns // 100
    assert peak < 2_000_000


def test_the_reader_does_not_import_the_interpreter():
    source = Path(checkpoint.__file__).parent
    for file in source.glob("*.py"):
        lines = file.read_text().splitlines()
        imports = [line for line in lines if line.startswith(("import ", "from "))]
        assert not any(word in line for line in imports for word in ("pickle", "marshal", "torch", "importlib")), file
        assert not any(word in line for line in lines for word in ("eval(", "exec(", "__import__", "getattr(os")), file
