"""Finding and filtering models by name, offline, without loading a domain."""

from __future__ import annotations

import subprocess
import sys

import nyala
import pytest
from nyala.errors import NyalaError, UnknownNameError
from nyala.hub.catalogue import find, is_cached, list_models

FOUR = {"resnet18.a1_in1k", "resnet50.a1_in1k", "tf_efficientnet_lite0", "all-MiniLM-L6-v2"}


def names(**filters) -> list[str]:
    """What fits, of four models: a new card breaks no test."""
    return [card.name for card in list_models(**filters) if card.name in FOUR]


def test_filters():
    assert names(pattern="RESNET*") == ["resnet18.a1_in1k", "resnet50.a1_in1k"]
    assert names(pattern="timm/*") == names(domain="vision")
    assert names(domain="text") == names(task="sentence-embedding") == ["all-MiniLM-L6-v2"]
    assert names(architecture="resnet18") == names(architecture="timm:resnet18") == ["resnet18.a1_in1k"]
    assert names(license="apache-2.0") == names() and len(names()) == 4
    assert [card.name for card in list_models(license="GPL-3.0")] == names(domain="audio") == []
    assert names(max_params=5_000_000) == ["tf_efficientnet_lite0"]
    assert names(domain="vision", max_params=12_000_000) == ["resnet18.a1_in1k", "tf_efficientnet_lite0"]


def test_filters_by_size_metric_and_what_is_here(tmp_path, monkeypatch):
    assert names(max_size="20MB") == names(max_size=20_000_000) == ["tf_efficientnet_lite0"]
    assert names(max_size="50 MB", domain="vision") == ["resnet18.a1_in1k", "tf_efficientnet_lite0"]  # by its parameters
    assert names(metric="imagenet_top1") == ["resnet50.a1_in1k", "tf_efficientnet_lite0", "resnet18.a1_in1k"]
    assert names(metric="imagenet_top1", at_least=74.846) == ["resnet50.a1_in1k", "tf_efficientnet_lite0"]
    assert names(metric="imagenet_top1", domain="text") == []
    assert names(architecture="resnet34") == names(architecture="timm:tf_efficientnet_lite3") == []
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    monkeypatch.setattr("nyala.hub.sources.huggingface.cache_folder", lambda: tmp_path)
    card = find("tf_efficientnet_lite0")
    assert not is_cached(card)
    package = next(source for source in card.sources if source.kind == "package")
    for name in package.files:
        path = tmp_path / "packages" / f"{package.package}-{package.version}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert names(offline=True) == ["tf_efficientnet_lite0"]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"task": "image-clasification"}, "no task is called 'image-clasification'. Remedy: did you mean 'image-classification'"),
        ({"domain": "visoin"}, "no domain is called 'visoin'. Remedy: did you mean 'vision'"),
        ({"license": "Apache2"}, "no card has the licence 'Apache2'. Remedy: did you mean 'Apache-2.0'"),
        ({"architecture": "resnet19"}, "no architecture is called 'resnet19'. Remedy: did you mean 'resnet18'"),
        ({"metric": "imagenet_top2"}, "no metric is called 'imagenet_top2'. Remedy: did you mean 'imagenet_top"),
        ({"metric": "f"}, "imagenet_top1, "),
        ({"max_size": "big"}, "the largest size 'big' is no size"),
        ({"at_least": 3.0}, "says nothing without a metric"),
    ],
)
def test_a_filter_that_nothing_can_fit_is_an_error(filters, words):
    with pytest.raises(NyalaError) as caught:
        list_models(**filters)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_find_by_name_alias_hub_id_and_any_case():
    for name in ("all-MiniLM-L6-v2", "minilm", "ALL-MINILM-L6-V2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert find(name).name == "all-MiniLM-L6-v2"


def test_an_unknown_name_lists_the_nearest_and_all():
    with pytest.raises(UnknownNameError) as caught:
        find("resnet-50")
    text = str(caught.value)
    assert "did you mean 'resnet50'" in text
    assert all(name in text for name in ("all-MiniLM-L6-v2", "resnet18.a1_in1k", "t5-small"))
    assert caught.value.exit_code == 2


def test_the_face_gives_the_catalogue():
    assert nyala.list_models("minilm") == list_models("minilm")


def test_the_catalogue_loads_no_domain_and_no_hub_client():
    code = """
import sys, nyala
assert nyala.list_models()
heavy = ("numba", "PIL", "tokenizers", "huggingface_hub", "nyala.vision", "nyala.text", "nyala.audio")
print([name for name in heavy if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
