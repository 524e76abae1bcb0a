"""``njit`` whose cache may fail: a full or read-only disk costs the time to compile again, and no result.

Numba alone raises where it cannot write a compiled function, long after the function has been computed; and where a cache's
index could be written and its data could not, the next start may take the data of an older source for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any

import numba

logger = logging.getLogger("nyala.kernels")
_said = False


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(**options)``; with ``cache`` compiled code is kept on the disk where that is possible.

    Example:
        >>> @njit(nogil=True)
        ... def twice(x):
        ...     return 2 * x
        >>> twice(21)
        42
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if not cache:
            return numba.njit(**options)(function)
        try:
            dispatcher = numba.njit(cache=True, **options)(function)
        except RuntimeError as error:  # none of the folders that Numba knows can be written to
            _say(str(error))
            return numba.njit(**options)(function)
        _let_saving_fail(dispatcher._cache)
        return dispatcher

    return decorate


def _let_saving_fail(cache: Any) -> None:
    save = cache.save_overload

    def save_overload(signature: Any, data: Any) -> None:
        try:
            save(signature, data)
        except OSError as error:
            with contextlib.suppress(OSError):  # an index without its data must not stay
                os.unlink(cache._cache_file._index_path)
            _say(f"{cache.cache_path}: {error.strerror}")

    cache.save_overload = save_overload


def _say(why: str) -> None:
    global _said
    if not _said:
        logger.warning(
            "compiled kernels cannot be kept (%s): each start compiles them again. Remedy: free some space, or set "
            "NUMBA_CACHE_DIR to a folder that can be written to",
            why,
        )
    _said = True
