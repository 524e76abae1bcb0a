"""The rows that time a fresh process, for both libraries. Nothing of either is imported here: the memory is the child's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .inputs import SENTENCE, picture_files

Call = Callable[[], Any]
HERE = Path(__file__).parent
CATALOGUE = {"picture": "tf_efficientnet_lite0", "text": "all-MiniLM-L6-v2"}


def import_library(library: str, folder: Path) -> Call:
    """Start Python, import the library, make a tensor."""
    return lambda: _run(folder, "-c", f"import {library}; {library}.tensor([1.0])")


def cold_start(library: str, folder: Path, kind: str) -> Call:
    """From the start of a process to its first prediction on a picture file or a sentence, weights in a file.

    nyala is called as on the command line, by the catalogue's name where those weights are in its cache; otherwise, and with
    torch, the weights are random ones that are saved in ``folder`` before.
    """
    given = str(picture_files(folder, 1)[0]) if kind == "picture" else SENTENCE
    place = folder / f"{library}-{kind}"
    if library == "torch":
        script = str(HERE / "cold_torch.py")
        _run(folder, script, "prepare", kind, str(place))
        return lambda: _run(folder, script, "predict", kind, str(place), given)
    model = _run(folder, str(HERE / "cold_nyala.py"), CATALOGUE[kind], kind, str(place)).strip()
    return lambda: _run(folder, "-m", "nyala.recipes", "predict", model, given)


def _run(folder: Path, *arguments: str) -> str:
    """The output of this interpreter on ``arguments``; ends with its last word if it fails.

    Bytecode is kept in ``folder``, so that both libraries start from it, as they do where they are installed, even if one of
    them is a checkout or the environment forbids to write it.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    home = os.path.expanduser("~")  # not a checkout, whose folders could hide packages
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit((done.stderr.strip().splitlines() or [f"{arguments[0]} ended with status {done.returncode}"])[-1])
    return done.stdout
