"""Where a tokenizer comes from: ``tokenizer.json``, a GGUF file, ``vocab.json`` with ``merges.txt``, ``vocab.txt``, or
SentencePiece's models (see ``sentencepiece``).

All become a tokenizer of the ``tokenizers`` package with the published rules; ``tokenizer_config.json``, ``added_tokens.json``
and ``special_tokens_map.json`` are read where they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import DataError, MissingFileError

if TYPE_CHECKING:
    from ...core.part import FilePart
    from ...hub.files import Files

_UNLIMITED = 1e6  # transformers writes 1e30 where no length is known
_ROLES = ("pad_token", "mask_token", "unk_token", "bos_token", "eos_token", "cls_token", "sep_token")


@dataclass(frozen=True)
class Settings:
    """What the files beside a tokenizer say.

    Attributes:
        max_length: tokens at most; None where nothing is said.
        special: role (``"pad_token"``) -> token.
        padding_side, truncation_side: where padding goes, and which end a long text loses.
        config: content of ``tokenizer_config.json``.
    """

    max_length: int | None = None
    special: Mapping[str, str] = field(default_factory=dict)
    padding_side: str = "right"
    truncation_side: str = "right"
    config: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_files(files: Files) -> Settings:
        """Read them.

        Raises:
            DataError: a file is no JSON, or a value is of another kind than it must be.
        """
        config = files.read_json("tokenizer_config.json") if "tokenizer_config.json" in files else {}
        extra = files.read_json("special_tokens_map.json") if "special_tokens_map.json" in files else {}
        special = {role: _content(v) for role in _ROLES if (v := config.get(role) or extra.get(role))}
        sides = {key: str(config.get(key) or "right") for key in ("padding_side", "truncation_side")}
        for key, side in sides.items():
            if side not in ("left", "right"):
                raise DataError(f"{files.origin}: {key} in tokenizer_config.json is {side!r}", fix="make it 'left' or 'right'")
        length = config.get("model_max_length")
        known = isinstance(length, int | float) and not isinstance(length, bool) and 2 <= length < _UNLIMITED
        return Settings(int(length) if known else None, special, **sides, config=config)  # type: ignore[arg-type]


def _content(token: Any) -> str:
    """A token is written as itself, or as an object that also says how it is found in texts."""
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token)


def read(files: Files) -> tuple[Any, Settings]:
    """The tokenizer of a model's files, and what they say of it.

    Raises:
        MissingFileError: there is no tokenizer among the files.
        DataError: a file is malformed.
    """
    if "tokenizer.json" not in files and any(name.endswith(".gguf") for name in files):
        from . import gguf

        return gguf.read(files)
    settings = Settings.from_files(files)
    for names, reader in _SOURCES.items():
        if all(name in files for name in names):
            backend = reader(files, settings)
            _add_tokens(backend, files, settings)
            return backend, settings
    raise MissingFileError(
        f"{files.origin} has no tokenizer.json and no vocab.txt",
        why="one of them, vocab.json with merges.txt, or a SentencePiece model is needed to turn text into tokens",
        fix="put one beside the weights",
    )


# ---- tokenizer.json -----------------------------------------------------------------------------------------------


def _from_json(files: Files, settings: Settings) -> Any:  # noqa: ARG001 - the sources' signature
    import tokenizers

    path = files["tokenizer.json"]
    text = path.read_bytes()
    try:
        return tokenizers.Tokenizer.from_buffer(text)
    except ValueError as error:
        raise DataError(f"{path} is not a tokenizer: {error}", fix="restore the file from where it came") from error


# ---- BERT's vocab.txt ---------------------------------------------------------------------------------------------


def _from_wordpiece(files: Files, settings: Settings) -> Any:
    """BERT's WordPiece tokenizer from its list of tokens, one a line."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    path, config = files["vocab.txt"], settings.config
    vocabulary = {token: i for i, token in enumerate(_lines(path))}
    usual = _MPNET if "[CLS]" not in vocabulary and "<s>" in vocabulary else _BERT
    unknown, first, last = (settings.special.get(f"{role}_token", token) for role, token in usual.items())
    missing = [t for t in (unknown, first, last) if t not in vocabulary]
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}", why="it is not the vocabulary of a BERT", fix="restore the file")
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    chinese, lower = bool(config.get("tokenize_chinese_chars", True)), bool(config.get("do_lower_case", True))
    backend.normalizer = normalizers.BertNormalizer(True, chinese, config.get("strip_accents"), lower)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(t, vocabulary[t]) for t in (first, last)]
    both = f"{first} $A {last} {last} $B {last}" if usual is _MPNET else f"{first} $A {last} $B:1 {last}:1"
    backend.post_processor = processors.TemplateProcessing(f"{first} $A {last}", both, ends)
    backend.decoder = decoders.WordPiece()
    special = dict.fromkeys((*settings.special.values(), "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))
    backend.add_special_tokens([token for token in special if token in vocabulary])
    return backend


_BERT = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}
_MPNET = {"unk": "[UNK]", "cls": "<s>", "sep": "</s>"}


def _lines(path: Path | FilePart) -> list[str]:
    """The lines of a text file; a line may hold any character but the line feed."""
    try:
        lines = [line.rstrip("\r") for line in path.read_text(encoding="utf-8").split("\n")]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 at byte {error.start}", fix="restore the file from where it came") from error
    return lines[:-1] if lines and not lines[-1] else lines


# ---- byte-level BPE: vocab.json and merges.txt --------------------------------------------------------------------

# How Qwen cuts a text before it is encoded (Qwen2 technical report, arXiv:2407.10671; as cl100k, but for single digits).
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _from_merges(files: Files, settings: Settings) -> Any:
    """GPT-2's byte-level BPE, with the special tokens of RoBERTa and BART where the vocabulary has them."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    path = files["vocab.json"]
    vocabulary = files.read_json("vocab.json", "turn text into tokens")
    if not all(isinstance(i, int) for i in vocabulary.values()):
        raise DataError(f"{path} holds no table of tokens and their numbers", fix="restore the file from where it came")
    if any(token.endswith("</w>") for token in vocabulary):
        raise DataError(f"{path} is no byte-level BPE: tokens end in </w>", fix="add tokenizer.json")
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, _merges(files["merges.txt"], vocabulary)))
    before = bool(settings.config.get("add_prefix_space", False))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=before)
    backend.decoder = decoders.ByteLevel()
    if settings.config.get("tokenizer_class", "").startswith("Qwen"):
        _as_qwen(backend)
    elif {"<s>", "</s>", "<mask>"} <= set(vocabulary):
        _as_roberta(backend, vocabulary, before)
    else:
        _as_gpt2(backend, vocabulary)
    return backend


def _as_qwen(backend: Any) -> None:
    from tokenizers import Regex, normalizers, pre_tokenizers, processors

    backend.normalizer = normalizers.NFC()
    cut = pre_tokenizers.Split(Regex(QWEN), behavior="isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([cut, level])
    backend.post_processor = processors.ByteLevel(trim_offsets=False)


def _as_roberta(backend: Any, vocabulary: Mapping[str, int], before: bool) -> None:
    from tokenizers import AddedToken, processors

    last, first = (("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]))
    backend.post_processor = processors.RobertaProcessing(last, first, trim_offsets=True, add_prefix_space=before)
    backend.add_special_tokens([t for t in ("<s>", "<pad>", "</s>", "<unk>") if t in vocabulary])
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])  # the space before it belongs to it


def _as_gpt2(backend: Any, vocabulary: Mapping[str, int]) -> None:
    from tokenizers import processors

    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    backend.add_special_tokens([t for t in ("<|endoftext|>",) if t in vocabulary])


def _merges(path: Path | FilePart, vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """Which two tokens become one, in the order in which they do."""
    found = []
    for number, line in enumerate(_lines(path), 1):
        if (number == 1 and line.startswith("#version")) or not line.strip():
            continue
        pair = line.split(" ")
        if len(pair) != 2:
            raise DataError(f"{path}:{number} is no pair of tokens: {line[:40]!r}", fix="restore the file from where it came")
        strange = next((token for token in (*pair, "".join(pair)) if token not in vocabulary), None)
        if strange is not None:
            why = f"vocab.json has no token {strange!r}"
            raise DataError(f"{path}:{number} does not fit the vocabulary", why=why, fix="get both files from one place")
        found.append((pair[0], pair[1]))
    return found


# ---- tokens that were added to a vocabulary -----------------------------------------------------------------------


def _add_tokens(backend: Any, files: Files, settings: Settings) -> None:
    """Tokens that the files beside say were added, with the numbers that they give.

    Raises:
        DataError: a token would get another number than the file gives it.
    """
    from tokenizers import AddedToken

    given = files.read_json("added_tokens.json") if "added_tokens.json" in files else {}
    wanted: dict[int, Any] = {int(i): AddedToken(t, normalized=False) for t, i in given.items()}
    decoder = settings.config.get("added_tokens_decoder") or {}
    try:
        wanted |= {int(i): AddedToken(**{k: v for k, v in t.items() if k in _ADDED}) for i, t in decoder.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{files.origin}: added_tokens_decoder is malformed: {error}", fix="restore the file") from error
    there = backend.get_added_tokens_decoder()
    missing = [token for i, token in sorted(wanted.items()) if i not in there or not _alike(there[i], token)]
    for special, tokens in groupby(
        missing, lambda token: bool(token.special)
    ):  # all at once: each call sorts the vocabulary anew
        (backend.add_special_tokens if special else backend.add_tokens)(list(tokens))
    for number, token in sorted(wanted.items()):
        if backend.token_to_id(token.content) != number:
            got = backend.token_to_id(token.content)
            raise DataError(
                f"{files.origin}: the added token {token.content!r} has the number {got}, its file says {number}",
                why="the vocabulary is not the one that it was added to",
                fix="get all files of the tokenizer from one place",
            )


def _from_sentencepiece(files: Files, settings: Settings) -> Any:
    from . import sentencepiece

    readers = {
        "source.spm": sentencepiece.from_marian,
        "spiece.model": sentencepiece.from_spiece,
        "sentencepiece.bpe.model": sentencepiece.from_xlm_roberta,
        "spm.model": sentencepiece.from_spm,
        "tokenizer.model": sentencepiece.from_llama,
    }
    return next(reader for name, reader in readers.items() if name in files)(files, settings.config)


_ADDED = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


def _alike(one: Any, other: Any) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _ADDED)


Reader = Callable[["Files", Settings], Any]
# The files that a source consists of -> its reader; the first that is there wins.
_SOURCES: dict[tuple[str, ...], Reader] = {
    ("tokenizer.json",): _from_json,
    ("vocab.json", "merges.txt"): _from_merges,
    ("vocab.txt",): _from_wordpiece,
    ("source.spm", "vocab.json"): _from_sentencepiece,
    ("spiece.model",): _from_sentencepiece,
    ("sentencepiece.bpe.model",): _from_sentencepiece,
    ("spm.model",): _from_sentencepiece,
    ("tokenizer.model",): _from_sentencepiece,
}
