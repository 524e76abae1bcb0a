"""Compiled kernels on a disk that is full, read-only, or not there: slower to start, and otherwise the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nyala.core.kernels.cpu.running.compiled_files import KernelFiles

KERNEL = """
import importlib.util, resource, sys
spec = importlib.util.spec_from_file_location("kernel", sys.argv[1])
module = importlib.util.module_from_spec(spec)
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
spec.loader.exec_module(module)
print(module.triple(2))
"""
SOURCE = (
    "from nyala.core.kernels.cpu.running.compiled import njit\n\n\n@njit(cache=True)\ndef triple(x):\n    return {factor} * x\n"
)


def answer(source: Path, limit: int = 0, **environment: str) -> tuple[str, str]:
    """What the kernel gives in a new process, and what is said."""
    command = [sys.executable, "-c", KERNEL, str(source), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return done.stdout.strip(), done.stderr.strip()


def kept(cache: Path) -> list[str]:
    return sorted(f.name for f in cache.rglob("*") if f.is_file())


@pytest.mark.skipif(os.name == "nt", reason="no limit on the size of files there")
def test_a_full_disk_costs_no_result_and_no_code_of_an_older_source_is_taken(tmp_path: Path) -> None:
    source, cache = tmp_path / "kernel.py", tmp_path / "cache"
    source.write_text(SOURCE.format(factor=3))
    assert answer(source, NUMBA_CACHE_DIR=str(cache)) == ("6", "")
    first = kept(cache)
    assert [name.rpartition(".")[2] for name in first] == ["nbc", "nbi"]
    source.write_text(SOURCE.format(factor=5))
    os.utime(source, (1, 1))  # another source than the cached one, whatever the clock's resolution
    said, why = answer(source, limit=800, NUMBA_CACHE_DIR=str(cache))
    assert said == "10" and why.count("\n") == 0 and "File too large" in why and "NUMBA_CACHE_DIR" in why
    assert kept(cache) == first
    assert answer(source, NUMBA_CACHE_DIR=str(cache)) == ("10", "")
    assert len(kept(cache)) == 2 and not set(kept(cache)) & set(first)  # the older version is deleted


def test_code_is_kept_until_a_source_it_is_made_of_changes(tmp_path: Path) -> None:
    source, part, cache = tmp_path / "pack" / "kernel.py", tmp_path / "pack" / "part.py", tmp_path / "cache"
    source.parent.mkdir()
    (source.parent / "__init__.py").write_text("")
    (source.parent / "other.py").write_text("")
    source.write_text(
        "from nyala.core.kernels.cpu.running.compiled import njit\n\nfrom .part import twice\n\n\n"
        "@njit(cache=True)\ndef triple(x):\n    return twice(x) + x\n"
    )
    part.write_text(SOURCE.replace("triple", "twice").format(factor=2))
    program = "import nyala.core.progress as p; p.tell_through(print); from pack.kernel import triple; print(triple(5))"

    def run() -> list[str]:
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
        return done.stdout.splitlines()

    assert [len(run()), len(run())] == [2, 1]  # said to be compiled, and then not
    (source.parent / "other.py").write_text("# nobody imports it")
    assert run() == ["15"]
    part.write_text(SOURCE.replace("triple", "twice").format(factor=10))
    assert run()[-1] == "55"
    assert run() == ["55"]
    assert len(kept(cache)) == 4  # two functions, an index and code each: nothing of the older sources


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_written_anew(tmp_path: Path, ending: str, damage: str) -> None:
    source, cache = tmp_path / "kernel.py", tmp_path / "cache"
    source.write_text(SOURCE.format(factor=3))
    assert answer(source, NUMBA_CACHE_DIR=str(cache)) == ("6", "")
    (file,) = cache.rglob(f"*.{ending}")
    whole = file.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    file.write_bytes({"cut": whole[:middle], "flipped": flipped, "empty": b""}[damage])
    assert answer(source, NUMBA_CACHE_DIR=str(cache)) == ("6", "")
    assert len(file.read_bytes()) > middle + 1 and len(kept(cache)) == 2


def files(folder: Path, digest: str, base: str = "kernel.triple-4.py311") -> KernelFiles:
    def failed(error: OSError) -> None:
        raise error

    return KernelFiles(str(folder), base, (1.0, 2), digest, failed)


def test_two_processes_that_compile_for_different_types_at_once_keep_their_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = files(tmp_path, "ab"), files(tmp_path, "ab")
    with monkeypatch.context() as patched:
        patched.setattr(one, "_load_index", dict)  # both look before either writes
        patched.setattr(other, "_load_index", dict)
        one.save("float32", "code for float32")
        other.save("float64", "code for float64")
    one._save_data(one._data_name(1), "what Numba would have called them both")
    assert [one.load("float64"), one.load("float32")] == ["code for float64", None]
    one.save("float32", "code for float32")
    assert [other.load(kind) for kind in ("float32", "float64")] == ["code for float32", "code for float64"]


def test_only_older_versions_of_the_same_function_are_deleted(tmp_path: Path) -> None:
    others = ["kernel.triple-4.py312.ab.nbi", "kernel.triples-4.py311.ab.nbi", "other.triple-4.py311.ab.1.nbc", "kernel.py"]
    older = [
        "kernel.triple-4.py311.nbi",
        "kernel.triple-4.py311.1.nbc",
        "kernel.triple-17.py311.cd.77.nbc",
        "kernel.triple-9.py311.ef.nbi",
    ]
    for name in [*others, *older]:
        (tmp_path / name).write_text("")
    files(tmp_path, "ab").save("key", "code")
    assert set(others) < set(kept(tmp_path)) and not set(older) & set(kept(tmp_path))
    assert len(kept(tmp_path)) == len(others) + 2


def test_without_any_folder_for_the_cache_everything_is_compiled_at_the_start(tmp_path: Path) -> None:
    source = tmp_path / "kernel.py"
    source.write_text(SOURCE.format(factor=3))
    (tmp_path / "__pycache__").write_text("a file in the place of each folder Numba would use")
    (tmp_path / "home").write_text("")
    nowhere = str(tmp_path / "home" / "x")
    said, why = answer(source, NUMBA_CACHE_DIR=nowhere, HOME=nowhere, XDG_CACHE_HOME=nowhere)
    assert said == "6" and "no locator available" in why and "Remedy: free some space, or set NUMBA_CACHE_DIR" in why


SUMS_IN_LANES = """
import hashlib, numpy as np, nyala
import nyala.nn.functional as F
random = np.random.default_rng(0)
x = nyala.from_numpy(random.standard_normal((16, 17, 384), np.float32)).requires_grad_()
y = F.layer_norm(x, (384,), nyala.ones(384), nyala.zeros(384)).softmax(-1)
y.backward(nyala.from_numpy(random.standard_normal(y.shape, np.float32)))
print(hashlib.sha256(y.detach().numpy().tobytes() + x.grad.numpy().tobytes()).hexdigest())
"""


def test_a_process_that_compiles_gives_the_bits_of_one_that_loads(tmp_path: Path) -> None:
    """Copies of one function, each optimised where it ended up, once gave other sums in the first process than in all others."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SUMS_IN_LANES]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout for _ in range(2)
    )
    assert kept(tmp_path) and len(first) == 65
    assert first == second
