"""Bundles that are damaged, cut, or made to mislead: a clear error each, and never a wrong model or a crash."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import struct
import warnings
import zipfile

import nyala
import pytest
from nyala.errors import CheckpointError, DataError, IntegrityError, MissingFileError, NyalaError
from nyala.hub.bundled import MANIFEST, is_bundle_name, open_bundle, split_name
from nyala.hub.bundling import bundle
from nyala.hub.client import fetch, resolve
from nyala.hub.verification import verify


@pytest.fixture
def made(tiny_card, tmp_path):
    assert tiny_card.golden is not None
    return bundle(["tiny"], tmp_path / "zoo.nyala").path


def parts(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path, members, method=zipfile.ZIP_STORED):
    """A zip archive at ``path`` with these (name, bytes); names may stand twice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of a name given twice
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return path


def consistent(path, change):
    """The bundle with its content changed by ``change(members)``, and a manifest that agrees with what is there."""
    content = parts(path)
    manifest = json.loads(content.pop(MANIFEST))
    change(content, manifest)
    manifest["members"] = {n: {"sha256": hashlib.sha256(d).hexdigest(), "size": len(d)} for n, d in content.items()}
    return rewritten(path, [(MANIFEST, json.dumps(manifest).encode()), *content.items()])


def use(path):
    """Everything a user does with a bundle."""
    files = fetch(str(path))
    nyala.load(path)
    return files


# -- names


def test_names_of_bundles():
    assert split_name("a#b/zoo.nyala#org/m@refs/pr/3") == (split_name("a#b/zoo.nyala")[0], "org/m@refs/pr/3")
    assert split_name("~/zoo.nyala")[0].is_absolute()
    assert [is_bundle_name(n) for n in ("zoo.nyala", "zoo.nyala#x", "zoo.nyala.txt", "org/nyala", "nyala")] == [True, True] + [
        False
    ] * 3


def test_a_missing_bundle_gets_the_nearest(made):
    with pytest.raises(MissingFileError, match=r"did you mean 'zoo\.nyala'"):
        resolve(str(made.with_name("zo.nyala")))
    with pytest.raises(MissingFileError, match="there is no bundle"):
        resolve("nowhere/at/all.nyala")


def test_a_folder_that_is_called_like_a_bundle_is_a_folder(tiny_folder, tmp_path):
    shutil.move(tiny_folder, tmp_path / "odd.nyala")
    assert nyala.load(tmp_path / "odd.nyala").files.origin.startswith("folder")


# -- damage


