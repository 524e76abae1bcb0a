"""What the commands share: tables, JSON on standard output, words on standard error, and the hint after an interruption."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_running: list[Path] = []


def say(text: str) -> None:
    """A line for the human, on standard error."""
    print(text, file=sys.stderr, flush=True)


def emit(value: Any) -> None:
    """One JSON object on one line of standard output."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns; numbers to the right.

    Example:
        >>> print(table(["name", "MB"], [["a", 1.5], ["bcd", 20]]))
        name  MB
        a    1.5
        bcd   20
    """
    text = [list(head), *[[_shown(v) for v in row] for row in rows]]
    widths = [max(len(row[c]) for row in text) for c in range(len(head))]
    right = [all(isinstance(row[c], int | float) for row in rows) and bool(rows) for c in range(len(head))]
    lines = [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in text
    ]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def running(folder: Path) -> None:
    """Remembers the run that is being written, for the hint after Ctrl-C."""
    _running.append(folder)


def resume_hint() -> str:
    """`` Go on with: nyala resume FOLDER`` where a run was under way, else an empty string."""
    return f" Go on with: nyala resume {shlex.quote(str(_running[-1]))}" if _running else ""
