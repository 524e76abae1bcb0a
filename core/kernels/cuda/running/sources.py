"""The CUDA C++ beside this folder: ``NAME.cu`` and the headers ``*.cuh`` that they include."""

from __future__ import annotations

import functools
from pathlib import Path

FOLDER = Path(__file__).parent.parent


@functools.lru_cache(maxsize=1)
def headers() -> dict[str, str]:
    """The text of every header, by file name."""
    return {path.name: path.read_text() for path in sorted(FOLDER.glob("*.cuh"))}


def read(name: str, dtype: str = "") -> str:
    """The text of ``NAME.cu``; with the entry points for one dtype (``"f32"``) alone where it is named."""
    text = (FOLDER / f"{name}.cu").read_text()
    return f'#define ONLY_{dtype}\n#line 1 "{name}.cu"\n{text}' if dtype else text


def names() -> list[str]:
    """Every ``NAME.cu`` there is."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))
