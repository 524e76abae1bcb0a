"""Seeded mutations of weight files, key maps and state dicts, and what must hold for every one of them.

Each case is made from (kind, seed, number) alone, so one number repeats it. A case is judged by: no exception but nyala's own, an
end within seconds, no memory beyond a small multiple of what was given, and arrays that are no more than the file holds.
"""

from __future__ import annotations

import copy
import json
import random
import signal
import struct
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from nyala.core import checkpoint, keymap
from nyala.core.errors import ArgumentError, CheckpointError, NyalaError, UnsafeFileError
from pth_format import NUMBERS, call, integer, name, state, storage, streamed, tensor, zipped

FLOOR, TIMES = 1 << 20, 16  # bytes a case may allocate: FLOOR, and TIMES its own size
SECONDS = 20.0  # a machine may be busy; a hang never ends
Arrays = dict[str, np.ndarray]


class HangError(BaseException):
    """A case that took longer than SECONDS."""


@dataclass
class Report:
    """What became of the cases of one kind."""

    kind: str
    cases: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    peak: int = 0  # bytes of the hungriest case
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        refused = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.refused.items()))
        told = f"{self.kind:12} {self.cases:>9,} cases  {self.accepted:>8,} read  refused: {refused or 'none'}"
        lines = [f"{told}  (at most {self.peak / 1e6:.2f} MB, {self.seconds:.0f} s)"]
        return "\n".join([*lines, *(f"  FAILED {failure}" for failure in self.failures[:20])])


def fuzz(kind: str, count: int, seed: int = 0, first: int = 0, show: Callable[[int], None] = lambda _: None) -> Report:
    """Run cases ``first`` to ``first + count`` of a kind of KINDS."""
    report, began = Report(kind), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, KINDS[kind](Path(folder)) as case, _alarm():
        tracemalloc.start()
        try:
            for number in range(first, first + count):
                _judge(report, case, kind, seed, number)
                if number % 1000 == 999:
                    show(number + 1 - first)
        finally:
            tracemalloc.stop()
    report.seconds = time.monotonic() - began
    return report


Case = Callable[[random.Random], tuple[int, Callable[[], None]]]  # -> size of the input, and what is tried


