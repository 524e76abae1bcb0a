"""Tokenizer, pooling, datasets and pipelines of text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, MissingFileError
from nyala.hub.files import Files, folder_files
from nyala.hub.load import load
from nyala.text.datasets import LabelledText, Spam, read_jsonl
from nyala.text.pipelines.pooling import Pooling
from nyala.text.tokenizers.tokenizer import Tokenizer

GOLDENS = Path(__file__).parents[1] / "goldens"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat", "##s", "dog", ".", ",", "on", "the", "mat"]


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """The tiny classifier with a vocabulary."""
    source = GOLDENS / "text" / "bert_classifier"
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


@pytest.fixture
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer.from_files(folder_files(model_folder))


def test_words_become_ids_with_padding(tokenizer: Tokenizer) -> None:
    batch = tokenizer(["A cat sat.", "dogs"])
    assert batch["input_ids"].tolist() == [[2, 5, 6, 7, 10, 3], [2, 9, 8, 3, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]
    assert tokenizer.decode([2, 9, 8, 3]) == "dogs"


def test_long_texts_lose_their_end_and_keep_the_special_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.ids("a cat sat on the mat", max_length=4) == [2, 5, 6, 3]
    assert tokenizer.ids("", max_length=4) == [2, 3]


@pytest.mark.parametrize("text", ["", " \n\t", "\ud800 broken", "\x00\x01", "é漢字🙂", "a" * 5000])
def test_any_text_has_a_defined_result(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.ids(text)
    assert ids[0] == 2 and ids[-1] == 3 and max(ids) < len(WORDS)


@pytest.mark.parametrize(("texts", "text"), [([], "no text"), ([3], "input 0 is an int"), (["a", None], "input 1 is None")])
def test_what_is_no_text(tokenizer: Tokenizer, texts: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        tokenizer(texts)


def test_missing_and_damaged_tokenizers(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no tokenizer\.json and no vocab\.txt"):
        Tokenizer.from_files(Files({}, origin="folder m"))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer\.json is not a tokenizer"):
        Tokenizer.from_files(folder_files(tmp_path))
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"has no \[UNK\], \[CLS\], \[SEP\]"):
        Tokenizer.from_files(folder_files(tmp_path))


def test_tokenizer_saves_what_it_reads(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    again = Tokenizer.from_files(Files({"tokenizer.json": tmp_path / "tokenizer.json"}, origin="x"))
    assert again.ids("the cat, on") == tokenizer.ids("the cat, on")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("mean", [2.0, 3.0]), ("cls", [1.0, 2.0]), ("max", [3.0, 4.0]), ("last", [3.0, 4.0]),
        ("mean_sqrt_len", [4 / 2**0.5, 6 / 2**0.5]), ("weightedmean", [7 / 3, 10 / 3]),
    ],
)  # fmt: skip
def test_pooling_skips_padding(mode: str, expected: list[float]) -> None:
    hidden = nyala.tensor([[[1.0, 2.0], [3.0, 4.0], [90.0, 90.0]]])
    assert Pooling(mode)(hidden, nyala.tensor([[1, 1, 0]])).tolist() == [pytest.approx(expected)]
    unit = Pooling(mode, normalize=True)(hidden, nyala.tensor([[1, 1, 0]])).numpy()
    assert np.linalg.norm(unit) == pytest.approx(1)


def test_classification_on_raw_text(model_folder: Path, tmp_path: Path) -> None:
    pipe = load(str(model_folder))
    texts = ["a cat sat on the mat", "dogs", "the dog, the cat"]
    several, one = pipe(texts), pipe(texts[1])
    assert [len(p.labels) for p in several] == [3, 3, 3] and one.indices == several[1].indices
    assert np.allclose(one.scores, several[1].scores, rtol=1e-5), "a text alone and in a batch"
    assert "LABEL_" in repr(several) and json.dumps(several.to_dict())
    several.save(tmp_path / "bars.png")
    assert (tmp_path / "bars.png").stat().st_size > 1000


def test_without_a_tokenizer_the_model_still_works(model_folder: Path) -> None:
    (model_folder / "vocab.txt").unlink()
    pipe = load(str(model_folder))
    assert pipe.model(nyala.tensor([[1, 2]])).shape == (1, 3)
    with pytest.raises(MissingFileError, match=r"without tokenizer\.json"):
        pipe("a cat")


def test_spam_sample() -> None:
    train, test = Spam("train"), Spam("test")
    assert (len(train), len(test)) == (1000, 400)
    assert np.bincount(train.labels).tolist() == [500, 500] and np.bincount(test.labels).tolist() == [200, 200]
    assert not set(train.texts) & set(test.texts)
    assert sum(Spam.file(s).stat().st_size for s in ("train", "test")) <= 1_000_000
    assert (Spam.file("train").parent / "LICENSE").is_file()
    with pytest.raises(ArgumentError, match="no split 'dev'"):
        Spam("dev")


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("", "holds no text"),
        ("{", r"d\.jsonl:1 is not JSON"),
        ('{"text": "a", "label": "x"}\n{"text": "b"}', r"d\.jsonl:2 has no text and label"),
        ('["a"]', "has no text and label"),
    ],
)
def test_malformed_json_lines(lines: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(lines)
    with pytest.raises(DataError, match=text):
        read_jsonl(path)


def test_json_lines_packed_or_not(tmp_path: Path) -> None:
    body = b'{"text": "a", "label": "y"}\n\n{"text": "b", "label": 3}\n'
    (tmp_path / "d.jsonl").write_bytes(body)
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(body))
    for name in ("d.jsonl", "d.jsonl.gz"):
        data = read_jsonl(tmp_path / name)
        assert data.classes == ("3", "y") and data.labels == [1, 0]
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(body)[:-9])
    with pytest.raises(DataError, match="damaged"):
        read_jsonl(tmp_path / "d.jsonl.gz")
    with pytest.raises(DataError, match=r"there is no file .*none\.jsonl"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"sample 1 has the label '3'.*the classes are y"):
        read_jsonl(tmp_path / "d.jsonl", ["y"])


def test_labels_and_texts_must_pair() -> None:
    with pytest.raises(DataError, match="give each text one label"):
        LabelledText(["a"], [])


@pytest.mark.weights
def test_published_sentence_model_equals_transformers() -> None:
    frozen = checkpoint.load_file(GOLDENS / "real" / "minilm.safetensors")
    sentences = json.loads(checkpoint.read_header(GOLDENS / "real" / "minilm.safetensors").metadata["sentences"])
    pipe = nyala.load("all-MiniLM-L6-v2")
    for i, sentence in enumerate(sentences):
        ids = pipe.preprocess.ids(sentence)
        assert ids == frozen["input_ids"][i][: len(ids)].tolist(), sentence
    embeddings = pipe(sentences)
    assert np.abs(embeddings.array - frozen["embeddings"]).max() < 1e-5
    near = pipe(["a model zoo in numpy", "a zoo of models"]).similarity()[0, 1]
    assert near == pytest.approx(0.69453514, abs=1e-6)
    golden = pipe.card.golden
    assert np.abs(pipe(golden.input)[: len(golden.output)] - golden.output).max() < golden.atol


@pytest.mark.weights
def test_embeddings_print_and_draw(tmp_path: Path) -> None:
    pipe = nyala.load("all-MiniLM-L6-v2")
    found = pipe(["a cat on a mat", "a kitten on a rug", "shares fell on Tuesday"])
    assert "a kitten on a rug" in repr(found).splitlines()[2]
    assert np.asarray(found).shape == (3, 384) and len(found.to_dict()[0]["embedding"]) == 384
    found.save(tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 1000
    assert pipe("one text").shape == (384,)
