"""The lock file itself: strict reading, the same bytes for the same content, and which entry a name finds."""

from __future__ import annotations

import random
import tomllib

import msgspec
import pytest
from nyala.errors import DataError, MissingFileError, NetworkError, StorageError, UnknownNameError
from nyala.hub import client as hub_client
from nyala.hub import lockfile
from nyala.hub.cards import FileSpec, SourceSpec
from nyala.hub.lockfile import Entry

FILES = {
    "model.safetensors": FileSpec(sha256="a" * 64, size=5),
    "1_Pooling/config.json": FileSpec(sha256="b" * 64, size=0),
    'odd "name"\u00e9.json': FileSpec(path="in/side.json", sha256="c" * 64, size=1),
}
HUB = Entry(SourceSpec(kind="hub", repo="org/m", commit="1" * 40, revision="refs/pr/3", files=FILES), "apache-2.0")
WHEEL = {"wheel": "tiny.whl", "wheel_sha256": "d" * 64, "wheel_size": 9}
PACKAGE = Entry(SourceSpec(kind="package", package="tiny", version="1.0", files={"m.pth": FILES["model.safetensors"]}, **WHEEL))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.lock.toml"


def test_what_is_written_is_read_again(path):
    lockfile.write(path, {"org/m@refs/pr/3": HUB, "tiny": PACKAGE})
    read = lockfile.read(path)
    assert set(read) == {"org/m@refs/pr/3", "tiny"}
    for name, entry in {"org/m@refs/pr/3": HUB, "tiny": PACKAGE}.items():
        assert read[name].license == entry.license and read[name].pin == entry.pin
        assert read[name].source.files == entry.source.files
        assert read[name].source.verified and read[name].source.authority == "weights.lock.toml"
    assert read["org/m@refs/pr/3"].source.revision == "refs/pr/3"
    assert lockfile.to_toml(read) == path.read_text()


def test_the_order_of_the_parts_changes_no_byte():
    names = [f"org/m{i}" for i in range(12)]
    texts = set()
    for seed in range(5):
        random.Random(seed).shuffle(names)
        files = dict(random.Random(seed).sample(list(FILES.items()), len(FILES)))
        source = SourceSpec(kind="hub", repo="org/m", commit="1" * 40, files=files)
        texts.add(lockfile.to_toml({name: Entry(source) for name in names}))
    assert len(texts) == 1
    assert list(tomllib.loads(texts.pop())["models"]) == sorted(names)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "format = 2", "format = 2"),
        ("format = 1", "", "format = None"),
        ("format = 1", "format = 1\nextra = 2", "unknown keys extra"),
        ('sha256 = "' + "a" * 64 + '", ', "", "sha256"),
        ("a" * 64, "A" * 64, "64 lower-case hex"),
        ("a" * 64, "a" * 63, "64 lower-case hex"),
        ('commit = "' + "1" * 40 + '"', "", "needs its commit"),
        ("1" * 40, "main", "40 lower-case hex"),
        ('kind = "hub"', 'kind = "folder"\nfolder = "/etc"', "cannot be locked"),
        ('kind = "hub"', 'kind = "ftp"', "kind"),
        ('repo = "org/m"', 'repo = "org"', "org/name"),
        ('"model.safetensors"', '"../model.safetensors"', "plain relative path"),
        ('"model.safetensors"', '"/etc/passwd"', "plain relative path"),
        ("size = 5", 'size = "5"', "size"),
        ('license = "apache-2.0"', 'licence = "apache-2.0"', "licence"),
        ('license = "apache-2.0"', "license = 3", "Expected `str`"),
        ('license = "apache-2.0"', "verified = false", "verified"),
        ("[models", "[[models", "TOML"),
    ],
)
def test_a_file_that_was_edited_badly_is_refused(path, old, new, said):
    text = lockfile.to_toml({"org/m": HUB})
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=r"weights\.lock\.toml") as caught:
        lockfile.read(path)
    assert said in str(caught.value) and "nyala lock NAME" in str(caught.value)


def test_a_missing_folder_or_unreadable_file_is_told_apart(path, tmp_path):
    with pytest.raises(MissingFileError, match="there is no lock file"):
        lockfile.read(path)
    with pytest.raises(StorageError, match="could not read"):
        lockfile.read(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        lockfile.read(path)


# -- which entry a name finds


def test_a_name_an_alias_and_a_hub_id_find_the_cards_entry(path, monkeypatch):
    lockfile.write(path, {"resnet18.a1_in1k": HUB})
    for name in ("resnet18", "ResNet18", "timm/resnet18.a1_in1k"):
        resolved = hub_client.resolve(name, lock=path)
        assert [s.commit for s in resolved.sources] == ["1" * 40] and resolved.card.name == "resnet18.a1_in1k"
    monkeypatch.setenv("NYALA_LOCK", str(path))
    assert hub_client.resolve("resnet18").sources[0].commit == "1" * 40
    assert hub_client.resolve("resnet18", lock="").sources[0].commit != "1" * 40


def test_a_revision_finds_its_own_entry_or_the_one_locked_at_it(path):
    lockfile.write(path, {"org/m": HUB, "org/n@v2": PACKAGE})
    for revision in ("refs/pr/3", "1" * 40):
        assert hub_client.resolve(f"org/m@{revision}", lock=path).sources[0].repo == "org/m"
        assert hub_client.resolve("org/m", revision=revision, lock=path).sources[0].repo == "org/m"
    assert hub_client.resolve("org/n@v2", lock=path).sources[0].package == "tiny"
    with pytest.raises(UnknownNameError, match=r"it has org/m at refs/pr/3, commit 111111111111"):
        hub_client.resolve("org/m@main", lock=path)


def test_a_name_that_is_not_locked_is_an_error(path):
    lockfile.write(path, {"resnet50.a1_in1k": HUB})
    with pytest.raises(
        UnknownNameError, match=r"has no resnet18.a1_in1k.*did you mean 'resnet50.a1_in1k'.*nyala lock resnet18"
    ) as e:
        hub_client.resolve("resnet18", lock=path)
    assert e.value.exit_code == 2
    lockfile.write(path, {})
    with pytest.raises(UnknownNameError, match="it is empty"):
        hub_client.resolve("org/m", lock=path)


def test_another_source_with_the_very_same_hashes_will_do(path, tiny_card, tiny_folder):
    files = {name: FileSpec(sha256=spec.sha256) for name, spec in tiny_card.sources[0].files.items()}
    source = SourceSpec(kind="hub", repo="org/m", commit="1" * 40, files=files)
    lockfile.write(path, {"tiny": Entry(source)})
    resolved = hub_client.resolve("tiny", lock=path)
    assert [s.kind for s in resolved.sources] == ["hub", "folder"]
    assert hub_client.fetch_resolved(resolved, offline=True).origin.startswith("folder")
    (tiny_folder / "config.json").write_text("{}")
    with pytest.raises(NetworkError):
        hub_client.fetch_resolved(resolved, offline=True)
    other = {**files, "config.json": FileSpec(sha256="0" * 64)}
    lockfile.write(path, {"tiny": Entry(msgspec.structs.replace(source, files=other))})
    assert [s.kind for s in hub_client.resolve("tiny", lock=path).sources] == ["hub"]


def test_a_folder_is_not_looked_up(path, tmp_path):
    lockfile.write(path, {})
    assert hub_client.resolve(str(tmp_path), lock=path).sources[0].kind == "folder"
