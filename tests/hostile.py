"""Files that would run a program, waste memory or mislead, made by hand: nothing in here is ever run.

``programs(canary)`` and ``archives(canary)`` give each with the refusal it must meet. Read the ordinary way, many of them would
create the file ``canary``.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pth_format import NUMBERS, call, integer, items, name, program, state, storage, streamed, tensor, text, zipped

UNSAFE, MALFORMED, EITHER = "UnsafeFileError", "CheckpointError", "UnsafeFileError or CheckpointError"
ORDERED = name("collections", "OrderedDict")


@dataclass(frozen=True)
class Hostile:
    """One program that an author of a weight file might hide in it.

    Attributes:
        code: the program.
        refusal: the error's class that it must meet.
        runs: whether Python's own reader would run the payload, so that the canary can be shown to sing.
    """

    code: bytes
    refusal: str = UNSAFE
    runs: bool = False


def _touch(canary: str) -> bytes:
    return text(f"touch {canary}")


def _stack_global(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + b"\x93"


def calls(canary: str) -> dict[str, Hostile]:
    """REDUCE: a function of Python's is named and called."""
    shell, opened = _touch(canary), text(f"open({canary!r}, 'w').close()")
    arguments = items(b"](" + text("touch") + text(canary) + b"e")
    return {
        "os.system": Hostile(program(call(name("os", "system"), shell)), runs=True),
        "posix.system": Hostile(program(call(name("posix", "system"), shell)), runs=True),
        "nt.system": Hostile(program(call(name("nt", "system"), shell))),
        "os.popen": Hostile(program(call(name("os", "popen"), shell)), runs=True),
        "subprocess.call": Hostile(program(name("subprocess", "call") + arguments + b"R"), runs=True),
        "subprocess.Popen": Hostile(program(name("subprocess", "Popen") + arguments + b"R")),
        "eval": Hostile(program(call(name("builtins", "eval"), opened)), runs=True),
        "exec": Hostile(program(call(name("builtins", "exec"), opened)), runs=True),
        "exec of Python 2": Hostile(program(call(name("__builtin__", "eval"), opened)), runs=True),
        "open": Hostile(program(call(name("builtins", "open"), text(canary), text("w"))), runs=True),
        "io.open": Hostile(program(call(name("io", "open"), text(canary), text("w"))), runs=True),
        "pathlib": Hostile(program(call(name("pathlib", "Path"), text(canary)))),
        "import": Hostile(program(call(name("builtins", "__import__"), text("os")))),
        "importlib": Hostile(program(call(name("importlib", "import_module"), text("os")))),
        "compile": Hostile(program(call(name("builtins", "compile"), opened, text("x"), text("exec")))),
        "code object": Hostile(program(call(name("types", "CodeType"), integer(0)))),
        "function object": Hostile(program(call(name("types", "FunctionType"), integer(0)))),
        "marshal": Hostile(program(call(name("marshal", "loads"), text("x")))),
        "ctypes": Hostile(program(call(name("ctypes", "CDLL"), text("libc.so.6")))),
        "pip": Hostile(program(call(name("pip", "main"), text("install")))),
        "runpy": Hostile(program(call(name("runpy", "run_path"), text(canary)))),
        "timeit": Hostile(program(call(name("timeit", "timeit"), opened)), runs=False),
        "pdb": Hostile(program(call(name("pdb", "run"), opened))),
        "profile": Hostile(program(call(name("cProfile", "run"), opened))),
        "webbrowser": Hostile(program(call(name("webbrowser", "open"), text("https://localhost")))),
        "socket": Hostile(program(call(name("socket", "create_connection"), text("x")))),
        "asyncio": Hostile(program(call(name("asyncio", "run"), text("x")))),
        "shutil.rmtree": Hostile(program(call(name("shutil", "rmtree"), text(canary)))),
        "os.remove": Hostile(program(call(name("os", "remove"), text(canary)))),
        "torch.load": Hostile(program(call(name("torch", "load"), text(canary)))),
        "torch.hub.load": Hostile(program(call(name("torch.hub", "load"), text(canary)))),
        "torch.utils.cpp": Hostile(program(call(name("torch.utils.cpp_extension", "load"), text(canary)))),
        "numpy.load": Hostile(program(call(name("numpy", "load"), text(canary)))),
        "numpy runstring": Hostile(program(call(name("numpy.testing._private.utils", "runstring"), opened, b"}"))),
        "nyala itself": Hostile(program(call(name("nyala.core.atomic", "atomic_write"), text(canary), text("x")))),
        "dataclass make": Hostile(program(call(name("dataclasses", "make_dataclass"), text("x")))),
    }  # fmt: skip


