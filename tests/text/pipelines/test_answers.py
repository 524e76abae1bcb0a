"""Pipelines that fill masks, answer questions, rank texts, and sort texts into classes that are only named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, DataError, MissingFileError
from nyala.hub.load import load
from nyala.text.models import bert

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "a cat sat ##s dog . , on the mat who what where hid in grass ? it is about sport money example this"


def folder_of(tmp_path: Path, golden: str, **config: Any) -> Path:
    """A tiny model of transformers with a vocabulary, and with some of its configuration replaced."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((GOLDENS / golden / name).read_bytes())
    whole = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**whole, **config}))
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS.split()]) + "\n")
    return tmp_path


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


# ---- masks


@pytest.fixture
def fill(tmp_path: Path) -> Any:
    return load(str(folder_of(tmp_path, "bert_masked_lm")))


def test_masks_get_the_likeliest_tokens(fill: Any, tmp_path: Path) -> None:
    texts = ["a [MASK] sat on the [MASK].", "the dog", "[MASK]"]
    found = fill([texts[0], texts[2]], top_k=3)
    for text, one in zip((texts[0], texts[2]), found, strict=True):
        ids = fill.preprocess.ids(text)
        with nyala.no_grad():
            logits = fill.model(nyala.tensor([ids]))
        shares = softmax(getattr(logits, "logits", logits).numpy()[0])
        places = [i for i, token in enumerate(ids) if token == fill.preprocess.mask_id]
        assert len(one.fills) == len(places) == text.count("[MASK]")
        for place, options in zip(places, one.fills, strict=True):
            assert [f.id for f in options] == np.argsort(-shares[place], kind="stable")[:3].tolist()
            assert [f.score for f in options] == pytest.approx(np.sort(shares[place])[::-1][:3], rel=1e-4)
    assert "[MASK]" not in found[0].best and json.dumps(found.to_dict())
    assert fill(texts[0], targets=["cat", "dog"]).fills[0][0].word in ("cat", "dog")
    found.save(tmp_path / "bars.png")
    assert (tmp_path / "bars.png").stat().st_size > 1000 and "mask" in repr(found)


@pytest.mark.parametrize(
    ("inputs", "options", "kind", "text"),
    [
        ("the cat", {}, DataError, r"input 0 has no \[MASK\]: there is nothing to fill.*write \[MASK\] where"),
        ("the <mask>", {}, DataError, r"write \[MASK\] instead of <mask>"),
        (["a [MASK]", "cat " * 60 + "[MASK]"], {}, DataError, "input 1 has 1 masks, 0 of them in what the model reads"),
        ("a [MASK]", {"targets": ["cats"]}, ArgumentError, "the target 'cats' is no single token: its tokens are cat ##s"),
        ("a [MASK]", {"top_k": 0}, ArgumentError, "top_k=0"),
        ([], {}, DataError, "no text to work on"),
        (3, {}, DataError, "the input is an int, not a text"),
        (b"a", {}, DataError, r"the input is a bytes.*decode\('utf-8'\)"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_filled(fill: Any, inputs: Any, options: dict[str, Any], kind: Any, text: str) -> None:
    with pytest.raises(kind, match=text):
        fill(inputs, **options)


# ---- questions


@pytest.fixture
def answers(tmp_path: Path) -> Any:
    return load(str(folder_of(tmp_path, "bert_answers")))


def by_hand(pipe: Any, question: str, context: str, longest: int) -> tuple[str, float]:
    """The best stretch by trying all of a context that fits into one window."""
    (window,) = pipe.preprocess.windows(context, before=question)
    with nyala.no_grad():
        out = pipe.model(nyala.tensor([window.ids]), token_type_ids=nyala.tensor([window.type_ids]))
    real = [i for i, o in enumerate(window.offsets) if o]
    starts, ends = (softmax(logits.numpy()[0][real]) for logits in (out.start_logits, out.end_logits))
    score, i, j = max((starts[a] * ends[b], -a, -b) for a in range(len(real)) for b in range(a, min(len(real), a + longest)))
    first, last = window.offsets[real[-i]], window.offsets[real[-j]]
    return context[first[0] : last[1]], score


@pytest.mark.parametrize("longest", [1, 3, 30])
def test_the_likeliest_stretch_of_one_window(answers: Any, longest: int) -> None:
    question, context = "who sat ?", "the Cat sat on the mat, a dog hid in grass."
    found = answers(question, context, max_answer_tokens=longest)
    text, score = by_hand(answers, question, context, longest)
    assert (found.text, found.text) == (text, context[found.start : found.end]) and found.score == pytest.approx(score, rel=1e-4)


def test_long_contexts_are_read_whole(answers: Any, tmp_path: Path) -> None:
    question = "where ?"
    context = " ".join(["a cat sat on the mat . the dog hid in grass ,"] * 20)
    one = answers(question, context)
    assert context[one.start : one.end] == one.text and 0 < one.score <= 1
    windows = answers.windows(question, context)
    assert len(windows) > 5 and max(o[1] for o in windows[-1].offsets if o) == len(context)
    several = answers([(question, context), {"question": "who ?", "context": "a cat"}])
    assert several[0] == one and len(several) == 2 and json.dumps(several.to_dict())
    several.save(tmp_path / "marked.png")
    assert several[1].text in "a cat" and "who ?" in repr(several)
    assert answers.from_arguments(["who ?", "a cat", "the dog"])[1].text in "the dog"


def test_no_answer_is_an_answer_where_it_is_allowed(answers: Any) -> None:
    question, context = "who ?", "the dog hid"
    (window,) = answers.preprocess.windows(context, before=question)
    ends = answers._ends([window])[0]
    spans = max(
        ends[0][i] + ends[1][j] for i, o in enumerate(window.offsets) for j in range(i, len(ends[1])) if o and window.offsets[j]
    )
    found = answers(question, context, no_answer=True)
    assert (found.text == "") is bool(ends[0][0] + ends[1][0] >= spans)
    assert answers(question, "\u200b").text == "", "a context without a token has no answer"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda p: p("who ?"), "a question and no text"),
        (lambda p: p("who ?", ""), "the context of input 0 is empty"),
        (lambda p: p(" ", "a cat"), "the question of input 0 is empty"),
        (lambda p: p("who ?", 3), "the context of input 0 is an int"),
        (lambda p: p([("who ?",)]), "a question is given as a tuple"),
        (lambda p: p([]), "no question"),
        (lambda p: p(3), "the input is an int"),
        (lambda p: p("cat " * 40, "a dog"), "leaves no room for the second"),
        (lambda p: p.from_arguments(["who ?"]), "a question and no text"),
        (lambda p: p("who ?", "a cat", max_answer_tokens=0), "max_answer_tokens=0"),
    ],
)
def test_bad_questions(answers: Any, call: Any, text: str) -> None:
    with pytest.raises((DataError, ArgumentError), match=text):
        call(answers)


