"""What a run minimises and how its result is measured, for each kind of data: one file each, over ``base.Objective``."""

from .answers import Answers
from .base import Objective, Result
from .boxes import Boxes
from .classes import Classes, class_weights
from .distilled import Distilled
from .masked import HiddenTokens
from .pairs import Pairs
from .pixels import Pixels
from .rewriting import CutTokens, Rewritten
from .speech import SPEECH_METRICS, Dictated, Spelled, dictated
from .tags import Tags
from .tokens import NextTokens

__all__ = [
    "SPEECH_METRICS",
    "Answers",
    "Boxes",
    "Classes",
    "CutTokens",
    "Dictated",
    "Distilled",
    "HiddenTokens",
    "NextTokens",
    "Objective",
    "Pairs",
    "Pixels",
    "Result",
    "Rewritten",
    "Spelled",
    "Tags",
    "class_weights",
    "dictated",
]
