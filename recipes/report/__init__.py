"""Pages about runs and models, by hand: self-contained, no external file, no script."""

from __future__ import annotations

from .compare import comparison_page
from .judgement import judgement_page
from .page import run_page
from .samples import Sample
from .view import View, read, write_scores

__all__ = ["Sample", "View", "comparison_page", "judgement_page", "read", "run_page", "write_scores"]
