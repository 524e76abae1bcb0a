"""Attention and its gradients by cuDNN where ``nyala.backends.cuda.enable_cudnn_sdp(True)`` asked for it, else by ``attention``.

cuDNN is asked about halves alone, without dropout: all keys, or causal, and what masks leave of them. Arrays are read as they
lie; masks become numbers that are added to scores (``masks.cu``). A value that is not finite may reach queries that do not see
its key, which the kernels of our own rule out.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ... import backends
from ...devices import cupy
from ..reference.windows import Size
from . import attention as own
from . import cudnn_plans as plans
from .running.launching import blocks_for, launch, suffix

_WIDEST = 256  # numbers of a head
_EACH = 8  # numbers that lie together: 16 bytes, which a head's width and all strides are multiples of
_FEW = 8  # queries up to which ``attention_few.cu`` has kernels of its own: keys that grow would need a plan for each length
_WORKSPACE = 1 << 30  # bytes: gradients in a fixed order are summed from one part for each block of keys
_THREADS = 128
_BANDS = {"first": "TOP_LEFT", "last": "BOTTOM_RIGHT"}

_NAMES = ("q", "k", "v", "out", "grad", "gq", "gk", "gv")  # of tensors, in the order of ``lies``

Lies = tuple[tuple[int, ...], tuple[int, ...]]  # a shape (B, H, L, E), and its strides in elements


class Forward(NamedTuple):
    """softmax(q k^T * scale) v, ``seen``: "all" keys, "first" where query 0 sees key 0 alone, "last" where the last sees all."""

    dtype: str
    lies: tuple[Lies, ...]
    scale: float
    seen: str
    bias: Size | None  # the shape of what masks became
    statistics: bool

    def described(self, cudnn: Any, **where: Any) -> Any:
        """The graph of it, as ``Kind`` has it; the statistics are the logarithms of the sums of exponentials, in float."""
        graph = plans.begun(cudnn, self.dtype, **where)
        q, k, v = (_tensor(graph, *pair) for pair in zip(_NAMES[:3], self.lies, strict=False))
        out, statistics = graph.sdpa(q=q, k=k, v=v, generate_stats=self.statistics, **_scores(cudnn, graph, self))
        _wanted(cudnn, out, "out", self.lies[3], self.dtype)
        if self.statistics:
            _wanted(cudnn, statistics, "statistics", _rows(self.lies[0]), "float32")
        return plans.with_candidates(cudnn, graph, [], _WORKSPACE)


class Backward(NamedTuple):
    """The gradients of ``Forward``, in a fixed order of sums."""

    dtype: str
    lies: tuple[Lies, ...]
    scale: float
    seen: str
    bias: Size | None

    def described(self, cudnn: Any, **where: Any) -> Any:
        """The graph of it, as ``Kind`` has it."""
        graph = plans.begun(cudnn, self.dtype, **where)
        q, k, v, out, grad = (_tensor(graph, *pair) for pair in zip(_NAMES[:5], self.lies, strict=False))
        statistics = _tensor(graph, "statistics", _rows(self.lies[0]), data_type=plans.narrow(cudnn, "float32"))
        given = {"q": q, "k": k, "v": v, "o": out, "dO": grad, "stats": statistics}
        found = graph.sdpa_backward(**given, use_deterministic_algorithm=True, **_scores(cudnn, graph, self))
        for name, tensor, lies in zip(_NAMES[5:], found, self.lies[5:], strict=True):
            _wanted(cudnn, tensor, name, lies, self.dtype)
        return plans.with_candidates(cudnn, graph, [], _WORKSPACE)


class _Masked(NamedTuple):
    """Masks as cuDNN takes them, with dimensions of 1 where they do not differ."""

    bias: Any  # (B, H, L, S), float
    first: Any  # (B, H, L), int: the first key that is seen, S where there is none


def attention(
    q: Any, k: Any, v: Any, scale: float, allowed: Any = None, mask: Any = None, start: int | None = None,
    dropout: tuple[float, tuple[int, int]] | None = None, statistics: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    asked = q.shape[2] > _FEW and dropout is None and backends.cuda.cudnn_sdp_enabled()
    seen = _seen(q, k, start) if asked else None
    if seen is not None and _can(q, k, v) and _can_mask(q, seen, allowed, mask):
        out, masked = _empty(q, v.shape[3]), _masked(q, k, allowed, mask)
        found = cupy().empty((1, *q.shape[:3]), np.float32) if statistics else None
        arrays = {"q": q, "k": k, "v": v, "out": out}
        kind = Forward(q.dtype.name, tuple(map(_lies, arrays.values())), float(scale), seen, _bias(masked), statistics)
        if plans.run(kind, arrays | _given(masked, found)):
            if masked is not None:
                _leave_unseen(out, found, masked, start)
            return out, found
    return own.attention(q, k, v, scale, allowed, mask, start, dropout, statistics)


def attention_backward(
    grad: Any, q: Any, k: Any, v: Any, out: Any, statistics: Any, scale: float, allowed: Any = None, mask: Any = None,
    start: int | None = None, dropout: tuple[float, tuple[int, int]] | None = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    if statistics is not None and statistics.shape[0] == 1:  # cuDNN's
        seen = _seen(q, k, start)
        if seen is not None and _can(q, k, v, grad, out):
            found, masked = tuple(_empty(t, t.shape[3]) for t in (q, k, v)), _masked(q, k, allowed, mask)
            arrays = dict(zip(_NAMES, (q, k, v, out, grad, *found), strict=True))
            kind = Backward(q.dtype.name, tuple(map(_lies, arrays.values())), float(scale), seen, _bias(masked))
            if plans.run(kind, arrays | _given(masked, statistics)):
                return found
        statistics = cupy().concatenate([statistics, cupy().ones_like(statistics)])  # a largest score, and a sum above it
    return own.attention_backward(grad, q, k, v, out, statistics, scale, allowed, mask, start, dropout)


def _can_mask(q: Any, seen: str, allowed: Any, mask: Any) -> bool:
    """Whether cuDNN takes them, which has no numbers added where the last query sees all, and ``masks.cu`` reads them."""
    if allowed is mask is None:
        return True
    return seen != "last" and (allowed is None or allowed.dtype == np.bool_) and (mask is None or mask.dtype == q.dtype)


def _masked(q: Any, k: Any, allowed: Any, mask: Any) -> _Masked | None:
    """What two masks that broadcast to (B, H, L, S) leave; None where there are none."""
    given = [x for x in (allowed, mask) if x is not None]
    if not given:
        return None
    batch, heads, queries = np.broadcast_shapes((1,) * 4, *(x.shape for x in given))[:3]
    bias = cupy().empty((batch, heads, queries, k.shape[2]), np.float32)
    first, rows = cupy().empty(bias.shape[:3], np.int32), batch * heads * queries
    beside = *own.beside(allowed, bias.shape), *own.beside(mask, bias.shape)
    sizes = heads, queries, k.shape[2], np.int64(rows)
    launch("masks", f"mask_{suffix(q)}", blocks_for(rows, _THREADS // 32), _THREADS, *beside, bias, first, *sizes)
    return _Masked(bias, first)


def _leave_unseen(out: Any, statistics: Any, masked: _Masked, start: int | None) -> None:
    """Zeros in the rows of a result (B, H, L, V), a view of (B, L, H, V), whose queries see no key."""
    (batch, heads, queries, width), keys = out.shape, masked.bias.shape[3]
    strides = (np.int64(s // masked.first.itemsize) for s in cupy().broadcast_to(masked.first, out.shape[:3]).strides)
    rows, known = batch * heads * queries, np.int64(keys if start is None else start)
    sizes = heads, queries, keys, width, np.int64(rows)
    launch(
        "masks",
        f"unseen_{suffix(out)}",
        blocks_for(rows, _THREADS),
        _THREADS,
        out,
        statistics,
        masked.first,
        *strides,
        known,
        *sizes,
    )


def _bias(masked: _Masked | None) -> Size | None:
    return None if masked is None else masked.bias.shape


def _given(masked: _Masked | None, statistics: Any) -> dict[str, Any]:
    """What of the two there is, by its name in a graph."""
    given = {"bias": None if masked is None else masked.bias, "statistics": statistics}
    return {name: array for name, array in given.items() if array is not None}


def _seen(q: Any, k: Any, start: int | None) -> str | None:
    """What ``Forward.seen`` is where query i sees keys 0..start + i; None where cuDNN has no word for it."""
    queries, keys = q.shape[2], k.shape[2]
    if start is None or start >= keys - 1:
        return "all"
    if start == 0:
        return "first"
    return "last" if 0 < start == keys - queries else None


def _can(*arrays: Any) -> bool:
    """Whether cuDNN may be asked: it is there, and the arrays are halves whose heads lie as it reads them."""
    return (
        arrays[0].dtype.name in ("float16", "bfloat16")
        and all(x.dtype == arrays[0].dtype and x.size and _suits(x) for x in arrays)
        and plans.library() is not None
    )


def _suits(x: Any) -> bool:
    shape, strides = _lies(x)
    whole = all(stride > 0 and stride % _EACH == 0 for stride in strides[:3])
    return whole and strides[3] == 1 and shape[3] % _EACH == 0 and shape[3] <= _WIDEST and x.data.ptr % 16 == 0


def _lies(x: Any) -> Lies:
    """Its shape and strides; a stride that leads nowhere is that of a full array, whatever was said."""
    full = [x.shape[1] * x.shape[2] * x.shape[3], x.shape[2] * x.shape[3], x.shape[3], 1]
    own_strides = (stride // x.itemsize for stride in x.strides)
    return x.shape, tuple(f if n == 1 else s for n, s, f in zip(x.shape, own_strides, full, strict=True))


def _rows(q: Lies) -> Lies:
    """A number for each query: (B, H, L, 1), full."""
    return _full((*q[0][:3], 1))


def _full(shape: Size) -> Lies:
    return shape, tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _empty(like: Any, width: int) -> Any:
    """(B, H, L, width), a view of (B, L, H, width)."""
    batch, heads, length, _ = like.shape
    return cupy().empty((batch, length, heads, width), like.dtype).transpose(0, 2, 1, 3)


def _tensor(graph: Any, name: str, lies: Lies, **more: Any) -> Any:
    return plans.named(graph.tensor(name=name, dim=list(lies[0]), stride=list(lies[1]), **more), name)


def _wanted(cudnn: Any, tensor: Any, name: str, lies: Lies, dtype: str) -> None:
    plans.named(tensor.set_output(True).set_dim(list(lies[0])).set_stride(list(lies[1])), name)
    tensor.set_data_type(plans.narrow(cudnn, dtype))


def _scores(cudnn: Any, graph: Any, kind: Forward | Backward) -> dict[str, Any]:
    """How queries and keys are compared, as cuDNN's words have it."""
    said: dict[str, Any] = {"attn_scale": kind.scale}
    if kind.bias is not None:
        said["bias"] = _tensor(graph, "bias", _full(kind.bias), data_type=plans.narrow(cudnn, "float32"))
    if kind.seen != "all":
        said["diagonal_alignment"] = getattr(cudnn.diagonal_alignment, _BANDS[kind.seen])
        said["diagonal_band_right_bound"] = 0
    return said
