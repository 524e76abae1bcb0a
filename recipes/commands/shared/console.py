"""What the commands share: JSON on standard output, words on standard error, and the hint after an interruption."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

_running: list[Path] = []


def accept_any_character() -> None:
    """What standard output or error cannot show is written as an escape, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """A line for the human, on standard error."""
    print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """An error for the human: on a terminal its long lines are broken between words."""
    say("\n".join(_broken(line) for line in text.splitlines()) if sys.stderr.isatty() else text)


def _broken(line: str) -> str:
    margin = " " * (len(line) - len(line.lstrip()) + 2)
    width = max(40, shutil.get_terminal_size().columns)
    return textwrap.fill(line, width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)


def emit(value: Any) -> None:
    """One JSON object on one line of standard output."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal of few characters, or a file name that is no text
        text = json.dumps(value, default=str)
    print(text, flush=True)


def running(folder: Path) -> None:
    """Remembers the run that is being written, for the hint after Ctrl-C."""
    _running.append(folder)


def has_begun() -> bool:
    """Whether the run that is being written has come as far as its manifest."""
    return bool(_running) and (_running[-1] / "manifest.json").is_file()


def resume_hint() -> str:
    """`` Go on with: nyala resume FOLDER`` where a run was under way, else an empty string."""
    return f" Go on with: nyala resume {shlex.quote(str(_running[-1]))}" if _running else ""
