"""Conversations as text: the template that was published with a chat model, rendered in a process of its own.

Templates are programs in Jinja2 that come with weights from anywhere. They run in Jinja2's sandbox, and that in a process with
limits on time, memory and output, so that one which misbehaves ends with an error and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ...core.errors import ArgumentError, DataError, MissingDependencyError, MissingFileError, kind_of

if TYPE_CHECKING:
    from ...hub.files import Files

_MEMORY = 1 << 30
_START = 60.0  # seconds that a process may take to start
_LONGEST = 200_000  # characters of a template itself
_SAID = {
    "syntax": "is no Jinja2 template",
    "security": "does what the sandbox forbids",
    "refused": "refuses the conversation",
    "undefined": "asks for what the messages do not have",
    "output": "goes too far",
    "memory": "goes too far",
    "failed": "failed",
}


class ChatTemplate:
    """Turns messages into the text that a chat model was trained on.

    Args:
        source: the template.
        tokens: what templates call by name: ``bos_token``, ``eos_token``, ...
        origin: where it came from, for messages.
        seconds: it may take, and not more.
        characters: it may write.

    Example:
        >>> t = ChatTemplate("{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ end }}{% endfor %}", {"end": "!"})
        >>> t.render([{"role": "user", "content": "Hello"}], add_generation_prompt=False)
        '<user>Hello!'
    """

    def __init__(
        self,
        source: str,
        tokens: Mapping[str, str] | None = None,
        origin: str = "",
        seconds: float = 5.0,
        characters: int = 1_000_000,
    ) -> None:
        if len(source) > _LONGEST:
            raise DataError(f"a chat template of {len(source):,} characters", why=origin, fix="check the file it came from")
        self.source, self.tokens, self.origin = source, dict(tokens or {}), origin
        self.seconds, self.characters = seconds, characters

    @staticmethod
    def of_files(files: Files, name: str | None = None) -> ChatTemplate:
        """The template of a model's files: ``chat_template.jinja``, ``tokenizer_config.json``, or a GGUF file's metadata.

        Args:
            files: of the model.
            name: which one, where there are several; "default" unless given.

        Raises:
            MissingFileError: there is none.
            DataError: a file is malformed.
            ArgumentError: none of that name.
        """
        config = files.read_json("tokenizer_config.json") if "tokenizer_config.json" in files else {}
        found: Any = config.get("chat_template")
        if "chat_template.jinja" in files:
            found = files["chat_template.jinja"].read_text(encoding="utf-8")
        tokens = {key: _content(value) for key, value in config.items() if key.endswith("_token") and value is not None}
        if found is None and any(n.endswith(".gguf") for n in files):
            found, tokens = _in_gguf(files)
        if found is None:
            raise MissingFileError(
                f"{files.origin} has no chat template",
                why="without it nobody knows how messages were written in training; it may not be a chat model at all",
                fix="use `nyala generate`, or a chat model (its name often ends in -Instruct or -it)",
            )
        return ChatTemplate(_named(found, name, files.origin), tokens, files.origin)

    def render(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True, **values: Any) -> str:
        """The conversation as text.

        Args:
            messages: each with ``role`` ("system", "user", "assistant") and ``content``.
            add_generation_prompt: whether what begins the model's answer stands at the end.
            **values: further ones that the template knows, such as ``tools`` or ``enable_thinking``.

        Raises:
            DataError: messages of another kind; or the template fails, refuses them, or does not end.
            MissingDependencyError: Jinja2 is not installed.
        """
        usual = {
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        given = {**self.tokens, **usual, "messages": _checked(messages), **values}
        try:
            asked = json.dumps({"template": self.source, "values": given})
        except (TypeError, ValueError) as error:
            raise DataError(
                f"messages that are no plain values: {error}", fix="pass texts, numbers, lists and mappings"
            ) from error
        with _lock:
            answer = _worker(self.characters).ask(asked, self.seconds)
        if answer is None:
            raise self._error("does not end", f"it was stopped after {self.seconds:g} seconds, or took all memory it may have")
        if "text" not in answer:
            line = f" in line {answer['line']}" if "line" in answer else ""
            raise self._error(f"{_SAID[answer['kind']]}{line}", answer["error"])
        return str(answer["text"])

    def _error(self, what: str, why: str) -> DataError:
        owner = f"the chat template of {self.origin}" if self.origin else "the chat template"
        fix = "change the messages as it says" if "messages" in what or "refuses" in what else "pass another with chat_template="
        return DataError(f"{owner} {what}", why=why, fix=fix)


def _content(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token)


def _in_gguf(files: Files) -> tuple[str | None, dict[str, str]]:
    from ...core.checkpoint import read_gguf

    metadata = read_gguf(files[files.weights()]).metadata
    names, tokens = metadata.get("tokenizer.ggml.tokens", []), {}
    for name in ("bos", "eos", "unknown", "padding"):
        number = metadata.get(f"tokenizer.ggml.{name}_token_id")
        if isinstance(number, int) and 0 <= number < len(names):
            tokens[f"{ {'unknown': 'unk', 'padding': 'pad'}.get(name, name) }_token"] = names[number]
    found = metadata.get("tokenizer.chat_template")
    return (found if isinstance(found, str) else None), tokens


def _named(found: Any, name: str | None, origin: str) -> str:
    """One of several templates; tokenizer_config.json may hold a list of them."""
    if isinstance(found, list):
        found = {str(t.get("name")): t.get("template") for t in found if isinstance(t, Mapping)}
    if isinstance(found, str):
        return found
    if not isinstance(found, Mapping) or not found:
        raise DataError(f"{origin}: chat_template is {kind_of(found)}", fix="restore tokenizer_config.json")
    wanted = name or ("default" if "default" in found else next(iter(found)))
    if not isinstance(found.get(wanted), str):
        raise ArgumentError(f"{origin} has no chat template {wanted!r}", fix=f"it has {', '.join(map(repr, found))}")
    return str(found[wanted])


def _checked(messages: Any) -> list[dict[str, Any]]:
    if isinstance(messages, (str, Mapping)) or not isinstance(messages, Sequence):
        raise DataError(f"a conversation is {kind_of(messages)}", fix='pass a list of {"role": "user", "content": TEXT}')
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise DataError(
                f"message {i} is {kind_of(message) if not isinstance(message, Mapping) else 'without a role'}",
                fix='write {"role": "user", "content": TEXT}',
            )
    if not messages:
        raise DataError("a conversation without a message", fix="pass one at least")
    return [dict(message) for message in messages]


# ---- the process --------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_running: dict[str, Any] = {}


def _worker(characters: int) -> _Worker:
    """The process that runs, or a new one; its memory is limited, and its time from one question to the next."""
    found = _running.get("worker")
    if found is None or found.characters != characters or not found.alive():
        if found is not None:
            found.end()
        found = _running["worker"] = _Worker(characters)
    return found  # type: ignore[no-any-return]


class _Worker:
    """A process of ``template_worker``."""

    def __init__(self, characters: int) -> None:
        import importlib.util

        found = [importlib.util.find_spec(name) for name in ("jinja2", "markupsafe")]
        if None in found:
            raise MissingDependencyError("chat templates need jinja2", fix="pip install 'jinja2>=3.1.6'")
        places = [str(Path(str(spec.origin)).parents[1]) for spec in found if spec is not None]
        self.characters = characters
        script = Path(__file__).with_name("template_worker.py")
        command = [sys.executable, "-I", str(script), *places]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
        )
        self.answers: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=_read, args=(self.process.stdout, self.answers), daemon=True).start()
        weakref.finalize(self, _end, self.process)
        limits = {"output": characters, "memory": _MEMORY, "processor": 600}
        if self.ask(json.dumps({"limits": limits}), _START) is None:
            raise MissingDependencyError(
                "the process that renders chat templates did not start",
                why=f"{sys.executable} could not import jinja2, or may start no processes",
                fix="pip install 'jinja2>=3.1.6' for this Python",
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, question: str, seconds: float) -> dict[str, Any] | None:
        """The answer; None where there is none in time, and the process is ended."""
        self._write(question)
        try:
            line = self.answers.get(timeout=seconds)  # an empty one: it has ended
        except Empty:
            line = ""
        if not line:
            self.end()
            return None
        return dict(json.loads(line))

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: no answer will come
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def end(self) -> None:
        _end(self.process)


def _read(stdout: Any, answers: SimpleQueue[str]) -> None:
    """Hands lines on as they come; an empty one when the process has ended."""
    for line in stdout:
        answers.put(line)
    answers.put("")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
