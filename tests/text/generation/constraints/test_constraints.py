"""Constrained output: whatever the scores are, what comes out fits, and is complete in the end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from nyala.errors import ArgumentError
from nyala.hub.files import folder_files
from nyala.text.generation import GenerationConfig, generate
from nyala.text.generation.constraints import Automaton, Constraint, Vocabulary, json_schema, regex, vocabulary
from nyala.text.generation.constraints.utf8 import byte_ranges, complement, merged
from nyala.text.generation.rows import Row
from nyala.text.models import llama
from nyala.text.tokenizers.tokenizer import Tokenizer

GOLDENS = Path(__file__).parents[3] / "goldens" / "text"
END = 0
WORDS = ['"', '{"', '":', "name", ": ", "true", "null", '"]', "}}", "12", "é", "猫", " the", "aa", "\n", '\\"', "0.5", "-", "[["]
VOCABULARY = Vocabulary([None, *(bytes([i]) for i in range(256)), *(w.encode() for w in WORDS)])


def draw(constraint: Constraint, seed: int, limit: int = 40) -> str:
    """What comes out where each allowed token is equally likely."""
    random = np.random.default_rng(seed)
    row = Row([], limit=limit)
    while len(row.new) < limit:
        scores = constraint([row], random.normal(size=(1, VOCABULARY.size)).astype(np.float32))[0]
        token = int(scores.argmax())
        if token == END:
            break
        row.new.append(token)
    return b"".join(VOCABULARY.texts[t] or b"" for t in row.new).decode()


PATTERNS = [
    "yes|no",
    r"\d{4}-\d{2}",
    "(ab|cd)*e?",
    r"[^\W\d]{2,5}",
    ".{1,12}",
    r"[é-猫]+x",
    r"(?:a{2,4}b){1,2}|é",
    r"\Aé\Z",
    r"^\S+@\w+\.(com|org)$",
    "[^a-z]{3}",
    r"(a|b|)(c+|\D)",
    "😀{1,2}",
    r"\x41\u00e9?\t*",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_drawn_matches_the_expression(pattern: str) -> None:
    for seed in range(12):
        found = draw(Constraint(regex(pattern), VOCABULARY, [END]), seed)
        assert re.fullmatch(pattern, found), found


@examples(max_examples=150, deadline=None)
@given(st.text("abé猫01 \n", max_size=6))
def test_the_automaton_accepts_what_re_accepts(text: str) -> None:
    for pattern in ("[ab]+(é|01)*", ".*", "(a|ab)(b|)0?", "[^a]{2}.?", "(é猫?){0,2}[0-9]*"):
        automaton = Automaton(regex(pattern))
        state = automaton.after(automaton.start, text.encode())
        assert automaton.accepts(state) == bool(re.fullmatch(pattern, text)), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "no regular expression"),
        (r"(a)\1", "a back-reference"),
        ("a(?=b)", "a look ahead"),
        (r"a\bb", "an anchor or word border"),
        ("(?i)a", "has flags"),
        ("(?i:a)", "flags in a group"),
        ("a{900000}", "states"),
        ("a++", "possessive"),
        (7, "an int"),
    ],
)
def test_expressions_that_cannot_be_told_are_refused(pattern: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        regex(pattern)


@examples(max_examples=60, deadline=None)
@given(st.integers(0, 0x10FFFF), st.integers(0, 0x3000))
def test_byte_ranges_are_the_characters(low: int, width: int) -> None:
    high = min(low + width, 0x10FFFF)
    sequences = list(byte_ranges(low, high))
    for point in {low, high, (low + high) // 2, max(0, low - 1), min(0x10FFFF, high + 1)}:
        if 0xD800 <= point <= 0xDFFF:
            continue
        raw = chr(point).encode()
        hits = [s for s in sequences if len(s) == len(raw) and all(a <= b <= z for b, (a, z) in zip(raw, s, strict=True))]
        assert len(hits) == (low <= point <= high), point


def test_sets_of_characters() -> None:
    assert complement(complement([(5, 9), (20, 30)])) == [(5, 9), (20, 30)]
    assert merged([(1, 5), (3, 9), (10, 10)]) == [(1, 10)]


# ---- JSON schemas

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 4},
        "age": {"type": "integer", "minimum": 17, "maximum": 120},
        "kind": {"enum": ["a", 3, None, {"x": [1]}]},
    },
    "required": ["name", "age"],
}
TREE = {
    "$defs": {"node": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}},
    "$ref": "#/$defs/node",
}


def is_tree(value: Any) -> bool:
    return isinstance(value, dict) and set(value) <= {"kids"} and all(is_tree(kid) for kid in value.get("kids", []))


def is_person(value: Any) -> bool:
    fine = len(value["name"]) <= 4 and isinstance(value["age"], int) and 17 <= value["age"] <= 120
    return fine and set(value) <= {"name", "age", "kind"} and value.get("kind", 3) in ["a", 3, None, {"x": [1]}]


SCHEMAS: list[tuple[Any, Callable[[Any], bool]]] = [
    (True, lambda v: json.dumps(v) != ""),
    ("{}", lambda v: json.dumps(v) != ""),
    ({"type": "object"}, lambda v: isinstance(v, dict)),
    (PERSON, is_person),
    (TREE, is_tree),
    ({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 4}, lambda v: 2 <= len(v) <= 4),
    ({"type": "array", "items": {"const": 1}, "minItems": 1}, lambda v: v and set(v) == {1}),
    ({"type": "array", "prefixItems": [{"const": "x"}, {"type": "boolean"}]}, lambda v: v in (["x", True], ["x", False])),
    ({"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}}, lambda v: v[0] == 1 and set(v[1:]) <= {2}),
    ({"type": "array", "maxItems": 0}, lambda v: v == []),
    ({"type": "string", "pattern": '^a"+\\\\\n$'}, lambda v: bool(re.fullmatch('a"+\\\\\n', v))),
    ({"type": "string", "pattern": "[0-9]"}, lambda v: bool(re.search("[0-9]", v))),
    ({"type": "string", "format": "date"}, lambda v: bool(re.fullmatch(r"\d{4}-\d{2}-\d{2}", v))),
    ({"type": ["integer", "null"]}, lambda v: v is None or isinstance(v, int)),
    ({"type": "integer", "exclusiveMinimum": -12, "maximum": 8}, lambda v: -12 < v <= 8),
    ({"type": "integer", "minimum": 995, "maximum": 1004}, lambda v: 995 <= v <= 1004),
    ({"type": "number", "minimum": -3, "maximum": -1}, lambda v: -3 <= v <= -1),
    ({"type": "number", "minimum": -1, "maximum": 0}, lambda v: -1 <= v <= 0),
    ({"anyOf": [{"const": "x"}, {"type": "boolean"}]}, lambda v: v == "x" or v in (True, False)),
    (
        {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"b": {"const": 2}}}]},
        lambda v: v["a"] == 1,
    ),
    (
        {"properties": {"ab": {"const": 1}, "a": {"const": 2}}, "additionalProperties": {"type": "boolean"}},
        lambda v: all(x == {"ab": 1, "a": 2}.get(k, x) and (k in ("ab", "a") or isinstance(x, bool)) for k, x in v.items()),
    ),
    ({"type": "object", "additionalProperties": False}, lambda v: v == {}),
]


@pytest.mark.parametrize(("schema", "valid"), SCHEMAS, ids=[str(s)[:60] for s, _ in SCHEMAS])
def test_what_is_drawn_is_valid_json(schema: Any, valid: Callable[[Any], bool]) -> None:
    constraint = Constraint(json_schema(schema), VOCABULARY, [END])
    for seed in range(12):
        found = draw(constraint, seed, limit=40)
        assert valid(json.loads(found)), found


def test_a_class_that_tells_its_schema_is_one() -> None:
    class Answer:
        @staticmethod
        def model_json_schema() -> dict[str, Any]:
            return {"type": "boolean"}

    assert draw(Constraint(json_schema(Answer), VOCABULARY, [END]), 0) in ("true", "false")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "strnig"}, "at # has the type 'strnig'.*did you mean 'string'"),
        ({"type": "string", "maxLenght": 3}, "has 'maxLenght'.*did you mean 'maxLength'"),
        ({"type": "array", "uniqueItems": True}, "has 'uniqueItems'"),
        ({"properties": {"a": {"not": {}}}}, "at #/properties/a has 'not'"),
        ({"$ref": "#/$defs/x"}, "refers to '#/\\$defs/x', which is not there"),
        ({"$ref": "https://elsewhere"}, "part of the same schema"),
        ({"$ref": "#"}, "begins with itself"),
        ({"type": "integer", "minimum": 5, "maximum": 2}, "no whole number between 5 and 2"),
        ({"type": "number", "minimum": 0.5}, "minimum = 0.5"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, "minLength = 5"),
        ({"anyOf": []}, "no list with something in it"),
        ({"required": ["x"], "properties": {"a": {}}, "additionalProperties": False}, "requires 'x'"),
        ("{", "is not JSON"),
        ([1], "is a list, not a schema"),
        (False, "no text fits"),
        ({"type": "array", "items": False, "minItems": 1}, "1 items at least and 0 at most"),
        ({"enum": [1], "minimum": 0}, "'enum' together with 'minimum'"),
    ],
)
def test_schemas_that_cannot_be_kept_are_refused(schema: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Constraint(json_schema(schema), VOCABULARY, [END])


# ---- over tokens


def test_a_text_is_led_to_its_end_where_tokens_run_short() -> None:
    for limit in range(2, 30):
        assert json.loads(draw(Constraint(json_schema({"type": "array"}), VOCABULARY, [END]), limit, limit=limit)) is not None
    with pytest.raises(ArgumentError, match=r"1 token\(s\) are too few.*set max_new_tokens to 2"):
        draw(Constraint(json_schema({"type": "object"}), VOCABULARY, [END]), 0, limit=1)


def test_nesting_is_bounded() -> None:
    found = draw(Constraint(json_schema(TREE), VOCABULARY, [END]), 0, limit=4000)
    assert is_tree(json.loads(found))


def test_only_bytes_that_are_tokens_are_counted_on() -> None:
    letters = Vocabulary([None, b"a", b"b", b"abc"])
    constraint = Constraint(regex("(abc|ab)"), letters, [0])
    found = constraint([Row([], limit=9)], np.zeros((1, 4), np.float32))[0]
    assert (found > -np.inf).tolist() == [False, True, False, True]
    with pytest.raises(ArgumentError, match="characters that the tokenizer cannot write"):
        Constraint(regex("x"), letters, [0])


def test_a_constraint_holds_for_batches_and_beams() -> None:
    nyala.manual_seed(5)
    tiny = {"vocab_size": VOCABULARY.size, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = llama.build({**tiny, "initializer_range": 0.5, "max_position_embeddings": 99}).eval()
    constraint = Constraint(json_schema(PERSON), VOCABULARY, [END])
    for settings in ({}, {"num_beams": 3}, {"temperature": 2.0, "repetition_penalty": 1.5}):
        config = GenerationConfig(max_new_tokens=32, **settings)
        for made in generate(model, [[5, 6, 7], [8]], config, (END,), processors=[constraint]):
            assert is_person(json.loads(b"".join(VOCABULARY.texts[t] or b"" for t in made.tokens)))


def test_a_space_that_decoding_takes_off_may_come_first() -> None:
    constraint = Constraint(regex("ab"), Vocabulary([None, b" a", b"a", b"b"], strips_space=True), [0])
    found = constraint([Row([], limit=9)], np.zeros((1, 4), np.float32))[0]
    assert (found > -np.inf).tolist() == [False, True, True, False]


def test_what_tokens_of_a_tokenizer_stand_for() -> None:
    added = [{"id": 4, "content": "<s>", "special": True}, {"id": 5, "content": "\n\n", "special": False}]
    told = {"model": {"vocab": {"Ġa": 0, "Ã©": 1, "x": 2, "猫": 3}}, "decoder": {"type": "ByteLevel"}, "added_tokens": added}
    assert vocabulary._of_json(json.dumps(told)).texts == [b" a", "é".encode(), b"x", None, None, b"\n\n"]
    pieces = {"vocab": [["\u2581a", -1.0], ["<0x0A>", -2.0], ["é", -3.0]]}
    sequence = {"type": "Sequence", "decoders": [{"type": "Replace"}, {"type": "ByteFallback"}, {"type": "Strip"}]}
    found = vocabulary._of_json(json.dumps({"model": pieces, "decoder": sequence}))
    assert found.texts == [b" a", b"\n", "é".encode()] and found.strips_space
    with pytest.raises(ArgumentError, match="decoder WordPiece"):
        vocabulary._of_json(json.dumps({"model": pieces, "decoder": {"type": "WordPiece"}}))


FOLDERS = [GOLDENS / "tokenizers" / name for name in ("gpt2", "qwen2", "roberta", "unigram")]
FOLDERS += [GOLDENS / "sentencepiece" / name for name in ("albert", "deberta", "llama", "marian", "t5", "xlm")]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_texts_of_tokens_put_together_are_what_is_decoded(folder: Path) -> None:
    tokenizer = Tokenizer.from_files(folder_files(folder))
    known, random = Vocabulary.of(tokenizer), np.random.default_rng(3)
    numbers = [i for i, text in enumerate(known.texts) if text]
    assert len(numbers) > 0.7 * tokenizer.vocab_size
    for _ in range(100):
        ids = random.choice(numbers, random.integers(1, 7)).tolist()
        mine = b"".join(known.texts[i] or b"" for i in ids).decode("utf-8", "replace")
        mine = mine.removeprefix(" ") if known.strips_space else mine
        found = tokenizer.decode(ids)
        assert found == mine or "\ufffd" in found + mine  # bytes that are no character are shown in several ways


def test_depth_and_half_characters_are_no_trouble() -> None:
    deep: Any = {}
    for _ in range(3000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(ArgumentError, match="nested too deeply"):
        json_schema(deep)
    with pytest.raises(ArgumentError, match=r"no regular expression|nested too deeply"):
        regex("(" * 3000 + ")" * 3000)
    assert json.loads(draw(Constraint(json_schema({"const": "\ud800"}), VOCABULARY, [END]), 0)) == "\ud800"
