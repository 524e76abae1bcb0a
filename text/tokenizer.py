"""From text to the numbers a model takes, by the tokenizer that was published with the weights.

Stands on the ``tokenizers`` package: ``tokenizer.json``, or BERT's ``vocab.txt`` with ``tokenizer_config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core.errors import ArgumentError, DataError, MissingFileError, kind_of
from ..core.tensor import Tensor

if TYPE_CHECKING:
    from ..core.part import FilePart
    from ..hub.files import Files


class Tokenizer:
    """Texts -> token ids, padded to one length.

    Args:
        backend: a ``tokenizers.Tokenizer``.
        max_length: tokens at most, special ones included; longer texts lose their end.
        pad_token: what fills up shorter texts.

    Attributes:
        vocab_size: how many tokens there are, added ones included.
    """

    def __init__(self, backend: Any, max_length: int = 512, pad_token: str = "[PAD]") -> None:
        if max_length < 2:
            raise ArgumentError(f"max_length={max_length}", why="the special tokens alone need more", fix="use at least 2")
        self.backend, self.max_length, self.pad_token = backend, max_length, pad_token
        self.backend.no_padding()  # files may say how to pad and truncate; here it is said by the caller
        self.backend.no_truncation()
        found = self.backend.token_to_id(pad_token)
        self.pad_id = 0 if found is None else int(found)
        self.vocab_size = int(self.backend.get_vocab_size())

    @staticmethod
    def from_files(files: Files, max_length: int | None = None) -> Tokenizer:
        """The tokenizer of a model's files.

        Args:
            files: with ``tokenizer.json``, or ``vocab.txt``; ``tokenizer_config.json`` is read where it is there.
            max_length: replaces the published one.

        Raises:
            MissingFileError: neither file is there.
            DataError: a file is malformed.
        """
        config = files.read_json("tokenizer_config.json") if "tokenizer_config.json" in files else {}
        if "tokenizer.json" in files:
            backend = _from_json(files["tokenizer.json"])
        elif any(name.endswith(".gguf") for name in files):
            return _from_gguf(files, max_length)
        elif "vocab.txt" in files:
            backend = _from_vocabulary(files["vocab.txt"], config)
        else:
            raise MissingFileError(
                f"{files.origin} has no tokenizer.json and no vocab.txt",
                why="one of them is needed to turn text into tokens",
                fix="put one beside the weights",
            )
        published = config.get("model_max_length")
        length = max_length or (int(published) if isinstance(published, (int, float)) and published < 1e6 else 512)
        pad = config.get("pad_token", "[PAD]")
        return Tokenizer(backend, length, pad if isinstance(pad, str) else str(pad.get("content", "[PAD]")))

    def ids(self, text: str, max_length: int | None = None) -> list[int]:
        """The token ids of one text, special tokens included, cut to ``max_length``."""
        return self.encode([text], max_length)[0][0]

    def __call__(self, texts: str | Sequence[str], max_length: int | None = None) -> dict[str, Tensor]:
        """One text or several -> ``input_ids``, ``attention_mask``, ``token_type_ids``, each (N, T) int64.

        T is the longest text's length. The mask is 1 for tokens and 0 for padding.

        Raises:
            DataError: no text, or something that is not one.
        """
        rows = self.encode([texts] if isinstance(texts, str) else list(texts), max_length)
        return self.pad(rows)

    def pad(self, rows: Sequence[tuple[list[int], list[int]]]) -> dict[str, Tensor]:
        """(ids, type ids) of several texts as one batch of equal length."""
        length = max(len(ids) for ids, _ in rows)
        shape = (len(rows), length)
        ids, mask, types = np.full(shape, self.pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for i, (row, kinds) in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)], types[i, : len(row)] = row, 1, kinds
        return {"input_ids": Tensor(ids), "attention_mask": Tensor(mask), "token_type_ids": Tensor(types)}

    def encode(self, texts: Sequence[Any], max_length: int | None = None) -> list[tuple[list[int], list[int]]]:
        """The ids and the segment numbers of each text, cut to ``max_length`` tokens, not padded.

        Raises:
            DataError: no text, or something that is not one.
        """
        if not texts:
            raise DataError("no text to work on", fix="pass at least one")
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"input {i} is {kind_of(text)}, not a text", fix="pass strings")
        limit = min(max_length or self.max_length, self.max_length)
        special = self.backend.num_special_tokens_to_add(False)
        rows = []
        for encoding in self.backend.encode_batch(list(map(_clean, texts))):
            if len(encoding.ids) > limit:
                encoding = self._truncated(encoding, limit, special)
            rows.append((list(encoding.ids), list(encoding.type_ids)))
        return rows

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
        limit = min(max_length or self.max_length, self.max_length)
        special = self.backend.num_special_tokens_to_add(False)
        rows = []
        for encoding in self.backend.encode_batch([list(map(_clean, words)) for words in texts], is_pretokenized=True):
            mask, count = encoding.special_tokens_mask, len(encoding.ids)
            inner = [i for i in range(count) if not mask[i]][: limit - special]
            keep = sorted({i for i in range(count) if mask[i]}.union(inner)) if count > limit else range(count)
            pieces = [-1 if mask[i] or encoding.word_ids[i] is None else int(encoding.word_ids[i]) for i in keep]
            rows.append(Words([encoding.ids[i] for i in keep], [encoding.type_ids[i] for i in keep], pieces))
        return rows

    def _truncated(self, encoding: Any, limit: int, special: int) -> Any:
        """The first tokens that fit, with the special tokens around them again."""
        mask = encoding.special_tokens_mask
        inner = [i for i, s in enumerate(mask) if not s][: limit - special]
        outer = {i for i, s in enumerate(mask) if s}
        keep = sorted(outer.union(inner))
        return _Row([encoding.ids[i] for i in keep], [encoding.type_ids[i] for i in keep])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        return str(self.backend.decode([int(i) for i in ids]))

    def save(self, path: str | Path) -> None:
        """Write ``tokenizer.json``."""
        from ..core.atomic import atomic_write

        atomic_write(path, self.backend.to_str(pretty=False))


class Words(NamedTuple):
    """The tokens of a text that came in words.

    Attributes:
        ids, type_ids: of each token.
        pieces: the word each token is a piece of, -1 for special tokens.
    """

    ids: list[int]
    type_ids: list[int]
    pieces: list[int]


def _clean(text: str) -> str:
    """Without lone surrogates, which are no characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