def test_every_cut_is_an_error(made):
    whole = made.read_bytes()
    for size in [*range(0, len(whole), len(whole) // 60), len(whole) - 1]:
        made.write_bytes(whole[:size])
        with pytest.raises(NyalaError) as caught:
            open_bundle(made)
        assert caught.value.exit_code in (1, 2) and "zoo.nyala" in str(caught.value) and caught.value.fix


def test_bytes_behind_the_end_are_an_error(made):
    made.write_bytes(made.read_bytes() + b"\0" * 10)
    with pytest.raises(CheckpointError, match="no end"):
        open_bundle(made)


def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(made):
    """A bit in a date or in the space between members says nothing; every other one is noticed."""
    whole = made.read_bytes()
    good = {name: path.read_bytes() for name, path in use(made).items()}
    card = open_bundle(made).card("tiny")
    golden = open_bundle(made).model().packed
    draw, noticed = random.Random(4), 0
    manifest = open_bundle(made).part(MANIFEST)
    table = whole.index(b"PK\x01\x02")
    spots = [draw.randrange(len(whole)) for _ in range(60)]
    spots += [draw.randrange(manifest.start, manifest.stop) for _ in range(60)]
    spots += [draw.randrange(table, len(whole)) for _ in range(120)]
    for spot in spots:
        made.write_bytes(whole[:spot] + bytes([whole[spot] ^ 1 << draw.randrange(8)]) + whole[spot + 1 :])
        try:
            got = {name: path.read_bytes() for name, path in fetch(str(made)).items()}
            opened = open_bundle(made)
            assert got == good and opened.card("tiny") == card and opened.model().packed == golden, spot
        except NyalaError:
            noticed += 1
    assert noticed > 150


def test_verify_lists_every_damaged_file(made):
    files = fetch(str(made))
    whole = bytearray(made.read_bytes())
    for name in ("config.json", "model.safetensors"):
        whole[files[name].stop - 1] ^= 1
    made.write_bytes(whole)
    verdict = verify(str(made))
    assert [f.name for f in verdict.damaged] == ["config.json", "model.safetensors"] and not verdict.right
    assert "copy the bundle again" in str(verdict) and "delete" not in str(verdict)


def test_a_file_that_is_no_bundle(tmp_path):
    path = tmp_path / "x.nyala"
    for content in (b"", b"PK", b"hello, this is text", b"\x80\x02}q\x00.", b"\0" * 5000):
        path.write_bytes(content)
        with pytest.raises(NyalaError, match=r"x\.nyala"):
            open_bundle(path)
    rewritten(path, [("weights.bin", b"1")])
    with pytest.raises(DataError, match=r"but no bundle: it has no manifest\.json"):
        open_bundle(path)


# -- bundles made to mislead


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "tiny/../../evil",
        "/etc/passwd",
        "tiny//x",
        "tiny\\..\\x",
        "C:/x",
        "tiny/files/\x00",
        "tiny/files/a\nb",
        "./x",
        "",
    ],
)
def test_names_that_lead_out_are_refused(made, name):
    content = parts(made)
    manifest = json.loads(content[MANIFEST])
    manifest["members"][name] = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
    content[MANIFEST] = json.dumps(manifest).encode()
    rewritten(made, [*content.items(), ("placeholder" * (len(name) // 11 + 1), b"x")])
    # zipfile cleans names; so the bytes are put in by hand
    raw, dummy = made.read_bytes(), ("placeholder" * (len(name) // 11 + 1)).encode()
    wanted = name.encode().ljust(len(dummy), b"/") if name else b""
    if name:
        raw = raw.replace(dummy, wanted)
    made.write_bytes(raw)
    with pytest.raises(NyalaError):
        use(made)
    assert sorted(p.name for p in made.parent.iterdir() if "evil" in p.name) == []


def test_a_name_given_twice_is_refused(made):
    content = list(parts(made).items())
    rewritten(made, [*content, ("tiny/files/config.json", b"{}")])
    with pytest.raises(CheckpointError, match=r"config\.json' twice"):
        open_bundle(made)


def test_compressed_members_are_refused_before_a_byte_is_unpacked(made):
    bomb = b"\0" * 200_000_000
    content = parts(made)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data)
        archive.writestr(zipfile.ZipInfo("tiny/files/tokenizer.json"), bomb, compress_type=zipfile.ZIP_DEFLATED)
    made.write_bytes(packed.getvalue())
    with pytest.raises(DataError, match=r"tokenizer\.json is compressed"):
        open_bundle(made)


def test_members_may_not_share_bytes(made):
    """The trick of bombs without compression: many names for the same bytes."""
    raw = bytearray(made.read_bytes())
    first = raw.index(b"PK\x01\x02")
    entries, at = [], first
    while raw[at : at + 4] == b"PK\x01\x02":
        name, extra = struct.unpack_from("<2H", raw, at + 28)
        entries.append(at)
        at += 46 + name + extra
    raw[entries[2] + 42 : entries[2] + 46] = raw[entries[1] + 42 : entries[1] + 46]
    made.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"another name or method|shares bytes"):
        open_bundle(made)


def test_members_that_the_manifest_does_not_name_and_the_other_way_round(made):
    content = parts(made)
    rewritten(made, [*content.items(), ("tiny/files/extra.bin", b"1")])
    with pytest.raises(IntegrityError, match=r"holds tiny/files/extra\.bin, which the manifest does not name"):
        open_bundle(made)
    del content["tiny/files/config.json"]
    rewritten(made, content.items())
    with pytest.raises(IntegrityError, match=r"it lacks tiny/files/config\.json"):
        open_bundle(made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(format="other"), "another kind"),
        (lambda m: m.update(version=2), "version 2"),
        (lambda m: m.update(extra=1), "extra"),
        (lambda m: m.pop("models"), "models"),
        (lambda m: m["models"]["tiny"].update(folder=""), "folder of its own"),
        (lambda m: m["models"]["tiny"].update(folder="a/b"), "folder of its own"),
        (lambda m: m["models"]["tiny"].update(folder=".."), "belongs to no model"),
        (lambda m: m["models"].update(twin=m["models"]["tiny"]), "folder of its own"),
        (lambda m: m["models"]["tiny"]["golden"].update(output="x"), "output"),
        (lambda m: m["members"]["tiny/card.toml"].update(size=3), "its manifest says 3"),
        (lambda m: m["members"]["tiny/card.toml"].update(sha256="x"), "no sha256"),
        (lambda m: m["members"]["tiny/card.toml"].update(sha256="0" * 64), "does not have the sha256"),
        (lambda m: m["members"]["tiny/files/config.json"].update(sha256="0" * 64), "has sha256"),
        (lambda m: m.update(members=[]), "members"),
    ],
)
def test_a_manifest_that_does_not_fit(made, change, said):
    content = parts(made)
    manifest = json.loads(content[MANIFEST])
    change(manifest)
    rewritten(made, {**content, MANIFEST: json.dumps(manifest).encode()}.items())
    with pytest.raises(NyalaError) as caught:
        use(made)
    assert said in str(caught.value) and "zoo.nyala" in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{", b'{"a":' * 100_000, b'{"format": 1, "format": 2}', b'{"a": NaN}', b"\xff{}", b"{}" + b" " * (33 << 20)],
)
def test_a_manifest_that_is_none(made, raw):
    rewritten(made, {**parts(made), MANIFEST: raw}.items())
    with pytest.raises(NyalaError, match=r"zoo\.nyala"):
        open_bundle(made)


def test_a_card_with_ways_out_or_nonsense_is_refused(made):
    text = parts(made)["tiny/card.toml"].decode()
    for old, new in (
        ('labels = "animals.txt"', 'labels = "../../etc/passwd"'),
        ('labels = "animals.txt"', 'labels = "/etc/passwd"'),
        ('labels = "animals.txt"', 'labels = "files/none.txt"'),
        ('license = "MIT"', 'license = "MIT"\nrun = "rm -rf"'),
        ('name = "tiny"', "name = "),
    ):
        assert old in text
        consistent(made, lambda members, _: members.update({"tiny/card.toml": text.replace(old, new).encode()}))  # noqa: B023
        with pytest.raises(NyalaError, match=r"zoo\.nyala|plain relative path"):
            nyala.load(made)


def test_weights_that_would_run_code_are_refused(made):
    """A pickle in the place of the weights goes through the reader that builds arrays and nothing else."""

    def hide_a_pickle(members, _):
        members["tiny/files/pytorch_model.bin"] = b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00exitq\x01\x85q\x02Rq\x03."
        del members["tiny/files/model.safetensors"]

    consistent(made, hide_a_pickle)
    with pytest.raises(NyalaError) as caught:
        nyala.load(made)
    assert type(caught.value).__name__ in ("UnsafeFileError", "CheckpointError")


def test_a_card_may_not_send_the_reader_elsewhere(made, tmp_path):
    """Whatever sources a card in a bundle names, the files come from the bundle."""
    text = parts(made)["tiny/card.toml"].decode().replace('folder = "../m"', f'folder = "{tmp_path}"')
    consistent(made, lambda members, _: members.update({"tiny/card.toml": text.encode()}))
    assert {path.archive for path in fetch(str(made)).values()} == {made}
