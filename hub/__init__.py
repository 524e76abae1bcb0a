"""A name -> verified files -> a loaded model.

``nyala.hub.load`` is the module; the function in it is ``nyala.load``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cards import Card as Card
    from .catalogue import find as find
    from .catalogue import list_models as list_models
    from .files import Files as Files
    from .load import pull as pull
    from .pipeline import Pipeline as Pipeline
    from .pushing import Plan as Plan
    from .pushing import push as push

# Name -> module of this folder; loaded when first used, so `import nyala` stays quick.
_FACE = {
    "Card": "cards",
    "Files": "files",
    "Pipeline": "pipeline",
    "find": "catalogue",
    "list_models": "catalogue",
    "Plan": "pushing",
    "pull": "load",
    "push": "pushing",
}
__all__ = ["Card", "Files", "Pipeline", "Plan", "find", "list_models", "pull", "push"]


def __getattr__(name: str) -> Any:
    if name in _FACE:
        return getattr(importlib.import_module(f".{_FACE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE})