class _Row:
    def __init__(self, ids: list[int], type_ids: list[int]) -> None:
        self.ids, self.type_ids = ids, type_ids


def _from_gguf(files: Files, max_length: int | None) -> Tokenizer:
    """The byte-level BPE tokenizer in a GGUF file; other kinds have no tokenizer.json's rules in them.

    Raises:
        DataError: a tokenizer of another kind.
    """
    import tokenizers
    from tokenizers import AddedToken, decoders, models, pre_tokenizers

    from ..core.checkpoint import read_gguf

    path = files[files.weights()]
    metadata = read_gguf(path).metadata
    kind, before = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "gpt-2")
    cut: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if kind != "gpt2" or before not in ("gpt-2", "smollm"):
        raise DataError(
            f"{path} has a tokenizer of kind {kind!r}, {before!r}", why="nyala reads 'gpt2' ones", fix="add tokenizer.json"
        )
    if before == "smollm":
        cut.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ", 1)) for pair in metadata["tokenizer.ggml.merges"]]
    backend = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Sequence(cut), decoders.ByteLevel()
    special = [t for t, k in zip(tokens, metadata["tokenizer.ggml.token_type"], strict=True) if k in _SPECIAL]
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    length = next((int(v) for k, v in metadata.items() if k.endswith(".context_length")), 512)
    pad = metadata.get("tokenizer.ggml.padding_token_id", 0)
    return Tokenizer(backend, max_length or length, tokens[pad])


_SPECIAL = (3, 4)  # tokens that are no text: control tokens, and those that users added


def _from_json(path: Path | FilePart) -> Any:
    import tokenizers

    text = path.read_bytes()
    try:
        return tokenizers.Tokenizer.from_buffer(text)
    except ValueError as error:
        raise DataError(f"{path} is not a tokenizer: {error}", fix="restore the file from where it came") from error


def _from_vocabulary(path: Path | FilePart, config: Mapping[str, Any]) -> Any:
    """BERT's WordPiece tokenizer from its list of tokens, one a line."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    try:
        tokens = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 at byte {error.start}", fix="restore the file from where it came") from error
    vocabulary = {token: i for i, token in enumerate(tokens)}
    missing = [t for t in ("[UNK]", "[CLS]", "[SEP]") if t not in vocabulary]
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}", why="it is not the vocabulary of a BERT", fix="restore the file")
    lower = bool(config.get("do_lower_case", True))
    accents = config.get("strip_accents")
    chinese = bool(config.get("tokenize_chinese_chars", True))
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(True, chinese, accents, lower)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(t, vocabulary[t]) for t in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens([t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in vocabulary])
    return backend
