"""The page of ``nyala evaluate``: a model on labelled data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..judging.measurement import Measurement
from . import parts
from .samples import Sample, gallery, pick

if TYPE_CHECKING:
    from ..judging.judge import Judgement


def judgement_page(judgement: Judgement) -> str:
    """A judgement as HTML: scores, classes, confusion, calibration, and the samples themselves."""
    a = judgement.assessment
    if isinstance(a, Measurement):
        show, inputs = judgement.task.show, judgement.part.inputs
        body = [("Samples", gallery((Sample(**(show(inputs[one["index"]]) | one)) for one in a.shown), by_class=False))]
        return parts.frame(
            judgement.model, f"judged on {judgement.data}: {len(a):,} samples", body, parts.tiles(parts.score_tiles(a))
        )
    said = f"judged on {judgement.data}: {len(a):,} samples, {len(a.classes())} of {len(a.labels)} classes"
    if judgement.left_out:
        said += f"; {judgement.left_out:,} left out"
    if judgement.restricted:
        said += "; the model chose among the classes of the data alone"
    body = [
        ("Classes", parts.class_table(a)),
        ("Confusion", parts.confusion(a)),
        ("Calibration", parts.calibration(a)),
        ("Samples", gallery(pick(a, judgement.part.inputs, judgement.task.show))),
    ]
    ece = ("calibration error", f"{a.reliability.ece:.3f}", f"{100 * a.reliability.mean_confidence:.1f} % sure on average")
    return parts.frame(judgement.model, said, body, parts.tiles([*parts.score_tiles(a), ece]))
