"""Architecture names and the modules behind them."""

from __future__ import annotations

import pytest
from nyala.errors import DataError, UnknownNameError
from nyala.hub.pipeline import TASKS, Unavailable, pipeline_class
from nyala.hub.registry import ARCHITECTURES, architecture_of, get, import_path


def test_both_layouts_name_their_architecture():
    assert architecture_of({"architecture": "resnet50", "num_classes": 10}) == "timm:resnet50"
    assert architecture_of({"architecture": "resnet50.a1_in1k"}) == "timm:resnet50"
    assert architecture_of({"model_type": "bert", "architectures": ["BertModel"]}) == "transformers:bert"
    with pytest.raises(DataError, match=r"m/config.json names no architecture"):
        architecture_of({"hidden_size": 3}, "m/config.json")


def test_names_and_patterns_lead_to_modules():
    assert import_path("timm:resnet18") == "nyala.vision.models.resnet"
    for size in range(5):
        assert import_path(f"timm:tf_efficientnet_lite{size}") == "nyala.vision.models.efficientnet"
    assert import_path("transformers:bert") == "nyala.text.models.bert"


@pytest.mark.parametrize("name", ["timm:resnet35", "timm:tf_efficientnet_lite5", "transformers:tapas"])
def test_an_unknown_architecture_lists_the_known_ones_of_its_layout(name):
    with pytest.raises(UnknownNameError) as caught:
        import_path(name)
    layout = name.partition(":")[0]
    of_layout = [known.partition(":")[2] for known in ARCHITECTURES if known.startswith(f"{layout}:")]
    assert len(of_layout) > 10 and all(known in str(caught.value) for known in of_layout)


@pytest.mark.parametrize("name", ["bert", ""])
def test_a_name_without_a_layout_is_told_the_layouts(name):
    with pytest.raises(UnknownNameError, match="the layouts of timm and transformers"):
        import_path(name)


@pytest.mark.parametrize("name", ["vision.models.resnet", "vision.models.efficientnet", "text.models.bert"])
def test_each_module_offers_what_the_registry_promises(name):
    architecture = next(key for key, module in ARCHITECTURES.items() if module == name).replace("[0-4]", "0")
    module = get(architecture)
    for function in ("build", "key_map", "export_config"):
        assert callable(getattr(module, function))


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="did you mean 'image-classification'"):
        pipeline_class("image-clasification")
    assert {"image-classification", "sentence-embedding", "text-classification", "feature-extraction"} <= set(TASKS)


def test_what_is_unavailable_says_which_file_is_missing():
    from nyala.errors import MissingFileError

    with pytest.raises(MissingFileError, match=r"folder m came without tokenizer.json: it is needed to turn text into tokens"):
        Unavailable("tokenizer.json", "turn text into tokens", "folder m")("a cat", padding=True)
