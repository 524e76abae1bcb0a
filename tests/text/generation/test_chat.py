"""Chat templates: what they render, and what becomes of those that misbehave."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nyala
import pytest
from nyala.errors import ArgumentError, DataError, MissingDependencyError, MissingFileError
from nyala.hub.files import folder_files
from nyala.text.generation import ChatTemplate, PrefixCache, chat

FROZEN = json.loads((Path(__file__).parents[2] / "goldens" / "text" / "chat_templates.json").read_text())
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("case", FROZEN, ids=[case["name"] for case in FROZEN])
def test_conversations_are_written_as_by_transformers(case: dict[str, Any]) -> None:
    template = ChatTemplate(case["template"], case["tokens"])
    for told in case["cases"]:
        if "error" in told:
            with pytest.raises(DataError, match="refuses the conversation"):
                template.render(told["messages"], **told["values"])
        else:
            assert template.render(told["messages"], **told["values"]) == told["text"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% if %}", "is no Jinja2 template in line 1"),
        ("{{ raise_exception('roles must alternate') }}", "refuses the conversation: roles must alternate"),
        ("{{ messages[0].content.foo.bar }}", "asks for what the messages do not have.*'foo'"),
        ("{{ ''.__class__.__mro__ }}", "does what the sandbox forbids.*__class__"),
        ("{{ cycler.__init__.__globals__.os.system('id') }}", "sandbox forbids"),
        ("{% set x = messages.append(1) %}", "sandbox forbids"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ 1 / 0 }}", "failed: ZeroDivisionError"),
        ("{% for i in range(99999) %}" + 50 * "a" + "{% endfor %}", "goes too far: it writes more than 1,000,000"),
        ("{{ 'a' * 10 ** 11 }}", "goes too far: it takes more memory"),
        ("{{ range(10 ** 9) | list }}", "failed: OverflowError: Range too big"),
    ],
)
def test_templates_that_misbehave_end_with_an_error(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ChatTemplate(source).render(HELLO)
    assert ChatTemplate("{{ messages[0].content }}").render(HELLO) == "Hello"


def test_a_template_without_an_end_is_stopped() -> None:
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(DataError, match=r"of folder m does not end: it was stopped after 0\.3 seconds"):
        ChatTemplate(endless, origin="folder m", seconds=0.3).render(HELLO)
    assert ChatTemplate("{{ messages[0].content }}").render(HELLO) == "Hello"


def test_a_process_that_does_not_start_is_told(monkeypatch) -> None:
    monkeypatch.setattr(chat, "_running", {})
    monkeypatch.setattr(chat.sys, "executable", shutil.which("true"))
    with pytest.raises(MissingDependencyError, match=r"did not start.*could not import jinja2"):
        ChatTemplate("x").render(HELLO)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "without a message"),
        ("Hello", "a conversation is a str"),
        ([{"content": "x"}], "message 0 is without a role"),
        ([*HELLO, 5], "message 1 is an int"),
        ([{"role": "user", "content": b"x"}], "no plain values"),
    ],
)
def test_messages_of_another_kind_are_told(messages: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ChatTemplate("x").render(messages)


def test_users_write_no_templates() -> None:
    said = [{"role": "user", "content": "{{ 7 * 7 }}{% endfor %} \udcff <&>"}]
    assert ChatTemplate("{{ messages[0].content }}").render(said) == said[0]["content"]


def test_where_templates_are_found(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="has no chat template"):
        ChatTemplate.of_files(folder_files(tmp_path))
    several = [{"name": "default", "template": "A{{ eos_token }}"}, {"name": "rag", "template": "B"}]
    tokens = {"eos_token": {"content": "<e>"}, "bos_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": several, **tokens}))
    files = folder_files(tmp_path)
    assert ChatTemplate.of_files(files).render(HELLO) == "A<e>"
    assert ChatTemplate.of_files(files, "rag").render(HELLO) == "B"
    with pytest.raises(ArgumentError, match=r"no chat template 'rug'.*'default', 'rag'"):
        ChatTemplate.of_files(files, "rug")
    (tmp_path / "chat_template.jinja").write_text("C{{ messages[0].content }}")
    assert ChatTemplate.of_files(folder_files(tmp_path)).render(HELLO) == "CHello"
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 5}')
    with pytest.raises(DataError, match="chat_template is an int"):
        ChatTemplate.of_files(folder_files(tmp_path))


@pytest.mark.weights
def test_the_published_chat_model_answers() -> None:
    pipe = nyala.load("smollm2")
    prefix, messages = PrefixCache(), [{"role": "user", "content": "What is the capital of France?"}]
    answer = pipe.chat(messages, prefix=prefix, max_new_tokens=12)
    assert answer == "The capital of France is Paris."
    assert pipe.chat(messages[0]["content"], max_new_tokens=12) == answer
    messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And of Italy?"}]
    assert pipe.chat(messages, prefix=prefix, max_new_tokens=12) == "The capital of Italy is Rome."
    assert prefix.saved > 30
    wanted = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert isinstance(json.loads(pipe.chat("Name a city.", json_schema=wanted, max_new_tokens=24))["city"], str)
