"""SentencePiece's models (Kudo and Richardson, arXiv:1808.06226) as tokenizers of the ``tokenizers`` package.

``spiece.model`` (T5, ALBERT), ``sentencepiece.bpe.model`` (XLM-R), ``spm.model`` (DeBERTa-v3), ``tokenizer.model`` (Llama), and
Marian's ``source.spm`` with its ``vocab.json``. A file is a protocol-buffer message: pieces with their log-probabilities, and how
texts are made ready; it is read here without SentencePiece. Tokens are those that SentencePiece gives; tests compare them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import DataError

if TYPE_CHECKING:
    from ...core.part import FilePart
    from ...hub.files import Files

SPACE = "\u2581"  # stands for a space, and for the beginning of a text
UNIGRAM, BPE = 1, 2
_NORMAL, UNKNOWN, _CONTROL, _USER, _UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_NEVER = -1.0e6  # the log-probability of what is not to be found in texts
_REMEDY = "get the file again from where it came"


@dataclass(frozen=True)
class Model:
    """What a file holds.

    Attributes:
        path: the file, for messages.
        pieces: (text, log-probability, kind) of each; kinds are SentencePiece's: 1 normal, 2 unknown, 3 control, 4 the user's
            own, 5 not used, 6 a byte.
        kind: 1 for Unigram, 2 for byte-pair encoding.
        unknown: number of the piece for what is not known.
        byte_fallback: whether what is not known is written byte by byte.
        charsmap: compiled rules for characters; empty for none.
        prefix: whether a space is put before texts.
        squeeze: whether spaces at the ends go, and several become one.
    """

    path: Path | FilePart
    pieces: tuple[tuple[str, float, int], ...]
    kind: int = UNIGRAM
    unknown: int = 0
    byte_fallback: bool = False
    charsmap: bytes = b""
    prefix: bool = True
    squeeze: bool = True

    @staticmethod
    def read(path: Path | FilePart) -> Model:
        """The model in a file.

        Raises:
            DataError: a damaged file, or one of another kind.
        """
        pieces, told = [], dict[str, Any]()
        for number, value in _fields(path, path.read_bytes()):
            if number == 1 and isinstance(value, bytes):
                pieces.append(_piece(path, value))
            elif number in _SPECS and isinstance(value, bytes):
                told |= {_SPECS[number][n]: v for n, v in _fields(path, value) if n in _SPECS[number]}
        if not pieces:
            raise DataError(f"{path} is no SentencePiece model", why="it holds no pieces", fix=_REMEDY)
        unknown = next((i for i, (_, _, kind) in enumerate(pieces) if kind == UNKNOWN), -1)
        kind = told.pop("kind", UNIGRAM)
        if kind not in (UNIGRAM, BPE) or unknown < 0 or not isinstance(told.get("charsmap", b""), bytes):
            why = "nyala reads Unigram and byte-pair models" if kind not in (UNIGRAM, BPE) else "it has no piece for the unknown"
            raise DataError(f"{path} is not to be read", why=why, fix="choose other weights, or add a tokenizer.json")
        flags: dict[str, Any] = {name: bool(told.pop(name)) for name in ("byte_fallback", "prefix", "squeeze") if name in told}
        return Model(path, tuple(pieces), kind, unknown, **told, **flags)


# Numbers of the fields of the trainer's and the normalizer's specification -> attributes of Model.
_SPECS: dict[int, dict[int, str]] = {2: {3: "kind", 35: "byte_fallback"}, 3: {2: "charsmap", 3: "prefix", 4: "squeeze"}}


def _piece(path: Path | FilePart, message: bytes) -> tuple[str, float, int]:
    told = dict(_fields(path, message))
    try:
        return told.get(1, b"").decode(), float(told.get(2, 0.0)), int(told.get(3, _NORMAL))
    except (AttributeError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no SentencePiece model: {error}", fix=_REMEDY) from error


def _fields(path: Path | FilePart, message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of the fields of a protocol-buffer message: whole numbers, float32, or bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(path, message, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(path, message, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            size, at = _varint(path, message, at)
        if size is None or at + size > len(message):
            raise DataError(f"{path} is no SentencePiece model", why=f"it is damaged at byte {at}", fix=_REMEDY)
        raw, at = message[at : at + size], at + size
        yield key >> 3, struct.unpack("<f", raw)[0] if wire == 5 else raw


def _varint(path: Path | FilePart, message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        value |= (message[at] & 127) << shift
        at += 1
        if message[at - 1] < 128:
            return value, at
    raise DataError(f"{path} is no SentencePiece model", why=f"it is damaged at byte {at}", fix=_REMEDY)


# ---- tokenizers ---------------------------------------------------------------------------------------------------


def backend_of(
    model: Model, pieces: Sequence[tuple[str, float]] | None = None, unknown: int | None = None, before: Sequence[Any] = ()
) -> Any:
    """The tokenizer of the ``tokenizers`` package that gives what SentencePiece gives, without any token around a text.

    Args:
        model: what the file holds.
        pieces: texts and log-probabilities in the order of their numbers, where they are not the file's.
        unknown: number of the token for what is not known, where it is not the file's.
        before: the package's normalizers that come before the file's own.

    Raises:
        DataError: pieces that make no tokenizer.
    """
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers

    listed = [(text, score) for text, score, _ in model.pieces] if pieces is None else list(pieces)
    number = model.unknown if unknown is None else unknown
    _check(model, listed)
    if model.kind == BPE:
        backend = tokenizers.Tokenizer(_byte_pairs(listed, number, model.byte_fallback))
    else:
        backend = tokenizers.Tokenizer(models.Unigram(_hidden(listed, model), number, model.byte_fallback))
    backend.normalizer = normalizers.Sequence([*before, *_normalizers(model)])
    if model.squeeze and model.kind == UNIGRAM and not any(SPACE in text[1:] for text, _ in listed):
        backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, "never")  # no piece crosses words: they can be told apart first
    backend.decoder = _decoder(model)
    return backend


def _normalizers(model: Model) -> Iterator[Any]:
    """How SentencePiece makes a text ready."""
    from tokenizers import Regex, normalizers

    if model.charsmap:
        yield normalizers.Precompiled(model.charsmap)
    if model.squeeze:
        yield normalizers.Replace(Regex(r"\A +| +\z"), "")
        yield normalizers.Replace(Regex(" {2,}"), " ")
    if model.prefix:
        yield normalizers.Prepend(SPACE)
    yield normalizers.Replace(" ", SPACE)
    if model.squeeze:
        yield normalizers.Replace(Regex(SPACE + r"+\z"), "")


def _check(model: Model, pieces: Sequence[tuple[str, float]]) -> None:
    """What the package would answer with a bare exception, or with nonsense."""
    if not all(math.isfinite(score) for _, score in pieces):
        raise DataError(f"{model.path} holds a log-probability that is no number", fix=_REMEDY)
    rules = model.charsmap
    size = int.from_bytes(rules[:4], "little")
    if rules and (len(rules) < 4 or size % 4 or not 0 < size <= len(rules) - 4):
        raise DataError(f"{model.path} has damaged rules for characters", fix=_REMEDY)


def _hidden(pieces: Sequence[tuple[str, float]], model: Model) -> list[tuple[str, float]]:
    """The pieces with those that SentencePiece never finds in texts made too unlikely; the user's own win always."""
    kinds = {text: kind for text, _, kind in model.pieces}
    lowest = {_CONTROL: _NEVER, _UNUSED: _NEVER, BYTE: _NEVER}
    return [(text, lowest.get(kinds.get(text, _NORMAL), score)) for text, score in pieces]


