"""From text to the numbers a model takes, by the tokenizer that was published with the weights.

Stands on the ``tokenizers`` package; ``tokenizer_files`` says which files are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ...core.errors import ArgumentError, DataError, kind_of
from ...core.progress import notice
from ...core.tensor import Tensor
from . import files as tokenizer_files

if TYPE_CHECKING:
    from ...hub.files import Files

TooLong = Literal["notice", "cut", "raise"]
Side = Literal["left", "right"]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_TOO_LONG = ("notice", "cut", "raise")


class Row(NamedTuple):
    """The tokens of a text, or of a pair.

    Attributes:
        ids: their numbers in the vocabulary.
        type_ids: which segment each belongs to.
    """

    ids: list[int]
    type_ids: list[int]


class Words(NamedTuple):
    """The tokens of a text that came in words.

    Attributes:
        ids, type_ids: of each token.
        pieces: the word each token is a piece of, -1 for special tokens.
    """

    ids: list[int]
    type_ids: list[int]
    pieces: list[int]


class Window(NamedTuple):
    """A stretch of a text that the model can read at once, special tokens around it.

    Attributes:
        ids, type_ids: of each token.
        offsets: for each token of the text (first, behind the last) character it stands for; None for all other tokens.
    """

    ids: list[int]
    type_ids: list[int]
    offsets: list[tuple[int, int] | None]


class Tokenizer:
    """Texts -> token ids, padded to one length.

    Args:
        backend: a ``tokenizers.Tokenizer``.
        max_length: tokens at most, special ones included.
        pad_token: what fills up shorter texts; where the vocabulary has no such token, the number 0.
        too_long: what happens to a text of more tokens: its end is cut off, with a "notice" or without ("cut"); or "raise".
        padding_side, truncation_side: which end is filled up, and which is cut off.
        mask_token: what stands for a token that is to be guessed; None where there is none.
        inputs: the names that the model takes, of ``input_ids``, ``attention_mask`` and ``token_type_ids``.

    Attributes:
        vocab_size: how many tokens there are, added ones included.
        pad_id, mask_id: numbers of these tokens; ``mask_id`` is None where there is none.

    Raises:
        ArgumentError: an argument out of its range.
    """

    def __init__(
        self,
        backend: Any,
        max_length: int = 512,
        pad_token: str = "[PAD]",
        *,
        too_long: TooLong = "notice",
        padding_side: Side = "right",
        truncation_side: Side = "right",
        mask_token: str | None = None,
        inputs: Sequence[str] = INPUTS,
    ) -> None:
        if max_length < 2:
            raise ArgumentError(f"max_length={max_length}", why="the special tokens alone need more", fix="use at least 2")
        self.backend, self.max_length, self.pad_token = backend, max_length, pad_token
        self.padding_side, self.truncation_side, self.inputs = padding_side, truncation_side, tuple(inputs)
        self.too_long = _one_of("too_long", too_long, _TOO_LONG)
        self.backend.no_padding()  # files may say how to pad and truncate; here it is said by the caller
        self.backend.no_truncation()
        found = self.backend.token_to_id(pad_token)
        self.pad_id = 0 if found is None else int(found)
        self.mask_token = mask_token if mask_token and self.backend.token_to_id(mask_token) is not None else None
        self.mask_id = None if self.mask_token is None else int(self.backend.token_to_id(self.mask_token))
        self.vocab_size = int(self.backend.get_vocab_size())

    @staticmethod
    def from_files(files: Files, max_length: int | None = None) -> Tokenizer:
        """The tokenizer of a model's files.

        Args:
            files: with ``tokenizer.json``, a GGUF file, ``vocab.json`` and ``merges.txt``, or ``vocab.txt``;
                ``tokenizer_config.json`` is read where it is there.
            max_length: replaces the published one.

        Raises:
            MissingFileError: neither is there.
            DataError: a file is malformed.
        """
        backend, settings = tokenizer_files.read(files)

        def known(role: str, *usual: str) -> str | None:
            names = (settings.special.get(role), *usual)
            return next((t for t in names if t is not None and backend.token_to_id(t) is not None), None)

        return Tokenizer(
            backend,
            max_length or settings.max_length or 512,
            known("pad_token", "[PAD]", "<pad>", settings.special.get("eos_token") or "<|endoftext|>") or "[PAD]",
            padding_side=settings.padding_side,  # type: ignore[arg-type]
            truncation_side=settings.truncation_side,  # type: ignore[arg-type]
            mask_token=known("mask_token", "[MASK]", "<mask>"),
        )

    def replace(self, **changes: Any) -> Tokenizer:
        """The same tokenizer with another ``max_length``, ``too_long``, ``padding_side``, ``truncation_side``, ``inputs``, ...

        Raises:
            ArgumentError: no such setting, or a value out of its range.
        """
        settings = ("max_length", "too_long", "padding_side", "truncation_side", "inputs", "pad_token", "mask_token")
        for name in changes:
            _one_of("setting", name, settings)
        return Tokenizer(self.backend, **{**{name: getattr(self, name) for name in settings}, **changes})

    # ---- texts -> rows

    def ids(self, text: str, max_length: int | None = None) -> list[int]:
        """The token ids of one text, special tokens included, cut to ``max_length``."""
        return self.encode([text], max_length)[0].ids

    def __call__(
        self,
        texts: str | Sequence[str],
        max_length: int | None = None,
        *,
        pairs: str | Sequence[str] | None = None,
        padding: Literal["longest", "max_length"] = "longest",
        pad_to_multiple_of: int = 1,
        too_long: TooLong | None = None,
    ) -> dict[str, Tensor]:
        """One text or several -> ``input_ids``, ``attention_mask``, ``token_type_ids``, each (N, T) int64.

        The mask is 1 for tokens and 0 for padding.

        Args:
            texts: what to encode.
            max_length: tokens at most, where it is fewer than the tokenizer's own.
            pairs: a second text for each; of a pair that is too long the longer text loses its end.
            padding: T is the length of the longest text, or ``max_length``.
            pad_to_multiple_of: T is rounded up to a multiple of this.
            too_long: replaces the tokenizer's own.

        Raises:
            DataError: no text, something that is not one, unequal counts, or a text that is too long, where that is an error.
        """
        rows = self.encode([texts] if isinstance(texts, str) else list(texts), max_length, _listed(pairs), too_long)
        length = self._limit(max_length) if padding == "max_length" else 0
        return self.pad(rows, length, pad_to_multiple_of)

    def pad(self, rows: Sequence[Sequence[Any]], length: int = 0, multiple: int = 1) -> dict[str, Tensor]:
        """(ids, type ids, ...) of several texts as one batch of equal length.

        Args:
            rows: what :meth:`encode` and its kind give.
            length: at least so many places.
            multiple: the number of places is rounded up to a multiple of this.
        """
        counts = np.array([len(row[0]) for row in rows])
        length = -(-max(length, int(counts.max())) // multiple) * multiple
        places = np.arange(length)
        real = places < counts[:, None] if self.padding_side == "right" else places >= length - counts[:, None]
        batch = {"input_ids": np.full(real.shape, self.pad_id, np.int64), "attention_mask": real.astype(np.int64)}
        batch["input_ids"][real] = [i for row in rows for i in row[0]]
        if "token_type_ids" in self.inputs:
            batch["token_type_ids"] = np.zeros(real.shape, np.int64)
            if any(1 in row[1] for row in rows):
                batch["token_type_ids"][real] = [i for row in rows for i in row[1]]
        return {name: Tensor(batch[name]) for name in batch if name in self.inputs}

    def encode(
        self,
        texts: Sequence[Any],
        max_length: int | None = None,
        pairs: Sequence[Any] | None = None,
        too_long: TooLong | None = None,
    ) -> list[Row]:
        """The ids and the segment numbers of each text, cut to ``max_length`` tokens, not padded; arguments as of a call.

        Raises:
            DataError: as of a call.
        """
        given = self._checked(texts) if pairs is None else self._pairs(texts, pairs)
        limit = self._limit(max_length)
        found = self._encode_batch(given)
        if any(len(e) > limit for e in found):
            self._judge([len(e) for e in found], limit, too_long)
        return [Row(e.ids, e.type_ids) if len(e) <= limit else self._cut(e, limit) for e in found]

    def _encode_batch(self, given: Sequence[Any]) -> list[Any]:
        return list(self.backend.encode_batch_fast(given))

    def _limit(self, max_length: int | None) -> int:
        limit = min(max_length or self.max_length, self.max_length)
        special = self.backend.num_special_tokens_to_add(False)
        if limit < special:
            raise ArgumentError(
                f"max_length={limit}", why=f"the special tokens alone are {special}", fix=f"use at least {special}"
            )
        return limit

    def _judge(self, counts: Sequence[int], limit: int, too_long: TooLong | None) -> None:
        """A text is too long: that is an error, is said, or is not."""
        choice = _one_of("too_long", too_long or self.too_long, _TOO_LONG)
        long = [i for i, count in enumerate(counts) if count > limit]
        if choice == "raise":
            raise DataError(
                f"input {long[0]} has {counts[long[0]]:,} tokens, the limit is {limit:,}",
                why="what is behind them would not be read" + (f"; {len(long)} inputs are so long" if len(long) > 1 else ""),
                fix='cut it into shorter ones, or allow its end to be cut off: too_long="cut"',
            )
        if choice == "notice":
            which = "the text is" if len(counts) == 1 else f"{len(long):,} of {len(counts):,} texts are"
            part = "first" if self.truncation_side == "right" else "last"
            notice(
                f"{which} longer than {limit:,} tokens (up to {max(counts):,}): the model reads the {part} {limit:,} of them",
                "too long",
            )

    def _cut(self, encoding: Any, limit: int) -> Row:
        """The tokens that fit, with the special tokens around them; of a pair the longer text is cut first."""
        owner = encoding.sequence_ids
        places: tuple[list[int], list[int]] = ([], [])
        for i, sequence in enumerate(owner):
            if sequence is not None:
                places[sequence].append(i)
        special = len(owner) - len(places[0]) - len(places[1])
        keep = {i for i, sequence in enumerate(owner) if sequence is None}
        for one, count in zip(places, _shares(len(places[0]), len(places[1]), limit - special), strict=True):
            keep.update(one[:count] if self.truncation_side == "right" else one[len(one) - count :])
        return Row(
            [t for i, t in enumerate(encoding.ids) if i in keep], [t for i, t in enumerate(encoding.type_ids) if i in keep]
        )

    # ---- texts -> windows

    def windows(self, text: str, stride: int = 0, *, before: str | None = None, max_length: int | None = None) -> list[Window]:
        """A text of any length as stretches of at most ``max_length`` tokens.

        Args:
            text: what is cut.
            stride: tokens that a window has in common with the one before it.
            before: a first text that stands whole in every window, e.g. a question; ``text`` is then the second of the pair.
            max_length: tokens of a window at most, special ones included.

        Raises:
            DataError: not a text, or a ``before`` that leaves no room.
            ArgumentError: a stride that leaves no room for anything new.
        """
        (checked,) = self._checked([text])
        limit = self._limit(max_length)
        first = None if before is None else self.backend.encode(self._checked([before])[0], add_special_tokens=False)
        room = limit - self.backend.num_special_tokens_to_add(first is not None) - (0 if first is None else len(first))
        if first is not None and room < 1:
            raise DataError(
                f"the first text has {len(first):,} tokens, which leaves no room for the second in {limit:,}", fix="shorten it"
            )
        if not 0 <= stride < room:
            raise ArgumentError(f"stride={stride}", why=f"a window has room for {room} tokens", fix=f"use 0 to {room - 1}")
        found = self.backend.encode(checked, add_special_tokens=False)
        found.truncate(room, stride=stride)
        return [self._window(first, part) for part in (found, *found.overflowing)]

    def _window(self, first: Any, part: Any) -> Window:
        whole = self.backend.post_process(part) if first is None else self.backend.post_process(first, part)
        number = 0 if first is None else 1
        told = iter(part.offsets)  # those of the whole have gone through the rules twice
        offsets = [next(told) if sequence == number else None for sequence in whole.sequence_ids]
        return Window(whole.ids, whole.type_ids, offsets)

    def encode_words(self, texts: Sequence[Sequence[str]], max_length: int | None = None) -> list[Words]:
        """Texts that are cut into words already: ids, segments, and which word each token is a piece of (-1 for none).

        Raises:
            DataError: no text, or something that is not a sequence of strings.
        """
        for i, words in enumerate(texts):
            if isinstance(words, str) or not all(isinstance(w, str) for w in words):
                raise DataError(f"input {i} is {kind_of(words)}, not a list of words", fix="pass a list of strings")
        if not texts:
            raise DataError("no text to work on", fix="pass at least one")
        limit = self._limit(max_length)
        rows = []
        for encoding in self.backend.encode_batch([list(map(_clean, words)) for words in texts], is_pretokenized=True):
            owner, word = encoding.sequence_ids, encoding.word_ids
            special = sum(o is None for o in owner)
            inner = [i for i, o in enumerate(owner) if o is not None][: limit - special]
            keep = sorted({*inner, *(i for i, o in enumerate(owner) if o is None)})
            pieces = [-1 if owner[i] is None or word[i] is None else int(word[i]) for i in keep]
            rows.append(Words([encoding.ids[i] for i in keep], [encoding.type_ids[i] for i in keep], pieces))
        return rows

    # ---- checks

    def _checked(self, texts: Sequence[Any]) -> list[str]:
        if not texts:
            raise DataError("no text to work on", fix="pass at least one")
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                fix = "decode it first, e.g. data.decode('utf-8')" if isinstance(text, bytes) else "pass strings"
                raise DataError(f"input {i} is {kind_of(text)}, not a text", fix=fix)
        return list(map(_clean, texts))

    def _pairs(self, texts: Sequence[Any], pairs: Sequence[Any]) -> list[tuple[str, str]]:
        if len(texts) != len(pairs):
            raise DataError(f"{len(texts)} first and {len(pairs)} second texts", fix="give each text its partner")
        return list(zip(self._checked(texts), self._checked(pairs), strict=True))

    # ---- back

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of token ids, without special tokens."""
        return str(self.backend.decode([int(i) for i in ids], skip_special_tokens=skip_special_tokens))

    def token(self, number: int) -> str:
        """A token as the vocabulary writes it; empty for a number that is none's."""
        return str(self.backend.id_to_token(int(number)) or "")

    def save(self, path: str | Path) -> None:
        """Write ``tokenizer.json``."""
        from ...core.atomic import atomic_write

        atomic_write(path, self.backend.to_str(pretty=False))


def _shares(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts fit into ``room``: the longer one is cut down to the other, then both alike.

    Example:
        >>> _shares(10, 4, 8), _shares(10, 9, 7), _shares(2, 3, 9)
        ((4, 4), (4, 3), (2, 3))
    """
    if first + second <= room:
        return first, second
    short = min(first, second)  # as the tokenizers package shares it out
    long = max(short, room - short)
    if short + long > room:
        short, long = room // 2, room // 2 + room % 2
    return (long, short) if first > second else (short, long)


def _listed(pairs: str | Sequence[str] | None) -> Sequence[str] | None:
    return [pairs] if isinstance(pairs, str) else pairs


def _one_of(what: str, value: Any, known: Sequence[str]) -> Any:
    if value not in known:
        from ...core.errors import did_you_mean

        raise ArgumentError(f"{what}={value!r}", fix=did_you_mean(str(value), known) or f"use one of {', '.join(known)}")
    return value


def _clean(text: str) -> str:
    """Without lone surrogates, which are no characters: each becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
