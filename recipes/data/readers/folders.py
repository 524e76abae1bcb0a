"""Datasets that are folders: one subfolder a class, files of rows, or ``train``, ``val`` and ``test`` of either."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ....audio.datasets.files import SOUNDS
from ....core.atomic import storage_errors
from ....core.errors import DataError
from ....vision.datasets.folder import PICTURES
from ...language.schema import Columns, Data
from ...proof import hashing
from .manifests import Samples, read_manifest
from .tables import ending

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
TEXTS = (".txt",)
ENDINGS = {"image": PICTURES, "sound": SOUNDS, "text": TEXTS}
SAMPLES = tuple(ending for endings in ENDINGS.values() for ending in endings)
_WORDS = {"image": "pictures", "sound": "sounds", "text": "texts"}
MANIFESTS = ("metadata", "labels", "annotations", "manifest", "data", "dataset", "index")


def read_folder(folder: Path, recipe: Data) -> dict[str, Samples]:
    """The parts of a folder, by ``train``, ``validation`` and ``test``; only the first where it is not split.

    Raises:
        DataError: nothing in it that could be read, or more than one thing.
    """
    with storage_errors(folder, "read"):
        entries = [p for p in sorted(folder.iterdir()) if not p.name.startswith((".", "__"))]
    split = {part: found for part, names in SPLITS.items() if (found := [p for p in entries if is_called(p, names)])}
    if "train" in split and len(split) == 1 and all(p.is_dir() for p in split["train"]) and len(_subfolders(folder)) > 1:
        split = {}  # "train" beside other subfolders: a class, as locomotives would be
    if "train" not in split and split:
        raise DataError(
            f"{folder} has {', '.join(p.name for found in split.values() for p in found)} and no training part",
            fix=f"call it one of {', '.join(SPLITS['train'])}",
        )
    if split:
        return {part: _one(_alone(folder, part, found), recipe) for part, found in split.items()}
    return {"train": _unsplit(folder, recipe)}


def is_called(path: Path, names: Sequence[str]) -> bool:
    """Whether a folder or a file of rows has one of these names; ``train-00000-of-00002.parquet`` is called train."""
    if path.is_dir():
        return path.name.lower() in names
    return bool(ending(path)) and path.name.lower().split(".")[0].split("-")[0] in names


def in_pieces(found: Sequence[Path]) -> bool:
    """Whether files are the pieces of one: of one ending, and all numbered as ``train-00000-of-00002.parquet`` is."""
    return len({ending(p) for p in found}) == 1 and all(p.is_file() and "-of-" in p.name for p in found)


def _alone(folder: Path, part: str, found: Sequence[Path]) -> list[Path]:
    """All files of a part in several pieces, or the one thing that it is."""
    if len(found) == 1 or in_pieces(found):
        return list(found)
    raise DataError(
        f"{folder} has several {part} parts: {', '.join(p.name for p in found)}", fix="keep one, or give one as data.name"
    )


def _one(paths: Sequence[Path], recipe: Data) -> Samples:
    if paths[0].is_dir():
        return _unsplit(paths[0], recipe)
    return joined([read_manifest(path, recipe) for path in paths])


def joined(pieces: Sequence[Samples]) -> Samples:
    """The samples of several files as one part."""
    if len(pieces) == 1:
        return pieces[0]
    kinds = {piece.kind for piece in pieces}
    if len(kinds) > 1:
        other = next(piece for piece in pieces if piece.kind != pieces[0].kind)
        raise DataError(f"{pieces[0].places[0]} and {other.places[0]} are of different kinds", fix="keep one kind")
    return Samples(
        pieces[0].kind,
        [value for piece in pieces for value in piece.inputs],
        [label for piece in pieces for label in piece.labels],
        [place for piece in pieces for place in piece.places],
        hashlib.sha256("".join(piece.digest for piece in pieces).encode()).hexdigest(),
    )


def _unsplit(folder: Path, recipe: Data) -> Samples:
    manifest = _manifest(folder)
    if manifest is not None:
        return read_manifest(manifest, recipe)
    if recipe.columns != Columns():
        raise DataError(f"{folder} has no columns: its subfolders are the classes", fix="leave data.columns (--target) out")
    return read_classes(folder, recipe.encoding)


def _manifest(folder: Path) -> Path | None:
    """The file of rows that says what is in a folder; None where its subfolders do."""
    found = [p for p in sorted(folder.iterdir()) if p.is_file() and ending(p) and not p.name.startswith(".")]
    named = [p for p in found if p.name.lower().split(".")[0] in MANIFESTS]
    classes = [p for p in _subfolders(folder) if any(_inside(p))]
    if len(named) == 1 or (len(found) == 1 and len(classes) < 2):
        return (named or found)[0]
    if len(found) > 1 and len(classes) < 2:
        listed = ", ".join(p.name for p in found)
        raise DataError(
            f"{folder} has {len(found)} files of rows: {listed}",
            fix="call them train and test (e.g. train.csv and test.csv), or give one as data.name and another as data.test",
        )
    return None


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _inside(folder: Path) -> Iterator[Path]:
    """The pictures, sounds and texts below a folder, in order of their paths."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SAMPLES and path.is_file() and not path.name.startswith("."):
            yield path


