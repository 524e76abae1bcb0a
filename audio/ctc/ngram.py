"""Language models of words: n-grams with back-off from ARPA files (Katz, 1987), and lists of words that may be said."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import DataError, MissingFileError

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
_TEN = math.log(10)
_NEVER = -99.0  # log10 of what stands for probability 0
State = tuple[str, ...]


@dataclass(frozen=True)
class NGram:
    """How likely a word is after others.

    Attributes:
        order: words of the longest n-grams.
        scores: n-gram -> log10 of its probability, and of its back-off weight.

    Example:
        >>> model = NGram(2, {("a",): (-1.0, -0.5), ("b",): (-2.0, 0.0), ("a", "b"): (-0.25, 0.0)})
        >>> score, state = model.score(("a",), "b")
        >>> round(score / math.log(10), 3), state
        (-0.25, ('b',))
        >>> round(model.score(("b",), "b")[0] / math.log(10), 3)  # never seen: the back-off of b, then b alone
        -2.0
    """

    order: int
    scores: Mapping[State, tuple[float, float]]
    _case: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = [key[0] for key in self.scores if len(key) == 1 and not key[0].startswith("<")]
        small, large = (any(getattr(w, kind)() for w in words) for kind in ("islower", "isupper"))
        object.__setattr__(self, "_case", 0 if small == large else 1 if small else 2)

    @staticmethod
    def read(path: str | Path) -> NGram:
        """Read an ARPA file, also one packed with gzip (``.gz``).

        Raises:
            MissingFileError: no such file.
            DataError: it is no ARPA file, is cut off, or a line of it makes no sense; with the line's number.
        """
        source = Path(path).expanduser()
        if not source.is_file():
            raise MissingFileError(f"there is no file {source}", why="it should hold an n-gram model", fix="correct the path")
        try:
            return _parsed(source)
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise DataError(f"{source} cannot be read: {error}", fix="get it again from where it came") from error

    def start(self) -> State:
        """The state before a text's first word."""
        return (START,) if (START,) in self.scores else ()

    def cased(self, word: str) -> str:
        """A word as the model writes it."""
        return word.lower() if self._case == 1 else word.upper() if self._case == 2 else word

    def knows(self, word: str) -> bool:
        """Whether a word is in the vocabulary."""
        return (self.cased(word),) in self.scores

    def score(self, state: State, word: str) -> tuple[float, State]:
        """The natural logarithm of a word's probability after others, and the state behind it.

        Args:
            state: the words before, as :meth:`start` or this gave them.
            word: the next; one that is not known counts as ``<unk>``, and as improbable as can be where that is not there.
        """
        cased = word if word in (START, END) else self.cased(word)
        if (cased,) not in self.scores:
            cased = UNKNOWN
            if (UNKNOWN,) not in self.scores:
                return _NEVER * _TEN, ()
        before, weight = state[-(self.order - 1) :] if self.order > 1 else (), 0.0
        while True:
            found = self.scores.get((*before, cased))
            if found is not None:
                after = (*before, cased)
                return (found[0] + weight) * _TEN, after[-(self.order - 1) :] if self.order > 1 else ()
            weight += self.scores.get(before, (0.0, 0.0))[1]
            before = before[1:]

    def end(self, state: State) -> float:
        """The natural logarithm of the probability that nothing follows; 0 where the model does not tell."""
        return self.score(state, END)[0] if (END,) in self.scores else 0.0


def _parsed(path: Path) -> NGram:
    counts: dict[int, int] = {}
    found: dict[State, tuple[float, float]] = {}
    seen: dict[int, int] = {}
    order = 0
    ended = False
    fix = "write it with a tool for n-gram models, as kenlm or SRILM"
    for number, line in _lines(path):
        if line.startswith("ngram ") and not order:
            left, _, right = line[6:].partition("=")
            counts[int(_number(left, path, number))] = int(_number(right, path, number))
        elif line.endswith("-grams:") and line.startswith("\\"):
            order = int(_number(line[1:-7], path, number))
        elif line == "\\end\\":
            ended = True
            break
        elif order:
            score, *rest = line.split("\t") if "\t" in line else line.split()
            words = tuple(rest[0].split()) if "\t" in line and rest else tuple(rest[:order])
            more = rest[1:] if "\t" in line else rest[order:]
            if len(words) != order or len(more) > 1:
                raise DataError(f"{path}:{number}: {line[:60]!r} is no {order}-gram", fix=fix)
            found[words] = _number(score, path, number), _number(more[0], path, number) if more else 0.0
            seen[order] = seen.get(order, 0) + 1
        elif line != "\\data\\":
            raise DataError(f"{path}:{number}: {line[:60]!r} stands where an ARPA file says \\data\\", fix=fix)
    if not ended or not found:
        raise DataError(f"{path} is cut off or no ARPA file", why="it ends without \\end\\", fix=fix)
    wrong = next((n for n, told in counts.items() if seen.get(n, 0) != told), None)
    if wrong is not None:
        raise DataError(f"{path} holds {seen.get(wrong, 0)} {wrong}-grams, and says {counts[wrong]}", fix=fix)
    return NGram(max(seen), found)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    packed = path.suffix == ".gz"
    with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if plain := line.strip():
                yield number, plain


def _number(text: str, path: Path, line: int) -> float:
    try:
        found = float(text)
    except ValueError:
        raise DataError(f"{path}:{line}: {text[:30]!r} is no number", fix="get the file again from where it came") from None
    return found


class Vocabulary:
    """The words that may be said, letter by letter.

    Args:
        words: in the case of the alphabet; see :meth:`~nyala.audio.ctc.letters.Letters.normalized`.

    Raises:
        DataError: no word.

    Example:
        >>> said = Vocabulary(["YES", "YET"])
        >>> [said.allows(part) for part in ("", "Y", "YE", "YN")], said.holds("YE"), said.holds("YET")
        ([True, True, True, False], False, True)
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = frozenset(word for word in words if word)
        if not self.words:
            raise DataError("a list without words", fix="pass one word at least")
        self.beginnings = frozenset(word[:i] for word in self.words for i in range(len(word) + 1))

    @staticmethod
    def lines(path: str | Path) -> list[str]:
        """The words of a text file, one a line or several.

        Raises:
            MissingFileError: no such file.
            DataError: it is no text in UTF-8.
        """
        source = Path(path).expanduser()
        if not source.is_file():
            raise MissingFileError(f"there is no file {source}", why="it should hold a list of words", fix="correct the path")
        try:
            return source.read_text(encoding="utf-8").split()
        except UnicodeDecodeError as error:
            raise DataError(f"{source} is no text in UTF-8", why=str(error), fix="save it as UTF-8") from error

    def allows(self, part: str) -> bool:
        """Whether a word begins so."""
        return part in self.beginnings

    def holds(self, word: str) -> bool:
        """Whether it is a word."""
        return word in self.words
