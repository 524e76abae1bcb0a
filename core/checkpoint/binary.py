"""Walking through the bytes of a weight file: every step is checked against the file's end."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..part import FilePart


class Walk:
    """A place in a file's bytes.

    Attributes:
        path: the file, for messages; content: its bytes; at: the place.
    """

    def __init__(self, path: Path | FilePart, content: memoryview) -> None:
        self.path, self.content, self.at = path, content, 0

    def bad(self, why: str) -> CheckpointError:
        """The error for what stands at this place."""
        return CheckpointError(f"{self.path} is damaged: {why}", why=f"at byte {self.at}", fix="get the file again")

    def number(self, form: str) -> Any:
        """The number of a ``struct`` format at this place, which moves behind it.

        Raises:
            CheckpointError: the file ends before.
        """
        size = struct.calcsize(form)
        if self.at + size > len(self.content):
            raise self.bad("it ends too early")
        (value,) = struct.unpack_from(form, self.content, self.at)
        self.at += size
        return value
