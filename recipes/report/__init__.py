"""``report.html``: one self-contained page about a run, by hand: no external file, no script."""

from __future__ import annotations

from .page import Sample, render

__all__ = ["Sample", "render"]
