"""The masks that were found in a picture: as arrays, as a table, as plain data, and drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.atomic import atomic_write
from ...core.errors import ArgumentError
from ...hub.results import Results, table
from ..io import load_image
from ..masks import encode_rle
from ..palette import colour
from ..several import PerPicture
from .prompts import Array, Prompts

if TYPE_CHECKING:
    from PIL.Image import Image

_PAPER, _GAP, _SHORTEST, _LONGEST = "#ffffff", 12, 224, 960
_ON, _BESIDE = "#22c55e", "#ef4444"


@dataclass(frozen=True, eq=False, repr=False)
class Masks(Results):
    """What the prompts show in one picture: K masks.

    Attributes:
        offers: (K, M, H, W) bool, the masks that are offered for each prompt.
        offer_scores: (K, M) float32, how well the model thinks that each fits, about 0 to 1.
        source: the picture, as it was given.
        prompts: what was asked; None where everything was to be found.

    Example:
        >>> offers = np.array([[[[True, False]], [[True, True]]]])
        >>> found = Masks(offers, np.array([[0.5, 0.9]], np.float32), "a.png")
        >>> found.masks.tolist(), found.boxes.tolist()
        ([[[True, True]]], [[0, 0, 2, 1]])
    """

    offers: Array
    offer_scores: Array
    source: Any
    prompts: Prompts | None = None

    def __len__(self) -> int:
        return len(self.offers)

    @property
    def masks(self) -> Array:
        """(K, H, W) bool: for each prompt the mask with the best score."""
        return self.offers[np.arange(len(self)), self.offer_scores.argmax(1)]

    @property
    def mask(self) -> Array:
        """(H, W) uint8 or uint16, all masks in one: 0 outside, 1 in the first, and so on; the smaller ones lie on top."""
        numbers = np.zeros(self.offers.shape[2:], np.uint8 if len(self) < 256 else np.uint16)
        for i in self._by_size():
            numbers[self.masks[i]] = i + 1
        return numbers

    @property
    def scores(self) -> Array:
        """(K,) float32: their scores."""
        return self.offer_scores.max(1)

    @property
    def boxes(self) -> Array:
        """(K, 4) int64: left, top, right and bottom around each mask; zeros around an empty one."""
        return np.array([box_around(mask) for mask in self.masks], np.int64).reshape(-1, 4)

    def rows(self) -> list[list[object]]:
        """For each mask its number, score, share of the picture and box."""
        boxes = self.boxes.tolist()
        return [
            [i + 1, float(self.scores[i]), float(mask.mean()), ", ".join(map(str, boxes[i]))] for i, mask in enumerate(self.masks)
        ]

    def __repr__(self) -> str:
        return table(["mask", "score", "share of the picture", "box"], self.rows()) if len(self) else "no mask"

    def to_dict(self) -> dict[str, Any]:
        """For each mask its score, its box, its pixels, and itself as COCO's run lengths."""
        masks, boxes = self.masks, self.boxes.tolist()
        found = [
            {"score": float(self.scores[i]), "box": boxes[i], "pixels": int(mask.sum()), "mask": encode_rle(mask)}
            for i, mask in enumerate(masks)
        ]
        return {"size": list(self.offers.shape[:1:-1]), "masks": found}

    def cutout(self, index: int = 0) -> Image:
        """The picture inside one mask, cut to its box and transparent around it (RGBA).

        Raises:
            ArgumentError: no such mask, or an empty one.
        """
        from PIL import Image as pil

        if not 0 <= index < len(self) or not self.masks[index].any():
            raise ArgumentError(f"mask {index} of {len(self)}", why="there is nothing in it", fix="choose another")
        image, mask = load_image(self.source), self.masks[index]
        pixels = np.dstack([np.asarray(image), np.where(mask, 255, 0).astype(np.uint8)])
        return pil.fromarray(pixels).crop(tuple(self.boxes[index].tolist()))

    def save_mask(self, path: str | Path) -> None:
        """Write :attr:`mask` as a PNG: with a palette below 256 masks, else in 16 bits.

        Raises:
            ArgumentError: a name that does not end in .png.
            StorageError: the file cannot be written.
        """
        from PIL import Image as pil

        if Path(path).suffix.lower() != ".png":
            raise ArgumentError(f"{path}: masks are written as a PNG", why="other formats change numbers", fix="end it in .png")
        image, buffer = pil.fromarray(self.mask), io.BytesIO()
        if image.mode == "L":
            image.putpalette(bytes([0, 0, 0, *(v for i in range(len(self)) for v in colour(i))]))
        image.save(buffer, format="PNG")
        atomic_write(Path(path), buffer.getvalue())

    def _by_size(self) -> Array:
        """The masks' numbers, the largest first."""
        return np.argsort(-self.masks.sum((1, 2)), kind="stable")

    def draw(self) -> Image:
        """The picture with each mask in a colour of its own, and the points and boxes that it was asked with."""
        from PIL import Image as pil

        image = load_image(self.source)
        factor = min(1.0, _LONGEST / max(image.size))
        factor = float(max(1, _SHORTEST // max(image.size))) if factor == 1 else factor  # tiny pictures without smoothing
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        shown = np.asarray(image.resize(size, pil.Resampling.NEAREST if factor >= 1 else pil.Resampling.BILINEAR), np.float32)
        shown = shown.copy()
        for i in self._by_size():
            mask = np.asarray(pil.fromarray(self.masks[i]).resize(size, pil.Resampling.NEAREST))
            shown[mask] = 0.45 * shown[mask] + 0.55 * np.array(colour(int(i)), np.float32)
            shown[mask & ~_shrunk(mask)] = 255
        sheet = pil.new("RGB", (size[0] + 2 * _GAP, size[1] + 2 * _GAP), _PAPER)
        sheet.paste(pil.fromarray(shown.round().astype(np.uint8)), (_GAP, _GAP))
        if self.prompts is not None:
            _draw_prompts(sheet, self.prompts, factor)
        return sheet


def box_around(mask: Array) -> list[int]:
    """Left, top, right and bottom around the True pixels of a mask (H, W); zeros where there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1] if len(rows) else [0, 0, 0, 0]


def _shrunk(mask: Array) -> Array:
    """A mask without its edge pixels; the picture's border is no edge."""
    wide = np.pad(mask, 1, mode="edge")
    return mask & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]


def _draw_prompts(sheet: Image, prompts: Prompts, factor: float) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(sheet)
    if prompts.boxes is not None:
        for i, box in enumerate(prompts.boxes * factor + _GAP):
            pen.rectangle(tuple(box.tolist()), outline=colour(i), width=3)
    if prompts.points is not None and prompts.labels is not None:
        chosen = prompts.labels >= 0
        for (x, y), on in zip((prompts.points * factor + _GAP)[chosen], prompts.labels[chosen] == 1, strict=True):
            pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=_ON if on else _BESIDE, outline=_PAPER, width=2)


class MaskedPictures(PerPicture):
    """One :class:`Masks` a picture; prints as a table and draws all of them."""

    def __init__(self, found: Sequence[Masks]) -> None:
        super().__init__(found, [one.source for one in found])

    def __repr__(self) -> str:
        none: list[list[object]] = [["no mask", "", "", ""]]
        rows = [
            [self.name(i) if j == 0 else "", *cells]
            for i, one in enumerate(self.found)
            for j, cells in enumerate(one.rows() or none)
        ]
        return table(["picture", "mask", "score", "share of the picture", "box"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each picture its masks."""
        return [{"input": self.name(i), **one.to_dict()} for i, one in enumerate(self.found)]

    def draw(self) -> Image:
        """All pictures below each other."""
        from PIL import Image as pil

        parts = [one.draw() for one in self.found]
        sheet = pil.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), _PAPER)
        top = 0
        for part in parts:
            sheet.paste(part, (0, top))
            top += part.height
        return sheet
