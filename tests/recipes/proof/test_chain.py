"""The chain of hashes: its last link stands for every line before it, and a changed line is placed between two links."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.proof import chain

Trained = Callable[..., runs.Run]
FIRST = "0" * 64


def lines_of(folder: Path) -> list[bytes]:
    return (folder / runs.METRICS).read_bytes().splitlines(keepends=True)


def test_each_link_is_over_the_one_before_the_lines_since_and_the_weights() -> None:
    links = []
    for changed in range(4):
        made = chain.Chain("1" * 64 if changed == 1 else FIRST)
        made.add(b"other\n" if changed == 2 else b"line\n")
        made.link("w2" if changed == 3 else "w1")
        made.add(b"last\n")
        links.append(made.link("w3"))
    assert len(set(links)) == 4


def test_a_run_written_in_two_goes_has_the_chain_of_one(tmp_path: Path) -> None:
    def write(log: metrics.Chained, steps: range) -> None:
        for step in steps:
            log.write({"kind": "step", "step": step, "loss": 1 / step})
            if step % 2 == 0:
                log.link({"kind": "hash", "step": step, "parameters": f"w{step}"})

    with metrics.Chained(tmp_path / "whole", 0, FIRST) as log:
        write(log, range(1, 8))
        proof = log.seal({"model": "abc"})
    with metrics.Chained(tmp_path / "cut", 0, FIRST) as log:
        write(log, range(1, 4))
        length = log.sync()
        write(log, range(4, 6))  # lost, as by a kill behind the last checkpoint
    with metrics.Chained(tmp_path / "cut", length, FIRST) as log:
        write(log, range(4, 8))
        assert log.seal({"model": "abc"}) == proof
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "cut").read_bytes()
    with metrics.Chained(tmp_path / "cut", (tmp_path / "cut").stat().st_size, FIRST) as log:
        assert log.seal({"model": "abd"}) != proof


def test_the_chain_of_a_run_fits_and_a_changed_dropped_or_added_line_is_placed(trained: Trained) -> None:
    run = trained("run")
    first = run.manifest()["genesis"]
    lines = lines_of(run.folder)
    assert chain.replay(first, lines)[1] == ""
    assert chain.replay("0" * 64, lines)[1].startswith("a record of step 1 to 3 is not what it was")
    at = next(i for i, line in enumerate(lines) if b'"kind":"step","step":5' in line)
    changed = [*lines[:at], lines[at].replace(b'"samples":8', b'"samples":7'), *lines[at + 1 :]]
    for hurt in (changed, lines[:at] + lines[at + 1 :], [*lines[:at], lines[at], *lines[at:]]):
        assert chain.replay(first, hurt)[1].startswith("a record of step 4 to 6 is not what it was")


def test_the_proof_is_the_same_wherever_data_weights_and_run_lie(
    trained: Trained, tmp_path: Path, tiny_data: Path, tiny_model: Path
) -> None:
    import shutil

    shutil.copytree(tiny_data, tmp_path / "elsewhere" / "data")
    shutil.copytree(tiny_model, tmp_path / "elsewhere" / "model")
    one = trained("one")
    two = trained("two", f"data.name={tmp_path / 'elsewhere/data'}", f"model.name={tmp_path / 'elsewhere/model'}")
    other = trained("other", "train.label_smoothing=0.01")
    proofs = [run.manifest()["proof"] for run in (one, two, other)]
    assert proofs[0] == proofs[1] != proofs[2] and len(proofs[0]) == 64


@pytest.mark.parametrize("torn", [b'{"kind":"st', b"x" * 5000, b""])
def test_a_last_line_without_its_end_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "timings.jsonl"
    path.write_bytes(b'{"step":1}\n' + torn)
    with metrics.Log(path) as log:
        log.write({"step": 2})
    assert [r["step"] for r in metrics.read(path)] == [1, 2]
