"""Adapters as models: from a repository of their own, on a base from another."""

from __future__ import annotations

import json

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.hub import adapters, registry

TINY = {
    "model_type": "bert", "architectures": ["BertModel"], "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 12, "type_vocab_size": 2,
}  # fmt: skip


@pytest.fixture
def published(tmp_path):
    """Files of a base (a bare BERT) and of an adapter of it with a head of three classes, and the results of both together."""
    nyala.manual_seed(3)
    bare = registry.get("transformers:bert").build(TINY).eval()
    base = tmp_path / "base"
    base.mkdir()
    nyala.checkpoint.save_file({n: t.numpy() for n, t in bare.state_dict().items()}, base / "model.safetensors")
    (base / "config.json").write_text(json.dumps(TINY))
    model = nyala.load(base, num_classes=3).model
    adapter = nn.lora.attach(model, 2, 4, ["query", "value"], dora=True, train=["classifier"], seed=1)
    for number, parameter in enumerate(adapter.parameters()):
        parameter.array[...] += 0.3 * nyala.random.key(2, "adapter", number).normal(parameter.shape)
    folder = tmp_path / "adapter"
    adapter.save(folder, base="org/base", task_type="SEQ_CLS")
    ids = nyala.tensor([[1, 5, 9, 2], [7, 7, 3, 4]])
    result = model(ids).detach().numpy()
    files = {where: {p.name: p.read_bytes() for p in (tmp_path / where).iterdir()} for where in ("base", "adapter")}
    return files, result, folder


CODE = """
    import nyala
    ids = [[1, 5, 9, 2], [7, 7, 3, 4]]
    def load(name, **options):
        pipe = attempt(lambda: nyala.load(name, **options))
        if isinstance(pipe, dict):
            return pipe
        return {"logits": pipe.model(nyala.tensor(ids)).tolist(), "labels": pipe.labels, "task": type(pipe).__name__}
"""


def test_an_adapter_is_loaded_from_the_hub_with_its_base(hub, client, published):
    files, result, _ = published
    hub.commit("org/base", files["base"])
    hub.commit("me/adapter", {**files["adapter"], "README.md": b"an adapter"})
    found = client(hub.url, CODE + "    answer(load('me/adapter'))")
    assert np.abs(np.array(found["logits"]) - result).max() < 1e-5
    assert found["task"] == "TextClassification" and len(found["labels"]) == 3
    again = client("http://127.0.0.1:9", CODE + "    answer(load('me/adapter', offline=True))")
    assert again == found


def test_an_adapter_whose_base_is_gone_says_so(hub, client, published):
    hub.commit("me/adapter", published[0]["adapter"])
    found = client(hub.url, CODE + "    answer(load('me/adapter'))")
    assert found["error"] in ("UnknownNameError", "AccessError") and "org/base" in found["text"]


def test_pickled_adapters_are_not_opened(hub, client, published):
    files = published[0]["adapter"]
    pickled = {"adapter_config.json": files["adapter_config.json"], "adapter_model.bin": b"\x80\x02}q\x00."}
    hub.commit("me/adapter", pickled)
    found = client(hub.url, CODE + "    answer(load('me/adapter'))")
    assert found["error"] == "MissingFileError" and "no weights that nyala reads" in found["text"]


def test_a_folder_with_another_number_of_classes(published, tmp_path):
    _, _, folder = published
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(tmp_path / "base")}))
    assert nyala.load(folder, num_classes=5).model(nyala.tensor([[1, 2]])).shape == (1, 5)
    assert nyala.load(folder, random_init=True).model(nyala.tensor([[1, 2]])).shape == (1, 3)


def test_names_of_layers_are_those_that_are_published():
    config = {**TINY, "architectures": ["BertForSequenceClassification"]}
    module = registry.get("transformers:bert")
    paths = adapters.published_paths(module.build(config), module)
    assert paths["bert.encoder.layer.1.attention.self.query"] == "bert.encoder.layer.1.attention.self.query"
    assert paths["classifier"] == "classifier"