def names(canary: str) -> dict[str, Hostile]:
    """GETATTR, STACK_GLOBAL, dotted names: what is called is computed or hidden."""
    shell = _touch(canary)
    return {
        "stack global": Hostile(program(_stack_global("os", "system") + items(shell) + b"R"), runs=True),
        "stack global from the memo": Hostile(
            program(text("os") + b"q\0" + b"0" + text("system") + b"q\1" + b"0" + b"h\0h\1\x93" + items(shell) + b"R"), runs=True
        ),
        "dotted attribute": Hostile(
            b"\x80\x04" + text("os") + text("path.os.system") + b"\x93" + items(shell) + b"R.", runs=True
        ),
        "globals of an allowed name": Hostile(program(_stack_global("collections", "OrderedDict.__init__.__globals__"))),
        "method of an allowed name": Hostile(program(_stack_global("collections", "OrderedDict.fromkeys") + items(shell) + b"R")),
        "subclasses": Hostile(program(_stack_global("collections", "OrderedDict.__subclasses__") + b")R")),
        "module of an allowed name": Hostile(program(_stack_global("torch", "_utils._rebuild_tensor_v2"))),
        "getattr": Hostile(program(call(name("builtins", "getattr"), name("os", "path"), text("os")))),
        "getattr of an allowed name": Hostile(program(call(name("builtins", "getattr"), ORDERED, text("fromkeys")))),
        "operator": Hostile(program(call(name("operator", "attrgetter"), text("system")))),
        "methodcaller": Hostile(program(call(name("operator", "methodcaller"), text("system"), shell))),
        "functools.partial": Hostile(program(call(name("functools", "partial"), name("os", "system"), shell) + b")R"), runs=True),
        "map": Hostile(program(call(name("builtins", "map"), name("os", "system"), b"](" + shell + b"e"))),
        "apply": Hostile(program(call(name("__builtin__", "apply"), name("os", "system"), items(shell)))),
        "number for a module": Hostile(program(integer(3) + text("system") + b"\x93")),
        "list for a name": Hostile(program(text("os") + b"]\x93")),
        "tensor for a name": Hostile(program(text("os") + tensor() + b"\x93")),
        "space in front": Hostile(program(name(" os", "system"))),
        "carriage return": Hostile(program(name("collections", "OrderedDict\r"))),
        "look-alike letter": Hostile(program(name("c\u043ellections", "OrderedDict"))),
        "zero width": Hostile(program(name("torch\u200b", "FloatStorage"))),
        "empty names": Hostile(program(b"c\n\n")),
        "allowed module, other name": Hostile(program(name("torch._utils", "_import_dotted_name"))),
        "allowed name, other module": Hostile(program(name("evil", "_rebuild_tensor_v2"))),
    }


