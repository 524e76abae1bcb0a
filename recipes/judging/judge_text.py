"""A judgement as words and tables, for a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...hub.results import shortened, table
from .assessment import Assessment
from .measurement import Measurement

if TYPE_CHECKING:
    from .judge import Judgement

_CLASSES, _MISTAKES = 30, 8
_NAME = 48  # characters of a sample's name
_ENOUGH = 100  # samples, below which a temperature would be read out of noise


def as_text(judgement: Judgement) -> str:
    """Headline scores with their intervals, calibration, classes, and the surest mistakes."""
    a = judgement.assessment
    if isinstance(a, Measurement):
        return f"{judgement.model} on {judgement.data}: {len(a):,} samples\n\n{a}"
    parts = [_head(judgement, a), _scores(a), calibration_sentence(a), _classes(a)]
    if a.worst(1):
        parts.append(_mistakes(judgement, a))
    return "\n\n".join(parts)


def _head(judgement: Judgement, a: Assessment) -> str:
    lines = [f"{judgement.model} on {judgement.data}: {len(a):,} samples, {len(a.classes())} of {len(a.labels)} classes"]
    if judgement.left_out:
        lines.append(f"{judgement.left_out:,} samples are left out: their class is mapped to none of the model's")
    if judgement.restricted:
        lines.append("the model chose among the classes of the data alone")
    return "\n".join(lines)


def _scores(a: Assessment) -> str:
    rows = [[name, f"{e.value:.4f}", f"{e.low:.4f} to {e.high:.4f}"] for _, name, e in a.summary()]
    return table(["score", "value", "95 % interval"], rows)


def calibration_sentence(a: Assessment) -> str:
    """Calibration in words.

    Example:
        >>> import numpy as np
        >>> one, two = np.array([1.0, 1.0]), np.array([0, 0])
        >>> print(calibration_sentence(Assessment(["a", "b"], two, two, one, one, 0 * one)))
        Calibration: on average 100.0 % sure and 100.0 % right; expected calibration error 0.0000.
    """
    r = a.reliability
    said = (
        f"Calibration: on average {100 * r.mean_confidence:.1f} % sure and {100 * a.accuracy.value:.1f} % right; "
        f"expected calibration error {r.ece:.4f}."
    )
    if a.temperature is None or a.right.all():  # without a mistake, being ever surer would be ever better
        return said
    if len(a) < _ENOUGH:
        return f"{said} {len(a)} samples are too few to suggest a temperature."
    t = a.temperature
    if abs(t.value - 1) < 0.06:
        return f"{said} No temperature makes the probabilities much better."
    which = "too sure" if t.value > 1 else "not sure enough"
    gain = f"log loss {a.log_loss.value:.4f} -> {t.log_loss:.4f}, calibration error {t.ece:.4f}"
    return (
        f"{said} It is {which}: logits divided by a temperature of {t.value:.2f} would give {gain} (found on these very samples)."
    )


def _classes(a: Assessment) -> str:
    found = a.classes()
    shown = (
        sorted(found, key=lambda c: (c.f1.value if c.f1.exists else -1.0, c.label))[:_CLASSES] if len(found) > _CLASSES else found
    )
    rows = [
        [shortened(c.label, 28), str(c.samples), c.precision.value if c.precision.exists else "-"]
        + ([c.recall.value, f"{c.recall.low:.2f} to {c.recall.high:.2f}"] if c.recall.exists else ["-", "-"])
        + [c.f1.value if c.f1.exists else "-", f"{shortened(c.taken_for, 24)} ({c.times})" if c.times else ""]
        for c in shown
    ]
    text = table(["class", "samples", "precision", "recall", "95 %", "F1", "most often taken for"], rows)
    return text if len(shown) == len(found) else f"{text}\nthe {len(shown)} worst of {len(found)} classes; --json has all"


def _called(raw: Any, number: int) -> str:
    """What a sample is called: of a long path the end, since its beginning is the same for all."""
    from .judge import name_of

    name = name_of(raw) or f"sample {number}"
    if isinstance(raw, Path) and len(name) > _NAME:
        name = "..." + name[3 - _NAME :]
    return shortened(name, _NAME)


def _mistakes(judgement: Judgement, a: Assessment) -> str:
    rows = [
        [
            _called(judgement.part.inputs[i], int(i)),
            shortened(a.labels[a.truth[i]], 22),
            shortened(a.labels[a.predicted[i]], 22),
            float(a.confidence[i]),
        ]
        for i in a.worst(_MISTAKES)
    ]
    return "the surest mistakes\n" + table(["sample", "is", "taken for", "how sure"], rows)
