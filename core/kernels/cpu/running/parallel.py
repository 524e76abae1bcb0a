"""``parallel_for``: the one pool of threads behind the CPU kernels, entered from compiled code.

A kernel says ``parallel_for(body, n, (a, b))`` and ``body(i, a, b)`` runs for every i below n, on the pool's threads and on
the caller's own. Tiles are handed out one by one through an atomic counter: who computes a tile is left to chance, what a tile
holds is not, so the bits do not depend on the number of threads.

Threads of the pool wait inside compiled code without the interpreter's lock; a launch costs about a microsecond. Any number of
Python threads may call kernels: whoever finds the pool taken runs its tiles alone. A forked child gets a pool of its own.

All words that threads share are read and written atomically, in one order for all of them (sequential consistency). Two
pairs carry the proof. A thread counts itself among the sleepers and then looks at the job's number, a launcher raises the
number and then looks at the sleepers: one of them sees the other, so nobody sleeps through a job. A thread counts itself
inside and then looks whether the job is open, a launcher closes the job and then looks who is inside: so nobody enters a job
whose memory is gone.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import threading
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from .aligned import align_new_arrays
from .compiled import compiled_callback, njit
from .threads import thread_count

logger = logging.getLogger("nyala.kernels")

_I1, _I32, _I64, _VOID = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.VoidType()
_BYTES = ir.IntType(8).as_pointer()
_BODY = ir.FunctionType(_VOID, [_BYTES, _I64])  # body(context, tile)

# Places in the pool's memory, in 8-byte words; words that different threads write lie 16 apart, on cache lines of their own.
_JOB, _OPEN, _FUNCTION, _CONTEXT, _TILES = 0, 1, 2, 3, 4
_NEXT, _INSIDE, _TAKEN, _SLEEPERS, _STOP, _WORKERS = 16, 32, 48, 64, 65, 66
_MUTEX, _CONDITION, _WORDS = 80, 96, 128
_EVERYONE = 1 << 30
_SPINS = 600  # looks at the job number before a thread goes to sleep: about 20 microseconds

_PAUSES = {"x86_64": ("llvm.x86.sse2.pause",), "aarch64": ("llvm.aarch64.hint", 1), "arm64": ("llvm.aarch64.hint", 1)}

_RUN, _MEMORY = "nyala_run_tiles", "nyala_pool"  # the symbols by which cached kernels find this process's pool


# ---- atomic words


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _I64.as_pointer())


@intrinsic
def _read(typing_context, address):
    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_word(builder, arguments[0]), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def _write(typing_context, address, value):
    def generate(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], _word(builder, arguments[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def _add(typing_context, address, value):
    """Add to a word; gives what it held before."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("add", _word(builder, arguments[0]), arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def _take(typing_context, address):
    """Turn a word from 0 to 1; says whether it was 0."""

    def generate(context, builder, signature, arguments):
        zero, one = ir.Constant(_I64, 0), ir.Constant(_I64, 1)
        return builder.extract_value(builder.cmpxchg(_word(builder, arguments[0]), zero, one, "seq_cst", "seq_cst"), 1)

    return types.boolean(types.int64), generate