# ---- ranking


def classifier_of(tmp_path: Path, labels: dict[str, str], **config: Any) -> Path:
    """A tiny classifier of random weights with these labels."""
    folder = folder_of(tmp_path, "bert_classifier", id2label=labels, **config)
    nyala.manual_seed(4)
    model = bert.build({**json.loads((folder / "config.json").read_text())})
    for parameter in model.parameters():
        parameter.data.mul_(8.0) if parameter.ndim > 1 else None
    nyala.checkpoint.save_file({n: t.numpy() for n, t in model.state_dict().items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("config", "sigmoid"),
    [
        ({}, True),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, False),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, False),
    ],
)
def test_a_cross_encoder_ranks(tmp_path: Path, config: dict[str, Any], sigmoid: bool) -> None:
    pipe = load(str(classifier_of(tmp_path, {"0": "LABEL_0"}, **config)))
    texts = ["a cat sat", "the dog hid in grass", "money", ""]
    found = pipe("where is the dog ?", texts)
    logits = []
    for text in texts:
        row = pipe.preprocess.encode(["where is the dog ?"], pairs=[text])[0]
        with nyala.no_grad():
            out = pipe.model(nyala.tensor([row.ids]), token_type_ids=nyala.tensor([row.type_ids]))
        logits.append(getattr(out, "logits", out).item())
    scores = 1 / (1 + np.exp(-np.array(logits))) if sigmoid else np.array(logits)
    assert [r.index for r in found] == np.argsort(-scores).tolist() and [r.text for r in found] == [texts[r.index] for r in found]
    assert [r.score for r in found] == pytest.approx(np.sort(scores)[::-1], rel=1e-4, abs=1e-6)
    assert len(pipe("where ?", texts, top_k=2)) == 2 and pipe.from_arguments(["where ?", *texts]).query == "where ?"
    found.save(tmp_path / "bars.png")
    assert "place" in repr(found) and json.dumps(found.to_dict())


