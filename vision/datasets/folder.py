"""Pictures of one's own: a folder with one subfolder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.atomic import storage_errors
from ...core.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


class ImageFolder:
    """The pictures below ``folder``, whose subfolders are the classes, both in the order of their names.

    Args:
        folder: with one subfolder a class; hidden ones are left out.
        classes: the classes there may be, where another part of the data says so; the subfolders' names if left out.

    Attributes:
        classes: names of the classes, by number.
        samples: (path, label) of every picture.

    Raises:
        DataError: no such folder, no subfolder, a class without a picture, or one that is not in ``classes``.
    """

    def __init__(self, folder: str | Path, classes: Sequence[str] | None = None) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", fix="check the path")
        with storage_errors(root, "read"):
            names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not names:
            raise DataError(
                f"{root} has no subfolders", why="each is a class", fix=f"sort the pictures as {root}/CLASS/picture.jpg"
            )
        self.classes = tuple(names if classes is None else classes)
        unknown = [n for n in names if n not in self.classes]
        if unknown:
            raise DataError(
                f"{root} has class {unknown[0]!r}", why=f"the classes are {', '.join(self.classes)}", fix="rename the folder"
            )
        self.samples: list[tuple[Path, int]] = []
        for name in names:
            found = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
            if not found:
                raise DataError(
                    f"{root / name} holds no pictures", fix=f"put some there ({', '.join(PICTURES)}), or remove the folder"
                )
            self.samples += [(p, self.classes.index(name)) for p in found]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Path, int]:
        return self.samples[index]
