"""Results of several pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..hub.results import Results


class PerPicture(Results, Sequence[Any]):
    """One result a picture, in order; subclasses say how they look.

    Attributes:
        found: the results.
        inputs: the pictures, as they were given.

    Example:
        >>> several = PerPicture(["a cat", "a dog"], ["cat.png", b"..."])
        >>> several[1], several.name(0), several.name(1)
        ('a dog', 'cat.png', 'picture 1')
    """

    def __init__(self, found: Sequence[Any], inputs: Sequence[Any]) -> None:
        self.found, self.inputs = tuple(found), tuple(inputs)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def name(self, index: int) -> str:
        """The file's path, or the picture's number."""
        return picture_name(self.inputs[index], index)


def picture_name(source: Any, index: int) -> str:
    """What tables and files call a picture: its path, or its number."""
    return str(source) if isinstance(source, str) or hasattr(source, "__fspath__") else f"picture {index}"
