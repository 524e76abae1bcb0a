"""``njit`` as the kernels use it: cached on the disk where that is possible, and never out of date.

Numba alone raises where it cannot write a compiled function, long after the function has been computed; where a cache's index
could be written and its data could not, the next start may take the data of an older source for it; and it looks at the time
stamp of the function's own file only, though compiled code holds what it calls from other files too.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
from numba.core import sigutils
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from ....progress import say_kernels_are_compiled
from .compiled_files import KernelFiles

logger = logging.getLogger("nyala.kernels")
_said = False

# "contract" allows fused multiply-add. "reassoc" lets a sum be split over vector lanes, in one way for one machine as long as the
# function writes to no array. Where a loop writes, the compiler asks at run time whether it may write over what it reads, and
# takes neighbours in memory for that: the loop without lanes, with other sums, would run or not as chance places the arrays.
EXACT: dict[str, Any] = {"fastmath": {"contract", "nsz"}, "error_model": "numpy", "cache": True, "nogil": True}
SUMS: dict[str, Any] = {"fastmath": {"contract", "nsz", "reassoc"}, "error_model": "numpy", "cache": True, "nogil": True}


class _OwnCopies(JITCodeLibrary):
    """Compiled code with private copies of the functions that it calls.

    Numba shares each function among all code that calls it: what runs is the copy that was there first. But every copy is
    optimised anew where it ends up, and where sums may be split over lanes two of them may round differently. A process that
    compiles would then give other bits than the next one, which loads from the disk only what it needs.
    """

    def finalize(self) -> None:
        self._own = {function.name for function in self._final_module.functions if not function.is_declaration}
        super().finalize()

    def _optimize_final_module(self) -> None:
        owner = " ".join(sorted(self._own))
        for function in self._final_module.functions:
            if not function.is_declaration and function.name not in self._own:
                function.linkage = "internal"
                # LLVM's loader looks names up across all code, private or not: a private copy, whose arguments may have been
                # rearranged, must not be taken for the function
                function.name = "nyala_" + hashlib.sha256(f"{function.name} {owner}".encode()).hexdigest()[:24]
        super()._optimize_final_module()


class _Pipeline(Compiler):
    """Numba's compiler, with such code as its result."""

    def compile_extra(self, func: Any) -> Any:
        if self.state.library is None:
            self.state.library = _OwnCopies(self.state.targetctx.codegen(), func.__qualname__)
            self.state.library.enable_object_caching()
        return super().compile_extra(func)


def njit(
    *, cache: bool = False, signatures: Sequence[Any] = (), parts: tuple[Any, ...] = (), **options: Any
) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(**options)``; with ``cache`` compiled code is kept on the disk where that is possible.

    With ``signatures`` it is compiled for these and no others: see ``any_layout``.
    ``parts`` are Python functions of other files that the code is made of, where the function's own file does not import them.

    Example:
        >>> @njit(nogil=True)
        ... def twice(x):
        ...     return 2 * x
        >>> twice(21)
        42
    """

    def decorate(function: Callable[..., Any]) -> Any:
        options["pipeline_class"] = _Pipeline
        made = _cached(functools.partial(numba.njit, **options), function, parts) if cache else numba.njit(**options)(function)
        for signature in signatures:
            made.compile(signature)
        if signatures:
            made.disable_compile()
        return made

    return decorate


def any_layout(ndim: int, dtype: Any = numba.float32, writable: bool = False, order: str = "A") -> Any:
    """The type of arrays that arrays of any strides pass for, and read-only and misaligned ones unless ``writable``.

    Numba would compile a kernel anew for each kind of array.
    """
    return numba.types.Array(dtype, ndim, order, readonly=not writable, aligned=writable)


class _Callback(CFunc):
    """Looks for its code on the disk as soon as it is compiled: its cache must be prepared when it is made."""

    def enable_caching(self) -> None:
        super().enable_caching()
        _prepare(self._cache, (self._pyfunc,))  # type: ignore[attr-defined]  # of a class that Numba does not describe


def compiled_callback(signature: Any, function: Callable[..., Any]) -> Any:
    """A function that native code can call by its ``address``: ``numba.cfunc``, cached as ``njit`` caches."""
    callback = _Callback(function, sigutils.normalize_signature(signature), {}, {}, pipeline_class=_Pipeline)
    try:
        callback.enable_caching()
    except RuntimeError as error:  # none of the folders that Numba knows can be written to
        _say(str(error))
    callback.compile()
    return callback


def _cached(compiler: Callable[..., Any], function: Callable[..., Any], parts: tuple[Any, ...]) -> Any:
    try:
        result = compiler(cache=True)(function)
    except RuntimeError as error:  # as above
        _say(str(error))
        return compiler()(function)
    _prepare(result._cache, (function, *parts))
    return result


def _prepare(cache: Any, parts: tuple[Any, ...]) -> None:
    files = cache._cache_file
    base = cache._impl.filename_base
    digest, *others = [_digest(part.__code__.co_filename) for part in parts]  # now: what is imported, not what replaces it
    cache._cache_file = KernelFiles(cache.cache_path, base, files._source_stamp, digest, functools.partial(_not_kept, cache))
    _say_before_compiling(cache)
    _add_to_key(cache, tuple(others))


def _not_kept(cache: Any, error: OSError) -> None:
    _say(f"{cache.cache_path}: {error.strerror}")


def _say_before_compiling(cache: Any) -> None:
    load = cache.load_overload

    def load_overload(signature: Any, target_context: Any) -> Any:
        found = load(signature, target_context)
        if found is None:
            say_kernels_are_compiled()
        return found

    cache.load_overload = load_overload


def _add_to_key(cache: Any, digests: tuple[str, ...]) -> None:
    key = cache._index_key

    def index_key(signature: Any, codegen: Any) -> Any:
        return (*key(signature, codegen), *digests)

    cache._index_key = index_key


@functools.cache
def _digest(path: str) -> str:
    """Of the file and of the kernels' files that it imports, directly or not."""
    todo, seen = [path], set()
    while todo:
        file = todo.pop()
        if file not in seen and os.path.isfile(file):
            seen.add(file)
            todo += _source(file)[1]
    return hashlib.sha256(b"".join(_source(file)[0] for file in sorted(seen))).hexdigest()[:16]


_IMPORT = re.compile(rb"^from (\.\.?)([\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)


@functools.cache
def _source(path: str) -> tuple[bytes, list[str]]:
    """(digest of a file, the files in its room and the rooms beside it that it imports)."""
    content = Path(path).read_bytes()
    found: list[str] = []
    for dots, module, names in _IMPORT.findall(content):
        room = Path(path).parents[len(dots) - 1].joinpath(*module.decode().split("."))
        found += [f"{room}.py", *(f"{room / name.decode()}.py" for name in re.findall(rb"\w+", names))]
    return hashlib.sha256(content).digest(), found


def _say(why: str) -> None:
    global _said
    if not _said:
        logger.warning(
            "compiled kernels cannot be kept (%s): each start compiles them again. Remedy: free some space, or set "
            "NUMBA_CACHE_DIR to a folder that can be written to",
            why,
        )
    _said = True