def objects(canary: str) -> dict[str, Hostile]:
    """INST, OBJ, NEWOBJ, NEWOBJ_EX, BUILD, the extension registry: objects without a REDUCE."""
    shell = _touch(canary)
    return {
        "INST": Hostile(program(b"(" + shell + b"ios\nsystem\n"), runs=True),
        "OBJ": Hostile(program(b"(" + name("os", "system") + shell + b"o"), runs=True),
        "OBJ of an allowed name": Hostile(program(b"(" + ORDERED + shell + b"o")),
        "NEWOBJ": Hostile(program(ORDERED + b")\x81")),
        "NEWOBJ_EX": Hostile(program(ORDERED + b")}\x92")),
        "BUILD on a dict": Hostile(program(b"}}b")),
        "BUILD on a list": Hostile(program(b"]}b")),
        "BUILD on a tensor": Hostile(program(tensor() + b"}b")),
        "BUILD on a function": Hostile(program(ORDERED + b"}b")),
        "BUILD on None": Hostile(program(b"N}b")),
        "BUILD with a call as state": Hostile(program(call(ORDERED) + call(name("os", "system"), shell) + b"b"), runs=True),
        "setstate": Hostile(program(call(ORDERED) + b"}" + text("__setstate__") + name("os", "system") + b"sb" + shell + b"b")),
        "reduce_ex": Hostile(program(call(ORDERED) + b"}" + text("__reduce__") + name("os", "system") + b"sb")),
        "EXT1": Hostile(program(b"\x82\x01")),
        "EXT2": Hostile(program(b"\x83\x01\x00")),
        "EXT4": Hostile(program(b"\x84\x01\x00\x00\x00")),
        "EXT4 negative": Hostile(program(b"\x84\xff\xff\xff\xff")),
        "copyreg": Hostile(program(call(name("copyreg", "add_extension"), text("os"), text("system"), integer(1)) + b"\x82\x01")),
        "reconstructor": Hostile(program(call(name("copyreg", "_reconstructor"), name("os", "system")))),
        "out of band buffer": Hostile(program(b"\x97")),
        "read-only buffer": Hostile(program(b"\x98")),
        "whole model": Hostile(program(name("torchvision.models.resnet", "ResNet") + b")\x81}b")),
        "lightning module": Hostile(state(hyper_parameters=call(name("argparse", "Namespace")))),
        "bytearray": Hostile(program(b"\x96" + struct.pack("<Q", 3) + b"abc"), EITHER),
        "frozenset": Hostile(program(b"(\x91"), EITHER),
    }


def places(canary: str) -> dict[str, Hostile]:
    """The call stands where a reader might not look: behind a good state dict, in a hook, as a key, in a loop of the memo."""
    evil = call(name("os", "system"), _touch(canary))
    return {
        "beside good tensors": Hostile(state(a=tensor(), b=evil), runs=False),
        "as a hook": Hostile(state(a=tensor(rest=(b"\x89", evil)))),
        "as a shape": Hostile(state(a=tensor(rest=(evil, b"N")))),
        "as an attribute": Hostile(program(call(ORDERED) + b"}" + text("_metadata") + evil + b"sb"), runs=True),
        "as a key": Hostile(program(b"}" + evil + b"Ns"), runs=True),
        "after the value": Hostile(program(b"}" + evil + b"0"), runs=True),
        "before the value": Hostile(program(evil + b"0}"), runs=True),
        "among pairs": Hostile(program(call(ORDERED, b"](" + items(text("w"), evil) + b"e")), runs=True),
        "as a size": Hostile(program(call(name("torch", "Size"), items(evil)))),
        "in a wrapper": Hostile(program(b"}(" + text("state_dict") + b"}" + text("optimizer") + evil + b"u"), runs=True),
        "in a frame": Hostile(b"\x80\x04\x95" + struct.pack("<Q", len(evil) + 2) + b"}" + evil + b"0.", runs=True),
        "protocol 0 text": Hostile(b"\x80\x02cos\nsystem\n(" + _touch(canary) + b"tR.", runs=True),
        "two protocols": Hostile(b"\x80\x02\x80\x04" + evil + b".", runs=True),
        "memo of 2**32": Hostile(program(evil + b"r\xff\xff\xff\xff"), runs=True),
    }


