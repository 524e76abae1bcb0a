"""A name -> verified files -> a loaded model.

``nyala.hub.load`` is the module; the function in it is ``nyala.load``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auditing import audit
    from .bundling import bundle
    from .cards import Card
    from .catalogue import find, list_models
    from .files import Files
    from .load import pull
    from .locking import lock
    from .pipeline import Pipeline
    from .pushing import Plan, push
    from .verification import verify

# Name -> module of this folder; loaded when first used, so `import nyala` stays quick.
_FACE = {
    "Card": "cards",
    "Files": "files",
    "Pipeline": "pipeline",
    "audit": "auditing",
    "bundle": "bundling",
    "find": "catalogue",
    "list_models": "catalogue",
    "lock": "locking",
    "Plan": "pushing",
    "pull": "load",
    "push": "pushing",
    "verify": "verification",
}
__all__ = ["Card", "Files", "Pipeline", "Plan", "audit", "bundle", "find", "list_models", "lock", "pull", "push", "verify"]


def __getattr__(name: str) -> Any:
    if name in _FACE:
        return getattr(importlib.import_module(f".{_FACE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE})
