"""Classes of data and model, matched by name; what does not match is listed with its nearest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nyala.errors import ArgumentError, DataError
from nyala.recipes.judging.matching import match, read_mapping

MODEL = ["tench, Tinca tinca", "crane", "crane, machine", "tiger cat", "Granny Smith"]


def test_names_match_without_case_and_with_synonyms() -> None:
    assert match(["tiger_cat", "TINCA TINCA", "granny-smith", "crane"], MODEL).tolist() == [3, 0, 4, 1]


def test_a_synonym_of_two_classes_is_none() -> None:
    with pytest.raises(DataError, match="drake"):
        match(["drake"], ["a, drake", "b, drake"])


def test_all_that_does_not_match_is_in_one_report() -> None:
    with pytest.raises(DataError) as caught:
        match(["tench", "tigre cat", "zzz"], MODEL, where="pets")
    said = str(caught.value)
    assert "2 of the 3 classes of pets are not among the model's 5" in said
    assert "tigre cat   (nearest: tiger cat)" in said and "  zzz" in said and "--map 'tigre cat=tiger cat'" in said


def test_a_mapping_wins_and_a_dash_leaves_out() -> None:
    assert match(["tench", "junk", "tin"], MODEL, {"tench": "crane", "junk": "-", "tin": "tench"}).tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("mapping", "text"), [({"tnech": "crane"}, "did you mean 'tench'"), ({"tench": "cranes"}, "did you mean 'crane'")]
)
def test_a_mapping_with_unknown_names_is_refused(mapping: dict[str, str], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        match(["tench"], MODEL, mapping)


def test_mappings_from_pairs_and_files(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"a": "x", "b": "y"}))
    assert read_mapping([str(path), "b=z=1"]) == {"a": "x", "b": "z=1"}


@pytest.mark.parametrize("content", ["[1]", '{"a": 1}', "{"])
def test_a_file_that_is_no_mapping(content: str, tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(content)
    with pytest.raises(ArgumentError, match=r"names\.json is"):
        read_mapping([str(path)])
    with pytest.raises(ArgumentError, match="no DATA=MODEL"):
        read_mapping(["nothing"])