def _judge(report: Report, case: Case, kind: str, seed: int, number: int) -> None:
    rng = random.Random(f"{kind} {seed} {number}")
    size, attempt = case(rng)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    report.cases += 1
    try:
        attempt()
        report.accepted += 1
    except (CheckpointError, UnsafeFileError, ArgumentError) as error:
        report.refused[type(error).__name__] += 1
        if not str(error).strip() or len(str(error)) > 20_000:
            report.failures.append(f"case {number}: an error of {len(str(error))} characters")
    except (NyalaError, Exception, HangError) as error:  # noqa: BLE001 - finding these is what this is for
        report.failures.append(f"case {number}: {type(error).__name__}: {str(error)[:200]}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    peak = tracemalloc.get_traced_memory()[1] - before
    report.peak = max(report.peak, peak)
    if peak > FLOOR + TIMES * size:
        report.failures.append(f"case {number}: {peak:,} bytes were allocated for {size:,}")


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"no end after {SECONDS:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


# ---- bytes

_BITS = [b"9", b"[", b'"', b"{", b"}", b"-", b"\0", b"1e9", b',"w":1', b"\\ud800", b"\xff", b",", b":", b"null", b"0" * 30]


def mutate(rng: random.Random, data: bytes, bits: list[bytes]) -> bytes:
    """``data`` with one to four small accidents."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made)) if made else 0
        kind = rng.randrange(7)
        if kind == 0 and made:
            made[at] = rng.randrange(256)
        elif kind == 1:
            made[at:at] = rng.choice(bits)
        elif kind == 2:
            del made[at : at + rng.randint(1, 8)]
        elif kind == 3 and rng.random() < 0.3:
            del made[at:]
        elif kind == 4 and made:
            made[at] ^= 1 << rng.randrange(8)
        elif kind == 5 and made:
            source = rng.randrange(len(made))
            made[at:at] = made[source : source + rng.randint(1, 30)]
        elif kind == 6:
            made[at : at + 4] = struct.pack("<I", rng.choice([0, 1, 255, 1 << 16, (1 << 31) - 1, (1 << 32) - 1]))
    return bytes(made)


# ---- safetensors

_DTYPES = ["BOOL", "U8", "I8", "F16", "BF16", "F32", "F64", "I64", "C64", "F8_E4M3"]
_ODD = [
    0, -1, 1, 2, 3, 7, 2**31, 2**53, 2**62, 2**63, 2**64, 10**30, 1.5, 1e300, True, False, None, "4", "", [], {}, [0, 4], [[]],
]  # fmt: skip
_NAMES = ["", "\0", "..", "../x", "a/../b", "..\\x", "a" * 1025, "\ud800", "__metadata__", "w", " w", "w\n", "\u202e", "\ufeffw"]
_ITEMS = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I64": 8, "C64": 8, "F8_E4M3": 1}


def _table(rng: random.Random) -> tuple[list[list[Any]], bytes]:
    """A correct header as a list of (name, entry), so that names can be doubled, and its data."""
    entries: list[list[Any]] = []
    end = 0
    if rng.random() < 0.3:
        entries.append(["__metadata__", {"format": "pt"}])
    for i in range(rng.randint(1, 5)):
        dtype = rng.choice(_DTYPES)
        shape = [rng.randint(0, 4) for _ in range(rng.randint(0, 3))]
        size = int(np.prod(shape, dtype=np.int64)) * _ITEMS[dtype]
        entries.append([f"layer.{i}.weight", {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}])
        end += size
    return entries, bytes(rng.choice([0, 1]) for _ in range(end))


def _odd(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(_ODD))  # lists are changed later


def _spoil(rng: random.Random, entries: list[list[Any]]) -> None:
    """One accident in the structure of a header."""
    where = rng.choice(entries)
    kind, entry = rng.randrange(10), where[1]
    numbers = (
        [v for v in (entry.get("shape"), entry.get("data_offsets")) if isinstance(v, list) and v]
        if isinstance(entry, dict)
        else []
    )
    if kind == 0:
        where[0] = rng.choice([*_NAMES, rng.choice(entries)[0]])
    elif kind == 1:
        entries.insert(rng.randrange(len(entries) + 1), [where[0], json.loads(json.dumps(entry))])
    elif kind == 2:
        where[1] = _odd(rng)
    elif kind in (3, 4) and numbers:
        chosen = rng.choice(numbers)
        chosen[rng.randrange(len(chosen))] = _odd(rng)
    elif kind == 5 and isinstance(entry, dict) and entry:
        del entry[rng.choice(list(entry))]
    elif kind == 6 and isinstance(entry, dict):
        entry[rng.choice(["order", "stride", "dtype", "shape", "data_offsets"])] = rng.choice(
            [_odd(rng), _odd(rng), *_DTYPES, "F4", "Q7"]
        )
    elif kind == 7 and numbers:
        rng.choice(numbers).extend([1] * rng.choice([1, 2, 31, 40]))
    elif kind == 8:
        entries.remove(where) if len(entries) > 1 else entries.append(["x", {}])
    else:
        entries.append([rng.choice(_NAMES), rng.choice([_odd(rng), json.loads(json.dumps(entry))])])


def header_case(rng: random.Random) -> bytes:
    """A safetensors file with accidents in its header."""
    entries, data = _table(rng)
    if rng.random() < 0.7:
        for _ in range(rng.randint(1, 3)):
            _spoil(rng, entries)
    pairs = ",".join(f"{json.dumps(name)}:{json.dumps(entry)}" for name, entry in entries)
    raw = f"{{{pairs}}}".encode()
    if rng.random() < 0.2:
        raw = rng.choice([b" ", b"\n", b"\t", b"\xef\xbb\xbf"]) + raw
    raw += b" " * (-len(raw) % 8)
    if rng.random() < 0.4:
        raw = mutate(rng, raw, _BITS)
    made = struct.pack("<Q", len(raw)) + raw + data
    return mutate(rng, made, _BITS) if rng.random() < 0.15 else made


@contextmanager
def headers(folder: Path) -> Iterator[Case]:
    """Mutated safetensors; whatever is read, the safetensors package must read alike."""
    path = folder / "m.safetensors"

    def case(rng: random.Random) -> tuple[int, Callable[[], None]]:
        data = header_case(rng)
        mapped = rng.random() < 0.1
        if mapped:
            path.write_bytes(data)

        def attempt() -> None:
            read = checkpoint.load_file(path) if mapped else checkpoint.load(data)
            assert sum(a.nbytes for a in read.values()) <= len(data), "more is shown than the file holds"
            assert all(a.view(np.uint8).max(initial=0) <= 1 for a in read.values() if a.dtype == bool and a.ndim), "odd booleans"
            theirs = dict(safetensors.deserialize(data))
            assert {n: (tuple(t["shape"]), bytes(t["data"])) for n, t in theirs.items()} == {
                n: (a.shape, a.tobytes()) for n, a in read.items()
            }, "the safetensors package reads something else"

        return len(data), attempt

    yield case


# ---- PyTorch files

_UNTYPED = storage("1", name("torch.storage", "UntypedStorage"), integer(8))
_EVERYTHING = state(
    base=tensor() + b"q\0",
    tied=b"h\0",
    turned=tensor(shape=(3, 2), stride=(1, 3)),
    parameter=call(name("torch._utils", "_rebuild_parameter"), tensor(shape=(2,), stride=(1,), offset=4), b"\x88", b"N"),
    new=tensor(_UNTYPED, 1, (3,), (1,), (b"\x89", b"N", name("torch", "uint16")), name("torch._utils", "_rebuild_tensor_v3")),
)
_STEPS = [
    b"(",
    b"t",
    b"R",
    b"h\0",
    b"2",
    b"0",
    b"\x85",
    b"b",
    b"}",
    b"]",
    b"Q",
    b"\xff\xff",
    b"J\xff\xff\xff\x7f",
    b"\x93",
    b"i",
    b"o",
]
_STEPS += [
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"\x81",
    b"\x82\1",
    b"Px\n",
    b"\x8c\x02os",
    b"\x8b\xff\xff\xff\x7f",
    b"e",
    b"u",
    b".",
]


@contextmanager
def pickles(folder: Path) -> Iterator[Case]:
    """Mutated programs of PyTorch files, in both containers, and mutated containers."""
    path = folder / "m.pth"
    whole = [zipped(folder / "a", _EVERYTHING, {"0": NUMBERS.tobytes(), "1": bytes(8)}).read_bytes()]
    whole.append(streamed(folder / "b", _EVERYTHING, (("0", 6, NUMBERS.tobytes()), ("1", 8, bytes(8)))).read_bytes())

    def case(rng: random.Random) -> tuple[int, Callable[[], None]]:
        kind = rng.randrange(3)
        if kind == 0:
            zipped(path, mutate(rng, _EVERYTHING, _STEPS), {"0": NUMBERS.tobytes(), "1": bytes(8)})
        elif kind == 1:
            streamed(path, mutate(rng, _EVERYTHING, _STEPS), (("0", 6, NUMBERS.tobytes()), ("1", 8, bytes(8))))
        else:
            path.write_bytes(mutate(rng, rng.choice(whole), _STEPS))

        def attempt() -> None:
            assert sum(array.nbytes for array in checkpoint.load_pth(path).values()) <= 64 << 20

        return path.stat().st_size, attempt

    yield case


# ---- key maps

_PARTS = ["a", "b", "layer", "0", "7", "q", "k", "v", "qkv", "proj", "weight", "bias", "weight_g", "weight_v", "parametrizations"]
_HOLES = ["{i}", "{x...}", "{n:[0-9]+}", "{p}", "{i}_{p}", "w{i}"]
_SIGNS = [*"{}[]().*+?\\:|^$#-", "{x", "{}", "{1}", "...", "(?P<i>", "\u00e9", "\0"]
_SHAPES = [(), (1,), (2,), (6,), (3, 2), (6, 4), (2, 3, 2), (0, 4), (6, 0)]
_KINDS = [np.float32, np.float32, np.float32, np.float16, np.int64, np.bool_, ml_dtypes.bfloat16, np.complex64, np.uint8]


def _text(rng: random.Random, parts: list[str]) -> str:
    text = ".".join(rng.choice(parts) for _ in range(rng.randint(1, 4)))
    if rng.random() < 0.12:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(_SIGNS) + text[at:]
    return text


def _sides(rng: random.Random) -> tuple[str, str]:
    """Two templates, mostly with the same placeholders."""
    published = _text(rng, _PARTS + _HOLES)
    return published, (
        ".".join(rng.sample(parts := published.split("."), len(parts))) if rng.random() < 0.6 else _text(rng, _PARTS + _HOLES)
    )


def _rule(rng: random.Random) -> tuple[Callable[[], Any], list[str]]:
    """How to make a rule, and the templates it is made of."""
    kind = rng.randrange(10)
    if kind < 4:
        sides = _sides(rng)
        return partial(keymap.Alias if kind == 3 else keymap.Rename, *sides), list(sides)
    if kind == 4:
        prefix, outside = _text(rng, _PARTS) + ".", _text(rng, [*_PARTS, "*", "[a-"])
        carried = {"ours": rng.random() < 0.5, "written": rng.random() < 0.5}
        return partial(keymap.Prefix, prefix, outside=[outside], **carried), [prefix + "{x...}", outside]
    if kind == 5:
        return partial(keymap.WeightNorm, rng.choice(["old", "new", "new", "both"])), ["{x...}.weight_g", "{x...}.weight_v"]
    if kind == 6:
        pattern = _text(rng, [*_PARTS, "*", "?", "[!a]"])
        return partial(keymap.Ignore, pattern), [pattern]
    if kind == 7:
        tied = [_text(rng, _PARTS) for _ in range(rng.randint(2, 3))]
        return partial(keymap.Tied, *tied), tied
    if kind == 8:
        pattern = _text(rng, [*_PARTS, "*", "*"])
        return partial(keymap.Transpose, pattern, rng.choice([None, None, (1, 0), (2, 0, 1), (0,), (3, 3), ()])), [pattern]
    hole = rng.choice(["", ".{i}", ".{x...}"])
    whole, parts = _text(rng, _PARTS) + hole, [_text(rng, _PARTS) + hole for _ in range(rng.randint(1, 3))]
    sizes = rng.choice([None, None, [1] * len(parts), [2] * len(parts), [-1, 7], [6], [0, 6]])
    axis = rng.choice([0, 0, 1, -1, 5])
    if rng.random() < 0.5:
        return partial(keymap.Split, whole, parts, axis, sizes), [whole, *parts, *parts]
    return partial(keymap.Concat, parts, whole, axis, sizes), [whole, *parts, *parts]


def _filled(rng: random.Random, template: str) -> str:
    """A name that fits a template, or nearly."""
    while (at := template.find("{")) >= 0 and (end := template.find("}", at)) >= 0:
        filling = rng.choice(["0", "7", "12", "a", "q"]) + (".weight" if "..." in template[at:end] else "")
        template = template[:at] + filling + template[end + 1 :]
    return template.replace("*", rng.choice(["a", "x.y", ""]))


def _some_arrays(rng: random.Random, templates: list[str]) -> Arrays:
    names = {_text(rng, [*_PARTS, "0", "1"]) for _ in range(rng.randint(0, 3))}
    names |= {_filled(rng, rng.choice(templates)) for _ in range(rng.randint(0, 6)) if templates}
    if rng.random() < 0.05:
        names |= {rng.choice([*_NAMES, "a." * 400, "x" * 3000])}
    one, kind = rng.choice(_SHAPES), rng.choice(_KINDS)
    made = {}
    for each in sorted(names):
        shape = one if rng.random() < 0.6 else rng.choice(_SHAPES)
        made[each] = np.ones(shape, kind if rng.random() < 0.8 else rng.choice(_KINDS))
    return made


@contextmanager
def keymaps(_folder: Path) -> Iterator[Case]:
    """Key maps put together at random, some of them nonsense, over tensors whose names they half know."""

    def case(rng: random.Random) -> tuple[int, Callable[[], None]]:
        made = [_rule(rng) for _ in range(rng.randint(1, 4))]
        arrays = _some_arrays(rng, [text for _, texts in made for text in texts])

        def attempt() -> None:
            warnings.simplefilter("ignore", FutureWarning)  # of expressions that Python may read otherwise one day
            names = keymap.KeyMap(*[make() for make, _ in made])
            held = sum(a.nbytes for a in arrays.values())
            ours = names.to_ours(arrays)
            published = names.to_published(ours)
            for found in (ours, published):  # tied names may each be joined into another tensor
                assert sum({id(a): a.nbytes for a in found.values()}.values()) <= 9 * held, "tensors were made of nothing"

        return sum(a.nbytes for a in arrays.values()) + 100 * len(arrays), attempt

    yield case


# ---- state dicts

_BERT = {
    "model_type": "bert", "architectures": ["BertForSequenceClassification"], "vocab_size": 11, "hidden_size": 8,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 9, "num_labels": 3,
}  # fmt: skip
_RESNET = {
    "architecture": "resnet18", "num_classes": 3,
    "model_args": {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8], "stem_channels": 4},
}  # fmt: skip


def _accident(rng: random.Random, arrays: Arrays) -> None:
    """One accident in a state dict."""
    chosen = rng.choice(list(arrays)) if arrays else "x"
    kind = rng.randrange(8) if rng.random() < 0.995 else 8
    if kind == 0:
        arrays.pop(chosen, None)
    elif kind == 1:
        arrays[rng.choice([*_NAMES, f"{chosen}_x", f"module.{chosen}", chosen.replace("weight", "gamma")])] = np.ones(
            2, np.float32
        )
    elif kind == 2 and chosen in arrays:
        arrays[rng.choice([f"bert.{chosen}", chosen.swapcase(), chosen + ".", chosen[1:] or "y"])] = arrays.pop(chosen)
    elif kind == 3:
        arrays[chosen] = np.ones(rng.choice(_SHAPES), np.float32)
    elif kind == 4 and chosen in arrays:
        arrays[chosen] = arrays[chosen].T.copy()
    elif kind == 5 and chosen in arrays:
        real = arrays[chosen].real if arrays[chosen].dtype.kind == "c" else arrays[chosen]
        arrays[chosen] = real.astype(rng.choice(_KINDS))
    elif kind == 6 and chosen in arrays:
        arrays[chosen] = arrays[chosen].reshape(-1)
    elif kind == 8:
        for each in list(arrays):
            arrays[f"module.{each}"] = arrays.pop(each)
    elif chosen in arrays:
        arrays[chosen] = np.broadcast_to(
            arrays[chosen][..., :0].sum(-1) if arrays[chosen].ndim else arrays[chosen], arrays[chosen].shape[:-1]
        )


@contextmanager
def states(_folder: Path) -> Iterator[Case]:
    """State dicts of real architectures with accidents, through the architecture's key map into a model.

    A state that is refused must leave the model as it was.
    """
    from nyala.text.models import bert
    from nyala.vision.models import resnet

    sources = []
    for module, config in ((bert, _BERT), (resnet, _RESNET)):
        model = module.build(dict(config))
        arrays = {n: t.numpy().copy() for n, t in model.state_dict().items()}
        published = module.key_map(module.export_config(model), list(arrays)).to_published(arrays)
        sources.append((module, model, published))

    def case(rng: random.Random) -> tuple[int, Callable[[], None]]:
        module, model, good = rng.choice(sources)
        given = dict(good)
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            _accident(rng, given)

        def attempt() -> None:
            first = next(iter(model.state_dict().values()))
            first.array[...] = 3.0
            try:
                names = module.key_map(module.export_config(model), list(given))
                model.load_state_dict(names.to_ours(given))
            except NyalaError:
                assert (first.array == 3.0).all(), "a refused state changed the model"
                raise

        return sum(a.nbytes for a in given.values()), attempt

    yield case


# ---- GGUF


def _word(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf_file(rng: random.Random) -> bytes:
    """A correct file of llama.cpp's container: (kind, numbers and bytes of a block) for each tensor."""
    kinds, head, data = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 14: (256, 210)}, b"", b""
    pairs = _word("name") + struct.pack("<I", 8) + _word("tiny") + _word("list") + struct.pack("<IIQ2i", 9, 5, 2, 1, -1)
    count = rng.randint(1, 4)
    for i in range(count):
        kind = rng.choice(list(kinds))
        block, size = kinds[kind]
        rows = rng.randint(0, 3)
        head += _word(f"blk.{i}.w") + struct.pack("<I2QIQ", 2, block, rows, kind, len(data))
        data += bytes(rng.randrange(256) for _ in range(rows * size))
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, count, 2) + pairs + head
    return head + bytes(-len(head) % 32) + data