def nested(canary: str) -> dict[str, Hostile]:
    """A second program inside the first, for a second reader."""
    inner = program(call(name("os", "system"), _touch(canary)))
    raw = b"C" + bytes([len(inner)]) + inner if len(inner) < 256 else b"B" + struct.pack("<I", len(inner)) + inner
    old = b"U" + bytes([min(len(inner), 255)]) + inner[:255]
    readers = {
        "pickle": "loads",
        "_pickle": "loads",
        "cPickle": "loads",
        "dill": "loads",
        "cloudpickle": "loads",
        "joblib": "load",
    }
    made = {f"{module}.{function}": name(module, function) for module, function in readers.items()}
    made |= {"torch.storage": name("torch.storage", "_load_from_bytes"), "Unpickler": name("_pickle", "Unpickler")}
    made |= {"serialization": name("torch.serialization", "_load"), "shelve": name("shelve", "open")}
    found = {f"{each} of bytes": Hostile(program(function + items(raw) + b"R")) for each, function in made.items()}
    found |= {f"{each} of old text": Hostile(program(function + items(old) + b"R"), EITHER) for each, function in made.items()}
    return found | {"bytes alone": Hostile(program(raw), EITHER), "long bytes": Hostile(program(b"\x8e" + bytes(8)), EITHER)}


def persistent(_canary: str) -> dict[str, Hostile]:
    """Persistent ids that are no description of a storage."""
    floats, key = name("torch", "FloatStorage"), text("0")
    odd = {
        "a number": integer(3),
        "None": b"N",
        "a text": text("storage"),
        "a dict": b"}",
        "a list": b"](" + text("storage") + floats + key + text("cpu") + integer(6) + b"e",
        "an empty tuple": b")",
        "a module": items(text("module"), text("os"), text("x"), text("y")),
        "a function as type": items(text("storage"), ORDERED, key, text("cpu"), integer(6)),
        "a dtype as type": items(text("storage"), name("torch", "float32"), key, text("cpu"), integer(6)),
        "a number as key": items(text("storage"), floats, integer(0), text("cpu"), integer(6)),
        "a tuple as key": items(text("storage"), floats, items(key), text("cpu"), integer(6)),
        "a path as key": items(text("storage"), floats, text("../../../etc/passwd"), text("cpu"), integer(6)),
        "an absolute key": items(text("storage"), floats, text("/etc/passwd"), text("cpu"), integer(6)),
        "an empty key": items(text("storage"), floats, text(""), text("cpu"), integer(6)),
        "a key of NUL": items(text("storage"), floats, text("0\0"), text("cpu"), integer(6)),
        "a list as place": items(text("storage"), floats, key, b"]", integer(6)),
        "a text as size": items(text("storage"), floats, key, text("cpu"), text("6")),
        "a float as size": items(text("storage"), floats, key, text("cpu"), b"G" + struct.pack(">d", 6.0)),
        "a boolean as size": items(text("storage"), floats, key, text("cpu"), b"\x88"),
        "a negative size": items(text("storage"), floats, key, text("cpu"), integer(-6)),
        "a size of 2**100": items(text("storage"), floats, key, text("cpu"), integer(1 << 100)),
        "a view": items(text("storage"), floats, key, text("cpu"), integer(6), items(key, integer(1), integer(2))),
        "one too few": items(text("storage"), floats, key, text("cpu")),
        "two too many": items(text("storage"), floats, key, text("cpu"), integer(6), b"N", b"N"),
    }
    found = {each: Hostile(state(w=tensor(block + b"Q")), EITHER) for each, block in odd.items()}
    return found | {"text persistent id": Hostile(program(b"P../../etc/passwd\n"))}


