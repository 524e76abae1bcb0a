"""``nyala chat``: a conversation with a chat model, on the terminal or through a pipe."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from ...core.errors import ArgumentError, DataError, NyalaError, did_you_mean
from .shared import console, decoding

NAME = "chat"
HELP = "talk with a chat model"
EXAMPLES = """  nyala chat                                         with SmolLM2
  nyala chat smollm2 --system "You answer in one sentence." --temperature 0.3
  nyala chat smollm2 -m "What is the capital of France?"
  printf 'Hello!\\nAnd in French?\\n' | nyala chat       a line is a turn
  nyala chat -m "A city as JSON" --json-schema city.json"""
_LENGTH = 512
_COMMANDS = {
    "/help": "these lines",
    "/system TEXT": "what the model is told before all (begins anew)",
    "/reset": "begin anew",
    "/undo": "take the last question and its answer back",
    "/save FILE": "write the conversation as JSON",
    "/quit": "end; Ctrl-D too. Ctrl-C ends an answer",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="smollm2", help="a chat model: a catalogue name, a hub id, a folder (smollm2)")
    parser.add_argument("-m", "--message", action="append", metavar="TEXT", help="say this, print the answer and end; repeatable")
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before all")
    parser.add_argument("--template", metavar="FILE", help="a Jinja2 template in place of the published one")
    decoding.add_options(parser, _LENGTH)


def execute(args: argparse.Namespace) -> int:
    settings = {"max_new_tokens": _LENGTH, **decoding.settings(args)}
    pipeline = _pipeline(args)
    talk = Talk(pipeline, settings, args.system)
    interactive = not args.message and sys.stdin.isatty()
    if interactive and not args.quiet:
        console.say(f"{pipeline.name}; /help shows what else can be said, /quit ends")
    failed = 0
    for said in args.message or _lines(interactive):
        try:
            failed = _turn(talk, said, args, interactive)
        except NyalaError as error:
            if not interactive:
                raise
            console.complain(str(error))
        except EOFError:
            break
    return failed


def _pipeline(args: argparse.Namespace) -> Any:
    from dataclasses import replace

    pipeline = decoding.loaded(args)
    if not hasattr(pipeline, "chat_stream"):
        raise ArgumentError(f"{args.name} answers no messages", fix="use `nyala generate`, or a chat model such as smollm2")
    if args.template:
        pipeline = replace(pipeline, chat_template=decoding.text_of(args.template))
    pipeline.template.render([{"role": "user", "content": "?"}])  # a model without one is known before the first question
    return pipeline


def _lines(interactive: bool) -> Iterator[str]:
    """What the user says, a line at a time."""
    if not interactive:
        try:
            yield from (line.rstrip("\n") for line in sys.stdin)
        except UnicodeDecodeError as error:
            raise DataError("standard input is not UTF-8", why=str(error.reason), fix="convert it") from error
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - input() then knows arrow keys and earlier lines
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return


class Talk:
    """A conversation as it goes on.

    Args:
        pipeline: of the chat model.
        settings: how answers are made.
        system: what the model is told before all.

    Attributes:
        messages: what was said.
    """

    def __init__(self, pipeline: Any, settings: dict[str, Any], system: str | None = None) -> None:
        from ...text.generation import PrefixCache

        self.pipeline, self.settings = pipeline, {**settings, "prefix": PrefixCache()}
        self.system, self.messages = system, self._beginning(system)

    @staticmethod
    def _beginning(system: str | None) -> list[dict[str, str]]:
        return [] if system is None else [{"role": "system", "content": system}]

    def reset(self, system: str | None) -> None:
        """Begin anew."""
        self.system, self.messages = system, self._beginning(system)

    def undo(self) -> bool:
        """Take the last question and its answer back; False where there is none."""
        last = max((i for i, m in enumerate(self.messages) if m["role"] == "user"), default=None)
        if last is None:
            return False
        del self.messages[last:]
        return True

    def answer(self, said: str) -> Iterator[str]:
        """The answer, piece by piece; it stays in the conversation, also where nobody waits for its end."""
        self.messages.append({"role": "user", "content": said})
        pieces: list[str] = []
        try:
            self._make_room()
            for piece in self.pipeline.chat_stream(self.messages, **self.settings):
                pieces.append(piece)
                yield piece
        except NyalaError:
            self.messages.pop()
            raise
        finally:
            if self.messages and self.messages[-1]["role"] == "user" and pieces:
                self.messages.append({"role": "assistant", "content": "".join(pieces)})

    def _make_room(self) -> None:
        """Forget the oldest turns where the conversation leaves no room for an answer."""
        from ...core.progress import notice
        from ...text.generation.steps import positions_of

        longest = positions_of(self.pipeline.model.config)
        first = 1 if self.system is not None else 0
        room = min(self.settings["max_new_tokens"], longest // 2)
        forgotten = 0
        while len(self.messages) > first + 1 and len(self.pipeline.chat_ids(self.messages)) + room > longest:
            del self.messages[first : first + 2]
            forgotten += 1
        if forgotten:
            notice(
                f"the conversation is longer than the {longest:,} tokens that the model reads: its beginning is forgotten",
                "forgotten",
            )


def _turn(talk: Talk, said: str, args: argparse.Namespace, interactive: bool) -> int:
    if not said.strip():
        return 0
    if said.startswith("/") and not args.message:
        return _command(talk, said)
    clock, pieces = decoding.Clock(), []
    answer = talk.answer(said)
    try:
        for piece in answer:
            pieces.append(piece)
            if not args.json:
                print(piece, end="", flush=True)
    except KeyboardInterrupt:
        answer.close()  # type: ignore[attr-defined]
        if not interactive:
            raise
    if args.json:
        console.emit({"model": talk.pipeline.name, "message": said, "answer": "".join(pieces)})
    else:
        print(flush=True)
    if not args.quiet and sys.stderr.isatty():
        console.say(clock.said(decoding.count(talk.pipeline, "".join(pieces))))
    return 0


def _command(talk: Talk, said: str) -> int:
    word, _, rest = said.partition(" ")
    if word == "/quit":
        raise EOFError
    if word in ("/reset", "/system"):
        talk.reset(rest.strip() or None if word == "/system" else talk.system)
        console.say("begun anew")
    elif word == "/undo":
        console.say("taken back" if talk.undo() else "there is nothing to take back")
    elif word == "/save":
        _save(talk, rest.strip())
    elif word == "/help":
        console.say("\n".join(f"{name:<13} {what}" for name, what in _COMMANDS.items()))
    else:
        known = [name.split()[0] for name in _COMMANDS]
        raise ArgumentError(f"there is no {word}", fix=did_you_mean(word, known) or f"there are {', '.join(known)}")
    return 0


def _save(talk: Talk, path: str) -> None:
    from ...core.atomic import atomic_write

    if not path:
        raise ArgumentError("/save without a file", fix="/save talk.json")
    atomic_write(path, json.dumps(talk.messages, indent=1, ensure_ascii=False) + "\n")
    console.say(f"wrote {path}")
