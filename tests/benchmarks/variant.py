"""How a library runs a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """``str(variant)`` and ``Variant.parse`` carry it to a worker.

    Example:
        >>> str(Variant(compiled=True, channels_last=True))
        'compile channels_last'
        >>> Variant.parse("eager contiguous")
        Variant(compiled=False, channels_last=False, tuning='')
    """

    compiled: bool = False
    channels_last: bool = False
    tuning: str = ""  # the mode of torch.compile; its default where nothing is said

    @property
    def mode(self) -> str:
        """The column it belongs to."""
        return "compile" if self.compiled else "eager"

    @property
    def layout(self) -> str:
        """Of activations and weights in memory."""
        return "channels_last" if self.channels_last else "contiguous"

    def __str__(self) -> str:
        return f"{self.mode} {self.layout} {self.tuning}".rstrip()

    @staticmethod
    def parse(text: str) -> Variant:
        """The variant that prints as ``text``."""
        mode, layout, *tuning = text.split()
        return Variant(mode == "compile", layout == "channels_last", *tuning)