@intrinsic
def _pause(typing_context):
    """Tell the processor that this thread is waiting: one that shares the core runs on."""

    def generate(context, builder, signature, arguments):
        name, *hint = _PAUSES.get(llvm.get_process_triple().partition("-")[0], ("llvm.donothing",))
        kind = ir.FunctionType(_VOID, [_I32] * len(hint))
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [ir.Constant(_I32, h) for h in hint])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _call_body(typing_context, function, body_context, tile):
    def generate(context, builder, signature, arguments):
        builder.call(builder.inttoptr(arguments[0], _BODY.as_pointer()), [builder.inttoptr(arguments[1], _BYTES), arguments[2]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


# ---- the pool

_state = np.zeros(_WORDS + 16, np.int64)
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_state))  # for ever: a daemon thread may compute while the interpreter goes down
_BASE = (_state.ctypes.data + 127) // 128 * 128  # words start on a cache line
_words = _state[(_BASE - _state.ctypes.data) // 8 :][:_WORDS]
_words[_TAKEN] = 1  # until there are threads
_POSIX = all(
    hasattr(ctypes.CDLL(None), f) for f in ("pthread_mutex_lock", "pthread_cond_wait", "sched_yield")
) if os.name == "posix" else False  # fmt: skip

if _POSIX:
    _lock = types.ExternalFunction("pthread_mutex_lock", types.int32(types.int64))
    _unlock = types.ExternalFunction("pthread_mutex_unlock", types.int32(types.int64))
    _wait = types.ExternalFunction("pthread_cond_wait", types.int32(types.int64, types.int64))
    _wake = types.ExternalFunction("pthread_cond_signal", types.int32(types.int64))
    _wake_all = types.ExternalFunction("pthread_cond_broadcast", types.int32(types.int64))
    _give_way = types.ExternalFunction("sched_yield", types.int32())


@njit(nogil=True, cache=True)
def _drain(base: Any) -> None:
    function, body_context, tiles = _read(base + 8 * _FUNCTION), _read(base + 8 * _CONTEXT), _read(base + 8 * _TILES)
    tile = _add(base + 8 * _NEXT, 1)
    while tile < tiles:
        _call_body(function, body_context, tile)
        tile = _add(base + 8 * _NEXT, 1)


@njit(nogil=True, cache=True)
def _await_job(base: Any, seen: Any) -> Any:
    """The number of a job other than ``seen``: looked for a while, then slept for."""
    for _ in range(_SPINS):
        job = _read(base + 8 * _JOB)
        if job != seen:
            return job
        _pause()
    _lock(base + 8 * _MUTEX)
    _add(base + 8 * _SLEEPERS, 1)
    while _read(base + 8 * _JOB) == seen:
        _wait(base + 8 * _CONDITION, base + 8 * _MUTEX)
    _add(base + 8 * _SLEEPERS, -1)
    _unlock(base + 8 * _MUTEX)
    return _read(base + 8 * _JOB)


@njit(nogil=True, cache=True)
def _work(base: Any) -> None:
    """The life of a pool thread: take part in each job that is still open when it gets there."""
    seen = 0
    while True:
        seen = _await_job(base, seen)
        if _read(base + 8 * _STOP):
            return
        _add(base + 8 * _INSIDE, 1)  # before the look at _OPEN: the launcher closes the job, then waits for who is inside
        if _read(base + 8 * _OPEN):
            _drain(base)
        _add(base + 8 * _INSIDE, -1)


@njit(nogil=True, cache=True)
def _announce(base: Any, wanted: Any) -> None:
    """Raise the job's number and wake so many threads; those that are awake see it by themselves."""
    _add(base + 8 * _JOB, 1)
    sleepers = _read(base + 8 * _SLEEPERS)
    if sleepers:
        _lock(base + 8 * _MUTEX)
        if wanted >= sleepers:
            _wake_all(base + 8 * _CONDITION)
        else:
            for _ in range(wanted):
                _wake(base + 8 * _CONDITION)
        _unlock(base + 8 * _MUTEX)


@njit(nogil=True, cache=True)
def _share(base: Any, function: Any, body_context: Any, tiles: Any) -> None:
    _write(base + 8 * _FUNCTION, function)
    _write(base + 8 * _CONTEXT, body_context)
    _write(base + 8 * _TILES, tiles)
    _write(base + 8 * _NEXT, 0)
    _write(base + 8 * _OPEN, 1)
    _announce(base, tiles - 1)
    _drain(base)
    _write(base + 8 * _OPEN, 0)
    looks = 0
    while _read(base + 8 * _INSIDE):
        looks += 1
        if looks < _SPINS:
            _pause()
        else:
            _give_way()
    _write(base + 8 * _TAKEN, 0)


def _run_tiles(base: Any, function: Any, body_context: Any, tiles: Any) -> None:
    if tiles > 1 and _read(base + 8 * _WORKERS) > 0 and _take(base + 8 * _TAKEN):
        _share(base, function, body_context, tiles)
        return
    for tile in range(tiles):
        _call_body(function, body_context, tile)


def _run_alone(base: Any, function: Any, body_context: Any, tiles: Any) -> None:
    for tile in range(tiles):
        _call_body(function, body_context, tile)


_runner = compiled_callback(types.void(types.int64, types.int64, types.int64, types.int64), _run_tiles if _POSIX else _run_alone)
llvm.add_symbol(_RUN, _runner.address)
llvm.add_symbol(_MEMORY, _BASE)


_threads: list[threading.Thread] = []
_switch = threading.Lock()  # who starts or stops threads
_wanted = 1


def start(threads: int) -> None:
    """Have ``threads`` threads in all, the caller's among them; those of an earlier start are stopped first.

    Without POSIX threads kernels run on the caller's thread alone. Where the system gives fewer threads, those are used.
    """
    global _wanted
    with _switch:
        _stop()
        _wanted = threads
        _start(threads - 1 if _POSIX else 0)


def _start(count: int) -> None:
    """Only while nobody can enter the pool: its word ``_TAKEN`` is set here and after ``_stop``."""
    if count < 1:
        return
    libc = ctypes.CDLL(None)
    _words[[_JOB, _OPEN, _INSIDE, _SLEEPERS, _STOP]] = 0
    _words[_MUTEX:] = 0
    libc.pthread_mutex_init(ctypes.c_void_p(_BASE + 8 * _MUTEX), None)
    libc.pthread_cond_init(ctypes.c_void_p(_BASE + 8 * _CONDITION), None)
    for i in range(count):
        worker = threading.Thread(target=_work, args=(_BASE,), name=f"nyala-kernel-{i}", daemon=True)
        try:
            worker.start()
        except RuntimeError as error:  # the system's limit on threads
            logger.warning("kernels run on %d threads instead of %d: %s", i + 1, count + 1, error)
            break
        _threads.append(worker)
    _words[_WORKERS] = len(_threads)
    if _threads:
        _words[_TAKEN] = 0


def stop() -> None:
    """End the pool's threads; kernels go on, on the threads that call them."""
    with _switch:
        _stop()


def _stop() -> None:
    if not _threads:
        return
    _words[_WORKERS] = 0
    _close(_BASE)
    while _threads:
        _threads.pop().join()


@njit(nogil=True, cache=True)
def _close(base: Any) -> None:
    while not _take(base + 8 * _TAKEN):
        _give_way()  # a job of another thread is running
    _write(base + 8 * _STOP, 1)
    _announce(base, _EVERYONE)  # not a count of sleepers taken before: more may have gone to sleep since


def workers() -> int:
    """Threads of the pool, the caller's not counted."""
    return int(_words[_WORKERS])


def _after_fork() -> None:
    """In a forked child only the forking thread lives on: the pool begins anew."""
    global _switch
    _switch = threading.Lock()
    _threads.clear()
    _words[_WORKERS] = 0
    _words[_TAKEN] = 1
    global_compiler_lock.release()
    start(_wanted)


if hasattr(os, "register_at_fork"):
    # a compilation that another thread has begun is finished first: in the child nobody would, and all would wait for it
    os.register_at_fork(
        before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release, after_in_child=_after_fork
    )
atexit.register(stop)
start(thread_count())
align_new_arrays()


# ---- what kernels call


def _symbol(module: Any, name: str) -> Any:
    """A byte outside the module, found by its name when the code is loaded."""
    return module.globals[name] if name in module.globals else cgutils.add_global_variable(module, ir.IntType(8), name)


@intrinsic
def parallel_for(typing_context, body, tiles, arguments):
    """Run ``body(i, *arguments)`` for every i in ``range(tiles)``.

    ``body`` is an ``njit`` function that returns nothing and raises nothing; ``arguments`` is a tuple. Where no memory is left
    for what a body allocates, ``MemoryError`` is raised here.
    """
    inner = (types.int64, *arguments.types)
    body_signature = typing_context.resolve_function_type(body, inner, {})
    result = body.dispatcher.get_compile_result(body_signature)

    def generate(context, builder, signature, values):
        _, count, packed = values
        context.add_linking_libs([result.library])
        module = builder.module
        held = cgutils.alloca_once_value(builder, packed)
        failed = cgutils.alloca_once_value(builder, ir.Constant(_I64, 0))
        shared = cgutils.alloca_once_value(
            builder, cgutils.pack_array(builder, [builder.ptrtoint(p, _I64) for p in (held, failed)])
        )
        function = _tile_function(context, module, result.fndesc, body_signature, packed.type)
        runner = cgutils.get_or_insert_function(module, ir.FunctionType(_VOID, [_I64] * 4), _RUN)
        memory = _symbol(module, _MEMORY)
        builder.call(runner, [*[builder.ptrtoint(p, _I64) for p in (memory, function, shared)], count])
        with builder.if_then(builder.icmp_signed("!=", builder.load(failed), ir.Constant(_I64, 0)), likely=False):
            context.call_conv.return_user_exc(builder, MemoryError, ("no memory was left for a part of a kernel",))
        return context.get_dummy_value()

    return types.void(body, types.int64, arguments), generate


def _tile_function(context: Any, module: Any, body: Any, signature: Any, packed: Any) -> Any:
    """``void(shared, tile)``: the body, with its arguments taken from ``shared``: their address, and that of a word to set
    where the body fails."""
    function = ir.Function(module, _BODY, module.get_unique_name("nyala_body"))
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    shared = builder.bitcast(function.args[0], ir.ArrayType(_I64, 2).as_pointer())
    held, failed = cgutils.unpack_tuple(builder, builder.load(shared), 2)
    unpacked = builder.load(builder.inttoptr(held, packed.as_pointer()))
    given = [function.args[1], *cgutils.unpack_tuple(builder, unpacked)]
    status, _ = context.call_internal_no_propagate(builder, body, signature, given)
    with builder.if_then(status.is_error, likely=False):
        builder.store(ir.Constant(_I64, 1), _word(builder, failed))
    builder.ret_void()
    return function