def numbers(_canary: str) -> dict[str, Hostile]:
    """Sizes and places of tensors that the file does not hold."""
    untyped = storage("0", name("torch.storage", "UntypedStorage"), integer(24))
    v3 = name("torch._utils", "_rebuild_tensor_v3")
    made = {
        "shape beyond the storage": tensor(shape=(3, 3)),
        "offset beyond the storage": tensor(offset=6, shape=(1,), stride=(1,)),
        "stride beyond the storage": tensor(shape=(2, 2), stride=(100, 1)),
        "negative offset": tensor(offset=-1),
        "negative stride": tensor(stride=(-3, 1)),
        "negative size": tensor(shape=(-2, 3)),
        "size of 2**62": tensor(shape=(1 << 62, 1)),
        "product of 2**80": tensor(shape=(1 << 40, 1 << 40), stride=(0, 0)),
        "nothing of a huge shape": tensor(shape=(0, 1 << 61), stride=(1, 1)),
        "a terabyte by stride 0": tensor(shape=(1 << 38,), stride=(0,)),
        "a gigabyte by stride 0": tensor(shape=(1 << 28,), stride=(0,)),
        "rank 40": tensor(shape=(1,) * 40, stride=(1,) * 40),
        "more sizes than strides": tensor(shape=(2, 3, 1)),
        "storage larger than the file": tensor(storage(size=integer(1 << 40)), shape=(1 << 40,), stride=(1,)),
        "wider dtype than the storage": tensor(untyped, 0, (6,), (1,), (b"\x89", b"N", name("torch", "float64")), v3),
        "untyped without a dtype": tensor(untyped),
        "float size": tensor().replace(items(integer(2), integer(3)), items(integer(2), b"G" + struct.pack(">d", 3.0))),
    }  # fmt: skip
    return {each: Hostile(state(w=block), MALFORMED) for each, block in made.items()}


