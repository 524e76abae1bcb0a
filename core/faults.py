"""What GPUs find wrong while the host goes on: told where the host waits for them, as where it reads a result."""

from __future__ import annotations

import weakref
from typing import Any

_waiting: weakref.WeakSet[Any] = weakref.WeakSet()


def wait_for(faults: Any) -> None:
    """Have ``tell`` ask these faults, by their ``check()``, which raises for what has been found."""
    _waiting.add(faults)


def tell() -> None:
    """Raise for what GPUs are known to have found wrong."""
    for faults in list(_waiting):
        faults.check()
