"""What the commands share: JSON on standard output, words on standard error, and the hint after an interruption."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

_running: list[Path] = []


def say(text: str) -> None:
    """A line for the human, on standard error."""
    print(text, file=sys.stderr, flush=True)


def emit(value: Any) -> None:
    """One JSON object on one line of standard output."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def running(folder: Path) -> None:
    """Remembers the run that is being written, for the hint after Ctrl-C."""
    _running.append(folder)


def resume_hint() -> str:
    """`` Go on with: nyala resume FOLDER`` where a run was under way, else an empty string."""
    return f" Go on with: nyala resume {shlex.quote(str(_running[-1]))}" if _running else ""
