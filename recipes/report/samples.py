"""Single samples as the report shows them: the picture, the text or the sound itself, and what was said of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ..judging.assessment import Assessment
from ..judging.measurement import SHOWN

_HEARD = 6  # seconds of a sound that a page holds


@dataclass(frozen=True)
class Sample:
    """A sample as the report shows it.

    Attributes:
        index: its number in its part.
        label, predicted: class names.
        probability: the model's, of what it predicted.
        picture: PNG; text; sound: WAV. At most one of them is there.
        tiny: the picture is so small that its pixels should be seen.
    """

    index: int
    label: str
    predicted: str
    probability: float
    picture: bytes | None = None
    text: str | None = None
    sound: bytes | None = None
    tiny: bool = False


def pick(assessment: Assessment, inputs: Sequence[Any], show: Callable[[Any], dict[str, Any]]) -> list[Sample]:
    """The surest mistakes, then the right answers the model was least sure of.

    Args:
        assessment: of these inputs.
        inputs: raw samples, by number.
        show: raw sample -> ``picture``, ``text`` or ``sound``.
    """
    a = assessment
    return [
        Sample(
            index=i,
            label=a.labels[a.truth[i]],
            predicted=a.labels[a.predicted[i]],
            probability=float(a.confidence[i]),
            **show(inputs[i]),
        )
        for i in (*a.worst(SHOWN), *a.least_sure(SHOWN))
    ]


def show_picture(raw: Any) -> dict[str, Any]:
    """A picture of 192 pixels at most, as PNG."""
    from ...vision.io import load_image

    image = load_image(raw)
    tiny = max(image.size) <= 64
    image.thumbnail((192, 192))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return {"picture": buffer.getvalue(), "tiny": tiny}


def show_sound(raw: Any) -> dict[str, Any]:
    """The first seconds of a sound, as WAV of one channel and at most 16 kHz.

    Args:
        raw: a path, an open file, or a pair (samples, rate).
    """
    from ...audio.io import SoundReader, write
    from ...audio.pipelines.sounds import is_source, samples_of

    rate = raw[1] if isinstance(raw, tuple) else 16_000
    if is_source(raw):
        with SoundReader(raw) as sound:
            rate = sound.info.sample_rate
        _ = raw.seek(0) if hasattr(raw, "seek") else 0
    rate = min(rate, 16_000)
    buffer = io.BytesIO()
    write(buffer, samples_of(raw, rate, most=_HEARD * rate), rate, format="WAV")
    return {"sound": buffer.getvalue()}


def show_text(raw: str) -> dict[str, Any]:
    """The beginning of a text."""
    return {"text": raw if len(raw) <= 600 else raw[:600] + " …"}


def gallery(samples: Iterable[Sample], by_class: bool = True) -> str:
    """Mistakes and right answers, each under a heading of its own.

    Args:
        samples: in the order in which they are shown.
        by_class: they are ordered by how sure the model was of a class; else by how much is wrong with them.
    """
    samples = list(samples)
    wrong = [s for s in samples if s.label != s.predicted]
    right = [s for s in samples if s.label == s.predicted]
    orders = (", the surest first", ", the least sure first") if by_class else (", the worst first", "")
    parts = [_group(f"Mistakes{orders[0]}", wrong), _group(f"Right answers{orders[1]}", right)]
    return "".join(parts) or '<p class="quiet">none</p>'


def _group(title: str, samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    wide = "" if all(s.picture is not None for s in samples) else " wide"
    return f'<h3>{title}</h3><div class="samples{wide}">{"".join(map(_figure, samples))}</div>'


def _figure(sample: Sample) -> str:
    good = sample.label == sample.predicted
    truth = "" if good else f" <small>is {escape(sample.label)}</small>"
    says = f'<b class="{"good" if good else "bad"}">{escape(sample.predicted)}</b> {100 * sample.probability:.0f} %{truth}'
    number = f'<small class="quiet">no. {sample.index}</small>'
    return f'<figure class="sample">{_inside(sample)}<figcaption>{says} {number}</figcaption></figure>'


def _inside(sample: Sample) -> str:
    if sample.picture is not None:
        kind = ' class="tiny"' if sample.tiny else ""
        return f'<img{kind} alt="sample {sample.index}" src="data:image/png;base64,{_base64(sample.picture)}">'
    if sample.sound is not None:
        return f'<audio controls preload="none" src="data:audio/wav;base64,{_base64(sample.sound)}"></audio>'
    return f"<blockquote>{escape(sample.text)}</blockquote>" if sample.text is not None else ""


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
