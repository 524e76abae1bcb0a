"""The command line: ``nyala list | show | pull | predict | run | resume | verify | doctor``.

Only argparse is imported here: each command imports what it needs when it runs, so ``nyala --help`` answers at once.
Exit codes: 0 all is well, 1 the world failed (network, disk, a damaged file), 2 the user can mend it, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..core.errors import NyalaError, did_you_mean
from ..core.progress import set_progress, tell_through
from .commands import COMMANDS
from .commands.shared import console

_EPILOG = """examples:
  nyala list                                   models and recipes
  nyala run vision/fashion-lite0               fine-tune, from weights to report
  nyala run text/spam-minilm optim.lr=5e-5     the same with another learning rate
  nyala resume runs/fashion-lite0-1            go on after an interruption
  nyala verify runs/fashion-lite0-1            repeat it and compare every bit
  nyala predict runs/fashion-lite0-1 shoe.png  use the result
  nyala chat                                   talk with a small language model

`nyala COMMAND --help` explains one command."""


class _Parser(argparse.ArgumentParser):
    """argparse's parser, with the nearest command for one that does not exist."""

    def error(self, message: str) -> NoReturn:
        known = [command.NAME for command in COMMANDS]
        wrong = re.search(r"COMMAND: invalid choice: '([^']*)'", message)
        if wrong:
            message = f"no command is called {wrong[1]!r}; {did_you_mean(wrong[1], known) or 'there are ' + ', '.join(known)}"
        super().error(message)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line.

    Example:
        >>> build_parser().parse_args(["run", "vision/fashion-lite0", "seed=1"]).overrides
        ['seed=1']
    """
    from .. import __version__

    parser = _Parser(
        prog="nyala",
        description="Fine-tune pretrained models, with proof.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nyala {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.HELP[0].upper() + command.HELP[1:] + ".",
            epilog=f"examples:\n{command.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.add_argument(
            "--json", action="store_true", help="print one JSON object on standard output; progress goes to standard error"
        )
        sub.set_defaults(execute=command.execute)
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; options may stand between the members of a list, which argparse alone does not allow.

    Example:
        >>> parse(["run", "text/spam-minilm", "seed=1", "--quiet", "optim.lr=0.1"]).overrides
        ['seed=1', 'optim.lr=0.1']
    """
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    members = next((getattr(args, name) for name in ("overrides", "names", "inputs") if hasattr(args, name)), None)
    strange = [text for text in rest if members is None or text.startswith("-")]
    if strange:
        parser.error(f"unrecognized arguments: {' '.join(strange)}")
    if members is not None:
        members += rest
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code.

    Args:
        argv: the arguments after the program's name; ``sys.argv`` by default.
    """
    given = sys.argv[1:] if argv is None else argv
    if not given:
        build_parser().print_help(sys.stderr)
        return 2
    console.accept_any_character()
    args = parse(given)
    if getattr(args, "quiet", False):
        set_progress(False)  # downloads and the preparing of kernels too
    tell_through(console.say)
    try:
        return int(args.execute(args) or 0)
    except NyalaError as error:
        if os.environ.get("NYALA_TRACEBACK") == "1":
            raise
        way_on = console.resume_hint() if error.exit_code == 1 and console.has_begun() else ""
        console.complain(f"nyala {args.command}: {error}{way_on}")
        return error.exit_code
    except KeyboardInterrupt:
        console.say(f"nyala {args.command}: interrupted.{console.resume_hint()}")
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `nyala list | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        set_progress(None)
        tell_through(None)
