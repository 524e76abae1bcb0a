"""Who is told that something takes long: a person at a terminal, or whoever runs a command; nobody who wants quiet."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

_switch: bool | None = None
_tell: Callable[[str], None] | None = None
_said = False
_noticed: set[str] = set()

PREPARING = "preparing kernels for this processor, once: this first run takes longer"


def set_progress(enabled: bool | None) -> None:
    """Switch bars and words on or off for this process; ``None`` goes back to asking the terminal and ``NYALA_PROGRESS``."""
    global _switch
    _switch = enabled


def progress_enabled() -> bool:
    """Bars show on a terminal, unless ``NYALA_PROGRESS=0`` or :func:`set_progress` says otherwise."""
    if _switch is not None:
        return _switch
    return _wanted() and sys.stderr.isatty()


def tell_through(tell: Callable[[str], None] | None) -> None:
    """Words go to ``tell``, terminal or not, unless they are switched off; ``None``: on standard error of a terminal."""
    global _tell
    _tell = tell
    _noticed.clear()


def tell(text: str) -> None:
    """A line for whoever runs a command, where :func:`tell_through` named one and words are not switched off."""
    if _tell is not None and _switch is not False and _wanted():
        _tell(text)


def notice(text: str, kind: str = "") -> None:
    """Something the user should know and may not expect: a line where a command runs, else a Python warning.

    Of notices of one ``kind`` a command says the first.
    """
    if _tell is not None:
        if _switch is not False and kind not in _noticed:
            _tell(f"note: {text}")
        if kind:
            _noticed.add(kind)
        return
    warnings.warn(text, stacklevel=_outside())


def _outside() -> int:
    """How many calls away the first one is that is none of nyala's: a warning is shown at its line."""
    root, level, frame = __package__.partition(".")[0], 2, sys._getframe(2)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == root:
        level, frame = level + 1, frame.f_back
    return level


def say_kernels_are_compiled() -> None:
    """One line, once a process, when a kernel is about to be compiled because no cache holds it."""
    global _said
    if _said:
        return
    _said = True
    if _tell is not None and _switch is not False and _wanted():
        _tell(PREPARING)
    elif progress_enabled():
        print(PREPARING, file=sys.stderr, flush=True)


def _wanted() -> bool:
    return os.environ.get("NYALA_PROGRESS", "1") not in ("0", "false", "off")
