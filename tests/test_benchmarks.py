"""The logic of ``tests/benchmarks``: which rows, ratios, table, JSON, errors. No timing is asserted."""

from __future__ import annotations

import doctest
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


figures, machine, table, turns, worker = (_module(n) for n in ("figures", "machine", "table", "turns", "worker"))
cli = _module("__main__")

# A library that stands in for torch and nyala in a worker of its own: it answers as worker.py does, with times by name.
_STAND_IN = """
import json, sys
library, row, variant = sys.argv[1:4]
print(json.dumps({"ready": 0.0}), flush=True)
speed = {"": 2.0, "eager contiguous": 5.0, "eager channels_last": 4.0, "compile contiguous": 3.0, "compile channels_last": 6.0}
for number, line in enumerate(sys.stdin):
    if row == "breaks" and library == "nyala":
        sys.exit("ValueError: it broke")
    print(json.dumps({"times": [speed[variant], speed[variant]]}), flush=True)
print(json.dumps({"memory": 200 if library == "nyala" else 300}), flush=True)
"""


@pytest.fixture
def contest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    script = tmp_path / "stand_in.py"
    script.write_text(_STAND_IN)
    monkeypatch.setattr(turns, "WORKER", script)
    monkeypatch.setattr(turns, "REST", 0.0)
    return turns.Contest(sys.executable, sys.executable, seconds=0.1, turns=3, folder=tmp_path)


@pytest.mark.parametrize("name", ["figures", "table", "variant"])
def test_examples_run(name: str) -> None:
    failed, tried = doctest.testmod(_module(name))
    assert (failed, tried > 0) == (0, True)


def test_without_patterns_all_workloads_run() -> None:
    names = [row.name for row in table.select(None)]
    assert names == [row.name for row in table.ROWS if not row.name.startswith("op/")]
    assert {"resnet18/infer 1", "resnet50/infer 8", "lite0/train 16", "minilm/train 32x128", "bert-base/infer 8x128"} <= {*names}


def test_names_are_unique() -> None:
    assert len({row.name for row in table.ROWS}) == len(table.ROWS)


def test_patterns_are_separated_by_commas_and_keep_the_order_of_the_table() -> None:
    chosen = [row.name for row in table.select("import, op/add*,minilm/infer 1x16")]
    assert chosen == ["minilm/infer 1x16", "import", "op/add 8 (with grad)", "op/add 1M"]


@pytest.mark.parametrize("patterns", ["nothing*", "import,nothing", "", ","])
def test_a_pattern_that_no_row_fits_is_refused(patterns: str) -> None:
    with pytest.raises(ValueError, match=r"no row fits .*: there are 'resnet18/infer 1'"):
        table.select(patterns)


def test_every_row_has_its_function_in_both_libraries() -> None:
    here = Path(table.__file__).parent
    sources = {name: (here / f"{name}.py").read_text() for name in ("rows_nyala", "rows_torch", "processes")}
    for row in table.ROWS:
        places = ["processes"] if row.process else ["rows_nyala", "rows_torch"]
        for place in places:
            text = sources[place]
            assert f"def {row.make}(" in text or f"import {row.make} as {row.make}" in text, f"{place} cannot run {row.name}"
    from benchmarks import ops_nyala

    listed = [row.arguments[0] for row in table.ROWS if row.make == "operation"]
    assert listed == list(ops_nyala.OPERATIONS)


def test_ratios_are_taken_turn_by_turn() -> None:
    # the machine halves its speed in the last turn: the ratio does not notice, medians over all calls would
    assert figures.ratio_and_spread([[3.0], [3.0], [6.0]], [[2.0], [2.0], [4.0]]) == (1.5, 0.0)


def test_a_row_is_timed_in_all_variants_and_keeps_the_faster_layout(contest: Any) -> None:
    row = figures.figures("r", contest.run(table.Row("r", "make", pictures=True)))
    assert (row["row"], row["eager"], row["compile"], row["memory"]) == ("r", 2.0, 1.5, 1.5)
    assert (row["eager_layout"], row["compile_layout"]) == ("channels_last", "contiguous")
    assert (row["nyala_ms"], row["eager_ms"], row["compile_ms"]) == (2000.0, 4000.0, 3000.0)
    assert (row["eager_spread"], row["eager_best"]) == (0.0, 2.0)


