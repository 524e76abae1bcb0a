"""What a run minimises and how its result is measured, for each kind of data: one file each, over ``base.Objective``."""

from .base import Objective, Result
from .classes import Classes, class_weights
from .pairs import Pairs
from .tags import Tags
from .tokens import NextTokens

__all__ = ["Classes", "NextTokens", "Objective", "Pairs", "Result", "Tags", "class_weights"]
