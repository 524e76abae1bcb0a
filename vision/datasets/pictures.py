"""Datasets of pictures in files: read when they are asked for, in the loader's threads; and what to do with damaged ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core import random
from ...core.data import Dataset
from ...core.errors import ArgumentError, DataError
from ...core.progress import notice, tell
from ..transforms import Sample

Transform = Callable[[Sample, random.Key], Any]
Corrupt = Literal["raise", "skip"]
_SHOWN = 3
_OFTEN = 500  # pictures, after which it is worth a line how many have been read


@dataclass(frozen=True)
class Damaged:
    """A sample that cannot be read.

    Attributes:
        index: its number before damaged ones were left out.
        why: what is wrong, with the file's name.
    """

    index: int
    why: str


class Pictures(Dataset):
    """Base of datasets whose samples are files; a subclass defines :meth:`read`, and :meth:`result` where it gives no ``Sample``.

    Args:
        samples: what is known of each sample, without its pixels.
        classes: their names, by number.
        transform: ``transform(sample, key)`` is applied to each :class:`~nyala.vision.transforms.Sample`; draws are keyed by
            (seed, epoch, index) in a ``DataLoader``, and by the index alone where samples are asked for one by one.
        corrupt: "raise": a damaged picture is an error when it is asked for, and names the file. "skip": all are read once, now,
            and the damaged ones are left out, counted and told; so the others have the same numbers in every run.
        threads: for that first reading; as many as there are processors if left out.

    Attributes:
        skipped: the :class:`Damaged` samples that were left out.
    """

    def __init__(
        self,
        samples: Sequence[Any],
        classes: Sequence[str],
        *,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        if corrupt not in ("raise", "skip"):
            raise ArgumentError(f"corrupt={corrupt!r}", fix="use 'raise' or 'skip'")
        self.samples, self.classes, self.transform = list(samples), tuple(classes), transform
        self.skipped: list[Damaged] = []
        if corrupt == "skip":
            self._skip(threads)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.get(index, random.key(0, "augment", 0, range(len(self))[index]))

    def get(self, index: int, key: random.Key) -> Any:
        """The sample, with the draws of its transform made by ``key``.

        Raises:
            DataError: a damaged file; it is named.
        """
        sample = self.read(index)
        return self.result(sample if self.transform is None else self.transform(sample, key), index)

    def read(self, index: int) -> Sample:
        """The picture and what is known of it, unchanged; a subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} defines no read")

    def result(self, made: Any, index: int) -> Any:  # noqa: ARG002 - for subclasses
        """What is handed out of a sample that was read and transformed."""
        return made

    def _skip(self, threads: int | None) -> None:
        self.skipped = damaged(self.read, len(self), threads)
        if not self.skipped:
            return
        out = {one.index for one in self.skipped}
        notice(told(self.skipped, len(self)), kind="damaged pictures")
        self.samples = [sample for i, sample in enumerate(self.samples) if i not in out]


class ClassPictures(Pictures):
    """Pictures with a class each: ``samples`` are (path, label), and what is handed out is (picture, label).

    A picture is (H, W, 3) uint8, or what the transform makes of it.
    """

    samples: list[tuple[Path, int]]

    def read(self, index: int) -> Sample:
        return Sample.read(self.samples[index][0])

    def result(self, made: Any, index: int) -> tuple[Any, int]:
        return made.image if isinstance(made, Sample) else made, self.samples[index][1]

    @property
    def labels(self) -> np.ndarray[Any, Any]:
        """(N,) int64."""
        return np.array([label for _, label in self.samples], np.int64)


def damaged(read: Callable[[int], Any], count: int, threads: int | None = None) -> list[Damaged]:
    """Reads every sample once, in threads, and says which cannot be.

    Args:
        read: reads a sample by its number, and raises ``DataError`` where it is damaged.
        count: how many there are.
        threads: as many as there are processors if left out.

    Example:
        >>> def read(index):
        ...     if index == 2:
        ...         raise DataError("c.png is damaged", fix="get the file again")
        >>> damaged(read, 4)
        [Damaged(index=2, why='c.png is damaged')]
    """

    def look(index: int) -> Damaged | None:
        try:
            read(index)
        except DataError as error:
            return Damaged(index, error.what)
        return None

    tell(f"reading {count:,} pictures once, to find those that cannot be read")
    found: list[Damaged] = []
    step = max(_OFTEN, -(-count // 10))
    with ThreadPoolExecutor(threads or cpu_count() or 1, thread_name_prefix="nyala-pictures") as pool:
        for done, one in enumerate(pool.map(look, range(count)), 1):
            found += [one] if one is not None else []
            if done % step == 0 and done < count:
                tell(f"read {done:,} of {count:,} pictures, {len(found):,} damaged")
    return found


def told(skipped: Sequence[Damaged], of: int) -> str:
    """How many samples were left out, and the first of them.

    Example:
        >>> told([Damaged(1, "a.png is empty")], 10)
        '1 of 10 pictures cannot be read and is left out: a.png is empty'
    """
    more = f", and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    first = "; ".join(one.why for one in skipped[:_SHOWN])
    return f"{len(skipped)} of {of} pictures cannot be read and {'is' if len(skipped) == 1 else 'are'} left out: {first}{more}"