def test_an_embedding_model_ranks_by_cosines(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "bert")
    pipe, embed = load(str(folder), task="reranking"), load(str(folder))
    texts = ["a cat sat", "the dog hid in grass", "money"]
    cosines = embed(["who ?"]).similarity(embed(texts))[0]
    assert [r.score for r in pipe("who ?", texts)] == pytest.approx(np.sort(cosines)[::-1], rel=1e-4)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda p: p("q"), r"a query and texts are needed.*pipe\(query"),
        (lambda p: p("q", []), "no text to work on"),
        (lambda p: p("q", ["a", 3]), "input 1 is an int"),
        (lambda p: p("q", ["a"], top_k=0), "top_k=0"),
        (lambda p: p.from_arguments(["q"]), "a query and no text"),
        (lambda p: p("q", ["cat " * 50], too_long="raise"), "the limit is 32"),
    ],
)
def test_what_cannot_be_ranked(tmp_path: Path, call: Any, text: str) -> None:
    pipe = load(str(classifier_of(tmp_path, {"0": "LABEL_0"})))
    with pytest.raises((DataError, ArgumentError), match=text):
        call(pipe)


def test_a_classifier_of_several_classes_ranks_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tells 3 classes apart: a model that ranks texts has one score"):
        load(str(folder_of(tmp_path, "bert_classifier")), task="reranking")


# ---- classes that are only named

NLI = {"0": "contradiction", "1": "neutral", "2": "entailment"}


def test_entailment_chooses_among_named_classes(tmp_path: Path) -> None:
    pipe = load(str(classifier_of(tmp_path, NLI)), task="zero-shot-classification")
    texts, labels = ["the cat sat", "a dog hid in grass"], ["sport", "money", "cat"]
    found, each = pipe(texts, labels), pipe(texts, labels, multi_label=True)
    plain = load(str(tmp_path))
    for text, one, many in zip(texts, found, each, strict=True):
        logits = plain.logits([text] * 3, [f"This example is about {label}." for label in labels])
        shares = dict(zip(labels, softmax(logits[:, 2]), strict=True))
        assert dict(zip(one.labels, one.scores, strict=True)) == pytest.approx(shares, rel=1e-4) and list(one.scores) == sorted(
            one.scores, reverse=True
        )
        alone = dict(zip(labels, softmax(logits[:, [0, 2]])[:, 1], strict=True))
        assert dict(zip(many.labels, many.scores, strict=True)) == pytest.approx(alone, rel=1e-4)
    assert pipe(texts[0], labels).labels == found[0].labels


def test_an_embedding_model_chooses_by_cosines(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "bert")
    pipe = load(str(folder), task="zero-shot-classification")
    one = pipe("the cat sat", ["sport", "money"], template="it is about {}")
    cosines = load(str(folder))(["the cat sat", "it is about sport", "it is about money"]).similarity()[0, 1:]
    assert one.label == ("sport", "money")[int(cosines.argmax())] and sum(one.scores) == pytest.approx(1)
    with pytest.raises(ArgumentError, match="multi_label needs a model of entailment"):
        pipe("a cat", ["sport"], multi_label=True)


@pytest.mark.parametrize(
    ("labels", "options", "text"),
    [
        (None, {}, r"0 label\(s\): there is nothing to choose from"),
        (["a"], {}, r"1 label\(s\)"),
        (["a", "a"], {}, "the label 'a' is given twice"),
        (["a", "b"], {"template": "about"}, "stands for the label"),
    ],
)
def test_bad_labels(tmp_path: Path, labels: Any, options: dict[str, Any], text: str) -> None:
    pipe = load(str(classifier_of(tmp_path, NLI)), task="zero-shot-classification")
    with pytest.raises(ArgumentError, match=text):
        pipe("a cat", labels, **options)


def test_a_classifier_of_other_things_sorts_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has the classes label_0.*is entailed or contradicted"):
        load(str(folder_of(tmp_path, "bert_classifier")), task="zero-shot-classification")


# ---- all of them


@pytest.mark.parametrize("golden", ["bert_masked_lm", "bert_answers", "bert"])
def test_without_a_tokenizer_they_say_so(tmp_path: Path, golden: str) -> None:
    (folder_of(tmp_path, golden) / "vocab.txt").unlink()
    pipe = load(str(tmp_path), task="reranking") if golden == "bert" else load(str(tmp_path))
    with pytest.raises(MissingFileError, match=r"without tokenizer\.json"):
        pipe("a [MASK]", ["a"]) if golden == "bert" else pipe("a", "b") if golden == "bert_answers" else pipe("a [MASK]")


def test_streams_of_texts_are_embedded_in_their_order(tmp_path: Path) -> None:
    pipe = load(str(folder_of(tmp_path, "bert")))
    texts = [" ".join(["cat"] * (i % 7) + ["dog"] * (i % 3)) for i in range(23)]
    found = list(pipe.stream(iter(texts), chunk=10))
    assert [len(part) for part in found] == [10, 10, 3] and pipe.width == found[0].shape[1]
    assert np.abs(np.concatenate(found) - pipe(texts).array).max() < 1e-5
    assert list(pipe.stream([])) == []
    with pytest.raises(DataError, match="input 3 is None"):
        list(pipe.stream(["a", "b", "c", None]))