def test_only_convolutional_models_are_tried_in_channels_last(contest: Any) -> None:
    found = contest.run(table.Row("r", "make"))
    assert found["eager"].variant.layout == "contiguous"
    assert [len(turn) for turn in found["eager"].turns] == [2, 2, 2]


def test_what_torch_cannot_compile_is_null(contest: Any) -> None:
    row = figures.figures("r", contest.run(table.Row("r", "make", compiles=False)))
    assert row["compile"] is None
    assert row["eager"] == 2.5


def test_compiling_can_be_left_out(contest: Any) -> None:
    contest.compiled = False
    row = figures.figures("r", contest.run(table.Row("r", "make")))
    assert (row["eager"], row["compile"]) == (2.5, None)


def test_alone_there_are_no_ratios(contest: Any) -> None:
    contest.torch = None
    row = figures.figures("r", contest.run(table.Row("r", "make")))
    assert (row["eager"], row["compile"], row["memory"], row["nyala_ms"]) == (None, None, None, 2000.0)


def test_a_failing_row_says_why_and_leaves_the_rest(contest: Any) -> None:
    row = figures.figures("breaks", contest.run(table.Row("breaks", "make")))
    assert (row["eager"], row["compile"], row["memory"]) == (None, None, None)
    assert row["eager_ms"] == 5000.0
    assert figures.notes(row) == ["breaks: nyala failed: ValueError: it broke"]


def test_means_leave_out_what_is_null() -> None:
    rows = [{"eager": 2.0, "compile": None, "memory": None}, {"eager": 8.0, "compile": 3.0, "memory": None}]
    assert figures.means(rows) == pytest.approx({"eager": 4.0, "compile": 3.0})


def test_the_table_has_a_cell_for_every_heading() -> None:
    row = {"row": "r", "eager": 2.0, "compile": None, "memory": 1.5, "nyala_ms": 1.0, "eager_ms": 2.0}
    lines = figures.markdown([row], [("processor", "a good one")]).splitlines()
    heading, rule, cells, mean = (line.count("|") for line in lines[2:6])
    assert heading == rule == cells == mean
    assert lines[0] == "- processor: a good one"
    assert lines[4].startswith("| r | 1.000 | 2.000 | - | 2.00 |")
    assert lines[5].startswith("| geometric mean | - | - | - | 2.00 |")
    assert len(figures.heading()) == len(figures.line(figures.cells(row)))


@pytest.mark.usefixtures("contest")
def test_the_command_saves_figures_and_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.machine, "find_torch", lambda named: (sys.executable, {"torch": f"of {named}"}))
    out = tmp_path / "out.json"
    arguments = ["--against", "torch", "--turns", "2", "--rows", "import,minilm/infer 1x16", "--json", str(out)]
    assert cli.main(arguments) == 0
    rows = json.loads(out.read_text())
    assert [(r["row"], r["eager"], r["compile"], r["memory"]) for r in rows] == [
        ("minilm/infer 1x16", 2.5, 1.5, 1.5),
        ("import", 2.5, None, 1.5),
    ]
    saved, shown = out.with_suffix(".md").read_text(), capsys.readouterr().out
    assert "| geometric mean |" in saved
    assert "torch's side: torch of None" in saved
    assert "geometric mean" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "nothing"], "no row fits 'nothing'"),
        (["--seconds", "0"], "both must be above 0"),
        (["--turns", "0"], "both must be above 0"),
        (["--resume"], "name it with --json"),
        (["--json", "/nowhere/at/all.json"], "there is no folder /nowhere/at"),
        (["--against", "torch", "--torch-python", "/nowhere/python"], "/nowhere/python: No such file or directory"),
        (["--against", "/nowhere/python"], "Remedy: name one with --torch-python PATH"),
    ],
)
def test_mistakes_are_named_before_anything_is_timed(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_an_interrupted_run_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: Any, row: Any) -> dict[str, Any]:
        if row.name == "import":
            raise KeyboardInterrupt
        return {"nyala": turns.Timed([[2.0]], 10)}

    monkeypatch.setattr(turns.Contest, "run", run)
    out = tmp_path / "out.json"
    assert cli.main(["--rows", "import,minilm/infer 1x16", "--json", str(out)]) == 130
    assert [row["row"] for row in json.loads(out.read_text())] == ["minilm/infer 1x16"]
    assert "interrupted after 1 of 2 rows" in capsys.readouterr().err


