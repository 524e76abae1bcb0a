"""The line that says that kernels are compiled: once, on the first run only, and not to those who want quiet."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nyala.core import progress


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(progress, "_said", False)
    monkeypatch.delenv("NYALA_PROGRESS", raising=False)
    yield
    progress.tell_through(None)
    progress.set_progress(None)


@pytest.fixture
def told() -> list[str]:
    lines: list[str] = []
    progress.tell_through(lines.append)
    return lines


def test_it_is_said_once(told: list[str]) -> None:
    progress.say_kernels_are_compiled()
    progress.say_kernels_are_compiled()
    assert told == [progress.PREPARING]


def test_quiet_and_the_variable_silence_it(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    progress.set_progress(False)
    progress.say_kernels_are_compiled()
    progress.set_progress(None)
    monkeypatch.setattr(progress, "_said", False)
    monkeypatch.setenv("NYALA_PROGRESS", "0")
    progress.say_kernels_are_compiled()
    assert told == []


@pytest.mark.parametrize("terminal", [True, False])
def test_a_library_speaks_on_a_terminal_only(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    progress.say_kernels_are_compiled()
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (f"{progress.PREPARING}\n" if terminal else "")


def _double(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("doubling", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.double


def test_it_is_said_when_no_cache_holds_a_kernel(tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "doubling.py"
    source.write_text(
        "from nyala.core.kernels.cpu.running.compiled import njit\n\n@njit(cache=True)\ndef double(x):\n    return 2 * x\n"
    )
    assert _double(source)(21) == 42
    assert told == [progress.PREPARING]
    monkeypatch.setattr(progress, "_said", False)
    again = _double(source)
    assert again(21) == 42
    assert sum(again.stats.cache_hits.values()) == 1
    assert told == [progress.PREPARING], "the second time it comes from the cache"


@pytest.mark.parametrize(("quiet", "lines"), [([], [progress.PREPARING]), (["--quiet"], [])])
def test_a_first_prediction_says_it(quiet: list[str], lines: list[str]) -> None:
    """On the command line it goes to standard error, terminal or not; --quiet keeps it back."""
    script = (
        "import sys, nyala\nfrom nyala.core.progress import say_kernels_are_compiled\nfrom nyala.recipes import cli\n"
        "from nyala.recipes.commands import predict\n"
        "def execute(args):\n    say_kernels_are_compiled()\n"
        "predict.execute = execute\nsys.exit(cli.main(['predict', 'a model', 'an input', *sys.argv[1:]]))\n"
    )
    command = [sys.executable, "-c", script, *quiet]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == lines
    assert done.stdout == ""
