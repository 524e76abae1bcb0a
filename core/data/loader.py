"""``DataLoader``: batches from a dataset, prepared by threads, in an order that (seed, epoch) fix.

Threads, not processes: decoding, resizing and NumPy's copies release the interpreter, nothing is pickled, and nothing is forked
beside a BLAS or a GPU. How many there are changes no batch.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from .. import devices, random
from ..errors import ArgumentError, DataError, NyalaError, kind_of
from .collate import default_collate
from .dataset import sample
from .prefetch import pinned
from .samplers import BatchSampler, RandomSampler, SequentialSampler


class DataLoader:
    """Iterates over a dataset in batches.

    Args:
        dataset: has a length and gives samples by number; with ``get(index, key)`` it is handed a random key made of
            (seed, epoch, index), see :mod:`.dataset`.
        batch_size: samples a batch.
        shuffle: visit in an order drawn by (seed, epoch).
        sampler: indices to visit instead; batch_sampler: lists of indices, one a batch.
        num_workers: threads that prepare batches ahead; 0 prepares them when they are asked for.
        collate_fn: list of samples -> batch; ``default_collate`` if left out.
        drop_last: leave out a last batch that is not full.
        prefetch: batches that are prepared ahead.
        seed: what order and samples are drawn by.
        pin_memory: put batches into memory that a GPU reads by itself; :func:`.prefetch.prefetched` does it for you.

    ``state_dict()`` is the place within the epoch; a loader that loads it goes on with the next batch.

    Example:
        >>> loader = DataLoader(range(5), batch_size=2)
        >>> [batch.tolist() for batch in loader]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        prefetch: int = 2,
        seed: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if num_workers < 0 or prefetch < 1:
            raise ArgumentError(f"num_workers={num_workers}, prefetch={prefetch}", fix="use num_workers >= 0 and prefetch >= 1")
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise ArgumentError(
                f"a DataLoader was given {kind_of(dataset)}",
                why="a dataset has a length and gives samples by number",
                fix="define __len__ and __getitem__, or pass a list",
            )
        if (batch_sampler is not None) + (sampler is not None) + shuffle > 1:
            raise ArgumentError("shuffle, sampler and batch_sampler exclude each other", fix="give one of them")
        self.dataset, self.num_workers, self.prefetch, self.seed = dataset, num_workers, prefetch, seed
        self.collate_fn, self.pin_memory = collate_fn or default_collate, pin_memory
        if pin_memory:
            devices.cupy()  # raises where there is no GPU
        if batch_sampler is None:
            if sampler is None:
                sampler = RandomSampler(dataset, seed=seed) if shuffle else SequentialSampler(dataset)
            if batch_size is None or not hasattr(batch_size, "__index__"):
                raise ArgumentError(f"batch_size={batch_size!r}", fix="give a whole number, or a batch_sampler")
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        self.epoch = 0
        self.position = 0  # batches of this epoch that were handed out

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is this epoch, from its beginning."""
        self.epoch, self.position = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Epoch, and batches of it that were handed out."""
        return {"epoch": self.epoch, "position": self.position, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there with the next iteration.

        Raises:
            ArgumentError: the state is of a loader with another seed.
        """
        if state["seed"] != self.seed:
            raise ArgumentError(f"the state has seed {state['seed']}, this loader {self.seed}", fix="use the same seed")
        self.epoch, self.position = int(state["epoch"]), int(state["position"])

    def __iter__(self) -> Iterator[Any]:
        """The rest of the epoch; afterwards the loader stands at the beginning of the next."""
        if hasattr(self.batch_sampler, "set_epoch"):
            self.batch_sampler.set_epoch(self.epoch)
        epoch = self.epoch
        lists = itertools.islice(iter(self.batch_sampler), self.position, None)
        batches = self._threaded(lists, epoch) if self.num_workers else (self._batch(indices, epoch) for indices in lists)
        for batch in batches:
            self.position += 1
            yield batch
        self.epoch, self.position = epoch + 1, 0

    def _batch(self, indices: Sequence[int], epoch: int) -> Any:
        samples = []
        for index in indices:
            try:
                samples.append(sample(self.dataset, index, random.key(self.seed, "augment", epoch, index)))
            except NyalaError as error:
                error.what = f"sample {index}: {error.what}"
                raise
            except (ValueError, TypeError, IndexError, KeyError, OSError, ArithmeticError, AttributeError, RuntimeError) as error:
                raise DataError(
                    f"sample {index} of the dataset raised {type(error).__name__}: {error}", fix="look at this sample"
                ) from error
        try:
            batch = self.collate_fn(samples)
            return pinned(batch) if self.pin_memory else batch
        except NyalaError as error:
            error.what += f" (its samples are {', '.join(map(str, indices[:16]))}{', ...' if len(indices) > 16 else ''})"
            raise

    def _threaded(self, lists: Iterator[Sequence[int]], epoch: int) -> Iterator[Any]:
        """Batches in order, ``prefetch`` of them ahead; a closed iterator stops the threads."""
        stopped = threading.Event()

        def work(indices: Sequence[int]) -> Any:
            return None if stopped.is_set() else self._batch(indices, epoch)

        ahead: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(self.num_workers, thread_name_prefix="nyala-loader") as pool:
            try:
                for indices in itertools.islice(lists, self.prefetch + self.num_workers):
                    ahead.append(pool.submit(work, indices))
                while ahead:
                    batch = ahead.popleft().result()
                    ahead.extend(pool.submit(work, indices) for indices in itertools.islice(lists, 1))
                    yield batch
            finally:
                stopped.set()
                for future in ahead:
                    future.cancel()
