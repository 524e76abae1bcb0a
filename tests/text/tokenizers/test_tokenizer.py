"""Tokenizers of every kind of file: ids, pairs, cut texts, offsets and windows as transformers makes them; and what is bad."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.core import progress
from nyala.errors import ArgumentError, DataError, IndexRangeError
from nyala.hub.files import Files, folder_files
from nyala.hub.load import load
from nyala.text.tokenizers.tokenizer import Tokenizer

FOLDER = Path(__file__).parents[2] / "goldens" / "text" / "tokenizers"
GOLDENS: dict[str, Any] = json.loads((FOLDER / "goldens.json").read_text(encoding="utf-8"))
TEXTS, PAIRS = GOLDENS["texts"], GOLDENS["given_pairs"]
NAMES = sorted(set(GOLDENS) - {"texts", "given_pairs"})
OLDER = {name: "vocab.json" if (FOLDER / name / "vocab.json").exists() else "vocab.txt" for name in NAMES if name != "unigram"}


def older_files(name: str, folder: Path) -> Files:
    """The files of a tokenizer as they were before there was a ``tokenizer.json``."""
    shutil.copytree(FOLDER / name, folder, dirs_exist_ok=True)
    whole = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"] = {str(t.pop("id")): t for t in whole["added_tokens"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder_files(folder)


@pytest.fixture(params=[*NAMES, *(f"{name}/{file}" for name, file in OLDER.items())])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Tokenizer, dict[str, Any]]:
    name, _, older = request.param.partition("/")
    files = older_files(name, tmp_path) if older else folder_files(FOLDER / name)
    return Tokenizer.from_files(files, 1000), GOLDENS[name]


def test_ids_and_segments_are_those_of_transformers(case: tuple[Tokenizer, dict[str, Any]]) -> None:
    tokenizer, frozen = case
    assert [row.ids for row in tokenizer.encode(TEXTS)] == frozen["single"]
    rows = tokenizer.encode([a for a, _ in PAIRS], pairs=[b for _, b in PAIRS])
    assert [[row.ids, row.type_ids] for row in rows] == frozen["pairs"]
    assert tokenizer.ids(frozen["added"][0]) == frozen["added"][1]
    assert [tokenizer.decode(ids) for ids in frozen["single"]] == frozen["decoded"]


@pytest.mark.parametrize("side", ["right", "left"])
def test_cut_texts_and_pairs(case: tuple[Tokenizer, dict[str, Any]], side: Any) -> None:
    tokenizer, frozen = case
    tokenizer = tokenizer.replace(truncation_side=side, too_long="cut")
    single, pairs = frozen["cut" if side == "right" else "cut_left"]
    assert [row.ids for row in tokenizer.encode(TEXTS, 12)] == single
    assert [row.ids for row in tokenizer.encode([a for a, _ in PAIRS], 12, [b for _, b in PAIRS])] == pairs


def test_windows_and_offsets(case: tuple[Tokenizer, dict[str, Any]]) -> None:
    tokenizer, frozen = case
    question, context = PAIRS[-1]
    empty = len(tokenizer.encode([question], pairs=[""])[0].ids)
    found = tokenizer.windows(context, 3, before=question, max_length=empty + 9)
    assert [w.ids for w in found] == [ids for ids, _ in frozen["windows"]]
    told = [[None if o is None else list(o) for o in w.offsets] for w in found]
    assert told == [offsets for _, offsets in frozen["windows"]]
    (whole,) = tokenizer.windows(context)
    assert {o for o in whole.offsets if o} == {o for w in found for o in w.offsets if o}, "all of the text is in some window"
    for text, expected in zip(TEXTS, frozen["offsets"], strict=True):
        (window,) = tokenizer.windows(text)
        assert [list(o) for o in window.offsets if o] == [o for o, real in zip(expected, window.offsets, strict=True) if real]


def test_padding_goes_to_the_published_side(case: tuple[Tokenizer, dict[str, Any]]) -> None:
    tokenizer, frozen = case
    batch = tokenizer(["The cat sat on the mat.", "The"])
    assert tokenizer.padding_side == frozen["side"]
    ids, mask = batch["input_ids"].numpy(), batch["attention_mask"].numpy()
    short = tokenizer.ids("The")
    assert ids[1][mask[1] == 1].tolist() == short and mask[1].sum() == len(short) < ids.shape[1]
    assert bool(mask[1][0]) is (frozen["side"] == "right")
    if frozen["pad"] is not None:
        assert set(ids[1][mask[1] == 0].tolist()) == {frozen["pad"]}


def bert(**changes: Any) -> Tokenizer:
    return Tokenizer.from_files(folder_files(FOLDER / "bert")).replace(**changes)


def test_lengths_that_are_asked_for() -> None:
    tokenizer = bert()
    assert tokenizer.max_length == 32
    assert tokenizer(["The cat", "a"], padding="max_length")["input_ids"].shape == (2, 32)
    assert tokenizer(["The cat", "a"], 9, padding="max_length")["input_ids"].shape == (2, 9)
    assert tokenizer(["The cat sat on the mat."], pad_to_multiple_of=16)["input_ids"].shape[1] % 16 == 0
    assert list(tokenizer.replace(inputs=["input_ids"])("a")) == ["input_ids"]
    pair = tokenizer("Who sat?", pairs="The cat.")
    assert set(pair["token_type_ids"].numpy()[0].tolist()) == {0, 1}


def test_too_long_is_said_cut_or_refused() -> None:
    tokenizer, long = bert(), "The cat sat on the mat. " * 9
    with pytest.warns(UserWarning, match=r"1 of 2 texts are longer than 32 tokens \(up to \d+\): the model reads the first 32"):
        tokenizer([long, "a"])
    with pytest.raises(DataError, match=r"input 1 has \d+ tokens, the limit is 32: what is behind them would not be read"):
        tokenizer(["a", long], too_long="raise")
    said: list[str] = []
    progress.tell_through(said.append)
    try:
        for _ in range(3):
            tokenizer([long])
        tokenizer.replace(too_long="cut")([long])
    finally:
        progress.tell_through(None)
    assert len(said) == 1 and said[0].startswith("note: the text is longer than 32 tokens"), "a command says it once"


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\ud800 lone", "\x00", "\u200b", "é" * 400, "🙂" * 300])
@pytest.mark.parametrize("name", NAMES)
def test_any_text_has_ids_of_the_vocabulary(name: str, text: str) -> None:
    tokenizer = Tokenizer.from_files(folder_files(FOLDER / name)).replace(too_long="cut")
    ids = tokenizer.ids(text)
    assert len(ids) <= tokenizer.max_length and all(0 <= i < tokenizer.vocab_size for i in ids)
    assert all(len(w.ids) <= tokenizer.max_length for w in tokenizer.windows(text, 2))


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda t: t([]), DataError, "no text to work on"),
        (lambda t: t([b"abc"]), DataError, r"input 0 is a bytes, not a text.*decode\('utf-8'\)"),
        (lambda t: t(["a"], pairs=["b", "c"]), DataError, "1 first and 2 second texts"),
        (lambda t: t(["a"], 1), ArgumentError, "the special tokens alone are 2"),
        (lambda t: t(["a"], too_long="cutt"), None, ""),
        (lambda t: t(["The cat sat on"], 4, too_long="cutt"), ArgumentError, "did you mean 'cut'"),
        (lambda t: t.replace(max_len=3), ArgumentError, "did you mean 'max_length'"),
        (lambda t: t.windows("The cat", 40), ArgumentError, "a window has room for 30 tokens"),
        (lambda t: t.windows("The cat", before="cat " * 50), DataError, "leaves no room for the second in 32"),
        (lambda t: t.encode_words(["a b"]), DataError, "input 0 is a str, not a list of words"),
    ],
)
def test_bad_calls(call: Any, kind: Any, text: str) -> None:
    if kind is None:
        call(bert())  # nothing is too long: nothing is to be judged
        return
    with pytest.raises(kind, match=text):
        call(bert())


@pytest.mark.parametrize(
    ("name", "file", "content", "text"),
    [
        ("bert", "vocab.txt", b"\xff\xfe", "not UTF-8 at byte 0"),
        ("bert", "vocab.txt", b"", r"has no \[UNK\], \[CLS\], \[SEP\]"),
        ("roberta", "vocab.json", b"{", "is not JSON"),
        ("roberta", "vocab.json", b'{"a": "b"}', "no table of tokens and their numbers"),
        ("roberta", "vocab.json", b'{"a</w>": 0}', "no byte-level BPE"),
        ("roberta", "merges.txt", b"#version\na b c\n", r"merges\.txt:2 is no pair of tokens"),
        ("roberta", "merges.txt", b"zz yy\n", r"merges\.txt:1 does not fit the vocabulary: vocab.json has no token 'zz'"),
        ("bert", "tokenizer_config.json", b'{"padding_side": "up"}', "padding_side in tokenizer_config.json is 'up'"),
        ("bert", "tokenizer_config.json", b'{"added_tokens_decoder": {"x": 3}}', "added_tokens_decoder is malformed"),
        ("bert", "added_tokens.json", b'{"<new>": 7000}', r"'<new>' has the number \d+, its file says 7000"),
    ],
)
def test_damaged_files(name: str, file: str, content: bytes, text: str, tmp_path: Path) -> None:
    older_files(name, tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=text):
        Tokenizer.from_files(folder_files(tmp_path))


def test_added_tokens_get_their_numbers(tmp_path: Path) -> None:
    older_files("roberta", tmp_path)
    size = len(json.loads((tmp_path / "vocab.json").read_text()))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<one>": size, "<two>": size + 1}))
    tokenizer = Tokenizer.from_files(folder_files(tmp_path))
    assert [i for i in tokenizer.ids("a<two> b<one>") if i >= size] == [size + 1, size]
    assert tokenizer.vocab_size == size + 2 and tokenizer.token(size) == "<one>" and tokenizer.token(10**6) == ""


def test_a_vocabulary_of_another_model_is_named(tmp_path: Path) -> None:
    goldens = FOLDER.parent / "bert_classifier"  # of 61 tokens
    for name in ("config.json", "model.safetensors"):
        shutil.copy(goldens / name, tmp_path / name)
    shutil.copy(FOLDER / "bert" / "vocab.txt", tmp_path / "vocab.txt")
    pipe = load(str(tmp_path))
    with pytest.raises(
        IndexRangeError,
        match=r"input 1 \('The antelopes'\) has the token '\S+', number \d+: the model has 61 tokens: this tokenizer",
    ):
        pipe(["", "The antelopes"])
    assert len(pipe([""])) == 1


def test_a_copy_with_other_settings_leaves_the_first_alone() -> None:
    tokenizer = bert()
    other = tokenizer.replace(max_length=5, padding_side="left")
    assert (tokenizer.max_length, tokenizer.padding_side, other.max_length) == (32, "right", 5)
    assert np.array_equal(other(["a"])["input_ids"].numpy(), tokenizer(["a"])["input_ids"].numpy())
    assert (tokenizer.mask_token, tokenizer.token(tokenizer.mask_id or 0)) == ("[MASK]", "[MASK]")
