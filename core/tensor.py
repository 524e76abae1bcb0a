"""``Tensor``: an array, its device, and its place in the graph.

The operations live in ``core/ops``, one family a file; ``core/methods.py`` hangs them on the class under torch's names.

Example:
    >>> import nyala
    >>> x = nyala.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x @ x).sum().backward()
    >>> x.grad
    tensor([[ 7., 11.],
            [ 9., 13.]])
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import devices, dtypes, faults
from .errors import ArgumentError, DtypeError, GradError, ShapeError
from .graph import Node, Version, state
from .tracing import here


class Handle:
    """What ``register_hook`` gives back; ``remove()`` takes the hook out again."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        """Take the hook out; calling it again does nothing."""
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)


class Packed:
    """What kernels made of a weight, and the state of the weight that they made it of."""

    def __init__(self, array: Any, version: int) -> None:
        self.packs: dict[str, Any] = {}
        self._array, self._version, self._sample = weakref.ref(array), version, _sample(array)

    def is_of(self, array: Any, version: int) -> bool:
        """Whether the weight is still the same: its array, the count of writes to it, and a sample of its values.

        The sample is for writes that nothing counts, those to ``.array`` itself.
        """
        return self._array() is array and self._version == version and self._sample == _sample(array)


def _sample(array: Any) -> bytes:
    flat = array.reshape(-1) if array.flags.c_contiguous else array[0]
    return bytes(flat[:: max(1, flat.size // 61)].tobytes())


class Tensor:
    """An n-dimensional array that can carry a gradient, with torch's vocabulary.

    Make one with ``nyala.tensor(data)`` (a copy) or ``nyala.from_numpy(array)`` (the same memory).

    Attributes:
        array: the NumPy or CuPy array itself.
        requires_grad: whether gradients are computed for it.
        grad: the gradient that ``backward`` has added up, or None.
        grad_fn: the operation that made it, or None for a leaf.
    """

    # Defaults on the class: making a tensor sets only what differs, which keeps small operations quick.
    array: Any
    requires_grad: bool = False
    grad: Tensor | None = None
    grad_fn: Node | None = None
    _number: int = 0
    _version: Version | None = None
    _is_view: bool = False
    _hooks: list[Callable[[Tensor], Tensor | None]] | None = None
    _accumulate_hooks: list[Callable[[Tensor], None]] | None = None
    _packed: Packed | None = None
    __array_priority__ = 1000  # NumPy operators give way to ours

    def __init__(self, array: Any, requires_grad: bool = False) -> None:
        self.array = np.asarray(array) if isinstance(array, np.generic) else array
        if requires_grad:
            self.requires_grad_()

    @staticmethod
    def _made(array: Any, node: Node | None, number: int) -> Tensor:
        """The ``number``-th result of ``node``, or a tensor outside every graph."""
        t = Tensor.__new__(Tensor)
        t.array = array
        if node is not None:
            t.requires_grad = True
            t.grad_fn = node
            t._number = number
        return t

    def _like(self, array: Any) -> Tensor:
        """A tensor outside every graph that holds ``array``."""
        return Tensor._made(array, None, 0)

    # ---- what it is

    @property
    def _module(self) -> Any:
        return devices.module_of(self.array)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def device(self) -> str:
        return devices.of(self.array)

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def is_leaf(self) -> bool:
        return self.grad_fn is None

    @property
    def is_cuda(self) -> bool:
        return not isinstance(self.array, np.ndarray)

    @property
    def itemsize(self) -> int:
        return self.array.itemsize

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        return self.array.shape if dim is None else self.array.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    def numel(self) -> int:
        """The number of elements."""
        return self.array.size

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return dtypes.is_floating_point(self.dtype)

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self.dtype.kind == "c"

    def is_contiguous(self) -> bool:
        """Whether the memory is in C order without gaps."""
        return bool(self.array.flags.c_contiguous)

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.array.itemsize

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self.array.ctypes.data if isinstance(self.array, np.ndarray) else self.array.data.ptr

    def __len__(self) -> int:
        if not self.array.ndim:
            raise ArgumentError("len() of a tensor without dimensions", fix="use numel(), which is 1")
        return self.array.shape[0]

    # ---- values out

    def numpy(self) -> np.ndarray[Any, Any]:
        """The array on the CPU, sharing its memory where it is there already.

        Raises:
            GradError: the tensor requires a gradient; call ``detach()`` first.
        """
        if self.requires_grad:
            raise GradError("numpy() of a tensor that requires a gradient", fix="call .detach().numpy()")
        return devices.move(self.array, "cpu")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        if copy is False and dtype is not None and array.dtype != dtype:
            raise ArgumentError(f"an array of {array.dtype} cannot be seen as {dtype} without a copy", fix="allow the copy")
        return np.array(array, dtype, copy=copy)

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise GradError("a tensor that requires a gradient cannot be exported", fix="call .detach() first")
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def item(self) -> Any:
        """The single element as a Python number."""
        if self.array.size != 1:
            raise ShapeError(f"item() of a tensor of shape {self.shape}", why="it holds more than one number", fix="use tolist()")
        value = self.array.item() if self.dtype.kind != "V" else float(self.array.astype(np.float32).item())
        if not isinstance(self.array, np.ndarray):
            faults.tell()
        return value

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        array = devices.move(self.array, "cpu")
        return (array if array.dtype.kind != "V" else array.astype(np.float32)).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise DtypeError(f"a tensor of {self.dtype} cannot be an index", fix="use an integer tensor")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ArgumentError(
                f"the truth value of a tensor of shape {self.shape} is ambiguous", fix="use .any(), .all() or compare with item()"
            )
        return bool(self.array.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.array.ndim == 0 else format(repr(self), spec)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.array.ndim:
            raise ArgumentError("a tensor without dimensions cannot be iterated", fix="use item()")
        return (self[i] for i in range(len(self)))

    def __hash__(self) -> int:
        return id(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.grad_fn is not None:
            raise GradError(
                f"a copy of a result of {self.grad_fn.name}", why="copy.deepcopy is for leaves", fix="copy t.detach()"
            )
        t = memo[id(self)] = type(self).__new__(type(self))
        own = ("array", "grad", "_version", "_is_view", "_hooks", "_accumulate_hooks", "_packed")
        t.__dict__.update({k: v for k, v in self.__dict__.items() if k not in own})
        t.array = copy.deepcopy(self.array) if self.is_cuda else self.array.copy(order="K")  # CuPy's copy goes to the current GPU
        if self.grad is not None:
            t.grad = copy.deepcopy(self.grad, memo)
        return t

    def __repr__(self) -> str:
        from .printing import format_tensor

        return format_tensor(self)

    # ---- the graph

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for gradients of this leaf (or stop asking)."""
        if not requires_grad and self.grad_fn is not None:
            raise GradError("a result of an operation cannot stop requiring a gradient", fix="use detach()")
        if requires_grad and not dtypes.is_differentiable(self.dtype):
            raise DtypeError(
                f"a tensor of {self.dtype} cannot require a gradient",
                why="only floating point can",
                fix="convert it with .float()",
            )
        self.requires_grad = bool(requires_grad)
        return self

    def detach(self) -> Tensor:
        """The same memory outside the graph; a write to one is seen by the other."""
        t = Tensor._made(self.array, None, 0)
        if self._version is None:
            self._version = Version()
        t._version = self._version
        return t

    def detach_(self) -> Tensor:
        """Leave the graph."""
        self.grad_fn, self._number, self.requires_grad = None, 0, False
        return self

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        self.array = value.array
        self._bump()

    def backward(self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add gradients to ``.grad`` of every leaf this was computed from; see ``autograd.backward``."""
        from .autograd import backward

        backward(self, gradient, retain_graph, create_graph)

    def retain_grad(self) -> None:
        """Keep the gradient of this result in ``.grad`` too, as if it were a leaf."""
        if not self.requires_grad:
            raise GradError("retain_grad() on a tensor that requires no gradient", fix="call requires_grad_() first")
        if self.grad_fn is not None:
            if self.grad_fn.retained is None:
                self.grad_fn.retained = {}
            self.grad_fn.retained[self._number] = weakref.ref(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call ``hook(grad)`` when this tensor's gradient is known; what it returns, if anything, replaces it."""
        if not self.requires_grad:
            raise GradError("a hook on a tensor that requires no gradient would never run", fix="call requires_grad_() first")
        if self.grad_fn is None:
            self._hooks = self._hooks or []
            hooks = self._hooks
        else:
            if self.grad_fn.hooks is None:
                self.grad_fn.hooks = {}
            hooks = self.grad_fn.hooks.setdefault(self._number, [])
        hooks.append(hook)
        return Handle(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Handle:
        """Call ``hook(tensor)`` after a gradient was added to this leaf's ``.grad``."""
        if self.grad_fn is not None:
            raise GradError("post-accumulate hooks are for leaves", fix="use register_hook on results")
        self._accumulate_hooks = self._accumulate_hooks or []
        self._accumulate_hooks.append(hook)
        return Handle(self._accumulate_hooks, hook)

    # ---- weights in the kernels' own layout

    def packs(self) -> dict[str, Any] | None:
        """A place for what kernels make of this weight, emptied when the weight has changed; None on a GPU.

        To be asked for where no graph is recorded: a weight in training changes with every step.
        """
        array = self.array if here.tracer is None else here.tracer.plain(self.array)
        if type(array) is not np.ndarray or not array.ndim:
            return None
        version = 0 if self._version is None else self._version.count
        packed = self._packed
        if packed is None or not packed.is_of(array, version):
            packed = self._packed = Packed(array, version)
        if here.tracer is not None:
            here.tracer.packs_of(self, packed.packs)
        return packed.packs

    # ---- writing in place

    def _bump(self) -> None:
        if self._version is None:
            self._version = Version()
        self._version.count += 1

    def _rebase(self, node: Node, number: int) -> Tensor:
        """From now on this tensor is the ``number``-th result of ``node``."""
        self.requires_grad, self.grad_fn, self._number = True, node, number
        return self

    def _check_writable(self, what: str, others: Sequence[Tensor] = ()) -> bool:
        """Whether a write must be recorded; raises where it would make a gradient wrong."""
        if state.unfinished:
            from .unfinished import finish_all

            finish_all()  # before what they read is written to
        if isinstance(self.array, np.ndarray) and not self.array.flags.writeable:
            raise ArgumentError(
                f"{what} writes to a tensor of shape {self.shape} whose memory is read-only",
                why="it is an expanded tensor, whose elements share memory, or it was made from a read-only array",
                fix="write to a clone()",
            )
        recorded = state.grad and (self.requires_grad or any(o.requires_grad for o in others))
        if not recorded:
            return False
        if self.requires_grad and self.grad_fn is None:
            raise GradError(
                f"{what} writes to a leaf that requires a gradient",
                why="the value its gradient belongs to would be lost",
                fix="do it under no_grad(), as optimizers do, or use the operation without the underscore",
            )
        if self._is_view or (self._version is not None and self._version.viewed):
            raise GradError(
                f"{what} writes through a view (or to a tensor with views) of shape {self.shape} inside a graph",
                why="the other tensors on the same memory would keep gradients of the old values",
                fix="index the tensor itself once (x[i, j] = v), or build the result with where, cat or scatter",
            )
        return True

    def _write(self, what: str, compute: Callable[[Tensor], Tensor], others: Sequence[Tensor] = ()) -> Tensor:
        """Put ``compute(self)`` into this tensor's memory, recorded where a graph needs it."""
        recorded = self._check_writable(what, others)
        if here.tracer is not None:
            here.tracer.operands((self,))
        source = Tensor._made(self.array, self.grad_fn, self._number)  # the tensor as it was, for the graph
        source.requires_grad = self.requires_grad
        if self._version is None:
            self._version = Version()
        source._version = self._version
        result = compute(source)
        if result.shape != self.shape:
            raise ShapeError(
                f"{what} gives shape {result.shape}, the tensor written to has {self.shape}",
                fix="use the operation without underscore",
            )
        if dtypes.category(result.dtype) > dtypes.category(self.dtype):
            raise DtypeError(f"{what} gives {result.dtype}, which a tensor of {self.dtype} cannot hold", fix="convert it first")
        self.array[...] = result.array
        self._version.count += 1
        if recorded and result.requires_grad:
            self._rebase(result.grad_fn, result._number)  # type: ignore[arg-type]  # a recorded result has a node
        elif recorded:
            self.detach_()  # its old values are gone, and with them the way back to what they were computed from
        return self

    if TYPE_CHECKING:  # hung on the class by core/methods.py

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
