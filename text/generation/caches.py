"""What was read before need not be read again: the keys and values of texts whose beginning comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.errors import ArgumentError
from .steps import each_cache


class PrefixCache:
    """Keeps the keys and values of the last texts; a new one that begins like one of them goes on from there.

    A conversation is such a text: each turn begins with all turns before. Pass one object to each call that may share.

    Args:
        size: texts that are kept, the last used ones.

    Attributes:
        saved: tokens that did not have to be read again so far.

    Raises:
        ArgumentError: ``size`` below 1.

    Example:
        >>> PrefixCache().saved
        0
    """

    def __init__(self, size: int = 1) -> None:
        if size < 1:
            raise ArgumentError(f"PrefixCache(size={size})", fix="keep one text at least")
        self.size, self.saved = size, 0
        self._kept: list[tuple[Any, list[int], Any]] = []

    def take(self, model: Any, ids: Sequence[int]) -> tuple[Any, int] | None:
        """Caches that hold the beginning of ``ids``, and how many tokens of it; None where no text began so.

        They are the caller's from now on, to be given back by :meth:`keep`. The last token is always left to be read.
        """
        shared = [_common(held, ids) if owner is model else 0 for owner, held, _ in self._kept]
        best = max(range(len(shared)), key=shared.__getitem__, default=-1)
        known = min(shared[best], len(ids) - 1) if shared else 0
        if known < 1:
            return None
        _, _, caches = self._kept.pop(best)
        try:
            for cache in each_cache(caches):
                cache.crop(known)
        except ArgumentError:  # a sliding cache has let them go: read the text again
            return None
        self.saved += known
        return caches, known

    def keep(self, model: Any, ids: Sequence[int], caches: Any) -> None:
        """Keep the caches of a model that has read ``ids``."""
        self._kept.append((model, list(ids), caches))
        del self._kept[: -self.size]


def _common(held: Sequence[int], ids: Sequence[int]) -> int:
    """How many tokens two texts have in common from the start."""
    count = 0
    for a, b in zip(held, ids, strict=False):
        if a != b:
            break
        count += 1
    return count
