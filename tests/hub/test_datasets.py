"""Datasets of a model hub, through the real client against the local hub: pinned, verified, cached; clear where they are not."""

from __future__ import annotations

import pytest

CSV = b"text,label\n" + b"".join(b"some text number %d,%s\n" % (i, [b"ham", b"spam"][i % 2]) for i in range(60))
READ = """
def read(name, **options):
    from nyala.recipes.data import datasets
    from nyala.recipes.language.schema import Data
    def get():
        raw = datasets.read(Data(name=name, **options))
        parts = {k: getattr(raw, k) for k in ("train", "validation", "test")}
        return {"labels": raw.labels, "commit": raw.commit, "hashes": raw.hashes, "kind": raw.kind,
                "first": str(raw.train.inputs[0]), "sizes": [len(p) if p is not None else 0 for p in parts.values()]}
    return attempt(get)
"""


@pytest.fixture
def mails(hub):
    """A dataset of two files on the hub; its commit."""
    files = {
        "README.md": b"# mails",
        ".gitattributes": b"x",
        "data/train.csv": CSV,
        "data/test.csv": CSV[:300].rpartition(b"\n")[0],
    }
    commit = hub.commit("org/mails", files)
    hub.repos["org/mails"].kind = "dataset"
    return commit


def test_a_dataset_is_pinned_verified_and_cached(hub, client, mails) -> None:
    found = client(hub.url, READ + "answer(read('org/mails'))")
    assert found["commit"] == mails and found["labels"] == ["ham", "spam"] and found["sizes"][0] == 60
    assert not hub.requests("README") and len(hub.requests("train.csv")) + len(hub.requests("/lfs/")) == 2
    hub.log.clear()
    hub.commit("org/mails", {"data/train.csv": b"text,label\nmoved,a\non,b\n"})
    assert client(hub.url, READ + "answer(read('org/mails'))") == found
    assert client(hub.url, READ + f"answer(read('org/mails@{mails}'))")["hashes"] == found["hashes"]
    assert not [entry for entry in hub.log if "resolve" in entry["path"]]


def test_without_a_network(hub, client, mails, nowhere) -> None:
    found = client(hub.url, READ + f"answer(read('org/mails@{mails}'))")
    assert client(nowhere, READ + f"answer(read('org/mails@{mails}'))", NYALA_OFFLINE="1") == found
    missing = client(nowhere, READ + "answer(read('org/other'))", NYALA_OFFLINE="1")
    assert missing["error"] == "NetworkError" and "hub dataset org/other is not cached" in missing["text"]


def test_wrong_bytes_are_fetched_again_and_then_refused(hub, client, mails) -> None:
    hub.fault("corrupt", match="/lfs/", at=20)
    assert client(hub.url, READ + "answer(read('org/mails'))")["commit"] == mails
    hub.commit("org/more", {"train.csv": CSV + b"last,ham\n"})
    hub.repos["org/more"].kind = "dataset"
    hub.fault("corrupt", match="/lfs/", at=20, times=9)
    refused = client(hub.url, READ + "answer(read('org/more'))")
    assert refused["error"] == "IntegrityError" and "hub dataset org/more: train.csv" in refused["text"]


def test_a_tampered_file_is_fetched_again(hub, client, mails) -> None:
    found = client(hub.url, READ + "answer(read('org/mails'))")
    (path,) = (client.hf / "hub" / "datasets--org--mails" / "snapshots" / mails / "data").glob("train.csv")
    path.resolve().write_bytes(CSV.replace(b"spam", b"scam"))
    assert client(hub.url, READ + "answer(read('org/mails'))") == found


@pytest.mark.usefixtures("mails")
@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("org/none", "UnknownNameError", "no dataset org/none that you may see"),
        ("org/none", "UnknownNameError", "There is no folder or file of this name here either"),
        ("org/mails@gone", "UnknownNameError", "no revision 'gone'"),
        ("org/model", "UnknownNameError", "no dataset org/model"),
        ("org/gated", "AccessError", "is gated"),
        ("org/empty", "MissingFileError", "holds no data that nyala can read"),
    ],
)
def test_what_cannot_be_had(hub, client, name: str, kind: str, words: str) -> None:
    hub.commit("org/model", {"config.json": b"{}"})
    for repo, files in {"org/gated": {"train.csv": CSV}, "org/empty": {"README.md": b"x", "pics.zip": b"PK"}}.items():
        hub.commit(repo, files)
        hub.repos[repo].kind = "dataset"
    hub.repos["org/gated"].gated = True
    found = client(hub.url, READ + f"answer(read({name!r}))")
    assert found["error"] == kind and words in found["text"]


def test_configurations_are_chosen_by_name(hub, client) -> None:
    rows = {"en": b"text,label\nyes,a\nno,b\n", "fr": b"text,label\noui,a\nnon,b\npeut-etre,b\n"}
    hub.commit("org/two", {f"{name}/train.csv": body for name, body in rows.items()})
    hub.repos["org/two"].kind = "dataset"
    asked = client(hub.url, READ + "answer(read('org/two'))")
    assert (
        asked["error"] == "DataError" and "has 2 configurations: en, fr" in asked["text"] and 'data.subset="en"' in asked["text"]
    )
    assert client(hub.url, READ + "answer(read('org/two', subset='fr'))")["sizes"] == [3, 0, 0]
    assert client(hub.url, READ + "answer(read('org/two', subset='en'))")["first"] == "yes"
    assert "has no configuration 'eng'" in client(hub.url, READ + "answer(read('org/two', subset='eng'))")["text"]


def test_pictures_in_class_folders(hub, client) -> None:
    pictures = {
        f"{split}/{name}/{i}.png": f"{split}{name}{i}".encode() for split in ("train", "test") for name in "ab" for i in range(2)
    }
    hub.commit("org/pics", pictures)
    hub.repos["org/pics"].kind = "dataset"
    found = client(hub.url, READ + "answer(read('org/pics'))")
    assert (found["kind"], found["labels"], found["sizes"]) == ("image", ["a", "b"], [4, 0, 4])


def test_bad_rows_are_named_as_the_hub_calls_the_file(hub, client) -> None:
    hub.commit("org/bad", {"train.csv": b"text,label\nx,a\n,b\n"})
    hub.repos["org/bad"].kind = "dataset"
    found = client(hub.url, READ + "answer(read('org/bad'))")
    assert found["error"] == "DataError" and "train.csv:3: no text in 'text'" in found["text"]


def test_paths_that_lead_out_are_not_fetched(hub, client) -> None:
    hub.commit("org/evil", {"../../evil.csv": CSV, "train.csv": CSV})
    hub.repos["org/evil"].kind = "dataset"
    assert client(hub.url, READ + "answer(read('org/evil'))")["sizes"][0] == 60
    assert not hub.requests("evil.csv") and not list(client.hf.rglob("evil.csv"))