def _byte_pairs(pieces: Sequence[tuple[str, float]], unknown: int, fallback: bool) -> Any:
    """Byte-pair encoding whose merges come in the order of the pieces' scores."""
    from tokenizers import models

    number = {text: i for i, (text, _) in enumerate(pieces)}
    found = []
    for text, score in pieces:
        cuts = [(text[:i], text[i:]) for i in range(1, len(text))]
        own = sorted((number[a], number[b]) for a, b in cuts if a in number and b in number)
        found += [(score, pieces[a][0], pieces[b][0]) for a, b in own]
    merges = [(a, b) for _, a, b in sorted(found, key=lambda m: -m[0])]
    return models.BPE(number, merges, unk_token=pieces[unknown][0], fuse_unk=True, byte_fallback=fallback)


def _decoder(model: Model) -> Any:
    from tokenizers import decoders

    if not model.byte_fallback:
        return decoders.Metaspace(SPACE, "always" if model.prefix else "never")
    steps: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if model.prefix else steps)


def _dress(backend: Any, special: Sequence[str], single: str, pair: str, unnormalised: Sequence[str] = ()) -> Any:
    """Tokens that are no text, and those that stand around texts.

    Args:
        backend: gets them.
        special: tokens that are no text; those that the vocabulary has not are left out.
        single, pair: what is put around one text and two, as of ``TemplateProcessing``.
        unnormalised: the user's own pieces: found in texts as they are.
    """
    from tokenizers import AddedToken

    backend.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in special if backend.token_to_id(t) is not None]
    )
    backend.add_tokens([AddedToken(t, normalized=False) for t in unnormalised])
    return around(backend, single, pair)


