"""Texts that carry no class: words with tags, questions, pairs that belong together, corpora. Other files are left to other
readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import DataError
from ...language.schema import Data
from ...proof import hashing
from ..datasets import Part, Raw

_COLUMNS = (".conll", ".iob", ".bio")


def read(recipe: Data) -> Raw | None:
    """The dataset of a file of tagged texts or of pairs, with its test and validation file; None for any other file.

    Raises:
        DataError: a line that cannot be read, a tag that the training part does not have, or files of different kinds.
    """
    kind = kind_of(Path(recipe.name).expanduser())
    if kind is None:
        return None
    named = {"train": recipe.name, "validation": recipe.validation, "test": recipe.test}
    texts: dict[str, Sequence[Any]] = {}
    hashes = {}
    for part, name in named.items():
        if name is None:
            continue
        path = Path(name).expanduser()
        if kind_of(path) != kind:
            raise DataError(f"{path} does not hold {_WORDS[kind]}, as {recipe.name} does", fix="give files of one kind")
        texts[part], hashes[part] = _READ[kind](path), _hash(path)
    return of_tags(texts, hashes, recipe.name) if kind == "tags" else _raw(kind, [], texts, hashes)


def kind_of(path: Path) -> str | None:
    """What a file holds: ``"tags"``, ``"questions"``, ``"pairs"``, ``"seq2seq"``, ``"corpus"``, or None for all else."""
    from ....text.datasets import is_squad, kind_of_row

    name = path.name.removesuffix(".gz")
    if name.endswith(".txt") and path.is_file():
        return "corpus"
    if path.is_dir() and any(path.glob("*.txt")) and not any(p.is_dir() for p in path.iterdir()):
        return "corpus"
    if path.is_file() and name.endswith(".json"):
        return "questions" if is_squad(path) else None
    if not path.is_file() or not name.endswith((".jsonl", *_COLUMNS)):
        return None
    if name.endswith(_COLUMNS):
        return "tags"
    found = kind_of_row(path)
    return found if found in _READ else None


def of_tags(parts: dict[str, Sequence[Any]], hashes: dict[str, str], where: str) -> Raw:
    """Parts of tagged texts. The tags are those of the training part, ``O`` first."""
    found = {tag for text in parts["train"] for tag in text.tags}
    known = sorted(found, key=lambda tag: (tag != "O", tag.partition("-")[2], tag))
    if len(known) < 2:
        raise DataError(f"{where} has {len(known)} tag", why="there is nothing to tell apart", fix="add texts with other tags")
    for part, texts in parts.items():
        for i, text in enumerate(texts):
            strange = next((tag for tag in text.tags if tag not in found), None)
            if strange is not None:
                raise DataError(
                    f"text {i} of the {part} part has the tag {strange!r}",
                    why=f"the training part has {', '.join(known)}",
                    fix="correct it, or add such texts to the training part",
                )
    return _raw("tags", known, parts, hashes)


def of_pairs(parts: dict[str, Sequence[Any]], hashes: dict[str, str]) -> Raw:
    """Parts of pairs, which have no classes."""
    return _raw("pairs", [], parts, hashes)


def of_questions(parts: dict[str, Sequence[Any]], hashes: dict[str, str]) -> Raw:
    """Parts of questions about texts."""
    return _raw("questions", [], parts, hashes)


def of_rewrites(parts: dict[str, Sequence[Any]], hashes: dict[str, str]) -> Raw:
    """Parts of texts and what is to be written of them."""
    return _raw("seq2seq", [], parts, hashes)


def of_texts(parts: dict[str, Sequence[Any]], hashes: dict[str, str]) -> Raw:
    """Parts of a corpus."""
    return _raw("corpus", [], parts, hashes)


def _raw(kind: str, labels: list[str], parts: dict[str, Sequence[Any]], hashes: dict[str, str]) -> Raw:
    made = {name: Part(texts, np.zeros(len(texts), np.int64)) for name, texts in parts.items()}
    return Raw(kind, labels, made["train"], made.get("test"), hashes, validation=made.get("validation"))


def _tagged(path: Path) -> Sequence[Any]:
    from ....text.datasets import read_tagged

    return read_tagged(path)


def _pairs(path: Path) -> Sequence[Any]:
    from ....text.datasets import read_pairs

    return read_pairs(path)


def _questions(path: Path) -> Sequence[Any]:
    from ....text.datasets import read_questions

    return read_questions(path)


def _rewrites(path: Path) -> Sequence[Any]:
    from ....text.datasets import read_rewrites

    return read_rewrites(path)


def _corpus(path: Path) -> Sequence[Any]:
    """A folder's text files, by name, or the paragraphs of one file."""
    from ....text.datasets import Corpus, numbered_lines

    found: Sequence[Any]
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if len(files) == 1:
        found = Corpus(files[0], "paragraph")
    else:
        texts = ("".join(line for _, line in numbered_lines(file)).strip() for file in files)
        found = [text for text in texts if text]
    if not found:
        raise DataError(f"{path} holds no text", fix="give text files, with an empty line between texts")
    return found


def _hash(path: Path) -> str:
    return hashing.of_files((p.name, p) for p in sorted(path.glob("*.txt"))) if path.is_dir() else hashing.of_file(path)


_READ = {"tags": _tagged, "questions": _questions, "pairs": _pairs, "seq2seq": _rewrites, "corpus": _corpus}
_WORDS = {
    "tags": "tagged texts",
    "questions": "questions",
    "pairs": "pairs of texts",
    "seq2seq": "texts and what is to be written of them",
    "corpus": "a corpus",
}
