"""The wheel holds all that is needed and nothing else, and works where only it is installed; so does an editable install."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nyala
import pytest

ROOT = Path(nyala.__file__).resolve().parent
ROOMS = ("core", "hub", "vision", "audio", "text", "recipes")
KINDS = (".py", ".toml", ".gz", ".txt", ".cu", ".cuh", ".typed")


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy so that no build folder is left in it."""
    source = tmp_path_factory.mktemp("source") / "nyala"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.split():
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    return next(folder.glob("*.whl"))


def test_wheel_holds_every_file_and_no_other(wheel: Path) -> None:
    expected = {
        f"nyala/{p.relative_to(ROOT)}"
        for r in ROOMS
        for p in (ROOT / r).rglob("*")
        if p.suffix in KINDS and "__pycache__" not in p.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert expected - names == set()
    assert "nyala/py.typed" in names and "nyala/__init__.py" in names
    assert not [n for n in names if "/tests/" in n or "__pycache__" in n or n.endswith((".pyc", ".nbi"))]
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 4_000_000


def _run(code: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


USE = """
import nyala, nyala.nn
from nyala.vision.datasets import FashionMNIST
from nyala.text.datasets import Spam
print(nyala.__file__, len(nyala.list_models()), nyala.nn.Linear(2, 3)(nyala.ones(1, 2)).shape)
print(len(FashionMNIST("test", sample=True)), len(Spam("test")))
"""


def test_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    _pip("install", "--no-deps", "--target", site, wheel)
    done = _run(USE, tmp_path, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    place, *rest = done.stdout.split()
    assert Path(place).is_relative_to(site)
    assert rest[-2:] == ["1000", "400"]
    listed = _run(
        "from nyala.recipes.cli import main; raise SystemExit(main(['list', '--json']))", tmp_path, PYTHONPATH=str(site)
    )
    assert listed.returncode == 0 and "tf_efficientnet_lite0" in listed.stdout and "vision/fashion-lite0" in listed.stdout


def test_editable_install_works(tmp_path: Path) -> None:
    site = tmp_path / "site"
    copy = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(copy)], check=True)
    _pip("install", "--no-deps", "--no-build-isolation", "--target", site, "--editable", copy)
    # a target folder is no site folder, so what pip would have started by itself is started here
    code = f"import site; site.addsitedir({str(site)!r}); import nyala; print(nyala.__file__)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert Path(done.stdout.strip()).parent == copy, done.stderr