def around(backend: Any, single: str, pair: str) -> Any:
    """The tokenizer, with tokens put around one text and two, as of ``TemplateProcessing``."""
    from tokenizers import processors

    tokens = dict.fromkeys(part.partition(":")[0] for part in pair.split() if not part.startswith("$"))
    if tokens:
        ids = [(token, backend.token_to_id(token)) for token in tokens]
        backend.post_processor = processors.TemplateProcessing(single, pair, ids)
    return backend


def _owned(model: Model, *special: str) -> list[str]:
    """The pieces that the user defined, but for those that are no text."""
    return [text for text, _, kind in model.pieces if kind == _USER and text not in special]


# ---- the published kinds ------------------------------------------------------------------------------------------


def from_spiece(files: Files, config: Mapping[str, Any]) -> Any:
    """T5's ``spiece.model``, with a token behind each text and ``extra_ids`` sentinels behind the vocabulary; or ALBERT's.

    Raises:
        DataError: a damaged file, or one that lacks the tokens it must have.
    """
    model = Model.read(files["spiece.model"])
    held = {text for text, _, _ in model.pieces}
    if {"[CLS]", "[SEP]"} <= held:
        return _of_bert(model, [(text, score) for text, score, _ in model.pieces], _as_albert(config))
    _require(model, held, "</s>")
    count = int(config.get("extra_ids", 100))
    sentinels = [f"<extra_id_{i}>" for i in range(count - 1, -1, -1)]
    pieces = [(text, score) for text, score, _ in model.pieces]
    backend = backend_of(model, [*pieces, *((text, _NEVER) for text in sentinels if text not in held)])
    return _dress(backend, ["<pad>", "</s>", "<unk>", *sentinels[::-1]], "$A </s>", "$A </s> $B </s>", _owned(model, *sentinels))


def from_spm(files: Files, config: Mapping[str, Any]) -> Any:  # noqa: ARG001 - the readers' signature
    """DeBERTa-v3's ``spm.model``: the file's pieces, and a mask behind them.

    Raises:
        DataError: as :func:`from_spiece`.
    """
    model = Model.read(files["spm.model"])
    pieces = [(text, score) for text, score, _ in model.pieces]
    _require(model, {text for text, _ in pieces}, "[CLS]", "[SEP]")
    return _of_bert(model, [*pieces, *([("[MASK]", _NEVER)] if all(text != "[MASK]" for text, _ in pieces) else [])])


