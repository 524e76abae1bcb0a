"""``kill -9`` at fifty random moments, and at every named place: the run that goes on ends with the bytes of one never stopped.

The moments are drawn from all calls and returns that the run makes, of Python and of C, most of them after the first step; each
life has another number of loader threads and of kernel threads. ``NYALA_TEST_KILLS`` asks for another number of kills.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

DRIVER = Path(__file__).with_name("killing.py")
KILLS = int(os.environ.get("NYALA_TEST_KILLS", "50"))


@pytest.fixture
def often(recipe_file: Path) -> Path:
    """A short run with a checkpoint at every step."""
    path = recipe_file.with_name("often.toml")
    train = "steps = 6\nhash_every = 2\neval_every = 3\ncheckpoint = { every = 1 }\n"
    path.write_text(recipe_file.read_text().partition("[train]")[0] + f"[train]\n{train}")
    return path


def drive(*argv: str | Path) -> dict[str, Any]:
    env = dict(os.environ, NYALA_PROGRESS="0")
    made = subprocess.run([sys.executable, DRIVER, *map(str, argv)], capture_output=True, text=True, env=env, check=False)
    assert made.returncode == 0, made.stderr
    found: dict[str, Any] = json.loads(made.stdout)
    return found


def test_killed_at_random_moments_it_ends_with_the_same_bytes(often: Path, tmp_path: Path) -> None:
    """Every run that ends is compared by the driver with one that was never stopped."""
    found = drive(often, tmp_path, "--kills", str(KILLS), "--seed", "20")["random"]
    assert found["deaths"] == KILLS
    assert found["ended"] >= 1 and found["most"] >= min(2, KILLS) and min(found["moments"]) > 10_000


def test_killed_at_every_named_place_it_ends_with_the_same_bytes(often: Path, tmp_path: Path) -> None:
    """In the middle of a checkpoint, of its record, of a line of metrics, of removing an old one, before and after renaming."""
    deaths = drive(often, tmp_path, "--places", "1")["places"]
    assert len(deaths) >= 13 and set(deaths.values()) == {1}
