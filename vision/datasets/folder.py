"""Pictures of one's own: a folder with one subfolder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.atomic import storage_errors
from ...core.errors import DataError
from .pictures import ClassPictures, Corrupt, Transform

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


class ImageFolder(ClassPictures):
    """The pictures below ``folder``, whose subfolders are the classes, both in the order of their names.

    Args:
        folder: with one subfolder a class; hidden ones are left out.
        classes: the classes there may be, where another part of the data says so; the subfolders' names if left out.
        transform, corrupt, threads: as for :class:`~nyala.vision.datasets.pictures.Pictures`.

    Attributes:
        classes: names of the classes, by number.
        samples: (path, label) of every picture; ``dataset[i]`` is the picture itself, (H, W, 3) uint8, and its label.
        skipped: what could not be read and was left out.

    Raises:
        DataError: no such folder, no subfolder, a class without a picture, or one that is not in ``classes``.
    """

    def __init__(
        self,
        folder: str | Path,
        classes: Sequence[str] | None = None,
        *,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        root = Path(folder).expanduser()
        names = subfolders(root)
        known = tuple(names if classes is None else classes)
        unknown = [n for n in names if n not in known]
        if unknown:
            raise DataError(
                f"{root} has class {unknown[0]!r}", why=f"the classes are {', '.join(known)}", fix="rename the folder"
            )
        samples = [(path, known.index(name)) for name in names for path in pictures_in(root / name)]
        super().__init__(samples, known, transform=transform, corrupt=corrupt, threads=threads)


def subfolders(root: Path) -> list[str]:
    """The names of the folders in one, sorted, without hidden ones.

    Raises:
        DataError: there are none.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}", fix="check the path")
    with storage_errors(root, "read"):
        names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise DataError(f"{root} has no subfolders", why="each is a class", fix=f"sort the pictures as {root}/CLASS/picture.jpg")
    return names


def pictures_in(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted by path.

    Raises:
        DataError: there are none.
    """
    with storage_errors(folder, "read"):
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not found:
        raise DataError(f"{folder} holds no pictures", fix=f"put some there ({', '.join(PICTURES)}), or remove the folder")
    return found
