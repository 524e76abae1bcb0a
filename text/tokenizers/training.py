"""A tokenizer of one's own texts: byte-level BPE (Sennrich et al., arXiv:1508.07909), for models that start from nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...core.errors import ArgumentError, DataError
from .tokenizer import Tokenizer

_BYTES = 256
_ROLES = {"pad_token_id": "<pad>", "bos_token_id": "<s>", "eos_token_id": "</s>", "decoder_start_token_id": "<s>"}


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, numbers: Mapping[str, Any], *, sentinels: int = 0, max_length: int = 512
) -> Tokenizer:
    """A byte-level BPE tokenizer whose merges are the most frequent ones in ``texts``; the same texts give the same one.

    A token that ends stands behind each text, and one that begins before it where the model has one.

    Args:
        texts: to count in.
        vocab_size: tokens at most: special ones, bytes, merges and sentinels.
        numbers: the special tokens' numbers as a model's configuration has them, ``pad_token_id``, ``eos_token_id``, ...
        sentinels: how many ``<extra_id_K>`` stand at the end of the vocabulary, the first one last, as T5 has them.
        max_length: tokens at most, special ones included.

    Raises:
        ArgumentError: too few tokens, or special ones that do not stand at the beginning of the vocabulary.
        DataError: no text.

    Example:
        >>> made = train_tokenizer(["low lower lowest"] * 4, 266, {"pad_token_id": 0, "eos_token_id": 1})
        >>> made.decode(made.ids("lowest")), made.ids("")
        ('lowest', [1])
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    special = _special(numbers)
    least = len(special) + _BYTES + sentinels
    if vocab_size < least:
        raise ArgumentError(
            f"a tokenizer of {vocab_size} tokens",
            why=f"{len(special)} special tokens, {_BYTES} bytes and {sentinels} sentinels are {least}",
            fix="allow more tokens, or fewer sentinels",
        )
    backend = tokenizers.Tokenizer(models.BPE(unk_token=None))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    counted = _counted(texts)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - sentinels,
        show_progress=False,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    backend.train_from_iterator(counted, trainer)
    if sentinels:
        backend.add_special_tokens([f"<extra_id_{i}>" for i in range(sentinels - 1, -1, -1)])
    first = "<s> " if numbers.get("bos_token_id") is not None else ""
    single = f"{first}$A </s>"
    ends = [(token, backend.token_to_id(token)) for token in dict.fromkeys((first.strip() or "</s>", "</s>"))]
    backend.post_processor = processors.TemplateProcessing(single, f"{single} $B </s>", ends)
    return Tokenizer(backend, max_length, "<pad>")


def _special(numbers: Mapping[str, Any]) -> list[str]:
    """The special tokens in the order of their numbers, which must be the first ones; a gap is filled by the unknown."""
    wanted: dict[int, str] = {}
    for role, name in _ROLES.items():
        number = numbers.get(role)
        if isinstance(number, int) and number not in wanted:
            wanted[number] = name
    if "</s>" not in wanted.values() or len(set(wanted.values())) < len(wanted) or max(wanted) > len(wanted) + 1:
        told = ", ".join(f"{role}={numbers.get(role)}" for role in _ROLES)
        raise ArgumentError(
            f"special tokens that do not stand at the beginning: {told}",
            why="a new tokenizer has them there",
            fix="set them with model.sizes, e.g. model.sizes.pad_token_id=3",
        )
    gaps = iter(("<unk>", "<mask>"))
    return [wanted.get(i) or next(gaps) for i in range(max(wanted) + 1)]


def _counted(texts: Iterable[str]) -> list[str]:
    found = [text for text in texts if text.strip()]
    if not found:
        raise DataError("no text to make a tokenizer of", fix="give a training part with texts")
    return found
