"""A CUDA C++ source compiled by g++ for the CPU, and its kernels called: see the README."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
CACHE = Path(tempfile.gettempdir()) / f"nyala-cuda-on-cpu-{os.getuid()}"
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-w", "-fno-strict-aliasing")
# what `extern "C" __global__ void name(parameters)` has become
_ENTRY = re.compile(r'extern "C" __attribute__\(\(annotate\("kernel"\)\)\) void\s+(\w+)\s*\(([^)]*)\)')
_DTYPES = {
    "float": "float32", "double": "float64", "__half": "float16", "__nv_bfloat16": "bfloat16", "int": "int32", "int64": "int64",
    "long long": "int64", "uint64": "uint64", "unsigned long long": "uint64", "uint32": "uint32", "unsigned int": "uint32",
    "unsigned": "uint32", "uint8": "uint8", "unsigned char": "uint8", "int8": "int8", "signed char": "int8", "bool": "bool",
    "short": "int16", "unsigned short": "uint16",
    "Wide<float>": "float32", "Wide<__half>": "float32", "Wide<__nv_bfloat16>": "float32", "Wide<double>": "float64",
}  # fmt: skip


@functools.lru_cache(maxsize=1)
def headers() -> str | None:
    """The folder of CUDA's own headers; None where they are not installed."""
    try:
        from cuda import pathfinder
    except ImportError:
        return None
    return pathfinder.find_nvidia_header_directory("cudart")


def available() -> bool:
    """Whether g++ and CUDA's headers are here."""
    return shutil.which("g++") is not None and headers() is not None


def compiled(text: str, title: str, own_headers: dict[str, str]) -> bytes:
    """The shared library of ``text``, with a function ``cpu_NAME`` for each kernel; kept under a digest of its parts."""
    shim = (HERE / "cuda_on_cpu.h").read_text()
    key = hashlib.sha256("\0".join([text, shim, *FLAGS, Path(__file__).read_text(), *own_headers.values()]).encode()).hexdigest()[
        :20
    ]
    library = CACHE / f"{title}.{key}.so"
    if not library.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            for name, content in own_headers.items():
                Path(folder, name).write_text(content)
            _build(text, Path(folder), Path(folder, "made.so"))
            os.replace(Path(folder, "made.so"), library)
    return library.read_bytes()


def _build(text: str, folder: Path, made: Path) -> None:
    includes = [f"-I{folder}", f"-I{headers()}", f"-I{headers()}/cccl"]
    source, whole = folder / "source.cpp", folder / "whole.cpp"
    source.write_text(text)
    shim = ["-include", str(HERE / "cuda_on_cpu.h")]
    whole.write_text(_run(["g++", *FLAGS, *shim, *includes, "-E", "-P", str(source)]))
    entries = _ENTRY.findall(whole.read_text())
    if not entries:
        raise ValueError('the source has no entry point: extern "C" __global__ void name(...)')
    with whole.open("a") as file:
        file.write("\n".join(_stub(name, _parameters(text)) for name, text in entries))
    _run(["g++", *FLAGS, "-shared", str(whole), "-o", str(made)])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"g++ does not compile this:\n{done.stderr[:4000]}")
    return done.stdout


def _parameters(text: str) -> list[str]:
    """The types of a kernel's parameters."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return [
        re.sub(r"\b(const|__restrict__|__restrict)\b", "", re.sub(r"\b\w+$", "", part)).replace(" *", "*").strip()
        for part in parts
    ]


def _stub(name: str, types: list[str]) -> str:
    taken = "".join(f", {kind} a{i}" for i, kind in enumerate(types))
    passed = ", ".join(f"a{i}" for i in range(len(types)))
    sizes = "unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, size_t shared"
    launch = f"cpucuda::launch(dim3(gx, gy, gz), dim3(bx, by, bz), shared, [=] {{ {name}({passed}); }});"
    described = f'extern "C" const char types_{name}[] = "{";".join(types)}";'
    return f'extern "C" void cpu_{name}({sizes}{taken}) {{ {launch} }}\n{described}\n'


class Library:
    """A compiled source; ``kernel(name)`` gives what launches one of its kernels."""

    def __init__(self, code: bytes) -> None:
        with tempfile.NamedTemporaryFile(suffix=".so") as file:
            file.write(code)
            file.flush()
            self._library = ctypes.CDLL(file.name)

    def kernel(self, name: str) -> Kernel:
        text = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(self._library, f"types_{name}"))).decode()
        return Kernel(name, getattr(self._library, f"cpu_{name}"), text.split(";") if text else [])


class Kernel:
    """``kernel(grid, block, arguments, shared)``: an argument is a NumPy array, or a NumPy number of the parameter's own type."""

    def __init__(self, name: str, function: Any, types: list[str]) -> None:
        self._name, self._function, self._types = name, function, types
        function.restype = None

    def __call__(self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], shared: int = 0) -> None:
        threads = int(np.prod(block))
        if not (0 < threads <= 1024) or min(grid) < 1 or max((*grid[1:], 0)) > 65535 or shared > 227 << 10:
            raise ValueError(f"{self._name}: CUDA takes no grid {grid} of blocks {block} with {shared} bytes of shared memory")
        if len(arguments) != len(self._types):
            raise TypeError(
                f"{self._name} takes {len(self._types)} arguments ({', '.join(self._types)}), {len(arguments)} were given"
            )
        passed = [self._passed(i, value, kind) for i, (value, kind) in enumerate(zip(arguments, self._types, strict=True))]
        sizes = [ctypes.c_uint(v) for v in (*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3])]
        self._function(*sizes, ctypes.c_size_t(shared), *passed)

    def _passed(self, place: int, value: Any, kind: str) -> Any:
        where = f"{self._name}, argument {place} ({kind})"
        if kind.endswith("*"):
            return self._address(where, value, kind[:-1].strip())
        if not isinstance(value, np.generic) or value.dtype != np.dtype(_DTYPES[kind]):
            raise TypeError(f"{where}: {value!r} of {getattr(value, 'dtype', type(value))} was given")
        return np.ctypeslib.as_ctypes_type(value.dtype)(value.item())

    def _address(self, where: str, value: Any, kind: str) -> Any:
        if isinstance(value, np.uint64) and value == 0:
            return ctypes.c_void_p(0)
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{where}: {value!r} is no array")
        if (
            kind not in ("void", "char")
            and value.dtype.name != _DTYPES[kind]
            and not (kind in ("uint8", "unsigned char") and value.dtype == bool)
        ):
            raise TypeError(f"{where}: an array of {value.dtype} was given")
        return ctypes.c_void_p(value.ctypes.data)
