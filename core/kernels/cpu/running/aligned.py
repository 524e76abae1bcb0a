"""New arrays that begin on a cache line.

The C library gives memory on 16 bytes. Vectors of 64 bytes then lie across two cache lines each, and every kernel reads and
writes twice as many lines. NumPy lets its allocator be replaced (NEP 49); the one here asks the C library for a little more and
gives the first multiple of 64 in it. Before it stand the size and the address that the C library gave.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

import llvmlite.binding as llvm
import numpy as np

ALIGNMENT = 64

_CODE = """
declare ptr @malloc(i64)
declare ptr @calloc(i64, i64)
declare void @free(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal ptr @place(ptr %raw, i64 %size) {
  %none = icmp eq ptr %raw, null
  br i1 %none, label %fail, label %good
fail:
  ret ptr null
good:
  %begin = ptrtoint ptr %raw to i64
  %beyond = add i64 %begin, 79
  %place = and i64 %beyond, -64
  %p = inttoptr i64 %place to ptr
  %first = getelementptr i64, ptr %p, i64 -2
  store i64 %size, ptr %first
  %second = getelementptr i64, ptr %p, i64 -1
  store i64 %begin, ptr %second
  ret ptr %p
}

define ptr @nyala_malloc(ptr %context, i64 %size) {
  %more = add i64 %size, 80
  %raw = call ptr @malloc(i64 %more)
  %p = call ptr @place(ptr %raw, i64 %size)
  ret ptr %p
}

define ptr @nyala_calloc(ptr %context, i64 %count, i64 %each) {
  %size = mul i64 %count, %each
  %more = add i64 %size, 80
  %raw = call ptr @calloc(i64 %more, i64 1)
  %p = call ptr @place(ptr %raw, i64 %size)
  ret ptr %p
}

define void @nyala_free(ptr %context, ptr %p, i64 %size) {
  %none = icmp eq ptr %p, null
  br i1 %none, label %end, label %go
go:
  %second = getelementptr i64, ptr %p, i64 -1
  %begin = load i64, ptr %second
  %raw = inttoptr i64 %begin to ptr
  call void @free(ptr %raw)
  br label %end
end:
  ret void
}

define ptr @nyala_realloc(ptr %context, ptr %p, i64 %size) {
  %new = call ptr @nyala_malloc(ptr %context, i64 %size)
  %none = icmp eq ptr %new, null
  %first_time = icmp eq ptr %p, null
  %nothing = or i1 %none, %first_time
  br i1 %nothing, label %end, label %go
go:
  %first = getelementptr i64, ptr %p, i64 -2
  %held = load i64, ptr %first
  %shorter = icmp ult i64 %held, %size
  %many = select i1 %shorter, i64 %held, i64 %size
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %p, i64 %many, i1 false)
  call void @nyala_free(ptr %context, ptr %p, i64 %held)
  br label %end
end:
  ret ptr %new
}
"""
_FUNCTIONS = ("malloc", "calloc", "realloc", "free")  # in the order of NumPy's PyDataMemAllocator
_SET_HANDLER = 304  # the place of PyDataMem_SetHandler in NumPy's table of functions, part of its binary interface


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler: a name, a version, a context and four functions."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        *[(name, ctypes.c_void_p) for name in _FUNCTIONS],
    )


def handler_of(*functions: int) -> Any:
    """The capsule that NumPy takes, of the addresses of malloc, calloc, realloc and free. It lives as long as the process: so
    may the arrays."""
    handler = _Handler(b"nyala", 1, None, *functions)
    name = ctypes.create_string_buffer(b"mem_handler")
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    capsule = make(ctypes.addressof(handler), name, None)
    keep_for_ever(handler, name, capsule)
    return capsule


def keep_for_ever(*things: Any) -> None:
    """Let things live as long as the process: arrays may be given back while the interpreter goes down."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def set_handler(capsule: Any) -> None:
    """Let arrays that this thread makes from now on lie where the handler puts them."""
    find = ctypes.pythonapi.PyCapsule_GetPointer
    find.restype, find.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = find(np._core._multiarray_umath._ARRAY_API, None)  # type: ignore[attr-defined]
    functions = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))
    ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(functions[_SET_HANDLER])(capsule)


@functools.lru_cache(maxsize=1)
def _handler() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_CODE)
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    keep_for_ever(engine, machine)
    return handler_of(*[engine.get_function_address(f"nyala_{name}") for name in _FUNCTIONS])


def align_new_arrays() -> bool:
    """Let arrays that this thread makes from now on begin on a cache line; says whether they will.

    Where NumPy already has another allocator than its own that one stays. ``NYALA_KEEP_MEMORY=0`` leaves NumPy as it is.

    Example:
        >>> import numpy as np
        >>> align_new_arrays() and np.empty(5, np.float32).ctypes.data % ALIGNMENT
        0
    """
    named = np._core.multiarray.get_handler_name()  # type: ignore[attr-defined]
    if os.environ.get("NYALA_KEEP_MEMORY") == "0" or os.name != "posix" or named != "default_allocator":
        return named == "nyala"
    set_handler(_handler())
    return True
