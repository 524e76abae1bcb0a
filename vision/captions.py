"""From captions to token ids, for models that compare pictures with texts: the tokenizer that was published with the weights.

Stands on the ``tokenizers`` package. Read are ``tokenizer.json``, and CLIP's ``vocab.json`` with ``merges.txt``.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import DataError, MissingFileError, kind_of
from ..core.progress import notice
from ..core.tensor import Tensor

if TYPE_CHECKING:
    from ..hub.files import Files

# How CLIP cuts a text before it is encoded (Radford et al., arXiv:2103.00020; OpenAI's simple_tokenizer).
_CUT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_FIRST, _LAST = "<|startoftext|>", "<|endoftext|>"
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


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
    def from_files(files: Files, max_length: int, whole_length: bool = False) -> Captions:
        """The tokenizer of a model's files.

        Args:
            files: with ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``; ``tokenizer_config.json`` and
                ``special_tokens_map.json`` are read where they are there.
            max_length: positions of the model's tower for texts.
            whole_length: see :class:`Captions`.

        Raises:
            MissingFileError: neither is there.
            DataError: a file is malformed, or has no token to fill up with.
        """
        said = [files.read_json(n) for n in ("special_tokens_map.json", "tokenizer_config.json") if n in files]
        settings: dict[str, Any] = {k: v for part in said for k, v in part.items() if v is not None}
        backend = _backend(files)
        backend.no_padding()  # files may say how to pad and truncate; here the model says it
        backend.no_truncation()
        pad = settings.get("pad_token", _LAST)
        pad = pad.get("content") if isinstance(pad, Mapping) else pad
        number = backend.token_to_id(pad) if isinstance(pad, str) else None
        if number is None:
            raise DataError(
                f"{files.origin}: the vocabulary has no token {pad!r} for padding", fix="restore the tokenizer's files"
            )
        longest = settings.get("model_max_length")
        limit = min(max_length, longest) if isinstance(longest, int) and longest > 1 else max_length
        plain = _without_punctuation if str(settings.get("tokenizer_class", "")).startswith("SiglipTokenizer") else str
        return Captions(backend, limit, int(number), whole_length, plain)

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


def _without_punctuation(text: str) -> str:
    """In small letters and without punctuation, as SigLIP's captions were in training.

    Example:
        >>> _without_punctuation(" A photo  of a Cat. ")
        'a photo of a cat'
    """
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def _backend(files: Files) -> Any:
    import tokenizers

    if "tokenizer.json" in files:
        path = files["tokenizer.json"]
        try:
            return tokenizers.Tokenizer.from_buffer(path.read_bytes())
        except ValueError as error:
            raise DataError(f"{path} is not a tokenizer: {error}", fix="restore the file from where it came") from error
    if "vocab.json" in files and "merges.txt" in files:
        return _from_merges(files)
    raise MissingFileError(
        f"{files.origin} has no tokenizer.json",
        why="it is needed to turn texts into tokens; vocab.json with merges.txt would do too",
        fix="put it beside the weights, or call pipeline.model on prepared tensors",
    )


def _from_merges(files: Files) -> Any:
    """CLIP's BPE over bytes, whose tokens that end a word say so, on texts in small letters."""
    import tokenizers
    from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

    vocabulary, path = files.read_json("vocab.json", "turn texts into tokens"), files["merges.txt"]
    if not {_FIRST, _LAST} <= vocabulary.keys():
        raise DataError(f"{files['vocab.json']} has no {_FIRST} and {_LAST}", why="it is not CLIP's", fix="add tokenizer.json")
    model = models.BPE(
        vocabulary, _merges(path, vocabulary), continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=_LAST
    )
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    cut = pre_tokenizers.Split(Regex(_CUT), behavior="removed", invert=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()
    first, last = ((token, vocabulary[token]) for token in (_FIRST, _LAST))
    backend.post_processor = processors.RobertaProcessing(last, first, trim_offsets=False, add_prefix_space=False)
    backend.add_special_tokens([_FIRST, _LAST])
    return backend


def _merges(path: Any, vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """Which two tokens become one, in the order in which they do."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.strip().split(" ")
        if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys():
            why = f"{line[:40]!r} is no pair of its tokens"
            raise DataError(f"{path}:{number} does not fit the vocabulary", why=why, fix="get both files from one place")
        found.append((pair[0], pair[1]))
    return found
