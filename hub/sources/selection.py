"""Which files of a repository a loader needs, where no card says so."""

from __future__ import annotations

import re
from collections.abc import Collection

from ...core.errors import ArgumentError, CheckpointError, MissingFileError
from ..cards import check_relative
from ..files import WEIGHTS

_HELPERS = re.compile(
    r"(config|adapter_config|generation_config|preprocessor_config|processor_config|tokenizer|tokenizer_config|special_tokens_map"
    r"|added_tokens|vocab|modules|sentence_bert_config|config_sentence_transformers)\.json"
    r"|\d+_[A-Za-z]+/config\.json|\d+_Dense/(model\.safetensors|pytorch_model\.bin)|vocab\.txt|merges\.txt|(tokenizer|spiece|sentencepiece\.bpe|spm)\.model|(source|target)\.spm"
)
ADAPTER = {"adapter_config.json", "adapter_model.safetensors"}  # the weights of an adapter are those of its base
_SHARD = re.compile(r"[A-Za-z0-9][\w.-]*-\d{5}-of-\d{5}\.(safetensors|bin)")


def helper_files(names: Collection[str]) -> list[str]:
    """The configuration, tokenizer and preprocessing files among ``names``.

    Example:
        >>> helper_files(["README.md", "config.json", "onnx/model.onnx", "1_Pooling/config.json"])
        ['1_Pooling/config.json', 'config.json']
    """
    return sorted(name for name in names if _HELPERS.fullmatch(name) and is_safe(name))


def weight_file(names: Collection[str], origin: str) -> str:
    """The weights, or the index of their shards, that a loader would take from ``names``.

    Raises:
        MissingFileError: there are none that nyala reads.
    """
    for name in WEIGHTS:
        if name in names:
            return name
    if set(names) >= ADAPTER:
        return "adapter_model.safetensors"
    there = ", ".join(sorted(names)[:12]) or "nothing"
    raise MissingFileError(
        f"{origin} has no weights that nyala reads", why=f"it holds {there}", fix=f"choose a repository with {WEIGHTS[0]}"
    )


def shard_names(weight_map: object, index: str) -> list[str]:
    """The shards an index names, sorted.

    Raises:
        CheckpointError: the map is malformed, or a name is not a shard's (it could lead out of the folder).
    """
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map", fix="fetch the index again from where it came")
    for name in weight_map.values():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise CheckpointError(f"{index} names {name!r}", why="that is not a shard's name", fix="do not use this repository")
    return sorted(set(weight_map.values()))


def is_safe(name: str) -> bool:
    """Whether a repository's file name stays inside its folder."""
    try:
        check_relative(name)
    except ArgumentError:
        return False
    return True
