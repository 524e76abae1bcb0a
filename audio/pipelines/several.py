"""Results of several sounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...hub.results import Results

if TYPE_CHECKING:
    from PIL.Image import Image


class Several(Results, Sequence[Any]):
    """One result a sound. Prints one below the other, and draws them so.

    Example:
        >>> len(Several([]))
        0
    """

    def __init__(self, found: Sequence[Any]) -> None:
        self.found = tuple(found)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.found))

    def to_dict(self) -> list[dict[str, Any]]:
        """For each sound its result."""
        return [result.to_dict() for result in self.found]

    def draw(self) -> Image:
        """The pictures, one below the other."""
        from PIL import Image as Images

        pictures = [result.draw() for result in self.found]
        whole = Images.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
        top = 0
        for picture in pictures:
            whole.paste(picture, (0, top))
            top += picture.height
        return whole
