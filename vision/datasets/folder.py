"""Pictures of one's own: a folder with one subfolder a class."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class ImageFolder:
    """The pictures below ``folder``, whose subfolders are the classes, both in the order of their names.

    Attributes:
        classes: names of the subfolders.
        samples: (path, label) of every picture.

    Raises:
        DataError: no such folder, no subfolders, or a class without a picture.
    """

    def __init__(self, folder: str | Path) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", fix="check the path")
        names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not names:
            raise DataError(
                f"{root} has no subfolders", why="each subfolder is a class", fix=f"sort the pictures as {root}/CLASS/picture.jpg"
            )
        self.classes = tuple(names)
        self.samples: list[tuple[Path, int]] = []
        for label, name in enumerate(names):
            found = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
            if not found:
                raise DataError(
                    f"class {name!r} of {root} has no picture",
                    why=f"looked for {', '.join(EXTENSIONS)}",
                    fix="add some or remove the folder",
                )
            self.samples += [(p, label) for p in found]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Path, int]:
        return self.samples[index]
