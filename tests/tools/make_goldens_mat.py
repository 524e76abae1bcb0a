"""MATLAB files as SciPy writes them, plain and compressed; ``tests/vision/datasets/test_mat.py`` has the same formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io

OUT = Path(__file__).parents[1] / "goldens" / "vision" / "mat"


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    content = {
        "X": (np.arange(2 * 3 * 3 * 4) % 251).astype(np.uint8).reshape(2, 3, 3, 4),
        "y": np.array([[1.0], [10.0], [3.0], [2.0]]),
        "few": np.array([[7, -8]], np.int16),
        "single": np.array([[0.5, -1.25]], np.float32),
        "text": "left out",
        "cell": np.array([[1, "a"]], object),
        "complex": np.array([[1 + 2j]]),
        "ids": np.arange(1, 301).reshape(1, -1),
    }
    for name, packed in (("plain.mat", False), ("packed.mat", True)):
        scipy.io.savemat(OUT / name, content, do_compression=packed)


main()
