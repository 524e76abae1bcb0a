"""Tokenizers in GGUF files: byte-level BPE with its merges ("gpt2"), SentencePiece's pieces with their scores ("llama", "t5")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.errors import DataError
from .files import QWEN, Settings
from .sentencepiece import BPE, BYTE, UNIGRAM, UNKNOWN, Model, around, from_pieces

if TYPE_CHECKING:
    from ...hub.files import Files

# How a text is cut before it is encoded, by llama.cpp's names; None for GPT-2's own way.
_CUTS: dict[str, str | None] = {
    "gpt-2": None,
    "smollm": None,
    "olmo": None,  # GPT-NeoX's, which Pythia has
    "qwen2": QWEN,
    "llama-bpe": QWEN.replace(r"\p{N}| ?", r"\p{N}{1,3}| ?"),
}
_PIECES = {"llama": BPE, "t5": UNIGRAM}
_SPECIAL = (3, 4)  # tokens that are no text: control tokens, and those that users added
_ROLES = {"pad": "padding", "bos": "bos", "eos": "eos", "unk": "unknown", "mask": "mask"}


def read(files: Files) -> tuple[Any, Settings]:
    """The tokenizer in a GGUF file, and what the file says of it.

    Raises:
        DataError: a tokenizer of another kind, or one whose parts do not fit each other.
    """
    from ...core.checkpoint import read_gguf

    path = files[files.weights()]
    metadata = read_gguf(path).metadata
    kind, before = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "gpt-2")
    if kind not in _PIECES and (kind != "gpt2" or before not in _CUTS):
        cuts = ", ".join(_CUTS)
        raise DataError(
            f"{path} has a tokenizer of kind {kind!r}, {before!r}",
            why=f"nyala reads {', '.join(map(repr, _PIECES))}, and 'gpt2' ones that cut texts as {cuts}",
            fix="add tokenizer.json",
        )
    columns = ("tokens", "token_type", "scores" if kind in _PIECES else "merges")
    tokens, types, third = (_list(metadata, name, path) for name in columns)
    if len(types) != len(tokens) or (kind in _PIECES and len(third) != len(tokens)):
        raise DataError(f"{path} does not say of each token what it is", fix="get the file again")
    length = next((int(v) for k, v in metadata.items() if k.endswith(".context_length")), None)
    numbers = {f"{r}_token": metadata.get(f"tokenizer.ggml.{key}_token_id") for r, key in _ROLES.items()}
    roles = {role: tokens[i] for role, i in numbers.items() if isinstance(i, int) and 0 <= i < len(tokens)}
    if kind in _PIECES:
        backend = _of_pieces(path, metadata, list(zip(tokens, third, types, strict=True)), roles, _PIECES[kind])
        return backend, Settings(length, {"pad_token": roles.get("unk_token", tokens[0]), **roles})
    backend = _of_merges(before, tokens, third, types)
    if "bos_token" in roles and metadata.get("tokenizer.ggml.add_bos_token", before == "llama-bpe"):
        around(backend, f"{roles['bos_token']} $A", f"{roles['bos_token']} $A $B:1")
    return backend, Settings(length, {"pad_token": tokens[0], **roles})


def _list(metadata: Mapping[str, Any], name: str, path: Any) -> Any:
    found = metadata.get(f"tokenizer.ggml.{name}")
    if found is None or not len(found):
        raise DataError(f"{path} has a tokenizer without {name}", fix="get the file again, or add tokenizer.json")
    return found


def _of_merges(before: str, tokens: Any, merges: Any, types: Any) -> Any:
    """Byte-level BPE, cut as llama.cpp calls it."""
    import tokenizers
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

    pairs = [tuple(pair.split(" ", 1)) for pair in merges]
    whole = before == "llama-bpe"  # a piece that is a token stays one, whatever the merges say
    backend = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs, ignore_merges=whole))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=_CUTS[before] is None)
    first: list[Any] = {"smollm": [pre_tokenizers.Digits(individual_digits=True)]}.get(before, [])
    if pattern := _CUTS[before]:
        first = [pre_tokenizers.Split(Regex(pattern), behavior="isolated")]
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Sequence([*first, level]), decoders.ByteLevel()
    if before in ("qwen2", "olmo"):
        backend.normalizer = normalizers.NFC()
    special = [t for t, k in zip(tokens, types, strict=True) if k in _SPECIAL]
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return backend


def _of_pieces(
    path: Any, metadata: Mapping[str, Any], pieces: list[tuple[str, float, int]], roles: Mapping[str, str], kind: int
) -> Any:
    """SentencePiece's model; a file without the pieces for single bytes has nothing to fall back on."""
    told = {name: metadata.get(f"tokenizer.ggml.{name}") for name in ("add_space_prefix", "remove_extra_whitespaces")}
    unknown = metadata.get("tokenizer.ggml.unknown_token_id")
    usual = next((i for i, (_, _, k) in enumerate(pieces) if k == UNKNOWN), 0)
    model = Model(
        path,
        tuple((str(text), float(score), int(k)) for text, score, k in pieces),
        kind,
        unknown if isinstance(unknown, int) and 0 <= unknown < len(pieces) else usual,
        byte_fallback=any(k == BYTE for _, _, k in pieces),
        charsmap=bytes(bytearray(int(v) & 255 for v in metadata.get("tokenizer.ggml.precompiled_charsmap", ()))),
        prefix=told["add_space_prefix"] is not False,
        squeeze=bool(told["remove_extra_whitespaces"]),
    )
    ends = [
        role in roles and bool(metadata.get(f"tokenizer.ggml.add_{name}_token", usually))
        for role, name, usually in (("bos_token", "bos", kind == BPE), ("eos_token", "eos", kind == UNIGRAM))
    ]
    return from_pieces(
        model, *(roles[role] if there else "" for role, there in zip(("bos_token", "eos_token"), ends, strict=True))
    )
