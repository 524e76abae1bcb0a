"""Lets timm and transformers import torchvision where its compiled half does not fit torch."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import torch


def allow_torchvision() -> None:
    """Call before timm, transformers or torchvision is imported. See ``tests/tools/torchvision_shim.py``."""
    spec = find_spec("torchvision")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for library in Path(place).glob("_C*.so"):
            try:
                torch.ops.load_library(str(library))
            except OSError:  # the CUDA build beside a torch for the CPU alone
                sys.path.append(str(Path(__file__).parents[1] / "tools"))
                import torchvision_shim  # noqa: F401

                return
