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


def import_library(library: str) -> Call:
    """Start Python, import the library, make a tensor."""
    return lambda: _run("-c", f"import {library}; {library}.tensor([1.0])")


def cold_start(library: str, folder: Path, kind: str) -> Call:
    """From the start of a process to its first prediction on a picture file or a sentence, weights in a file.

    nyala is called as on the command line, by the catalogue's name where those weights are in its cache; otherwise, and with
    torch, the weights are random ones that are saved in ``folder`` before.
    """
    given = str(picture_files(folder, 1)[0]) if kind == "picture" else SENTENCE
    place = folder / f"{library}-{kind}"
    if library == "torch":
        script = str(HERE / "cold_torch.py")
        _run(script, "prepare", kind, str(place))
        return lambda: _run(script, "predict", kind, str(place), given)
    model = _run(str(HERE / "cold_nyala.py"), CATALOGUE[kind], kind, str(place)).strip()
    return lambda: _run("-m", "nyala.recipes", "predict", model, given)


def _run(*arguments: str) -> str:
    """The output of this interpreter on ``arguments``. What goes wrong is on standard error."""
    folder = os.path.expanduser("~")  # not a checkout, whose folders could hide packages
    return subprocess.run([sys.executable, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout
