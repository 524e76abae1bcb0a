"""Another program that downloads into a folder: its progress is shown, and it is given up on when nothing arrives any more."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.errors import NetworkError
from ..progress import download_bar

_STALL_SECONDS = 300.0  # programs' own timeouts end a stalled connection long before; this is the backstop
_POLL_SECONDS = 0.1


def run(
    command: Sequence[str],
    work: Path,
    log: Path,
    what: str,
    size: int,
    label: str,
    environment: Mapping[str, str],
    cwd: Path | None = None,
) -> int:
    """Run ``command`` to its end; returns its exit status.

    Args:
        command: the program and its arguments.
        work: the folder whose growth is the progress.
        log: where what the program prints goes; inside ``work`` it counts as progress.
        what: the file that is downloaded, as the progress calls it; size: its bytes, 0 where unknown.
        label: what messages call the source and the program.
        environment: of the program.
        cwd: its working folder; this process's own by default.

    Raises:
        NetworkError: nothing has arrived for minutes.
    """
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=dict(environment), cwd=cwd) as process:
        try:
            _watch(process, work, what, size, label)
        finally:
            if process.poll() is None:
                process.kill()
    return process.returncode


def _watch(process: subprocess.Popen[bytes], work: Path, what: str, size: int, label: str) -> None:
    seen, since = 0, time.monotonic()
    with download_bar(what, size or None) as show:
        while process.poll() is None:
            done = _size_of(work)
            if done != seen:
                seen, since = done, time.monotonic()
                show(min(done, size or done))  # a copy made at the end is there twice for a moment
            elif time.monotonic() - since > _STALL_SECONDS:
                raise NetworkError(
                    f"{label} received nothing for {_STALL_SECONDS:.0f} s", fix="check the network, then try again"
                )
            time.sleep(_POLL_SECONDS)


def _size_of(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except FileNotFoundError:  # programs move files while we look
                continue
    return total
