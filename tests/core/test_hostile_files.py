"""No file can run anything: a corpus of programs that try, each refused by name, with a canary that would show it.

The corpus is read in a process whose audit hook notes every program started, every file opened for writing and every socket, so
that a payload would be seen even if it hid from the canary.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hostile
import pytest
from nyala.core import checkpoint
from nyala.core.errors import CheckpointError

# Reads every file named on standard input as a user would, and prints what became of it and what else happened.
READER = """
import json, sys, tracemalloc
import nyala, nyala.core.checkpoint
from nyala.core import checkpoint
from nyala.core.errors import NyalaError
from pathlib import Path

seen = []
LOUD = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect", "pty.spawn",
        "exec", "compile", "ctypes.dlopen", "shutil.rmtree", "os.remove", "os.rename", "os.mkdir", "marshal.loads",
        "code.__new__", "function.__new__", "builtins.input", "webbrowser.open", "pickle.find_class")
def hook(event, arguments):
    loud = event in LOUD or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"))
    if loud:
        seen.append(f"{event} {arguments!r}"[:200])
sys.addaudithook(hook)

def read(route, path):
    if route == "load_pth":
        return checkpoint.load_pth(path)
    if route == "load_sharded":
        return checkpoint.load_sharded(path.parent)
    return nyala.load(path.parent)

for line in sys.stdin:
    route, path = json.loads(line)
    seen.clear()
    tracemalloc.start()
    try:
        read(route, Path(path))
        answer = ["read", "", 0]
    except NyalaError as error:
        answer = [type(error).__name__, str(error), error.exit_code]
    except BaseException as error:
        answer = [f"!{type(error).__name__}", str(error)[:300], 0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(json.dumps([*answer, peak, seen]), flush=True)
"""


TINY = {
    "architecture": "resnet18",
    "num_classes": 2,
    "model_args": {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 4], "stem_channels": 4},
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A process that reads files; ``reader(route, path)`` -> (error's class, text, exit code, peak of memory, what it did)."""
    folder = tmp_path_factory.mktemp("canaries")
    process = subprocess.Popen(
        [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env={**os.environ}
    )

    def ask(route: str, path: Path) -> tuple[str, str, int, int, list[str]]:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps([route, str(path)]) + "\n")
        process.stdin.flush()
        return tuple(json.loads(process.stdout.readline()))

    warm = hostile.zipped(folder / "pytorch_model.bin", hostile.program(b"}"))
    (folder / "config.json").write_text(json.dumps(TINY))
    for route in ("load_pth", "load_sharded", "nyala.load"):  # modules that are imported on the first call are no file's doing
        ask(route, warm)
    yield ask
    process.stdin.close()
    process.wait(timeout=20)


def judge(reader, route: str, path: Path, refusal: str, what: str) -> None:
    kind, said, code, peak, did = reader(route, path)
    assert kind in refusal.split(" or "), f"{what}: {kind}: {said}"
    assert did == [], f"{what} made the reader do something"
    assert code == 1 and "Remedy: " in said and len(said) < 2000, f"{what}: {said}"
    assert peak < 48 << 20, f"{what}: {peak:,} bytes"  # the steps of the longest program, and no more


CANARY = "canary"


@pytest.mark.parametrize("kind", hostile.KINDS)
@pytest.mark.parametrize("container", ["zip", "stream", "bare"])
def test_hostile_programs_are_refused_in_every_container_and_run_nothing(tmp_path, reader, kind, container):
    canary = tmp_path / CANARY
    put = dict(hostile.containers(tmp_path))[container]
    for number, (each, found) in enumerate(hostile.KINDS[kind](str(canary)).items()):
        path = put(found.code, hostile.ENDINGS[number % len(hostile.ENDINGS)])
        refusal = hostile.EITHER if container == "bare" else found.refusal  # without its container a program is not reached first
        judge(reader, "load_pth", path, refusal, f"{kind}: {each}")
        assert not canary.exists(), f"{kind}: {each} ran"


@pytest.mark.parametrize("route", ["load_sharded", "nyala.load"])
def test_hostile_programs_are_refused_where_a_folder_is_loaded(tmp_path, reader, route):
    canary = tmp_path / CANARY
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    put = dict(hostile.containers(tmp_path))["zip"]
    for each, found in {**hostile.calls(str(canary)), **hostile.objects(str(canary))}.items():
        path = put(found.code, ".bin")
        judge(reader, route, path, found.refusal, each)
    put(hostile.calls(str(canary))["os.system"].code, ".bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "pytorch_model-00001-of-00001.bin")
    index.write_text(json.dumps({"weight_map": {"w": "pytorch_model-00001-of-00001.bin"}}))
    judge(reader, route, index, hostile.UNSAFE, "a shard")
    assert not canary.exists()


@pytest.mark.parametrize("case", hostile.archives(""))
def test_hostile_archives_are_refused_and_nothing_leaves_them(tmp_path, reader, case):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    write, refusal = hostile.archives(str(tmp_path / CANARY))[case]
    path = place / "pytorch_model.bin"
    write(path)
    index = place / "pytorch_model.bin.index.json"
    judge(reader, "load_sharded" if index.exists() else "load_pth", index if index.exists() else path, refusal, case)
    assert {p.name for p in tmp_path.rglob("*")} == {"a", "b", path.name if path.exists() else index.name}
    assert not Path("/etc/evil").exists()


def test_the_canary_sings_where_python_reads_the_same_programs(tmp_path):
    """The payloads are real: Python's own reader, which nyala never uses, runs them."""
    sung = []
    for each, found in hostile.programs(str(tmp_path / CANARY)).items():
        if found.runs and each.partition(": ")[0] in ("call", "name", "object"):
            canary = tmp_path / CANARY
            canary.unlink(missing_ok=True)
            program = tmp_path / "program"
            program.write_bytes(found.code)
            subprocess.run([sys.executable, "-m", "pickle", str(program)], capture_output=True, check=False, cwd=tmp_path)
            assert canary.exists(), f"{each} does not run anywhere: it proves nothing"
            sung.append(each)
    assert len(sung) >= 12


def test_the_corpus_is_large_enough_to_mean_something():
    found = hostile.programs("")
    assert len(found) + len(hostile.archives("")) >= 190
    assert {h.refusal for h in found.values()} >= {hostile.UNSAFE, hostile.MALFORMED}


def test_what_hostile_files_are_called_does_not_matter(tmp_path):
    """A pickle under the name of a safetensors file, and the other way round."""
    evil = hostile.calls(str(tmp_path / CANARY))["os.system"].code
    path = tmp_path / "model.safetensors"
    path.write_bytes(evil.ljust(64, b"\0"))
    with pytest.raises(CheckpointError, match="is a PyTorch file of the old kind"):
        checkpoint.load_file(path)
    hostile.zipped(path, evil)
    with pytest.raises(CheckpointError, match="is a zip archive"):
        checkpoint.load_file(path)
    checkpoint.save_file({"w": hostile.NUMBERS}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"read \.safetensors files with load_file"):
        checkpoint.load_pth(tmp_path / "pytorch_model.bin")
    assert not (tmp_path / CANARY).exists()
