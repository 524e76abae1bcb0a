"""Sounds with transcripts: files of rows with a column of sounds and one of texts, alone or in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....audio.datasets.utterances import Utterance
from ....core.errors import DataError
from ...language.schema import Columns, Data
from ...proof import hashing
from ..datasets import Part, Raw
from .columns import LABEL, SOUND, TEXT, fold, held
from .manifests import named_file
from .tables import Table, complain, ending, read_table

TRANSCRIPT = ("transcript", "transcription", "normalized_text", "raw_text", "sentence", "text", "utterance", "words")
LANGUAGE = ("language", "locale", "lang")


def read(recipe: Data) -> Raw | None:
    """The dataset of a file of rows with sounds and transcripts, or of a folder that holds one; None for any other data.

    Raises:
        DataError: every row without a transcript, every sound that is not there, or parts of different kinds.
    """
    named = {"train": recipe.name, "validation": recipe.validation, "test": recipe.test}
    paths = {part: Path(name).expanduser() for part, name in named.items() if name is not None}
    parts = (
        {"train": [paths["train"]]}
        | ({} if not paths["train"].is_dir() else _in_folder(paths["train"]))
        | {part: [path] for part, path in paths.items() if part != "train"}
    )
    if not _is_table(parts["train"][0]):
        return None
    table = read_table(parts["train"][0], recipe.delimiter, recipe.encoding)
    if not is_speech(table, recipe.columns):
        return None
    found: dict[str, list[Utterance]] = {}
    hashes = {}
    for part, pieces in parts.items():
        tables = [table if path == table.path else _speech_of(path, recipe) for path in pieces]
        each = [_utterances(rows, recipe.columns) for rows in tables]
        found[part] = [one for piece in each for one in piece]
        digests = [_digest(rows, piece) for rows, piece in zip(tables, each, strict=True)]
        hashes[part] = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return of_utterances(found, hashes)


def of_utterances(parts: Mapping[str, Sequence[Utterance]], hashes: dict[str, str]) -> Raw:
    """Parts of sounds with transcripts, which have no classes."""
    made = {name: Part(sounds, np.zeros(len(sounds), np.int64)) for name, sounds in parts.items()}
    return Raw("speech", [], made["train"], made.get("test"), hashes, validation=made.get("validation"))


def is_speech(table: Table, wanted: Columns) -> bool:
    """Whether a table holds sounds with what is said in them, rather than with a class.

    Example:
        >>> row = ["a.wav", "good morning"]
        >>> is_speech(Table(Path("m.csv"), ["audio", "text"], [row], ["m.csv:2"], {}), Columns())
        True
        >>> is_speech(Table(Path("m.csv"), ["audio", "label"], [row], ["m.csv:2"], {}), Columns())
        False
    """
    if wanted.image is not None or wanted.label is not None:
        return False
    if not wanted.text and any(fold(c) in LABEL for c in table.columns):
        return False
    return bool(_sound(table, wanted) and _transcript(table, wanted))


def _sound(table: Table, wanted: Columns) -> str:
    if wanted.audio is not None:
        return wanted.audio if wanted.audio in table.columns else ""
    named = {fold(c): c for c in reversed(table.columns)}
    return next((named[name] for name in SOUND if name in named and held(table, named[name]) == "sound"), "")


def _transcript(table: Table, wanted: Columns) -> str:
    if wanted.text:
        return wanted.text[0] if len(wanted.text) == 1 and wanted.text[0] in table.columns else ""
    named = {fold(c): c for c in reversed(table.columns)}
    return next((named[name] for name in (*TRANSCRIPT, *TEXT) if name in named), "")


def _utterances(table: Table, wanted: Columns) -> list[Utterance]:
    """The rows as sounds with transcripts.

    Raises:
        DataError: all rows with mistakes.
    """
    sound, text = _sound(table, wanted), _transcript(table, wanted)
    language = next((c for c in table.columns if fold(c) in LANGUAGE), None)
    sounds = [_found(value, table.path.parent) for value in table.column(sound)]
    texts = table.column(text)
    languages = table.column(language) if language else [None] * len(texts)
    mistakes = []
    for place, path, said in zip(table.places, sounds, texts, strict=True):
        if path is None:
            mistakes.append(f"{place}: no sound in {sound!r}")
        elif isinstance(path, Path) and not path.is_file():
            mistakes.append(f"{place}: there is no file {path}")
        if not isinstance(said, str | int | float) or isinstance(said, bool) or not str(said).strip():
            mistakes.append(f"{place}: no transcript in {text!r}")
    complain(table.path, mistakes, "correct or remove these rows; a sound's path counts from the file's folder")
    return [
        Utterance(path, " ".join(str(said).split()), _code(spoken))
        for path, said, spoken in zip(sounds, texts, languages, strict=True)
    ]


def _code(language: Any) -> str | None:
    """``de`` of ``de``, ``de-AT`` and ``de_DE``."""
    return str(language).replace("_", "-").partition("-")[0].lower() or None if isinstance(language, str) else None


def _found(value: Any, root: Path) -> Any:
    """The path of a sound; Common Voice's lie in ``clips`` beside its tables."""
    path = named_file(value, root)
    if isinstance(path, Path) and not path.is_file() and (root / "clips" / path.name).is_file():
        return root / "clips" / path.name
    return path


def _is_table(path: Path) -> bool:
    return path.is_file() and bool(ending(path))


def _in_folder(folder: Path) -> dict[str, list[Path]]:
    """The files of rows of a folder by part: ``train.csv`` and its like, perhaps in pieces, or a list by a customary name."""
    from .folders import MANIFESTS, SPLITS, in_pieces, is_called

    tables = [path for path in sorted(folder.iterdir()) if _is_table(path)]
    parts = {part: [p for p in tables if is_called(p, names)] for part, names in SPLITS.items()}
    split = {part: found for part, found in parts.items() if len(found) == 1 or in_pieces(found)}
    folders = {path.name.lower() for path in folder.iterdir() if path.is_dir()}
    if folders & {name for names in SPLITS.values() for name in names}:
        return {}
    if "train" in split:
        return split
    lists = [p for p in tables if p.name.split(".")[0].lower() in MANIFESTS]
    return {"train": lists} if len(lists) == 1 else {}


def _speech_of(path: Path, recipe: Data) -> Table:
    table = read_table(path, recipe.delimiter, recipe.encoding) if _is_table(path) else None
    if table is None or not is_speech(table, recipe.columns):
        raise DataError(
            f"{path} holds no sounds with transcripts, as {recipe.name} does", fix="give a file of rows with the same columns"
        )
    return table


def _digest(table: Table, sounds: Sequence[Utterance]) -> str:
    """Of the file, and of each sound under its path."""
    root, paths = table.path.parent, {u.sound for u in sounds if isinstance(u.sound, Path)}
    named = [(p.relative_to(root).as_posix() if p.is_relative_to(root) else p.as_posix(), p) for p in paths]
    return hashing.of_files([*named, (f"manifest {table.path.name}", table.path)])
