"""What the requests look like: none without a time limit, none that calls home, none with a token for somebody else."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib import metadata
from pathlib import Path

import nyala
import pytest
from nyala.errors import NetworkError
from nyala.hub.sources import huggingface, transfer

WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def requests(world):  # noqa: ARG001 - it sets the session up
    """Every request that the client sends from here on."""
    sent = []
    session = huggingface.client().utils.get_session()
    session.event_hooks["request"].append(sent.append)
    yield sent
    session.event_hooks["request"].remove(sent.append)


def test_every_request_has_a_limit_for_each_of_its_phases(world, requests):
    world.hub.commit("org/m", {"config.json": b'{"model_type": "bert"}', "model.safetensors": WEIGHTS})
    world.hub.fault("cut", match="/lfs/", at=5)
    world.fetch()
    assert len(requests) >= 6  # a listing, a small file, and twice a redirect and its target
    for request in requests:
        limits = request.extensions["timeout"]
        assert sorted(limits) == ["connect", "pool", "read", "write"]
        assert all(0 < seconds < 60 for seconds in limits.values()), (request.url, limits)


def test_requests_say_who_asks_and_nothing_about_the_machine(world, requests):
    world.hub.commit("org/m", {"config.json": b'{"model_type": "bert"}', "model.safetensors": WEIGHTS})
    world.fetch()
    for request in requests:
        agent = request.headers["User-Agent"]
        assert "torch" not in agent and "agent/" not in agent
        assert request.url.path.startswith(("/api/models/org/m", "/org/m/resolve/", "/lfs/"))
    assert all(request.headers["Accept-Encoding"] == "identity" for request in requests if "/api/" not in request.url.path)


def test_telemetry_is_off_though_the_program_has_imported_the_client_before(hub, client):
    hub.commit("org/m", {"config.json": b'{"model_type": "bert"}', "model.safetensors": WEIGHTS})
    code = """
    from huggingface_hub import constants, utils
    assert not constants.HF_HUB_DISABLE_TELEMETRY
    {call}
    """
    client(hub.url, code.format(call="answer(utils.build_hf_headers())"))
    assert hub.requests("agent-harnesses"), "the client alone calls home"
    hub.log.clear()
    assert "error" not in client(hub.url, code.format(call="answer(fetch('org/m'))"), HF_HOME=str(client.hf) + "-2")
    assert not [entry["path"] for entry in hub.log if not entry["path"].startswith(("/api/models/org/m", "/org/m", "/lfs"))]


def test_a_host_name_that_is_not_found_in_time_is_given_up(world, monkeypatch):
    import threading

    world.hub.commit("org/m", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    session, forever = huggingface.client().utils.get_session(), threading.Event()
    monkeypatch.setattr(session, "send", lambda *_, **__: forever.wait(20))
    monkeypatch.setenv("NYALA_HUB_TIMEOUT", "0.01")
    monkeypatch.setattr(huggingface.client().constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.01)
    monkeypatch.setattr(transfer, "within", lambda seconds, call: within(seconds - 0.99, call))
    from nyala.hub.sources.patience import within

    with pytest.raises(TimeoutError, match="no answer within"):
        transfer._open("http://127.0.0.1/x", 0, patient=True)
    forever.set()


def test_a_hub_that_refuses_offline_mode_of_the_client(world, monkeypatch):
    """``HF_HUB_OFFLINE`` that was set when the client was imported, and not by nyala."""
    monkeypatch.setattr(huggingface.client().constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE is set"):
        world.fetch()
    assert world.hub.log == []


def test_the_versions_of_the_client_that_nyala_works_with():
    listed = tomllib.loads((Path(nyala.__file__).parent / "pyproject.toml").read_text())["project"]["dependencies"]
    required = next(line for line in listed if line.startswith("huggingface-hub"))
    assert required == "huggingface-hub>=2.0,<3", "check what is used below against the new range"
    assert re.match(r"2\.", metadata.version("huggingface-hub"))


def test_the_client_offers_what_nyala_uses():
    hub = huggingface.client()
    assert {"revision", "files_metadata", "timeout", "repo_type"} <= set(inspect.signature(hub.HfApi.repo_info).parameters)
    assert {"repo_id", "filename", "revision", "repo_type"} <= set(inspect.signature(hub.hf_hub_url).parameters)
    for name in ("get_session", "build_hf_headers", "hf_raise_for_status"):
        assert callable(getattr(hub.utils, name))
    names = ["ENDPOINT", "HF_HUB_CACHE", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_DISABLE_SYMLINKS", "HF_HUB_DISABLE_TELEMETRY"]
    assert all(hasattr(hub.constants, name) for name in names)
    kinds = ["GatedRepoError", "RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError"]
    assert all(issubclass(getattr(hub.errors, kind), hub.errors.HfHubHTTPError) for kind in kinds)
    assert issubclass(hub.errors.GatedRepoError, hub.errors.RepositoryNotFoundError), "so gated is looked for first"
