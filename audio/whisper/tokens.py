"""Whisper's tokens: text, times, languages, and the marks that tell the decoder what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.errors import DataError, MissingFileError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from ...hub.files import Files

_ENGLISH = 51_864  # rows of the token tables of models for English alone
STEP = 0.02  # seconds between neighbouring time tokens
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")  # new files, old files
_MARKS = ("<|startoftranscript|>", "<|endoftext|>", "<|transcribe|>", "<|translate|>", "<|startofprev|>", "<|notimestamps|>")


@dataclass(frozen=True)
class Tokens:
    """The tokenizer of a Whisper, and its special tokens.

    Attributes:
        backend: a ``tokenizers.Tokenizer``.
        start, end, transcribe, translate, previous, untimed, no_speech: token numbers of the marks.
        languages: code, e.g. "en" -> token; empty for a model of English alone.
    """

    backend: Any
    start: int
    end: int
    transcribe: int
    translate: int
    previous: int
    untimed: int
    no_speech: int | None
    languages: dict[str, int]

    @staticmethod
    def from_files(files: Files, vocab_size: int) -> Tokens:
        """From a model's ``tokenizer.json``.

        Args:
            files: the model's.
            vocab_size: rows of its token table: those for English alone have one less than the first others.

        Raises:
            MissingFileError: it is not there.
            DataError: it is no tokenizer, or not of a Whisper.
        """
        if "tokenizer.json" not in files:
            raise MissingFileError(
                f"{files.origin} has no tokenizer.json", why="it turns tokens into text", fix="put it beside the weights"
            )
        import tokenizers

        path = files["tokenizer.json"]
        try:
            backend = tokenizers.Tokenizer.from_buffer(path.read_bytes())
        except ValueError as error:
            raise DataError(f"{path} is not a tokenizer: {error}", fix="restore the file from where it came") from error
        numbers: dict[str, Any] = {name: backend.token_to_id(name) for name in _MARKS}
        missing = [name for name, number in numbers.items() if number is None]
        if missing:
            raise DataError(f"{path} has no token {missing[0]}", why="it is not the tokenizer of a Whisper", fix="restore it")
        start, end, transcribe, translate, previous, untimed = numbers.values()
        silent = next((backend.token_to_id(n) for n in _NO_SPEECH if backend.token_to_id(n) is not None), None)
        inner = (backend.id_to_token(i) or "" for i in range(start + 1, min(transcribe, translate)))
        found = {m[1]: start + 1 + i for i, name in enumerate(inner) if (m := _LANGUAGE.fullmatch(name))}
        multilingual = vocab_size != _ENGLISH
        return Tokens(backend, start, end, transcribe, translate, previous, untimed, silent, found if multilingual else {})

    @property
    def first_time(self) -> int:
        """The token of 0 seconds; those behind it are times too."""
        return self.untimed + 1

    @property
    def marks(self) -> list[int]:
        """Special tokens that never are part of a text."""
        return [i for i in range(min(self.start, self.end), self.first_time) if i != self.end]

    def prompt(self, language: str | None, task: str, timed: bool) -> list[int]:
        """What the decoder is told before it writes.

        Raises:
            UnknownNameError: a language that the model does not know.
        """
        told = [self.start]
        if self.languages:
            told += [self.language(language or "en"), self.translate if task == "translate" else self.transcribe]
        elif language not in (None, "en") or task == "translate":
            what = f"the language {language!r}" if task != "translate" else "translation"
            raise UnknownNameError(f"{what}: this Whisper knows English alone", fix="choose one without .en in its name")
        return told if timed else [*told, self.untimed]

    def language(self, code: str) -> int:
        """The token of a language."""
        if code not in self.languages:
            raise UnknownNameError(
                f"this Whisper knows no language {code!r}",
                fix=did_you_mean(code, self.languages) or f"it knows {', '.join(self.languages)}",
            )
        return self.languages[code]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token numbers, without marks and times."""
        return str(self.backend.decode([int(i) for i in ids if i < min(self.end, self.start)]))

    def encode(self, text: str) -> list[int]:
        """The token numbers of a text, without marks."""
        return list(self.backend.encode(text, add_special_tokens=False).ids)
