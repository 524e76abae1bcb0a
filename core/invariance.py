"""``batch_invariant``: a row's result does not depend on what else is in the batch, nor on how the batch lies in memory.

nyala's own kernels are built so that it holds always for arrays in C order: a sum is cut and ordered by its own length, never
by the number of rows or of threads. What is left are sums over arrays in other memory orders, which go along the memory for
speed, and complex products, which a BLAS computes. Inside ``batch_invariant`` these take the slower way too.
"""

from __future__ import annotations

import threading
from contextlib import ContextDecorator


class _Mode(threading.local):
    depth = 0


mode = _Mode()


class batch_invariant(ContextDecorator):  # noqa: N801 - like no_grad
    """Inside, row i of a batch gives the same bits alone, in another batch, and at another place of it.

    Works as ``with batch_invariant():`` and as ``@batch_invariant()``, for the thread that enters it, on the CPU; on a GPU
    nothing changes. It holds for every operation that treats rows one by one, forwards and for the gradient of a row; what
    mixes the rows of a batch by its meaning still does: batch norm in training, a loss's mean, the gradient of a weight.

    Example:
        >>> import nyala
        >>> x = nyala.randn(5, 300)
        >>> with nyala.batch_invariant():
        ...     bool((x.T.sum(0)[:1] == x[:1].T.sum(0)).all())
        True
    """

    def __enter__(self) -> batch_invariant:
        mode.depth += 1
        return self

    def __exit__(self, *error: object) -> None:
        mode.depth -= 1