def read_classes(folder: Path, encoding: str = "utf-8") -> Samples:
    """One subfolder a class, of pictures, of sounds or of ``.txt`` files.

    Raises:
        DataError: no subfolder, a class without a sample, or samples of different kinds.
    """
    classes = _subfolders(folder)
    if not classes:
        raise _nothing(folder)
    found = {path.name: list(_inside(path)) for path in classes}
    for path in classes:
        if not found[path.name]:
            raise _empty_class(path)
    files = [path for inside in found.values() for path in inside]
    labels = [name for name, inside in found.items() for _ in inside]
    found_kinds = {kind: path for path in reversed(files) for kind in ENDINGS if path.suffix.lower() in ENDINGS[kind]}
    if len(found_kinds) > 1:
        kinds = sorted(found_kinds)
        words = " and ".join(_WORDS[kind] for kind in kinds)
        raise DataError(f"{folder} holds {words}, e.g. {found_kinds[kinds[-1]]}", fix="keep one kind")
    (kind,) = found_kinds
    inputs = [_read_text(path, encoding) for path in files] if kind == "text" else files
    digest = hashing.of_files((path.relative_to(folder).as_posix(), path) for path in files)
    return Samples(kind, list(inputs), labels, [str(path) for path in files], digest, tuple(found))


def _read_text(path: Path, encoding: str) -> str:
    from .tables import decoded

    text = decoded(path, encoding)
    if not text.strip():
        raise DataError(f"{path} is empty", fix="put a text there, or remove it")
    return text


def _nothing(folder: Path) -> DataError:
    files = [p.suffix.lower() for p in folder.iterdir() if p.is_file()]
    if not files:
        return DataError(f"{folder} is empty", fix=f"sort your files as {folder}/CLASS/picture.jpg, or put a train.csv there")
    listed = ", ".join(f"{count} {suffix or 'without ending'}" for suffix, count in Counter(files).most_common(4))
    sounds = Counter(files).most_common(1)[0][0] in SOUNDS
    example, column = ("sound.wav", "audio") if sounds else ("picture.jpg", "image")
    return DataError(
        f"{folder} has no subfolders",
        why=f"each would be a class; it holds files: {listed}",
        fix=f"sort them as {folder}/CLASS/{example}, or list them in a train.csv with the columns {column} and label",
    )


def _empty_class(folder: Path) -> DataError:
    others = Counter(p.suffix.lower() for p in folder.rglob("*") if p.is_file())
    why = "it holds " + ", ".join(f"{n} {s or 'without ending'}" for s, n in others.most_common(3)) if others else "it is empty"
    return DataError(
        f"{folder} holds no pictures, no sounds and no texts",
        why=why,
        fix=f"put some there ({', '.join(SAMPLES)}), or remove the folder",
    )
