"""The lock of several processes, and the note that says who holds it; also where the kernel grants the lock to everybody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import pytest
from nyala.errors import StorageError
from nyala.hub import mutex
from nyala.hub.mutex import Owner, locked


@pytest.fixture
def neighbour():
    """Another live process of this host, and what it would write into a note."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield Owner(process.pid, Owner.me().host, mutex._born(process.pid)), process
        process.kill()


def sign(path, owner: Owner) -> None:
    path.with_name(f"{path.name}.owner").write_text(json.dumps(asdict(owner)))


def test_the_note_is_there_while_the_lock_is_held(tmp_path):
    lock = tmp_path / "locks" / "a.lock"
    with locked(lock, "m") as stranger:
        assert stranger is None
        assert Owner.read(tmp_path / "locks" / "a.lock.owner") == Owner.me()
    assert not (tmp_path / "locks" / "a.lock.owner").exists()


def test_two_threads_take_turns(tmp_path):
    inside, most = [], []

    def work() -> None:
        with locked(tmp_path / "a.lock", "m"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_the_note_of_a_dead_process_stops_nobody(tmp_path, neighbour):
    owner, process = neighbour
    process.kill()
    process.wait()
    sign(tmp_path / "a.lock", owner)
    with locked(tmp_path / "a.lock", "m") as stranger:
        assert stranger is None


def test_another_process_with_the_same_number_stops_nobody(tmp_path, neighbour):
    owner, _ = neighbour
    sign(tmp_path / "a.lock", Owner(owner.pid, owner.host, "1"))
    with locked(tmp_path / "a.lock", "m") as stranger:
        assert stranger is None


def test_a_live_holder_is_waited_for_though_the_kernel_lets_us_in(tmp_path, neighbour, monkeypatch):
    owner, process = neighbour
    sign(tmp_path / "a.lock", owner)
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        process.kill()
        process.wait()

    monkeypatch.setattr(mutex.time, "sleep", pause)
    with locked(tmp_path / "a.lock", "m"):
        assert len(pauses) == 1
        assert Owner.read(tmp_path / "a.lock.owner") == Owner.me()


def test_a_live_holder_for_ever_is_an_error_that_names_it(tmp_path, neighbour, monkeypatch):
    owner, _ = neighbour
    sign(tmp_path / "a.lock", owner)
    monkeypatch.setattr(mutex, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(mutex, "_POLL_SECONDS", 0.01)
    with pytest.raises(StorageError, match=f"process {owner.pid} has held"), locked(tmp_path / "a.lock", "m"):
        pass
    monkeypatch.setattr(mutex, "LOCK_SECONDS", 5.0)
    (tmp_path / "a.lock.owner").unlink()
    with locked(tmp_path / "a.lock", "m"):
        assert True, "the lock was given back"


def test_a_stranger_is_told_to_the_caller(tmp_path):
    stranger = Owner(7, "another-host", "1")
    sign(tmp_path / "a.lock", stranger)
    with locked(tmp_path / "a.lock", "m") as told:
        assert told == stranger
        assert str(told) == "process 7 on another-host"
        assert not told.is_alive(), "nobody here can know"


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "host": "h", "born": ""}'])
def test_a_damaged_note_is_as_good_as_none(tmp_path, note):
    (tmp_path / "a.lock.owner").write_text(note)
    with locked(tmp_path / "a.lock", "m") as stranger:
        assert stranger is None


def test_a_place_where_no_lock_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not create"), locked(tmp_path / "file" / "a.lock", "m"):
        pass


def test_this_process_is_alive():
    assert Owner.me().is_alive()
    assert str(Owner.me()) == f"process {os.getpid()}"
