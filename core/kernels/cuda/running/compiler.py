"""CUDA C++ to machine code by NVRTC, kept on the disk: a source is compiled once for each GPU's architecture.

The code is cubin, not PTX: a driver older than the compiler runs it. A file's name is a digest of all it is made of (source,
headers, options, the compiler's version), so code of other sources is never taken. It begins with a checksum of the rest; a
file that was cut short counts as missing.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from ....atomic import atomic_write, storage_errors
from ....cache import cache_folder
from ....errors import DeviceError
from ....progress import say_kernels_are_compiled
from . import sources

_OPTIONS = ("-std=c++17", "--device-as-default-execution-space")
_INSTALL = "install nyala with its CUDA libraries: `pip install 'nyala[cuda13]'` (or `[cuda12]`, as the driver is)"
_CHECK = hashlib.sha256
_LENGTH = _CHECK().digest_size


def code_of(text: str, title: str, architecture: str) -> bytes:
    """The machine code of ``text`` for ``architecture`` (``"sm_90"``): from the disk, or compiled now and kept there.

    Args:
        text: CUDA C++; it may include the headers of this package.
        title: what messages and the file call it.

    Raises:
        DeviceError: NVRTC or CUDA's headers are missing, or the source does not compile.
        StorageError: the cache cannot be written to.
    """
    path = cache_folder() / "cuda" / f"{title}.{_digest(text, architecture)}.cubin"
    content = path.read_bytes() if path.exists() else b""
    if content[:_LENGTH] == _CHECK(content[_LENGTH:]).digest():
        return content[_LENGTH:]
    say_kernels_are_compiled()
    code = compiled(text, title, architecture)
    with storage_errors(path.parent, "create"):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, _CHECK(code).digest() + code)
    return code


def compiled(text: str, title: str, architecture: str) -> bytes:
    """The cubin of ``text``; needs no GPU and no driver. Errors as of ``code_of``."""
    nvrtc = _nvrtc()
    headers = {name.encode(): content.encode() for name, content in sources.headers().items()}
    program = nvrtc.createProgram(text, f"{title}.cu", list(headers.values()), list(headers))
    try:
        nvrtc.compileProgram(program, [*_OPTIONS, f"-arch={architecture}", *(f"-I{folder}" for folder in _includes())])
        return bytes(nvrtc.getCUBIN(program))
    except nvrtc.NVRTCError as error:
        raise DeviceError(
            f"the kernels of {title}.cu do not compile for {architecture}",
            why=nvrtc.getProgramLog(program).strip() or str(error),
            fix="compare the versions that `nyala doctor` prints with those nyala asks for",
        ) from error
    finally:
        nvrtc.destroyProgram(program)


def _digest(text: str, architecture: str) -> str:
    parts = [text, architecture, *_OPTIONS, *sources.headers().values(), repr(_version())]
    return _CHECK("\0".join(parts).encode()).hexdigest()[:24]


@functools.lru_cache(maxsize=1)
def _version() -> tuple[int, int]:
    return tuple(_nvrtc().getVersion())  # type: ignore[return-value]


def _nvrtc() -> Any:
    try:
        from cupy.cuda import nvrtc
    except ImportError as error:
        raise DeviceError("kernels cannot be compiled: NVRTC does not load", why=str(error), fix=_INSTALL) from error
    return nvrtc


@functools.lru_cache(maxsize=1)
def _includes() -> tuple[str, ...]:
    from cuda import pathfinder  # comes with CuPy

    folder = pathfinder.find_nvidia_header_directory("cudart")
    if folder is None:
        raise DeviceError("kernels cannot be compiled: CUDA's headers (cuda_fp16.h) are not installed", fix=_INSTALL)
    return folder, str(Path(folder) / "cccl")
