"""Pictures of what is heard: waveform, spectrum, and over them segments, curves and pitches."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .sketch import Sketch

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Numbers = np.ndarray[Any, Any]
_WIDE, _LEFT, _RIGHT, _TOP = 1200, 64, 16, 40
_WAVE, _SPECTRUM, _CURVE, _GAP = 130, 240, 90, 12
_LINES, _LINE_HEIGHT = 6, 18  # of words below each other, where they are close
_INK, _GREY, _LINE, _BLUE, _SPAN, _ORANGE = "#20242c", "#6b7280", "#d5d9e0", "#3b6fb5", "#dcebfb", "#e8590c"
_CELL = re.compile(r"\S+(?: \S+)*")
_FIRE = ((0, 0, 4), (61, 9, 101), (145, 38, 103), (219, 80, 59), (251, 155, 6), (252, 255, 164))


def text(shown: str) -> Image:
    """Lines of text on white; what two spaces or more set apart stays in columns, though letters differ in width."""
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    font: Any = ImageFont.load_default(size=14)
    cells = [(row, found) for row, line in enumerate(shown.split("\n")) for found in _CELL.finditer(line)]
    step = max([font.getlength(found[0]) / len(found[0]) for _, found in cells] + [font.getlength("0")])
    wide = max([step * found.start() + font.getlength(found[0]) for _, found in cells], default=0)
    picture = Images.new("RGB", (int(wide) + 24, 18 * (1 + shown.count("\n")) + 24), "white")
    draw = ImageDraw.Draw(picture)
    for row, found in cells:
        draw.text((12 + step * found.start(), 12 + 18 * row), found[0], fill="black", font=font)
    return picture


def timeline(
    sketch: Sketch,
    title: str,
    *,
    spans: Sequence[tuple[float, float]] = (),
    curve: tuple[Numbers, float] | None = None,
    pitch: tuple[Numbers, Numbers] | None = None,
    words: Sequence[tuple[float, float, str]] = (),
) -> Image:
    """A sound over time.

    Args:
        sketch: what it looks like.
        title: above it.
        spans: seconds between which the ground is coloured.
        curve: numbers from 0 to 1, and the seconds from one to the next.
        pitch: seconds and Hz; NaN where there is none.
        words: their beginnings and ends in seconds, and they themselves; what finds no room is left out.
    """
    from PIL import Image as Images
    from PIL import ImageDraw

    panels = [_WAVE, _SPECTRUM, *([_CURVE] if curve else []), *([_LINES * _LINE_HEIGHT] if words else [])]
    picture = Images.new("RGB", (_WIDE, _TOP + sum(panels) + _GAP * (len(panels) - 1) + 34), "white")
    page = _Page(picture, ImageDraw.Draw(picture), max(sketch.duration, 1e-3))
    page.draw.text((_LEFT, 12), title, fill=_INK, font=_font(15))
    top = _TOP
    for panel in panels:
        for start, end in spans:
            page.draw.rectangle((page.x(start), top, max(page.x(end), page.x(start) + 1), top + panel), fill=_SPAN)
        top += panel + _GAP
    page.wave(sketch, _TOP)
    page.spectrum(sketch, _TOP + _WAVE + _GAP)
    for start, end in spans:
        page.bar(start, end, _TOP + _WAVE + _GAP)
    if pitch is not None:
        page.pitch(sketch, *pitch, _TOP + _WAVE + _GAP)
    if curve is not None:
        page.curve(*curve, _TOP + _WAVE + _SPECTRUM + 2 * _GAP)
    if words:
        page.words(words, top - _GAP - _LINES * _LINE_HEIGHT)
    page.seconds(top - _GAP)
    return picture


def below(pictures: Sequence[Image]) -> Image:
    """Pictures, one below the other."""
    from PIL import Image as Images

    joined = Images.new("RGB", (max((p.width for p in pictures), default=1), sum(p.height for p in pictures) or 1), "white")
    top = 0
    for picture in pictures:
        joined.paste(picture, (0, top))
        top += picture.height
    return joined


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


class _Page:
    """Where a second lies on the picture, and what is drawn there."""

    def __init__(self, picture: Image, draw: ImageDraw, seconds: float) -> None:
        self.picture, self.draw, self.length = picture, draw, seconds
        self.width = _WIDE - _LEFT - _RIGHT

    def x(self, seconds: float) -> float:
        """The column of a time."""
        return _LEFT + self.width * min(max(seconds / self.length, 0.0), 1.0)

    def frame(self, top: int, height: int, label: str) -> None:
        """The edge of a panel and what it shows."""
        self.draw.rectangle((_LEFT, top, _LEFT + self.width, top + height), outline=_LINE)
        self.draw.text((8, top + height / 2 - 6), label, fill=_GREY, font=_font(11))

    def columns(self, cells: int) -> Iterator[tuple[int, int, int]]:
        """Each column of the panel with the first and the last of its cells."""
        for column in range(self.width):
            first = column * cells // self.width
            yield column, first, max(first + 1, (column + 1) * cells // self.width)

    def wave(self, sketch: Sketch, top: int) -> None:
        """The samples between their extremes."""
        found, middle = sketch.extremes, top + _WAVE / 2
        most = max(float(np.abs(found).max(initial=0.0)), 1e-4)
        for column, first, end in self.columns(len(found)) if len(found) else ():
            low, high = found[first:end, 0].min(), found[first:end, 1].max()
            scale = (_WAVE / 2 - 4) / most
            self.draw.line((_LEFT + column, middle - high * scale, _LEFT + column, middle - low * scale + 1), fill=_BLUE)
        self.frame(top, _WAVE, "samples")
        self.draw.text((8, top + 2), f"{most:.2g}", fill=_GREY, font=_font(10))

    def spectrum(self, sketch: Sketch, top: int) -> None:
        """How loud each band is, bright where it is loud."""
        from PIL import Image as Images

        found = sketch.spectrum
        if len(found):
            shares = found.astype(np.float32) / 255
            ramp = np.linspace(0, 1, len(_FIRE))
            colours = np.stack([np.interp(shares, ramp, [c[i] for c in _FIRE]) for i in range(3)], -1)
            image = Images.fromarray(colours.transpose(1, 0, 2)[::-1].astype(np.uint8))
            sideways = Images.Resampling.BOX if len(found) > self.width else Images.Resampling.NEAREST
            self.picture.paste(image.resize((self.width, image.height), sideways).resize((self.width, _SPECTRUM)), (_LEFT, top))
        self.frame(top, _SPECTRUM, "")
        for hertz in (100, 200, 500, 1000, 2000, 5000):
            if hertz < sketch.edges[-1]:
                y = self.y(sketch, hertz, top)
                self.draw.line((_LEFT - 4, y, _LEFT, y), fill=_GREY)
                named = f"{hertz} Hz" if hertz < 1000 else f"{hertz // 1000} kHz"
                self.draw.text((8, y - 6), named, fill=_GREY, font=_font(10))

    @staticmethod
    def y(sketch: Sketch, hertz: float, top: int) -> float:
        """The row of a frequency in the spectrum."""
        low, high = math.log(sketch.edges[0]), math.log(sketch.edges[-1])
        return top + _SPECTRUM * (1 - (math.log(max(hertz, sketch.edges[0])) - low) / (high - low))

    def bar(self, start: float, end: float, top: int) -> None:
        """A segment at the foot of the spectrum."""
        foot = top + _SPECTRUM
        self.draw.rectangle((self.x(start), foot - 7, max(self.x(end), self.x(start) + 1), foot - 3), fill="#7cc4ff")

    def pitch(self, sketch: Sketch, times: Numbers, hertz: Numbers, top: int) -> None:
        """A line over the spectrum, where there is a pitch."""
        before: tuple[float, float] | None = None
        for time, value in zip(times.tolist(), hertz.tolist(), strict=True):
            here = None if math.isnan(value) else (self.x(time), self.y(sketch, value, top))
            if here is not None and before is not None:
                self.draw.line((*before, *here), fill="#29e0c8", width=2)
            elif here is not None:
                self.draw.point(here, fill="#29e0c8")
            before = here

    def curve(self, values: Numbers, step: float, top: int) -> None:
        """Numbers from 0 to 1."""
        points = [(self.x((i + 0.5) * step), top + _CURVE * (1 - float(v))) for i, v in enumerate(values)]
        self.draw.line((_LEFT, top + _CURVE / 2, _LEFT + self.width, top + _CURVE / 2), fill=_LINE)
        if len(points) > 1:
            self.draw.line(points, fill=_ORANGE, width=2, joint="curve")
        self.frame(top, _CURVE, "0 to 1")

    def words(self, words: Sequence[tuple[float, float, str]], top: int) -> None:
        """Each where it begins, on the first line that is free there."""
        font, free = _font(12), [float(_LEFT)] * _LINES
        for start, _, text in words:
            x, wide = self.x(start), font.getlength(text)
            x = max(_LEFT, min(x, _WIDE - 4 - wide))
            line = next((i for i, end in enumerate(free) if end <= x), None)
            if line is not None:
                y = top + line * _LINE_HEIGHT
                self.draw.line((x, y + 3, x, y + _LINE_HEIGHT - 3), fill=_ORANGE)
                self.draw.text((x + 3, y + 2), text, fill=_INK, font=font)
                free[line] = x + wide + 8
        self.frame(top, _LINES * _LINE_HEIGHT, "words")

    def seconds(self, top: int) -> None:
        """Times below everything."""
        step = next(s for s in _steps() if self.length / s <= 12)
        for i in range(int(self.length / step) + 1):
            x = self.x(i * step)
            self.draw.line((x, top, x, top + 4), fill=_GREY)
            self.draw.text((x - 8, top + 7), _time(i * step, step), fill=_GREY, font=_font(11))


def _steps() -> Iterator[float]:
    yield from (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
    hours = 2
    while True:
        yield 3600 * hours
        hours *= 2


def _time(seconds: float, step: float) -> str:
    """A time as it stands below a picture.

    Example:
        >>> _time(0.4, 0.2), _time(30, 10), _time(3725, 5)
        ('0.4 s', '30 s', '1:02:05')
    """
    if seconds >= 3600:
        return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"
    if seconds >= 60:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    return f"{seconds:.2f} s" if step < 0.1 else f"{seconds:.1f} s" if step < 1 else f"{seconds:.0f} s"
