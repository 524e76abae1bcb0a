"""What the tables of a recipe are made of: numbers with bounds, and the table itself."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Below1 = Annotated[float, Meta(ge=0, lt=1)]
Alpha = Annotated[float, Meta(ge=0, le=4)]
Decay = Annotated[float, Meta(gt=0, le=1)]
Score = Literal[
    "accuracy", "macro_f1", "f1", "exact_match", "mrr", "recall_at_10", "wer", "cer", "rouge1", "rouge_l", "map",
    "map_50", "mean_iou", "mean_dice", "panoptic_quality", "loss",
]  # fmt: skip


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the recipe: frozen, and an unknown key in it is a mistake."""
