"""Pictures of what is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def text(shown: str) -> Image:
    """Lines of text on white."""
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(size=14)
    size = ImageDraw.Draw(Images.new("RGB", (1, 1))).multiline_textbbox((0, 0), shown, font=font)
    picture = Images.new("RGB", (int(size[2]) + 24, int(size[3]) + 24), "white")
    ImageDraw.Draw(picture).multiline_text((12, 12), shown, fill="black", font=font)
    return picture