@contextmanager
def ggufs(folder: Path) -> Iterator[Case]:
    """Mutated GGUF files, read to the last tensor."""
    path = folder / "m.gguf"

    def case(rng: random.Random) -> tuple[int, Callable[[], None]]:
        data = gguf_file(rng)
        head = rng.randrange(24, len(data)) if rng.random() < 0.7 else len(data)
        path.write_bytes(mutate(rng, data[:head], _BITS) + data[head:])

        def attempt() -> None:
            with np.errstate(all="ignore"):  # half precision holds infinities and worse
                read = checkpoint.read_gguf(path).load()
            assert sum(a.nbytes for a in read.values()) <= 8 * path.stat().st_size, "more is shown than the file holds"

        return path.stat().st_size, attempt

    yield case


# ---- CTranslate2


def ctranslate2_file(tensors: dict[str, tuple[tuple[int, ...], int, bytes]]) -> bytes:
    """A ``model.bin`` of these tensors: name -> (shape, kind, data); the first has an alias."""

    def word(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    made = struct.pack("<I", 6) + word("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for each, (shape, kind, data) in tensors.items():
        made += (
            word(each) + bytes([len(shape)]) + struct.pack(f"<{len(shape)}I", *shape) + struct.pack("<BI", kind, len(data)) + data
        )
    return made + struct.pack("<I", 1) + word("alias") + word(next(iter(tensors)))


@contextmanager
def ctranslate2s(folder: Path) -> Iterator[Case]:
    """Mutated files of CTranslate2, read to the last tensor."""
    path = folder / "model.bin"

    def case(rng: random.Random) -> tuple[int, Callable[[], None]]:
        tensors: dict[str, tuple[tuple[int, ...], int, bytes]] = {}
        for i in range(rng.randint(1, 3)):
            rows, columns, kind = rng.randint(0, 3), rng.choice([0, 1, 2, 4]), rng.choice([0, 1, 4, 5])
            size = rows * columns * {0: 4, 1: 1, 4: 2, 5: 2}[kind]
            tensors[f"l{i}/w"] = ((rows, columns), kind, bytes(rng.randrange(256) for _ in range(size)))
            if kind == 1:
                shape = rng.choice([(rows,), (1,), ()])
                tensors[f"l{i}/w_scale"] = (shape, 0, struct.pack("<f", 2.0) * int(np.prod(shape)))
        data = ctranslate2_file(tensors)
        path.write_bytes(mutate(rng, data, [*_BITS, b"\xff" * 4, bytes(4)]) if rng.random() < 0.9 else data)

        def attempt() -> None:
            with np.errstate(all="ignore"):
                read = checkpoint.read_ctranslate2(path).load()
            assert sum(a.nbytes for a in read.values()) <= 8 * path.stat().st_size, "more is shown than the file holds"

        return path.stat().st_size, attempt

    yield case


KINDS: dict[str, Callable[[Path], Any]] = {
    "headers": headers, "keymaps": keymaps, "states": states, "pickles": pickles, "ggufs": ggufs, "ctranslate2s": ctranslate2s,
}  # fmt: skip
