"""Helpers around the engine: ``utils.checkpoint``, loaded when it is first used."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["checkpoint"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    hint = " nyala.data has Dataset and DataLoader" if name == "data" else ""
    raise AttributeError(f"nyala.utils has no attribute {name!r}.{hint}")


def __dir__() -> list[str]:
    return __all__
