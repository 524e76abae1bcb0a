"""Folders as published sound datasets lie in them once unpacked: recognised by their files, read with their own parts.

Speech Commands (Warden, arXiv:1804.03209), ESC-50 (Piczak 2015), the free spoken digit dataset (Jackson et al.), GTZAN
(Tzanetakis & Cook 2002), LibriSpeech (Panayotov et al. 2015) and Common Voice (Ardila et al. 2020). Nothing is fetched.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.atomic import storage_errors
from ...core.errors import DataError
from ..io import info
from .files import SOUNDS

_DIGIT = re.compile(r"(\d)_([^_]+)_(\d+)\.wav")
_SUBSET = re.compile(r"(train|dev|test)-(clean|other)(-\d+)?")
_PARTS = {"train": "train", "dev": "validation", "test": "test"}


@dataclass(frozen=True)
class Recording:
    """One sound of a dataset.

    Attributes:
        path: the file.
        values: what the dataset says of it, by name: ``label``, ``speaker``, ``sentence``, ...
    """

    path: Path
    values: Mapping[str, str]


@dataclass(frozen=True)
class Layout:
    """A folder that is a published dataset.

    Attributes:
        name: of the dataset.
        root: the folder that its files count from.
        parts: ``train``, and where it has them ``validation`` and ``test``.
        target: what is to be told of a sound, unless another value is asked for.
        text: the value that is a transcript; empty where there is none.
        tables: files beside the sounds that these were read from.
        notes: what users should know.
    """

    name: str
    root: Path
    parts: dict[str, list[Recording]]
    target: str
    text: str = ""
    tables: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def values(self) -> list[str]:
        """The names of all values that recordings have."""
        return list(dict.fromkeys(name for part in self.parts.values() for one in part for name in one.values))


def recognise(folder: str | Path) -> Layout | None:
    """The dataset that a folder is, or None.

    Raises:
        DataError: the folder is one of these datasets, and a list in it names sounds that are not there.
        StorageError: it cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        return None
    with storage_errors(root, "read"):
        return next((found for look in _LOOKS if (found := look(root)) is not None), None)


def _speech_commands(root: Path) -> Layout | None:
    lists = {"validation": root / "validation_list.txt", "test": root / "testing_list.txt"}
    if not all(path.is_file() for path in lists.values()):
        return None
    held = {part: path.read_text(encoding="utf-8").split() for part, path in lists.items()}
    part_of = {name: part for part, names in held.items() for name in names}
    _require(root, part_of, lists["test"].parent)
    parts: dict[str, list[Recording]] = {"train": [], "validation": [], "test": []}
    for path in sorted(root.glob("*/*.wav")):
        if not path.parent.name.startswith("_"):  # _background_noise_
            values = {"label": path.parent.name, "speaker": path.name.partition("_nohash_")[0]}
            parts[part_of.get(f"{path.parent.name}/{path.name}", "train")].append(Recording(path, values))
    return Layout("Speech Commands", root, parts, "label", tables=tuple(lists.values()))


def _esc50(root: Path) -> Layout | None:
    table = root / "meta" / "esc50.csv"
    if not table.is_file() or not (root / "audio").is_dir():
        return None
    rows = list(_rows(table, ",", ("filename", "fold", "category")))
    _require(root / "audio", [row["filename"] for row in rows], table)
    parts: dict[str, list[Recording]] = {"train": [], "test": []}
    for row in rows:
        parts["test" if row["fold"] == "5" else "train"].append(Recording(root / "audio" / row["filename"], row))
    notes = ("the fifth of ESC-50's own folds is tested on: published figures are means over all five",)
    return Layout("ESC-50", root, parts, "category", tables=(table,), notes=notes)


def _spoken_digits(root: Path) -> Layout | None:
    folder = root / "recordings" if (root / "recordings").is_dir() else root
    files = sorted(folder.glob("*.wav"))
    named = [(path, _DIGIT.fullmatch(path.name)) for path in files]
    if not files or not all(match for _, match in named):
        return None
    parts: dict[str, list[Recording]] = {"train": [], "test": []}
    for path, match in named:
        assert match is not None
        parts["test" if int(match[3]) < 5 else "train"].append(Recording(path, {"digit": match[1], "speaker": match[2]}))
    return Layout("free spoken digit dataset", folder, parts, "digit") if parts["train"] else None


def _gtzan(root: Path) -> Layout | None:
    folder = next((root / name for name in ("genres_original", "genres") if (root / name).is_dir()), root)
    files = sorted(path for path in folder.glob("*/*.0*") if path.suffix.lower() in SOUNDS)
    if not files or not all(re.fullmatch(rf"{re.escape(p.parent.name)}\.\d{{5}}\.\w+", p.name) for p in files):
        return None
    whole, broken = [], []
    for path in files:
        try:
            info(path)
        except DataError:
            broken.append(path.name)
        else:
            whole.append(Recording(path, {"genre": path.parent.name}))
    notes = (f"left out, since they cannot be read: {', '.join(broken)}",) if broken else ()
    return Layout("GTZAN", folder, {"train": whole}, "genre", notes=notes)


def _librispeech(root: Path) -> Layout | None:
    subsets = [root] if _SUBSET.fullmatch(root.name) else sorted(p for p in root.iterdir() if _SUBSET.fullmatch(p.name))
    found: dict[str, list[Recording]] = {}
    tables: list[Path] = []
    for subset in subsets:
        part = "train" if len(subsets) == 1 else _PARTS[subset.name.partition("-")[0]]
        for table in sorted(subset.glob("*/*/*.trans.txt")):
            tables.append(table)
            found.setdefault(part, []).extend(_chapter(table))
    if "train" not in found:
        return None
    return Layout("LibriSpeech", root, found, "speaker", "text", tuple(tables))


def _chapter(table: Path) -> Iterator[Recording]:
    lines = [line.partition(" ") for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    _require(table.parent, [f"{name}.flac" for name, _, _ in lines], table)
    for name, _, text in lines:
        speaker, chapter, _ = name.split("-")
        yield Recording(table.parent / f"{name}.flac", {"text": text, "speaker": speaker, "chapter": chapter})


def _common_voice(root: Path) -> Layout | None:
    tables = {part: root / f"{name}.tsv" for name, part in _PARTS.items() if (root / f"{name}.tsv").is_file()}
    if "train" not in tables or not (root / "clips").is_dir():
        return None
    parts = {}
    for part, table in tables.items():
        rows = list(_rows(table, "\t", ("path", "sentence")))
        _require(root / "clips", [row["path"] for row in rows], table)
        parts[part] = [Recording(root / "clips" / row["path"], row) for row in rows]
    return Layout("Common Voice", root, parts, "gender", "sentence", tuple(tables.values()))


_LOOKS: tuple[Callable[[Path], Layout | None], ...] = (
    *(_speech_commands, _esc50, _common_voice, _librispeech, _spoken_digits, _gtzan),
)


def _rows(table: Path, delimiter: str, needed: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Rows by the names in the first line; Common Voice quotes nothing, ESC-50 has nothing to quote."""
    with open(table, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f"{table} has no column {missing[0]!r}", fix="get the file again")
        for number, row in enumerate(reader, 2):
            if None in row or None in row.values():
                raise DataError(f"{table}:{number} has another number of fields than the first line", fix="get the file again")
            yield row


def _require(folder: Path, names: Mapping[str, str] | list[str], where: Path) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{where} names {missing[0]}{more}, which {'is' if len(missing) == 1 else 'are'} not in {folder}",
            fix="unpack the dataset again, whole",
        )
