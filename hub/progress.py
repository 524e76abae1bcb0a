"""A progress bar for downloads: bytes, rate and time left, on standard error, where a person is looking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from ..core.progress import progress_enabled, set_progress

__all__ = ["HubBar", "download_bar", "progress_enabled", "set_progress"]

_SMALL = 1_000_000  # bytes; such a file is here before a bar could be read


def _nothing(done: int) -> None:
    """Shows nothing."""


@contextmanager
def download_bar(label: str, total: int | None, start: int = 0) -> Iterator[Callable[[int], None]]:
    """A bar while the block runs.

    Args:
        label: what is downloaded.
        total: bytes; None where unknown.
        start: bytes that are already there.

    Yields:
        a function to call with the number of bytes that are there by now.
    """
    if not progress_enabled():
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total, completed=start)
        yield lambda done: progress.update(task, completed=done)


class HubBar:
    """The bar in the form in which ``huggingface_hub`` wants one: the part of tqdm's interface that it uses."""

    def __init__(self, desc: str = "", total: int | None = None, initial: int = 0, **other: object) -> None:  # noqa: ARG002
        small = total is not None and total < _SMALL
        self._bar: AbstractContextManager[Callable[[int], None]]
        self._bar = nullcontext(_nothing) if small else download_bar(desc, total, initial)
        self._done = initial
        self._show: Callable[[int], None] = _nothing

    def __enter__(self) -> HubBar:
        self._show = self._bar.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.__exit__(*exception)  # type: ignore[arg-type]

    def update(self, count: float | None = 1) -> None:
        """``count`` more bytes have arrived; negative where a download starts over."""
        self._done += int(count or 0)
        self._show(self._done)