def waste(_canary: str) -> dict[str, Hostile]:
    """Programs that never end, or fill the memory."""
    doubled = b"]q\0" + b"".join(b"0](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
    return {
        "billion laughs": Hostile(state(w=doubled), MALFORMED),
        "nested tuples as a key": Hostile(program(b"})q\0" + b"0h\0h\0\x86q\0" * 60 + b"Ns"), MALFORMED),
        "a list in itself": Hostile(state(w=b"]q\0h\0a"), MALFORMED),
        "a dict in itself": Hostile(program(b"}q\0" + text("w") + b"h\0s"), MALFORMED),
        "text of 2**63": Hostile(program(b"\x8d" + b"\xff" * 8), MALFORMED),
        "text of 2**32": Hostile(program(b"X\xff\xff\xff\xff"), MALFORMED),
        "integer of 2**31 bytes": Hostile(program(b"\x8b\xff\xff\xff\x7f"), MALFORMED),
        "bytes of 2**63": Hostile(program(b"\x8e" + b"\xff" * 8), MALFORMED),
        "buffer of 2**63": Hostile(program(b"\x96" + b"\xff" * 8), MALFORMED),
        "frame of 2**63": Hostile(b"\x80\x04\x95" + b"\xff" * 8, MALFORMED),
        "decimal bomb": Hostile(program(b"I" + b"9" * 100_000 + b"\n"), MALFORMED),
        "long text bomb": Hostile(program(b"L" + b"9" * 100_000 + b"L\n"), MALFORMED),
        "deep tuples": Hostile(state(w=b"N" + b"\x85" * 200_000), MALFORMED),
        "marks": Hostile(program(b"(" * 300_000 + b"}"), EITHER),
        "no end": Hostile(b"\x80\x02" + b"N0" * 1000, MALFORMED),
    }


KINDS: dict[str, Callable[[str], dict[str, Hostile]]] = {
    "call": calls, "name": names, "object": objects, "place": places, "nested": nested, "persistent": persistent,
    "number": numbers, "waste": waste,
}  # fmt: skip
ENDINGS = (".bin", ".pth", ".pt", ".ckpt")


def programs(canary: str) -> dict[str, Hostile]:
    """All programs by name, e.g. ``call: os.system``."""
    return {f"{kind}: {each}": hostile for kind, make in KINDS.items() for each, hostile in make(canary).items()}


def containers(folder: Path) -> Iterator[tuple[str, Callable[[bytes, str], Path]]]:
    """Ways to put a program into a file: as PyTorch does now, as it did, and bare."""
    yield "zip", lambda code, ending: zipped(folder / f"pytorch_model{ending}", code)
    yield "stream", lambda code, ending: streamed(folder / f"pytorch_model{ending}", code)

    def bare(code: bytes, ending: str) -> Path:
        path = folder / f"pytorch_model{ending}"
        path.write_bytes(code.ljust(64, b"\0"))
        return path

    yield "bare", bare


# ---- archives


def _raw_zip(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for each, data in members:
            archive.writestr(each, data)
    return path


def _overlapping(path: Path) -> None:
    """A quine of a bomb: two entries of the table name the same bytes."""
    data = bytearray(zipped(path, state(w=tensor())).read_bytes())
    table = struct.unpack("<I", data[-6:-2])[0]
    first = struct.unpack_from("<I", data, table + 42)[0]
    second = table + 46 + sum(struct.unpack_from("<3H", data, table + 28))
    struct.pack_into("<I", data, second + 42, first)
    path.write_bytes(data)


def archives(canary: str) -> dict[str, tuple[Callable[[Path], object], str]]:
    """What can be wrong with the archive itself: name -> (how to write it, the refusal it must meet)."""
    good, numbers_ = state(w=tensor()), NUMBERS.tobytes()
    evil = program(call(name("os", "system"), _touch(canary)))
    stored = [("m/data.pkl", good), ("m/data/0", numbers_)]
    bomb, packed = bytes(64 << 20), zipfile.ZIP_DEFLATED
    return {
        "compressed program": (lambda p: _raw_zip(p, [("m/data.pkl", program(b"N0" * 500_000))], packed), MALFORMED),
        "64 MB of zeros as a tensor": (
            lambda p: _raw_zip(p, [("m/data.pkl", good), ("m/data/0", bomb)], packed), MALFORMED,
        ),
        "zip in a zip": (lambda p: _raw_zip(p, [("m/data.pkl", _raw_zip(p, stored).read_bytes())]), EITHER),
        "absolute path": (lambda p: _raw_zip(p, [*stored, ("/etc/evil", b"x")]), MALFORMED),
        "path out of the archive": (lambda p: _raw_zip(p, [*stored, ("../../evil", b"x")]), MALFORMED),
        "path out of the root": (lambda p: _raw_zip(p, [*stored, ("m/../../evil", b"x")]), MALFORMED),
        "Windows path": (lambda p: _raw_zip(p, [*stored, ("m\\..\\evil", b"x")]), MALFORMED),
        "escape in a name": (lambda p: _raw_zip(p, [*stored, ("m/\x1b[2J", b"x")]), MALFORMED),
        "members that overlap": (_overlapping, MALFORMED),
        "two programs": (lambda p: _raw_zip(p, [("a/data.pkl", good), ("b/data.pkl", evil)]), MALFORMED),
        "TorchScript": (lambda p: _raw_zip(p, [*stored, ("m/constants.pkl", evil), ("m/code/x.py", b"x")]), UNSAFE),
        "big-endian": (lambda p: zipped(p, good, order=b"big"), MALFORMED),
        "bytes behind the end": (lambda p: p.write_bytes(zipped(p, good).read_bytes() + evil), MALFORMED),
        "bytes before the start": (lambda p: p.write_bytes(evil + zipped(p, good).read_bytes()), EITHER),
        "a million members": (lambda p: p.write_bytes(zipped(p, good).read_bytes()[:-12] + b"\xff" * 8 + bytes(4)), MALFORMED),
        "no program": (lambda p: _raw_zip(p, [("m/data/0", numbers_)]), MALFORMED),
        "an index that leads out": (
            lambda p: p.with_name("pytorch_model.bin.index.json").write_text(
                json.dumps({"weight_map": {"w": "../../evil.bin"}})), MALFORMED,
        ),
    }  # fmt: skip
