"""Which files are sounds."""

from __future__ import annotations

from ..io import FORMATS

SOUNDS = (*FORMATS, ".oga", ".aifc")
"""The endings of sound files, in small letters."""