def test_a_run_goes_on_with_the_rows_that_there_was_no_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, timed, broken = [0.0], [], {"minilm/infer 1x16"}

    def run(_: Any, row: Any) -> dict[str, Any]:
        clock[0] += 100
        timed.append(row.name)
        if row.name in broken:
            return {"nyala": turns.Timed(failure="it broke")}
        return {"nyala": turns.Timed([[2.0]], 10)}

    monkeypatch.setattr(turns.Contest, "run", run)
    monkeypatch.setattr(cli.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(cli.machine, "describe", lambda _: [("date", str(clock[0])), ("commit", "abc"), ("processor", "one")])
    out = tmp_path / "out.json"
    names = [row.name for row in table.select("minilm/infer*,import", table.ROWS)]
    command = ["--rows", "minilm/infer*,import", "--json", str(out), "--resume", "--within", "250"]
    assert cli.main(command) == 3
    assert timed == names[:2]
    assert f"{len(names) - 2} of {len(names)} rows are left" in capsys.readouterr().err
    while (status := cli.main(command)) == 3:
        pass
    assert status == 1
    broken.clear()
    assert cli.main(command) == 0
    assert [row["row"] for row in json.loads(out.read_text())] == names
    assert sorted(timed[:-1]) == sorted([*names, names[0]]) and timed[-1] == names[0]  # what failed is tried again, last
    assert cli.main(command) == 0 and len(timed) == len(names) + 2
    monkeypatch.setattr(cli.machine, "describe", lambda _: [("commit", "another")])
    cli.main(command)
    assert timed[-2:] == names[:2]


def test_torch_is_looked_for_in_the_variable_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"torch": "9.9"}\'\n')
    python.chmod(0o755)
    monkeypatch.setenv(machine.VARIABLE, str(python))
    assert machine.find_torch(None) == (str(python), {"torch": "9.9"})


def test_an_interpreter_without_the_library_is_refused() -> None:
    assert machine.versions(sys.executable, "no_such_library", []) == "No module named no_such_library"


def test_the_machine_is_described() -> None:
    said = dict(machine.describe({"torch": "9.9"}))
    assert said["torch's side"] == "torch 9.9"
    assert "CPUs" in said["processor"]
    assert "numpy" in said["nyala's side"]


def test_a_worker_times_calls_and_tells_its_memory() -> None:
    calls: list[int] = []
    times = worker.measure(lambda: calls.append(1), 1e-3)
    assert len(times) >= 2
    assert all(t >= 0 for t in times)
    assert len(calls) > len(times), "quick calls are timed in groups"
    assert worker.peak_memory(children=False) > 1e6


def test_a_call_that_takes_longer_than_a_turn_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(worker.time, "perf_counter", lambda: now[0])

    def call() -> None:
        now[0] += 3.0

    assert worker.measure(call, 1.0) == [3.0]
    assert worker.measure(call, 5.0) == [3.0, 3.0]


def test_the_real_worker_answers(tmp_path: Path) -> None:
    command = [sys.executable, str(turns.WORKER), "nyala", "op/add 8 (with grad)", "", str(tmp_path)]
    one = turns.Worker(command)
    try:
        assert min(one.time(0.001)) > 0
        assert one.finish() > 1e7
    finally:
        one.stop()


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(turns.WorkerError, match="StopIteration"):
        turns.Worker([sys.executable, str(turns.WORKER), "nyala", "no such row", "", str(tmp_path)])


def test_both_sides_get_the_same_inputs(tmp_path: Path) -> None:
    inputs = _module("inputs")
    assert inputs.array(2, 3).tobytes() == inputs.array(2, 3).tobytes()
    first, second = inputs.picture_files(tmp_path, 2)
    assert first.read_bytes()[:3] == b"\xff\xd8\xff"
    assert first.read_bytes() != second.read_bytes()
    inputs.vocabulary(tmp_path / "vocab.txt")
    assert len((tmp_path / "vocab.txt").read_text().splitlines()) == inputs.TEXT_MODELS["minilm"]["vocab_size"]
