"""The alphabet of a CTC model: text to numbers and back (Graves et al., 2006), from transformers' ``vocab.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...core.errors import DataError, IndexRangeError, MissingFileError

if TYPE_CHECKING:
    from ...hub.files import Files

_MARKS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


@dataclass(frozen=True)
class Letters:
    """Letters by their numbers.

    Attributes:
        names: of each number, e.g. "A"; "" for numbers that have none.
        blank: the number that stands for no letter.
        space: what stands between words, e.g. "|".
        marks: names that are no text: "<pad>", "<s>", ...
        unknown: what a letter that is not there becomes; None where that is an error.
        lower: whether the alphabet is of small letters, which texts are brought to.

    Example:
        >>> english = Letters(("<pad>", "|", "A", "C", "T"), 0, "|", frozenset({"<pad>"}))
        >>> english.encode("a cat")
        [2, 1, 3, 2, 4]
        >>> english.decode([3, 2, 4, 1, 2])
        'CAT A'
    """

    names: tuple[str, ...]
    blank: int = 0
    space: str = "|"
    marks: frozenset[str] = frozenset()
    unknown: int | None = None
    lower: bool = False
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {name: i for i, name in enumerate(self.names) if name})

    @staticmethod
    def from_files(files: Files, blank: int, count: int | None = None) -> Letters:
        """From a model's ``vocab.json``, and ``tokenizer_config.json`` where there is one.

        Args:
            files: the model's.
            blank: the number of the blank, ``pad_token_id`` in its ``config.json``.
            count: letters the head knows: ``vocab_size``.

        Raises:
            MissingFileError: there is no ``vocab.json``.
            DataError: it is no alphabet, or one of another size.
        """
        if "vocab.json" not in files:
            raise MissingFileError(
                f"{files.origin} has no vocab.json", why="it turns numbers into letters", fix="put it beside the weights"
            )
        settings = files.read_json("tokenizer_config.json") if "tokenizer_config.json" in files else {}
        numbers: Any = files.read_json("vocab.json")
        fix = "restore the file from where it came"
        if numbers and all(isinstance(v, dict) for v in numbers.values()):  # one alphabet a language
            language = settings.get("target_lang") or ("eng" if "eng" in numbers else next(iter(numbers)))
            if language not in numbers:
                raise DataError(
                    f"vocab.json: no alphabet of the language {language!r}", why=f"it has {', '.join(numbers)}", fix=fix
                )
            numbers = numbers[language]
        if "added_tokens.json" in files:
            numbers = {**numbers, **files.read_json("added_tokens.json")}
        bad = next((k for k, v in numbers.items() if not isinstance(v, int) or isinstance(v, bool) or v < 0), None)
        if not numbers or bad is not None:
            raise DataError(
                f"{files.origin}: vocab.json is no alphabet", why=f"{bad!r} has no number" if bad else "it is empty", fix=fix
            )
        most = max(numbers.values())
        if count is not None and most >= count:
            name = next(k for k, v in numbers.items() if v == most)
            raise DataError(f"vocab.json: {name!r} has the number {most}", why=f"the head knows {count}", fix=fix)
        return Letters.of(numbers, blank, settings)

    @staticmethod
    def of(numbers: Mapping[str, int], blank: int, settings: Mapping[str, Any] | None = None) -> Letters:
        """From names with their numbers, and what transformers' ``tokenizer_config.json`` says."""
        told = settings or {}
        names = [""] * (max(max(numbers.values()), blank) + 1)
        for name, number in numbers.items():
            names[number] = name
        marks = {_name(told.get(key)) or usual for key, usual in _MARKS.items()}
        unknown = _name(told.get("unk_token")) or _MARKS["unk_token"]
        space = _name(told.get("word_delimiter_token")) or ("|" if "|" in numbers else " ")
        marks = (marks | {names[blank]}) - {space}
        lower = bool(told.get("do_lower_case", False)) or _is_small(numbers, marks)
        return Letters(tuple(names), blank, space, frozenset(marks), numbers.get(unknown), lower)

    def __len__(self) -> int:
        return len(self.names)

    def normalized(self, text: str) -> str:
        """A text in the alphabet's case, its words with one space between."""
        plain = " ".join(text.split())
        return plain.lower() if self.lower else plain.upper() if self._large else plain

    @property
    def _large(self) -> bool:
        """Whether the alphabet is of large letters alone."""
        names = [n for n in self.names if n not in self.marks and len(n) == 1]
        return any(n.isupper() for n in names) and not any(n.islower() for n in names)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text, brought to the alphabet's case.

        Raises:
            DataError: a letter that the alphabet lacks, where it has none that stands for the unknown.

        Example:
            >>> Letters(("-", " ", "a"), 0, " ", lower=True).encode(" A  a ")
            [2, 1, 2]
        """
        found = []
        for letter in self.normalized(text):
            number = self._numbers.get(self.space if letter == " " else letter, self.unknown)
            if number is None:
                known = "".join(n for n in self.names if n not in self.marks)
                raise DataError(
                    f"{letter!r} in {text[:60]!r} is no letter of this model",
                    why=f"it knows {known}",
                    fix="leave it out, or spell it",
                )
            found.append(number)
        return found

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of numbers; repeats and blanks are no business of this: see :func:`~nyala.audio.ctc.paths.greedy`.

        Raises:
            IndexRangeError: a number that is none of the alphabet's.
        """
        parts = []
        for number in numbers:
            if not 0 <= number < len(self.names):
                raise IndexRangeError(f"number {number} of {len(self.names)} letters", fix="use the model's own vocab.json")
            name = self.names[number]
            if name not in self.marks:
                parts.append(" " if name == self.space else name)
        return " ".join("".join(parts).split())

    def is_space(self, number: int) -> bool:
        """Whether it stands between words."""
        return self.names[number] == self.space

    def is_mark(self, number: int) -> bool:
        """Whether it is no text."""
        return self.names[number] in self.marks

    def files(self) -> dict[str, dict[str, Any]]:
        """``vocab.json`` and ``tokenizer_config.json``, from which :meth:`of` makes the same, and which transformers reads."""
        unknown = None if self.unknown is None else self.names[self.unknown]
        settings = {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "pad_token": self.names[self.blank],
            "unk_token": unknown or _MARKS["unk_token"],
            "word_delimiter_token": self.space,
            "do_lower_case": self.lower,
        }
        return {"vocab.json": dict(self._numbers), "tokenizer_config.json": settings}


def _name(token: Any) -> str | None:
    """A token, which may be written with its settings."""
    return str(token["content"]) if isinstance(token, dict) and "content" in token else token if isinstance(token, str) else None


def _is_small(numbers: Mapping[str, int], marks: set[str]) -> bool:
    names = [n for n in numbers if n not in marks and len(n) == 1]
    return any(n.islower() for n in names) and not any(n.isupper() for n in names)
