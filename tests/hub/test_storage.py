"""Hashes and their memory, the cache folder, the lock, the progress bar, and the hub client's settings."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from nyala.errors import StorageError
from nyala.hub import mutex, progress, storage
from nyala.hub.integrity import Memory, git_blob_id, sha256_file
from nyala.hub.sources import huggingface, transfer


def test_hashes(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"hello\n")
    assert sha256_file(path) == hashlib.sha256(b"hello\n").hexdigest()
    assert git_blob_id(path) == "ce013625030ba8dba906f756967f9e9ca394464a"  # what `git hash-object` prints
    with pytest.raises(StorageError, match="could not read"):
        sha256_file(tmp_path / "nothing")


@pytest.mark.parametrize("record", ["", "{", "[]", '{"x": 3}', '{"x": [1, 2]}'])
def test_a_damaged_memory_is_as_good_as_none(tmp_path, record):
    path, memory = tmp_path / "f", tmp_path / "memory.json"
    path.write_bytes(b"hello\n")
    memory.write_text(record.replace("x", str(path)))
    assert Memory(memory).sha256(path) == sha256_file(path)
    assert json.loads(memory.read_text())[str(path)][3] == sha256_file(path)


def test_a_memory_that_cannot_be_written_does_no_harm(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"hello\n")
    code = f"""
import errno, sys
from pathlib import Path
from nyala.hub.integrity import Memory
def hook(event, arguments):
    if event == "os.mkdir":
        raise OSError(errno.EROFS, "Read-only file system")
sys.addaudithook(hook)
print(Memory(Path({str(tmp_path)!r}, "new", "memory.json")).sha256(Path({str(path)!r})))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == sha256_file(path)


def test_the_cache_folder_and_offline_follow_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    assert storage.cache_folder() == tmp_path
    monkeypatch.delenv("NYALA_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage.cache_folder() == tmp_path / ".cache" / "nyala"
    for name in ("NYALA_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert not storage.is_offline()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert storage.is_offline()


def test_a_file_in_the_way_of_the_cache(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match="could not create"):
        storage.make_folder(tmp_path / "cache" / "packages")


def test_a_waiting_process_says_so_and_an_eternal_one_is_an_error(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mutex, "LOCK_SECONDS", 0.1)
    lock = tmp_path / "a.lock"
    holds, release = threading.Event(), threading.Event()

    def hold() -> None:
        with storage.locked(lock, "m"):
            holds.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(30)
    try:
        with pytest.raises(StorageError, match="has held"), storage.locked(lock, "m"):
            pass
    finally:
        release.set()
        thread.join()
    assert f"process {os.getpid()} is fetching m: waiting for it" in caplog.text
    with storage.locked(lock, "m"):
        assert lock.exists()


# -- the bar


def test_bars_show_on_a_terminal_only(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NYALA_PROGRESS", raising=False)
    assert progress.progress_enabled()
    monkeypatch.setenv("NYALA_PROGRESS", "0")
    assert not progress.progress_enabled()
    monkeypatch.delenv("NYALA_PROGRESS")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert not progress.progress_enabled()


def test_a_bar_goes_to_standard_error_with_its_rate(capsys):
    progress.set_progress(True)
    try:
        with progress.download_bar("m.whl", 4_000_000) as show:
            show(500)
            show(4_000_000)
        with progress.download_bar("org/m", 8_000_000, 2_000_000) as show:
            meter = progress.Meter(show, {"model.safetensors": 2_000_000, "config.json": 0})
            meter.file("config.json")(1_000_000)
            meter.file("model.safetensors")(7_000_000)
    finally:
        progress.set_progress(None)
    out, err = capsys.readouterr()
    assert out == ""
    assert "m.whl" in err
    assert "4.0/4.0 MB" in err
    assert "model.safetensors" in err
    assert "8.0/8.0 MB" in err


def test_small_files_get_no_bar_of_their_own(capsys):
    progress.set_progress(True)
    try:
        with progress.download_bar("config.json", 600) as show:
            show(600)
    finally:
        progress.set_progress(None)
    assert capsys.readouterr() == ("", "")


def test_no_bar_no_text(capsys):
    progress.set_progress(False)
    try:
        with progress.download_bar("m.whl", 4_000_000) as show:
            show(4_000_000)
    finally:
        progress.set_progress(None)
    assert capsys.readouterr() == ("", "")


# -- the hub client's settings


def test_the_client_is_imported_with_our_settings_and_the_users_win():
    code = """
import os
from nyala.hub.sources import huggingface
huggingface.client()
from huggingface_hub import constants
print(constants.HF_HUB_DISABLE_TELEMETRY, constants.HF_HUB_DISABLE_XET, "HF_HUB_DISABLE_TELEMETRY" in os.environ)
"""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    for settings, expected in (({}, "True True False"), ({"HF_HUB_DISABLE_XET": "0"}, "True False False")):
        out = subprocess.run([sys.executable, "-c", code], env={**clean, **settings}, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == expected


def test_the_clients_cache_is_found_without_importing_it():
    code = """
import sys
from nyala.hub.sources import huggingface
path = huggingface.cache_folder()
assert "huggingface_hub" not in sys.modules
huggingface.client()
from huggingface_hub import constants
assert str(path) == constants.HF_HUB_CACHE == str(huggingface.cache_folder()), (path, constants.HF_HUB_CACHE)
"""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE_", "XDG_"))}
    for settings in (
        {},
        {"HF_HOME": "~/a"},
        {"HF_HUB_CACHE": "/b$HOME"},
        {"XDG_CACHE_HOME": "/c"},
        {"HUGGINGFACE_HUB_CACHE": "/d"},
    ):
        subprocess.run([sys.executable, "-c", code], env={**clean, **settings}, check=True)


class RefusalError(OSError):
    """As the client's errors: an exception with a response."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"HTTP {status}")
        self.response = type("Response", (), {"status_code": status, "headers": headers})


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (RefusalError(403), "AccessError", "HF_TOKEN"),
        (RefusalError(429), "NetworkError", "too many requests"),
        (RefusalError(500), "NetworkError", "HTTP 500"),
        (TimeoutError("no answer within 8 s"), "NetworkError", "does not answer"),
        (ConnectionError("odd\nmore"), "NetworkError", "ConnectionError: odd."),
        (transfer.ShortAnswerError("3 of 4 bytes"), "NetworkError", "ended before the announced size (3 of 4 bytes)"),
    ],
)
def test_the_clients_errors_in_our_words(error, kind, words):
    ours = huggingface.translate(error, "org/m", "main")
    assert type(ours).__name__ == kind
    assert words in str(ours)
    assert "model hub org/m" in str(ours)


def test_a_wrapped_error_is_unwrapped():
    outer = type("LocalEntryNotFoundError", (Exception,), {})()
    outer.__cause__ = RefusalError(503)
    assert "HTTP 503" in str(huggingface.translate(outer, "org/m", "main"))
    assert huggingface.retry_after(RefusalError(429, **{"Retry-After": "7"})) == 7
    assert huggingface.retry_after(RefusalError(429, **{"Retry-After": "soon"})) == 0
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < huggingface.retry_after(RefusalError(429, **{"Retry-After": moment})) <= 100
    assert huggingface.is_passing(RefusalError(502)) and not huggingface.is_passing(RefusalError(404))
