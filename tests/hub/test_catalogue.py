"""Finding and filtering models by name, offline, without loading a domain."""

from __future__ import annotations

import subprocess
import sys

import nyala
import pytest
from nyala.errors import UnknownNameError
from nyala.hub.catalogue import find, list_models


def names(**filters) -> list[str]:
    return [card.name for card in list_models(**filters)]


def test_filters():
    assert names(pattern="RESNET*") == ["resnet18.a1_in1k", "resnet50.a1_in1k"]
    assert names(pattern="timm/*") == names(domain="vision")
    assert names(domain="text") == names(task="sentence-embedding") == ["all-MiniLM-L6-v2"]
    assert names(architecture="resnet18") == names(architecture="timm:resnet18") == ["resnet18.a1_in1k"]
    assert names(license="apache-2.0") == names()
    assert names(license="GPL-3.0") == names(domain="audio") == []
    assert names(max_params=5_000_000) == ["tf_efficientnet_lite0"]
    assert names(domain="vision", max_params=12_000_000) == ["resnet18.a1_in1k", "tf_efficientnet_lite0"]


def test_find_by_name_alias_hub_id_and_any_case():
    for name in ("all-MiniLM-L6-v2", "minilm", "ALL-MINILM-L6-V2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert find(name).name == "all-MiniLM-L6-v2"


def test_an_unknown_name_lists_the_nearest_and_all():
    with pytest.raises(UnknownNameError) as caught:
        find("resnet-50")
    text = str(caught.value)
    assert "did you mean 'resnet50'" in text
    assert "all-MiniLM-L6-v2, resnet18.a1_in1k" in text
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
