"""The tokenizers of CLIP and SigLIP: ``tokenizer.json``, or CLIP's ``vocab.json`` with ``merges.txt``."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError
from ..hub.captions import Captions, described

if TYPE_CHECKING:
    from ..hub.files import Files

# How CLIP cuts a text before it is encoded (Radford et al., arXiv:2103.00020; OpenAI's simple_tokenizer).
_CUT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_FIRST, _LAST = "<|startoftext|>", "<|endoftext|>"
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def captions_of(files: Files, max_length: int, whole_length: bool = False) -> Captions:
    """The tokenizer of a model's files.

    Args:
        files: with ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``.
        max_length: positions of the model's tower for texts.
        whole_length: see :class:`.Captions`.

    Raises:
        MissingFileError: neither is there.
        DataError: a file is malformed, or has no token to fill up with.
    """
    plain = _without_punctuation if str(described(files).get("tokenizer_class", "")).startswith("SiglipTokenizer") else str
    from_parts = "tokenizer.json" not in files and "vocab.json" in files and "merges.txt" in files
    backend = _from_merges(files) if from_parts else None
    return Captions.from_files(files, max_length, pad_token=_LAST, backend=backend, whole_length=whole_length, clean=plain)


def _without_punctuation(text: str) -> str:
    """In small letters and without punctuation, as SigLIP's captions were in training.

    Example:
        >>> _without_punctuation(" A photo  of a Cat. ")
        'a photo of a cat'
    """
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


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
