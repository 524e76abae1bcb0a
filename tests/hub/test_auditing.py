"""``nyala audit`` against a local hub: each thing a card says, true and false."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from nyala.errors import NetworkError
from nyala.hub.auditing import audit
from nyala.hub.cards import Card, FileSpec, SourceSpec

FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": bytes(range(256)) * 40}


def spec_of(data: bytes) -> FileSpec:
    return FileSpec(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def card(name: str = "tiny", repo: str = "org/m", license: str = "MIT", files=None, **source) -> Card:
    files = {n: spec_of(data) for n, data in FILES.items()} if files is None else files
    texts = dict.fromkeys(("title", "summary", "citation", "architecture"), "")
    spec = SourceSpec(kind="hub", repo=repo, files=files, **source)
    return Card(name=name, domain="text", task="t", license=license, params=1, preprocessing={}, sources=[spec], **texts)


@pytest.fixture
def check(hub, client):
    """Audits these cards in a process of its own: (as_json, text), or the error."""

    def run(*cards: Card, url: str = hub.url, **settings: str):
        data = msgspec.json.encode(cards).decode()
        return client(
            url,
            f"""
            import msgspec
            from nyala.hub.auditing import audit
            from nyala.hub.cards import Card
            def get():
                found = audit(msgspec.json.decode({data!r}, type=list[Card]))
                return [found.as_json(), str(found)]
            answer(attempt(get))
            """,
            **settings,
        )

    return run


@pytest.fixture
def commit(hub):
    made = hub.commit("org/m", FILES)
    hub.repos["org/m"].tags = ["license:mit", "bert"]
    return made


def problems(found) -> dict[str, str]:
    return {f["check"]: f["detail"] for f in found[0]["sources"][0]["findings"] if f["state"] != "ok"}


def test_a_card_that_is_true(check, commit, client):
    found, text = check(card(commit=commit))
    assert found["right"] and found["sources"][0]["state"] == "ok" and found["sources"][0]["commit"] == commit
    assert text.endswith("1 source: all as the cards say")
    assert found["sources"][0]["stated"]["model.safetensors"]["sha256"] == spec_of(FILES["model.safetensors"]).sha256
    assert not list(client.cache.rglob("*.json")) and not list(client.hf.rglob("model.safetensors"))  # nothing big, no record


def test_what_the_card_leaves_open_is_told_and_is_no_failure(check, commit):
    found = check(card(files={"model.safetensors": FileSpec(), "config.json": FileSpec()}))
    assert found[0]["right"] and found[0]["sources"][0]["state"] == "open"
    said = problems(found)
    assert said["commit"] == f"the card follows main, which is {commit} now"
    assert said["model.safetensors"].endswith(spec_of(FILES["model.safetensors"]).sha256)
    assert said["config.json"] == "the card has no sha256"


@pytest.mark.parametrize(
    ("change", "where", "said"),
    [
        ({"license": "Apache-2.0"}, "licence", "the card says Apache-2.0, the hub says mit"),
        ({"commit": "1" * 40}, "commit", "main is"),
        ({"repo": "org/none"}, "repository", "no org/none"),
        ({"files": {"gone.json": FileSpec()}}, "gone.json", "is not there at"),
        ({"files": {"model.safetensors": FileSpec(size=3)}}, "model.safetensors", "has 10,240 bytes, the card says 3"),
        ({"files": {"model.safetensors": FileSpec(sha256="0" * 64)}}, "model.safetensors", "the card says 000"),
        ({"files": {"config.json": FileSpec(sha256="0" * 64)}}, "config.json", "the card says 000"),
        ({"files": {"config.json": FileSpec(sha256="0" * 64, size=1)}}, "config.json", "has 22 bytes, the card says 1"),
    ],
)
def test_each_thing_that_is_not_true(check, commit, change, where, said):
    found, text = check(card(**{"commit": commit, **change}))
    assert not found["right"] and found["sources"][0]["state"] == "WRONG"
    assert said in problems([found])[where]
    assert "1 wrong" in text and f"WRONG       tiny: {where}: " in text


def test_a_repository_without_a_licence_and_a_gated_one(check, commit, hub):
    hub.repos["org/m"].tags = []
    assert problems(check(card(commit=commit)))["licence"] == "the card says MIT, the hub states none"
    hub.repos["org/m"].private = True
    found, _ = check(card(commit=commit))
    assert not found["right"] and "org/m that you may see" in problems([found])["repository"]


def test_one_that_cannot_be_asked_does_not_stop_the_others(check, commit, hub):
    hub.commit("org/b", FILES)
    hub.repos["org/b"].tags = ["license:mit"]
    hub.fault("status", match="/api/models/org/b", times=99, status=500)
    found, text = check(card(commit=commit), card("b", "org/b"), card("c", "org/m", commit=commit), NYALA_HUB_TIMEOUT="1")
    assert [source["state"] for source in found["sources"]] == ["ok", "unreachable", "ok"] and not found["right"]
    assert "1 could not be asked" in text


def test_without_a_network_it_says_so(check, nowhere, commit):
    said = check(card(commit=commit), url=nowhere, NYALA_HUB_TIMEOUT="1")
    assert (said["error"], said["code"]) == ("NetworkError", 1) and "nothing was checked" in said["text"]


def test_offline_asks_nothing(monkeypatch):
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    with pytest.raises(NetworkError, match="no network may be used"):
        audit([card()])


def test_cards_without_a_hub_source_are_nothing_to_ask():
    folder = msgspec.structs.replace(card(), sources=[SourceSpec(kind="folder", folder="/nowhere")])
    assert "nothing to ask" in str(audit([folder])) and json.dumps(audit([folder]).as_json())
