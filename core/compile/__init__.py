"""``nyala.compile``: trace, graph, fuse, plan memory, run."""

from __future__ import annotations

from .compiled import Compiled, compile

__all__ = ["Compiled", "compile"]
