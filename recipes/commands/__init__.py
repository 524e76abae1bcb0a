"""The commands, one module each: ``NAME``, ``HELP``, ``EXAMPLES``, ``add_arguments(parser)``, ``execute(args) -> exit code``."""

from __future__ import annotations

from types import ModuleType

from . import doctor, list_, predict, pull, resume, run, show, verify

COMMANDS: tuple[ModuleType, ...] = (list_, show, pull, predict, run, resume, verify, doctor)
