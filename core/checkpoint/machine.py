"""A reader for the small language in which PyTorch writes its files.

Such a file is a program for a stack machine: it may name any Python function and have it called, so handing it to Python's own
interpreter runs whatever its author wrote. This one is written from scratch and can only build plain values: dict, list, tuple,
text, number, and records that describe tensors. It looks names up in a table of a few PyTorch names, never in Python; any other
name is refused and shown. It has no recursion, and counts its steps.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from ..errors import CheckpointError, UnsafeFileError
from .header import INCOMPLETE, MAX_RANK, UNTRUSTED, shorten

MAX_STEPS = 2_000_000  # a tensor takes about 40
MAX_BYTES = 64 << 20
MAX_INTEGER = 16  # bytes

CONVERT = (
    "get these weights as safetensors, or let somebody who trusts the file load it in PyTorch and save only model.state_dict()"
)

_DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in ("uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "bool")},
    **{name: np.dtype(name) for name in ("float16", "float32", "float64", "complex64", "complex128")},
    **{name: np.dtype(getattr(ml_dtypes, name)) for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")},
    **{name: np.dtype(getattr(ml_dtypes, name)) for name in ("float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")},
}
_STORAGES = {
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


@dataclass(frozen=True)
class Storage:
    """A block of numbers kept elsewhere in the file; a ``dtype`` of None means that ``size`` counts bytes."""

    key: str
    dtype: np.dtype[Any] | None
    size: int


@dataclass(frozen=True)
class TensorRecord:
    """A tensor as the file describes it; ``offset`` and ``stride`` count items of the storage."""

    storage: Storage
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class _StorageType:
    dtype: np.dtype[Any] | None


class _Ordered(dict[Any, Any]):
    """What an OrderedDict becomes: the one kind of object that may be given attributes (which are dropped)."""


class Machine:
    """Runs one program; :attr:`storages` collects every storage it mentions.

    Args:
        source: the file's name, for errors.
        code: the bytes that hold the program, perhaps among others.
        position: where it begins.
    """

    def __init__(self, source: str, code: Any, position: int = 0, end: int | None = None) -> None:
        self.source, self.code, self.position = source, code, position
        self.end = len(code) if end is None else end
        self.start, self.steps = position, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self) -> Any:
        """The value the program leaves; :attr:`position` is then the byte after it."""
        while True:
            opcode = self.take(1)[0]
            self.spend(1)
            if opcode == _STOP:
                return self.result()
            action = _ACTIONS.get(opcode)
            if action is None:
                self.unknown(opcode)
            action(self)

    def result(self) -> Any:
        """What is on the stack at the end, which must be that alone: a writer leaves nothing half done."""
        value = self.pop()
        if self.stack or self.marks:
            self.fail(f"{len(self.stack) + len(self.marks)} values are left over at the end", fix=UNTRUSTED)
        return value

    # ---- complaints

    def fail(self, what: str, why: str = "", fix: str = INCOMPLETE) -> NoReturn:
        raise CheckpointError(f"{self.source}: {what} (at byte {self.position})", why=why, fix=fix)

    def refuse(self, what: str) -> NoReturn:
        why = "loading such a file the usual way runs code that its author chose"
        raise UnsafeFileError(f"{self.source}: {what}", why=why, fix=CONVERT)

    def unknown(self, opcode: int) -> NoReturn:
        if opcode in _MAKES_OBJECTS:
            self.refuse(f"it builds an object ({_MAKES_OBJECTS[opcode]})")
        if opcode == ord("i"):
            self.refuse(f"it calls {self.line()}.{self.line()} (INST)")
        if chr(opcode) in "ILFSVgp":
            self.fail(
                f"text instruction {chr(opcode)!r}", why="nyala reads binary files alone", fix="save it again with torch.save"
            )
        self.fail(f"instruction {opcode:#04x} has no place in a weight file")

    # ---- input and stack, checked

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS or self.position - self.start > MAX_BYTES:
            self.fail(f"the description of the tensors is longer than {MAX_STEPS} steps or {MAX_BYTES} bytes", fix=CONVERT)

    def take(self, count: int) -> bytes:
        stop = self.position + count
        if stop > self.end:
            self.fail(f"the file ends where {count} more bytes should follow")
        taken = bytes(self.code[self.position : stop])
        self.position = stop
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, length: int) -> str:
        if length > self.end - self.position:
            self.fail(f"a text of {length} bytes reaches beyond the end")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            self.fail("a text is not UTF-8")

    def line(self) -> str:
        length = bytes(self.code[self.position : min(self.position + 1000, self.end)]).find(b"\n")
        if length < 0:
            self.fail("a name does not end")
        line = self.text(length)
        self.position += 1
        return line

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            self.fail("an instruction finds no value to work on")
        return self.stack.pop()

    def pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            self.fail("an instruction finds no mark")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type) -> Any:
        value = self.pop()
        if not isinstance(value, kind):
            self.fail(f"an instruction for a {kind.__name__} finds a {type(value).__name__}")
        self.push(value)
        return value

    def remember(self, index: int) -> None:
        value = self.pop()
        self.push(value)
        self.memo[index] = value

    def recall(self, index: int) -> None:
        if index not in self.memo:
            self.fail(f"value {index} is used before it is made")
        self.push(self.memo[index])

    # ---- dict and list

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict)
        if len(items) % 2:
            self.fail("a dict has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.set_item(target, key, value)

    def set_item(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        # Texts and small numbers: hashing a nested tuple may take for ever, and huge integers can be made to collide.
        # States of old optimizers have addresses as keys, which are of 48 bits.
        if not (type(key) is str or (type(key) is int and abs(key) < 1 << 48)):
            self.fail(f"a dict has a key that is a {type(key).__name__}")
        target[key] = value

    def append_items(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    # ---- names and calls

    def find(self, module: str, name: str) -> None:
        found = _NAMES.get((module, name))
        if found is None:
            self.refuse(f"it names {shorten(f'{module}.{name}')}, which is no part of a plain state dict")
        self.push(found)

    def find_on_stack(self) -> None:
        module, name = self.pop_many(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            self.refuse("it computes the name of what it uses")
        self.find(module, name)

    def call(self) -> None:
        function, arguments = self.pop_many(2)
        if not isinstance(function, _Function) or not isinstance(arguments, tuple):
            self.refuse(f"it calls a {type(function).__name__}")
        if len(arguments) not in function.counts:
            self.fail(f"{function.name} is given {len(arguments)} arguments")
        self.push(function.action(self, *arguments))

    def build(self) -> None:
        target, _ = self.pop_many(2)
        if not isinstance(target, _Ordered):
            self.refuse(f"it sets the state of a {type(target).__name__} (BUILD)")
        self.push(target)  # the attributes of a state dict, such as _metadata, hold nothing that a model needs

    def storage(self) -> None:
        described = self.pop()
        match described if isinstance(described, tuple) else None:
            case ("storage", _StorageType(dtype), str(key), str(), size, *rest) if rest in ([], [None]):
                made = Storage(key, dtype, size)
            case _:
                self.fail("a storage is not described as PyTorch describes one", fix=UNTRUSTED)
        if not _is_count(size):
            self.fail(f"storage {shorten(key)} has a size that no storage can have", fix=UNTRUSTED)
        if self.storages.setdefault(key, made) != made:
            self.fail(f"storage {shorten(key)} is described twice, differently", fix=UNTRUSTED)
        self.push(made)

    # ---- what the allowed names do

    def ordered(self, pairs: Any = ()) -> _Ordered:
        made = _Ordered()
        if not isinstance(pairs, (list, tuple)):
            self.fail(f"OrderedDict is given a {type(pairs).__name__}")
        self.spend(len(pairs))  # the list may come from the memo, again and again
        for pair in pairs:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                self.fail("OrderedDict is given something else than pairs")
            self.set_item(made, *pair)
        return made

    def tensor(
        self, storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any = None, _hooks: Any = None, metadata: Any = None
    ) -> TensorRecord:
        dtype = storage.dtype if isinstance(storage, Storage) else None
        return self.typed_tensor(storage, offset, shape, stride, _grad, _hooks, dtype, metadata)

    def typed_tensor(
        self, storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, metadata: Any = None
    ) -> TensorRecord:
        if not isinstance(storage, Storage) or not isinstance(dtype, np.dtype):
            self.fail("a tensor has no storage or no dtype", fix=UNTRUSTED)
        if metadata:
            self.fail("a tensor is a lazy conjugate or negative", fix="call .resolve_conj().resolve_neg() on it before saving")
        for name, numbers in (("offset", (offset,)), ("shape", shape), ("stride", stride)):
            if not isinstance(numbers, tuple) or not all(map(_is_count, numbers)):
                self.fail(f"a tensor of storage {shorten(storage.key)} has a {name} no tensor can have", fix=UNTRUSTED)
        if len(shape) != len(stride) or len(shape) > MAX_RANK:
            why = f"they must be as many, and at most {MAX_RANK}"
            self.fail(f"a tensor has {len(shape)} sizes and {len(stride)} strides", why=why, fix=UNTRUSTED)
        return TensorRecord(storage, dtype, offset, shape, stride)

    def parameter(self, tensor: Any, *_rest: Any) -> TensorRecord:
        if not isinstance(tensor, TensorRecord):
            self.fail(f"a parameter is made of a {type(tensor).__name__}")
        return tensor

    def size(self, sizes: Any) -> tuple[Any, ...]:
        if not isinstance(sizes, tuple):
            self.fail(f"torch.Size is given a {type(sizes).__name__}")
        return sizes

    # ---- numbers and headers

    def protocol(self) -> None:
        version = self.take(1)[0]
        if version > 5:
            self.fail(f"protocol {version} is unknown")

    def integer(self, length: int) -> None:
        if length > MAX_INTEGER:
            self.fail(f"an integer of {length} bytes")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def duplicate(self) -> None:
        value = self.pop()
        self.push(value)
        self.push(value)

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def drop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def make_dict(self) -> None:
        items = self.pop_mark()
        self.push({})
        self.set_items(items)


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 62  # `isinstance` would take True


@dataclass(frozen=True)
class _Function:
    """An allowed function: what it does here, and how many arguments it may be given."""

    name: str
    action: Callable[..., Any]
    counts: range


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Function("OrderedDict", Machine.ordered, range(2)),
    ("torch._utils", "_rebuild_tensor"): _Function("_rebuild_tensor", Machine.tensor, range(4, 5)),
    ("torch._utils", "_rebuild_tensor_v2"): _Function("_rebuild_tensor_v2", Machine.tensor, range(6, 8)),
    ("torch._utils", "_rebuild_tensor_v3"): _Function("_rebuild_tensor_v3", Machine.typed_tensor, range(7, 9)),
    ("torch._utils", "_rebuild_parameter"): _Function("_rebuild_parameter", Machine.parameter, range(3, 4)),
    ("torch._utils", "_rebuild_parameter_with_state"): _Function("_rebuild_parameter", Machine.parameter, range(4, 5)),
    ("torch", "Size"): _Function("torch.Size", Machine.size, range(1, 2)),
    ("torch.storage", "UntypedStorage"): _StorageType(None),
    **{(place, name): _StorageType(_DTYPES[dtype]) for name, dtype in _STORAGES.items() for place in ("torch", "torch.cuda")},
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}

_STOP = ord(".")
_MAKES_OBJECTS = {
    ord("o"): "OBJ",
    ord("P"): "PERSID",
    0x81: "NEWOBJ",
    0x92: "NEWOBJ_EX",
    0x82: "EXT1",
    0x83: "EXT2",
    0x84: "EXT4",
    0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
}
_ACTIONS: dict[int, Callable[[Machine], Any]] = {
    0x80: Machine.protocol,
    0x95: lambda m: m.number("<Q"),  # FRAME: how much a reader may buffer; of no use here
    # the stack
    ord("("): Machine.mark,
    ord("0"): Machine.drop,
    ord("1"): Machine.pop_mark,
    ord("2"): Machine.duplicate,
    # the memo
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    # plain values
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    0x8A: lambda m: m.integer(m.number("<B")),
    0x8B: lambda m: m.integer(m.number("<I")),
    ord("G"): lambda m: m.push(m.number(">d")),
    ord("X"): lambda m: m.push(m.text(m.number("<I"))),
    ord("T"): lambda m: m.push(m.text(m.number("<I"))),
    ord("U"): lambda m: m.push(m.text(m.number("<B"))),
    0x8C: lambda m: m.push(m.text(m.number("<B"))),
    0x8D: lambda m: m.push(m.text(m.number("<Q"))),
    # tuple, list, dict
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.push(m.pop_many(1)),
    0x86: lambda m: m.push(m.pop_many(2)),
    0x87: lambda m: m.push(m.pop_many(3)),
    ord("t"): lambda m: m.push(tuple(m.pop_mark())),
    ord("]"): lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.pop_mark()),
    ord("a"): lambda m: m.append_items([m.pop()]),
    ord("e"): lambda m: m.append_items(m.pop_mark()),
    ord("}"): lambda m: m.push({}),
    ord("d"): Machine.make_dict,
    ord("s"): lambda m: m.set_items(list(m.pop_many(2))),
    ord("u"): lambda m: m.set_items(m.pop_mark()),
    # names
    ord("c"): lambda m: m.find(m.line(), m.line()),
    0x93: Machine.find_on_stack,
    ord("R"): Machine.call,
    ord("b"): Machine.build,
    ord("Q"): Machine.storage,
}
