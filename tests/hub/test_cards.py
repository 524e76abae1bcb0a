"""Every shipped card is complete, and a wrong card is refused with the key's path."""

from __future__ import annotations

import pytest
from nyala.errors import DataError, MissingFileError
from nyala.hub.cards import check_relative, parse_card, read_card
from nyala.hub.catalogue import card_paths, list_models
from nyala.hub.pipeline import TASKS
from nyala.hub.registry import architecture_of, import_path

CARDS = list_models()
SPDX = {"Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-NC-4.0", "CC0-1.0"}

GOOD = """
name = "m"
domain = "text"
task = "sentence-embedding"
title = "M"
summary = "A model."
license = "MIT"
citation = "Somebody, 2020"
architecture = "transformers:bert"
params = 10
labels = ["a", "b"]
[[sources]]
kind = "hub"
repo = "org/m"
[preprocessing]
max_seq_length = 8
"""


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_shipped_card_is_complete(card):
    assert card.license in SPDX
    assert card.citation and card.summary and card.title
    assert card.task in TASKS
    assert import_path(card.architecture).startswith(f"nyala.{card.domain}.")
    assert card.preprocessing
    assert card.metrics.get("published_in"), "metrics need their origin"
    for source in card.sources:
        assert source.files, "list the files, so that a pinned name needs no listing to know that it is whole"
        known = [bool(file.sha256) for file in source.files.values()]
        assert all(known) if source.verified else not any(known)
        assert all(file.size > 0 for file in source.files.values()) or not source.verified


@pytest.mark.parametrize("card", [card for card in CARDS if card.task == "image-classification"], ids=lambda card: card.name)
def test_a_card_of_picture_classes_agrees_with_itself(card):
    labels = card.label_names()
    assert len(labels) == card.config["num_classes"] == 1000
    assert labels[0] == "tench, Tinca tinca"
    assert labels[999].startswith("toilet tissue")
    assert architecture_of(card.config) == card.architecture
    for key, value in card.preprocessing.items():
        assert card.config["pretrained_cfg"][key] == value


def test_goldens_are_there_where_weights_could_be_read():
    for card in CARDS:
        assert (card.golden is not None) == card.verified


def test_every_card_file_is_in_the_catalogue():
    assert {card.path for card in CARDS} == {str(path) for path in card_paths()}
    assert len(CARDS) >= 4


def test_a_good_card_reads_back():
    card = parse_card(GOOD, "m.toml")
    assert (card.label_names(), card.verified, card.size, card.names) == (["a", "b"], False, 0, ["m", "org/m"])
    with pytest.raises(AttributeError):
        card.name = "other"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("params = 10", "params = 'ten'", r"params"),
        ("params = 10", "", r"missing required field `params`"),
        ("params = 10", "params = 0", r"number of parameters"),
        ("title =", "titel =", r"titel"),
        ('domain = "text"', 'domain = "smell"', r"domain"),
        ('repo = "org/m"', "", r"needs repo"),
        ('repo = "org/m"', 'repo = "m"', r"not of the form org/name"),
        ('repo = "org/m"', 'repo = "org/m"\ncommit = "v1"', r"40 lower-case hex"),
        ('repo = "org/m"', 'repo = "org/m"\nverified = true', r"not every file has a sha256"),
        ('repo = "org/m"', 'repo = "org/m"\nfiles."a" = {sha256 = "abc"}', r"64 lower-case hex"),
        ('repo = "org/m"', 'repo = "org/m"\nfiles."../a" = {}', r"not a plain relative path"),
        ('repo = "org/m"', 'repo = "org/m"\nfiles."a" = {hash = "abc"}', r"unknown field `hash`"),
        ('kind = "hub"', 'kind = "package"', r"needs package, version, wheel, wheel_sha256, files"),
        ('repo = "org/m"', 'repo = "org/m"\nrevision = "../main"', r"not a plain relative path"),
        ('kind = "hub"', 'kind = "hub"\npackage = "--index-url"\nversion = "1"', r"is not a name and a version"),
        ('kind = "hub"', 'kind = "hub"\npackage = "p"\nversion = "../1"', r"is not a name and a version"),
        ('kind = "hub"', 'kind = "ftp"', r"sources"),
        ("[preprocessing]", "[preprocessing", r"m.toml"),
    ],
)
def test_a_wrong_card_names_the_mistake(old, new, message):
    assert old in GOOD
    with pytest.raises(DataError, match=message) as caught:
        parse_card(GOOD.replace(old, new, 1), "m.toml")
    assert "m.toml" in str(caught.value)


def test_a_card_that_is_not_text(tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(DataError, match="not UTF-8 at byte 8"):
        read_card(path)


def test_a_missing_labels_file_is_named(tmp_path):
    card = parse_card(GOOD.replace('["a", "b"]', '"labels/x.txt"'), tmp_path / "c.toml")
    with pytest.raises(MissingFileError, match=r"labels/x.txt"):
        card.label_names()


def test_plain_relative_names_pass():
    for name in ("a", "a/b.json", "1_Pooling/config.json", "a..b", ""):
        assert check_relative(name) == name
