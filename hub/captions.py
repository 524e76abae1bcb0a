"""From captions to token ids, for models that compare texts with pictures or sounds: the tokenizer published with the weights.

Stands on the ``tokenizers`` package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import DataError, MissingFileError, kind_of
from ..core.progress import notice
from ..core.tensor import Tensor

if TYPE_CHECKING:
    from .files import Files


@dataclass(frozen=True)
class Captions:
    """Texts -> ``input_ids`` and ``attention_mask``, (M, T) int64.

    Attributes:
        backend: a ``tokenizers.Tokenizer``.
        max_length: tokens at most, special ones included; a longer text loses its end, with a notice.
        pad_id: what fills up shorter texts.
        whole_length: each text is filled up to ``max_length``, and there is no mask: the model reads the padding too.
        clean: what is done to a text first.
    """

    backend: Any
    max_length: int
    pad_id: int
    whole_length: bool = False
    clean: Callable[[str], str] = str

    @staticmethod
    def from_files(
        files: Files,
        max_length: int,
        *,
        pad_token: str,
        backend: Any = None,
        whole_length: bool = False,
        clean: Callable[[str], str] = str,
    ) -> Captions:
        """The tokenizer of a model's files.

        Args:
            files: with ``tokenizer.json``, unless a ``backend`` is given; ``tokenizer_config.json`` and
                ``special_tokens_map.json`` are read where they are there.
            max_length: positions of the model's tower for texts.
            pad_token: what fills up texts where the files do not say it.
            backend: a ``tokenizers.Tokenizer`` made of other files.
            whole_length, clean: see :class:`Captions`.

        Raises:
            MissingFileError: there is no tokenizer.
            DataError: a file is malformed, or has no token to fill up with.
        """
        said = described(files)
        found = tokenizer_json(files) if backend is None else backend
        found.no_padding()  # files may say how to pad and truncate; here the model says it
        found.no_truncation()
        pad = said.get("pad_token", pad_token)
        pad = pad.get("content") if isinstance(pad, Mapping) else pad
        number = found.token_to_id(pad) if isinstance(pad, str) else None
        if number is None:
            raise DataError(
                f"{files.origin}: the vocabulary has no token {pad!r} for padding", fix="restore the tokenizer's files"
            )
        longest = said.get("model_max_length")
        limit = min(max_length, longest) if isinstance(longest, int) and longest > 1 else max_length
        return Captions(found, limit, int(number), whole_length, clean)

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Texts -> what the tower for texts takes.

        Raises:
            DataError: no text, or something that is not one.
        """
        if not texts:
            raise DataError("no text to work on", fix="pass at least one")
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"text {i} is {kind_of(text)}, not a text", fix="pass strings")
        cleaned = [self.clean(text.encode("utf-8", "replace").decode("utf-8")) for text in texts]
        rows = self.backend.encode_batch(cleaned)
        long = [i for i, row in enumerate(rows) if len(row) > self.max_length]
        if long:
            which = f"text {long[0]} has {len(rows[long[0]])} tokens" + (f", {len(long)} are so long" if len(long) > 1 else "")
            notice(f"{which}: the model reads the first {self.max_length} of them", "too long")
        return self._padded([self._cut(row) for row in rows])

    def _cut(self, row: Any) -> list[int]:
        """The tokens that fit, with the special tokens around them."""
        inner = [i for i, sequence in enumerate(row.sequence_ids) if sequence is not None]
        dropped = set(inner[len(inner) - max(0, len(row) - self.max_length) :]) if len(row) > self.max_length else set()
        return [token for i, token in enumerate(row.ids) if i not in dropped]

    def _padded(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        length = self.max_length if self.whole_length else max(1, *map(len, rows))
        ids = np.full((len(rows), length), self.pad_id, np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        if self.whole_length:
            return {"input_ids": Tensor(ids)}
        counts = np.array([len(row) for row in rows])
        return {"input_ids": Tensor(ids), "attention_mask": Tensor((np.arange(length) < counts[:, None]).astype(np.int64))}


def described(files: Files) -> dict[str, Any]:
    """What the files beside a tokenizer say of it."""
    said = [files.read_json(n) for n in ("special_tokens_map.json", "tokenizer_config.json") if n in files]
    return {k: v for part in said for k, v in part.items() if v is not None}


def tokenizer_json(files: Files) -> Any:
    """The ``tokenizers.Tokenizer`` of a ``tokenizer.json``.

    Raises:
        MissingFileError: there is none.
        DataError: it is no tokenizer.
    """
    import tokenizers

    if "tokenizer.json" not in files:
        raise MissingFileError(
            f"{files.origin} has no tokenizer.json",
            why="it is needed to turn texts into tokens",
            fix="put it beside the weights, or call pipeline.model on prepared tensors",
        )
    path = files["tokenizer.json"]
    try:
        return tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is not a tokenizer: {error}", fix="restore the file from where it came") from error
