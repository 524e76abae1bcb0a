"""The built-in recipes on their real weights and data: a few steps of each, with the losses they are known to have."""

from __future__ import annotations

from pathlib import Path

import pytest
from nyala.recipes import config, metrics, trainer
from nyala.recipes import run as runs

# As recorded on an x86-64 with AVX-512. Another CPU rounds differently, so they are not compared bit by bit.
LOSSES = {
    "vision/fashion-lite0": [2.35227, 2.34038],
    "text/spam-minilm": [0.68705, 0.70452],
}


@pytest.mark.weights
@pytest.mark.parametrize("name", LOSSES)
def test_the_first_losses(name: str, tmp_path: Path) -> None:
    run = runs.create(config.load(name), tmp_path / "run")
    trainer.train(run, stop_after=2)
    found = [r["loss"] for r in metrics.read(run.folder / runs.METRICS) if r["kind"] == "step"]
    assert found == pytest.approx(LOSSES[name], abs=5e-3)
