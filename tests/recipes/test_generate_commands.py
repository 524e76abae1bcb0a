"""``nyala generate`` and ``nyala chat`` as they are typed, with a tiny chat model."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import nyala
import pytest
import tiny_chat
from nyala.recipes.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_chat.write(tmp_path_factory.mktemp("chat"))


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_one_text_is_written_as_it_is_made(model, capsys):
    assert main(["generate", model, "A cat", "--max-new-tokens", "9"]) == 0
    told = capsys.readouterr()
    assert told.out == nyala.load(model)("A cat", max_new_tokens=9) + "\n"
    assert "tokens in" in told.err and "a second" in told.err


def test_options_reach_the_model(model, capsys):
    options = {"temperature": 0.9, "top_k": 20, "top_p": 0.9, "seed": 4, "repetition_penalty": 1.2, "max_new_tokens": 12}
    given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["generate", model, "A cat", *given, "--quiet"]) == 0
    told = capsys.readouterr()
    assert told.out == nyala.load(model)("A cat", **options) + "\n" and told.err == ""


@pytest.mark.parametrize("kind", ["int8", "int4", "bfloat16"])
def test_weights_in_fewer_bits(model, capsys, kind):
    assert main(["generate", model, "A cat", "--max-new-tokens", "9", "--quantize", kind, "--quiet"]) == 0
    pipeline = nyala.load(model)
    nyala.nn.quantize(pipeline.model, kind)
    assert capsys.readouterr().out == pipeline("A cat", max_new_tokens=9) + "\n"


@pytest.mark.usefixtures("cuda")
def test_steps_of_a_gpu_as_graphs(model, capsys):
    assert main(["generate", model, "A cat", "--max-new-tokens", "9", "--device", "cuda", "--compile", "--quiet"]) == 0
    assert capsys.readouterr().out == nyala.load(model)("A cat", max_new_tokens=9) + "\n"


def test_several_texts_from_a_file_and_json(model, capsys, tmp_path):
    (tmp_path / "texts.txt").write_text("one\n\ntwo\n")
    assert main(["generate", model, "--file", str(tmp_path / "texts.txt"), "--max-new-tokens", "4", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [r["input"] for r in found["results"]] == ["one", "two"] and found["results"][0]["finish"] == "length"
    assert main(["generate", model, "one", "two", "--max-new-tokens", "4", "--count", "2", "--num-beams", "2", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert out.count("> ") == 2 and out.count("(score ") == 4 and "[2] " in out


def test_probabilities_and_constraints(model, capsys):
    assert main(["generate", model, "Yes? ", "--regex", "yes|no", "--logprobs", "2", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] in ("yes", "no") and lines[1].strip().startswith(repr(lines[0][0])) and " %" in lines[1]
    assert main(["generate", model, "x", "--json-schema", '{"type": "array", "maxItems": 1}', "--quiet"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_standard_input_and_stop(model, capsys, monkeypatch):
    typed(monkeypatch, "A cat\n")
    assert main(["generate", model, "-", "--max-new-tokens", "9", "--quiet"]) == 0
    assert capsys.readouterr().out == nyala.load(model)("A cat", max_new_tokens=9) + "\n"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no text to go on from"),
        (["a", "--regex", "(a"], "no regular expression"),
        (["a", "--top-p", "3"], "above 0, and 1 at most"),
        (["a", "--json-schema", "nowhere.json"], "there is no file nowhere.json"),
        (["--file", "nowhere.txt"], "there is no file nowhere.txt"),
        (["a" * 99], "too_long='cut'"),
        (["a", "--num-beams", "2", "--temperature", "1"], "draws nothing"),
    ],
)
def test_what_cannot_be_done_is_told(model, capsys, given, message):
    assert main(["generate", model, *given]) == 2
    assert message in capsys.readouterr().err


def test_a_model_that_writes_nothing(capsys):
    folder = str(Path(__file__).parents[1] / "goldens" / "text" / "bert_classifier")
    for command in (["generate", folder, "a"], ["chat", folder, "-m", "a"]):
        assert main(command) == 2
        assert "does not write text" in capsys.readouterr().err


# ---- conversations


def test_messages_are_answered_one_after_the_other(model, capsys):
    assert main(["chat", model, "-m", "Hi", "-m", "More", "--max-new-tokens", "6", "--quiet"]) == 0
    pipe, talk = nyala.load(model), [{"role": "user", "content": "Hi"}]
    first = pipe.chat(talk, max_new_tokens=6)
    talk += [{"role": "assistant", "content": first}, {"role": "user", "content": "More"}]
    assert capsys.readouterr().out == f"{first}\n{pipe.chat(talk, max_new_tokens=6)}\n"


def test_lines_of_a_pipe_are_turns(model, capsys, monkeypatch, tmp_path):
    saved = tmp_path / "talk.json"
    typed(monkeypatch, f"Hi\n\n/undo\n/undo\n/system Be\nHo\n/save {saved}\n/help\n/quit\nnever said\n")
    assert main(["chat", model, "--max-new-tokens", "6", "--system", "Old", "--json"]) == 0
    told = capsys.readouterr()
    turns = [json.loads(line) for line in told.out.splitlines()]
    assert [t["message"] for t in turns] == ["Hi", "Ho"]
    assert json.loads(saved.read_text()) == [
        {"role": "system", "content": "Be"},
        {"role": "user", "content": "Ho"},
        {"role": "assistant", "content": turns[1]["answer"]},
    ]
    assert all(said in told.err for said in ("taken back", "nothing to take back", "begun anew", "/reset"))


def test_a_long_conversation_forgets_its_beginning(model, capsys):
    said = [part for i in range(5) for part in ("-m", f"{i}" * 12)]
    assert main(["chat", model, *said, "--max-new-tokens", "8"]) == 0
    told = capsys.readouterr()
    assert told.out.count("\n") >= 5 and told.err.count("its beginning is forgotten") == 1


def test_what_goes_wrong_in_a_conversation(model, capsys, monkeypatch, tmp_path):
    typed(monkeypatch, "/udno\n")
    assert main(["chat", model]) == 2
    assert "did you mean '/undo'" in capsys.readouterr().err
    (tmp_path / "bad.jinja").write_text("{{ raise_exception('no') }}")
    assert main(["chat", model, "-m", "Hi", "--template", str(tmp_path / "bad.jinja")]) == 2
    assert "refuses the conversation: no" in capsys.readouterr().err
    bare = tmp_path / "bare"
    bare.mkdir()
    assert main(["chat", tiny_chat.write(bare, template=None), "-m", "Hi"]) == 2
    assert "has no chat template" in capsys.readouterr().err
    assert main(["chat", model, "-m", "Hi", "--template", "nowhere.jinja"]) == 2
    assert "there is no file nowhere.jinja" in capsys.readouterr().err