def _as_albert(config: Mapping[str, Any]) -> list[Any]:
    """What ALBERT does to texts before SentencePiece sees them."""
    from tokenizers import normalizers

    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not config.get("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    return [*steps, normalizers.Lowercase()] if config.get("do_lower_case", True) else steps


def _of_bert(model: Model, pieces: Sequence[tuple[str, float]], before: Sequence[Any] = ()) -> Any:
    backend = backend_of(model, pieces, before=before)
    special = ["[PAD]", "<pad>", "[CLS]", "[SEP]", "[UNK]", "<unk>", "[MASK]"]
    return _dress(backend, special, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", _owned(model, *special))


def from_xlm_roberta(files: Files, config: Mapping[str, Any]) -> Any:  # noqa: ARG001 - the readers' signature
    """XLM-R's ``sentencepiece.bpe.model``: fairseq's four tokens, the file's pieces without its first three, and a mask.

    Raises:
        DataError: as :func:`from_spiece`.
    """
    model = Model.read(files["sentencepiece.bpe.model"])
    first = [(text, _NEVER) for text in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces = [*first, *((text, score) for text, score, _ in model.pieces[3:]), ("<mask>", _NEVER)]
    backend = backend_of(model, pieces, unknown=3)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    return _dress(backend, special, "<s> $A </s>", "<s> $A </s> </s> $B </s>", _owned(model, *special))


def from_llama(files: Files, config: Mapping[str, Any]) -> Any:
    """``tokenizer.model``: the file's pieces, with a token before each text unless ``add_bos_token`` is false.

    Raises:
        DataError: as :func:`from_spiece`.
    """
    model = Model.read(files["tokenizer.model"])
    held = {text for text, _, _ in model.pieces}
    _require(model, held, "<s>", "</s>")
    return from_pieces(model, "<s>" if config.get("add_bos_token", True) else "", "</s>" if config.get("add_eos_token") else "")


def from_pieces(model: Model, first: str, last: str) -> Any:
    """A model of pieces alone, with a token before and behind each text, or none.

    Args:
        model: the pieces; controls among them, and the one for what is not known, are no text.
        first, last: tokens that stand around a text; empty for none.
    """
    special = [text for text, _, kind in model.pieces if kind in (UNKNOWN, _CONTROL)]
    single = f"{first} $A {last}".strip()
    return _dress(backend_of(model), special, single, f"{single} {first} $B {last}".strip(), _owned(model, *special))


def from_marian(files: Files, config: Mapping[str, Any], side: str = "source") -> Any:  # noqa: ARG001 - the readers' signature
    """Marian's ``source.spm`` (or ``target.spm``), whose pieces have the numbers of ``vocab.json``; ``>>fra<<`` is a language.

    Pieces that ``vocab.json`` does not have are not used. Translations are decoded by the same table.

    Raises:
        DataError: as :func:`from_spiece`, or numbers that are not 0, 1, 2, ...
    """
    model = Model.read(files[f"{side}.spm"])
    numbers = files.read_json("vocab.json", "turn text into tokens")
    ordered = sorted(numbers, key=lambda text: numbers[text])
    if [numbers[text] for text in ordered] != list(range(len(ordered))):
        raise DataError(f"{files['vocab.json']} does not number its tokens 0, 1, 2, ...", fix=_REMEDY)
    _require(model, set(ordered), "</s>", "<unk>")
    score = {text: value for text, value, kind in model.pieces if kind in (_NORMAL, _USER)}
    backend = backend_of(model, [(text, score.get(text, _NEVER)) for text in ordered], unknown=numbers["<unk>"])
    languages = [text for text in ordered if text.startswith(">>") and text.endswith("<<")]
    return _dress(backend, ["</s>", "<unk>", "<pad>", *languages], "$A </s>", "$A </s> $B </s>")


def _require(model: Model, held: set[str], *needed: str) -> None:
    missing = [text for text in needed if text not in held]
    if missing:
        raise DataError(
            f"{model.path} has no {', '.join(missing)}", why="models that read it need it", fix="add tokenizer.json beside it"
        )
