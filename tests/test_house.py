"""The rules of the house: who may import whom, what is packaged, how quick an import is, that examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import nyala
import pytest

ROOT = Path(nyala.__file__).resolve().parent
ROOMS = {"core": 0, "hub": 1, "vision": 2, "audio": 2, "text": 2, "recipes": 3}
SOURCES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))
FORBIDDEN = {"torch", "torchvision", "torchaudio", "timm", "transformers", "pickle", "safetensors", "scipy"}


def _imports(path: Path) -> list[tuple[int, str]]:
    """(line, full module name) of every import of a file, relative ones resolved."""
    package = ("nyala", *path.relative_to(ROOT).parts[:-1])
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *([node.module] if node.module else [])))
            found += [(node.lineno, f"{stem}.{a.name}") for a in node.names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for line, name in _imports(path):
        parts = name.split(".")
        assert parts[0] not in FORBIDDEN, f"{path}:{line} imports {parts[0]}"
        if parts[0] == "nyala" and len(parts) > 1 and parts[1] in ROOMS and parts[1] != room:
            assert ROOMS[parts[1]] < ROOMS[room], f"{path}:{line}: {room} may not import {name}"


def test_every_package_is_listed_for_the_wheel() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {".".join(("nyala", *p.relative_to(ROOT).parts[:-1])) for p in SOURCES} | {"nyala"}
    assert present - listed == set(), "add these to [tool.setuptools] packages"
    assert listed - present == set(), "these packages are listed but not there"


def test_each_folder_says_what_it_is() -> None:
    for room in (*ROOMS, "tests"):
        assert (ROOT / room / "README.md").is_file(), f"{room}/README.md is missing"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 600, f"{path} is too long: split it by concept"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 80, f"{path}:{node.lineno}: {node.name} has {length} lines"


def test_importing_nyala_loads_nothing_heavy() -> None:
    script = "import nyala, sys; nyala.tensor([1.0]); print(*sys.modules)"
    env = {**os.environ, "PYTHONPATH": ""}
    loaded = set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env).stdout.split()
    )
    heavy = {"numba", "PIL", "tokenizers", "huggingface_hub", "msgspec", "rich", "cupy", "jinja2"}
    assert not loaded & heavy


def _modules() -> list[str]:
    names = [".".join(("nyala", *p.relative_to(ROOT).with_suffix("").parts)) for p in SOURCES]
    return ["nyala", *sorted({n.removesuffix(".__init__") for n in names if not n.startswith("nyala.core.kernels.cuda.")})]


@pytest.mark.parametrize("name", _modules())
def test_examples_in_docstrings_run(name: str) -> None:
    nyala.manual_seed(0)
    with np.printoptions():
        failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


def test_the_two_faces_of_a_module_are_one() -> None:
    import nyala.nn.functional as by_alias
    from nyala.core.nn import functional as by_place

    assert by_alias is by_place
    assert nyala.nn is importlib.import_module("nyala.core.nn")
    assert importlib.import_module("nyala.optim") is importlib.import_module("nyala.core.optim")


def test_unknown_names_of_the_face_get_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'tensr'\. did you mean 'tensor'"):
        _ = nyala.tensr


def test_nothing_of_this_machine_is_in_the_texts() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".sh") and path.is_file():
            hits = re.findall(r"(?<![\w.])/(?:work|farm|root|opt/dev)/[\w.-]+", path.read_text())
            assert not hits, f"{name} names {hits}"


@pytest.mark.parametrize("name", ["nyala", "nyala.recipes", "nyala.hub", "nyala.core.nn", "nyala.core.optim", "nyala.core.data"])
def test_every_public_name_is_there(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", None) or dir(module):
        assert getattr(module, public, None) is not None, f"{name}.{public}"


KERNEL_ROOMS = {"running": set(), "lanes": {"running"}, "matrix": {"running", "lanes"}, "conv": {"running", "lanes", "matrix"}}


@pytest.mark.parametrize("room", KERNEL_ROOMS)
def test_kernels_stand_on_simpler_ones(room: str) -> None:
    for path in (ROOT / "core" / "kernels" / "cpu" / room).glob("*.py"):
        used = set(re.findall(r"^ *from \.\.(\w+)", path.read_text(), re.MULTILINE))
        assert used <= KERNEL_ROOMS[room], f"{path.name} of {room}/ may import from {KERNEL_ROOMS[room] or 'no other room'}"
