"""A name -> verified files -> a loaded model.

``nyala.hub.load`` is the module; the function in it is ``nyala.load``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auditing import audit as audit
    from .bundling import bundle as bundle
    from .cards import Card as Card
    from .catalogue import find as find
    from .catalogue import list_models as list_models
    from .files import Files as Files
    from .load import pull as pull
    from .locking import lock as lock
    from .pipeline import Pipeline as Pipeline
    from .pushing import Plan as Plan
    from .pushing import push as push
    from .verification import verify as verify

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
