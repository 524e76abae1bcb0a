"""Adapters in PEFT's layout, against adapters that PEFT wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint, nn
from nyala.text.models import bert

GOLDENS = Path(__file__).parents[1] / "goldens"
CASES = ["toy_lora", "toy_dora", "toy_rslora", "bert_lora", "bert_dora"]


class Toy(nn.Module):
    """The model of the ``toy_*`` goldens."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.conv = nn.Embedding(11, 6), nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.fc, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, ids: Any, image: Any) -> Any:
        return self.head((self.fc(self.emb(ids).mean(1) + self.conv(image).mean((2, 3)))).tanh())


def goldens(name: str) -> dict[str, np.ndarray]:
    return dict(checkpoint.load_file(GOLDENS / "lora" / name / "goldens.safetensors"))


def below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def build(name: str) -> tuple[Any, dict[str, Any]]:
    arrays = goldens(name)
    model: Any = Toy()
    if name.startswith("bert"):
        config = json.loads((GOLDENS / "text" / "bert_classifier" / "config.json").read_text())
        model = bert.build(config)
    model.load_state_dict(below(arrays, "base."))
    return model.eval(), {n: nyala.tensor(a) for n, a in below(arrays, "input.").items()}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Any:
    """Name, goldens, the model with PEFT's adapter in it, its inputs."""
    model, inputs = build(request.param)
    assert np.abs(model(**inputs).detach().numpy() - goldens(request.param)["plain"]).max() < 1e-5
    adapter = nn.lora.load(model, GOLDENS / "lora" / request.param)
    return request.param, goldens(request.param), adapter, inputs


def test_an_adapter_that_peft_wrote_gives_the_same_results(case: Any) -> None:
    _, arrays, adapter, inputs = case
    with nyala.no_grad():
        quick = adapter.model(**inputs).numpy()
    recorded = adapter.model(**inputs).detach().numpy()
    assert np.abs(quick - arrays["output"]).max() < 1e-5
    assert np.abs(recorded - arrays["output"]).max() < 1e-5
    assert np.abs(arrays["output"] - arrays["plain"]).max() > 1e-2


def test_gradients_are_those_of_peft(case: Any) -> None:
    _, arrays, adapter, inputs = case
    out = adapter.model(**inputs)
    (out * nyala.tensor(np.cos(0.7 * np.arange(out.numel()) + 0.3).reshape(out.shape).astype(np.float32))).sum().backward()
    expected = below(arrays, "grad.base_model.model.")
    own = {n: p for n, p in adapter.model.named_parameters() if p.requires_grad}
    assert sorted(own) == sorted(expected)
    for name, grad in expected.items():
        assert np.abs(own[name].grad.numpy() - grad).max() <= 1e-4 * max(1.0, np.abs(grad).max()), name


def test_merged_results_are_those_of_peft(case: Any) -> None:
    _, arrays, adapter, inputs = case
    adapter.merge().detach()
    with nyala.no_grad():
        assert np.abs(adapter.model(**inputs).numpy() - arrays["merged"]).max() < 1e-5


def test_what_is_written_is_what_peft_wrote(case: Any, tmp_path: Path) -> None:
    name, _, adapter, _ = case
    adapter.save(tmp_path, task_type="SEQ_CLS" if name.startswith("bert") else None)
    theirs = checkpoint.load_file(GOLDENS / "lora" / name / "adapter_model.safetensors")
    ours = checkpoint.load_file(tmp_path / "adapter_model.safetensors")
    assert sorted(ours) == sorted(theirs)
    for key, array in theirs.items():
        assert np.array_equal(ours[key], array), key
    known = json.loads((GOLDENS / "lora" / name / "adapter_config.json").read_text())
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert written.keys() <= known.keys()
    same = ("peft_type", "task_type", "lora_dropout", "use_dora", "use_rslora", "bias", "fan_in_fan_out", "inference_mode")
    assert {k: written[k] for k in same} == {k: known[k] for k in same}
    assert isinstance(written["target_modules"], list) and len(written["target_modules"]) == len(adapter.layers)


def test_written_and_read_again_it_is_the_same(case: Any, tmp_path: Path) -> None:
    name, _, adapter, inputs = case
    adapter.save(tmp_path)
    again, _ = build(name)
    read = nn.lora.load(again, tmp_path)
    assert repr(read) == repr(adapter)
    with nyala.no_grad():
        assert np.array_equal(again(**inputs).numpy(), adapter.model(**inputs).numpy())


def test_names_are_translated_both_ways(tmp_path: Path) -> None:
    model, _ = build("toy_lora")
    names = {n: f"backbone.{n}" for n, _ in model.named_modules() if n}
    adapter = nn.lora.attach(model, 2, 4, ["fc"], train=["head"], seed=1)
    adapter.save(tmp_path, names=names)
    assert sorted(checkpoint.load_file(tmp_path / "adapter_model.safetensors")) == [
        "base_model.model.backbone.fc.lora_A.weight",
        "base_model.model.backbone.fc.lora_B.weight",
        "base_model.model.backbone.head.bias",
        "base_model.model.backbone.head.weight",
    ]
    read = nn.lora.load(build("toy_lora")[0], tmp_path, names=names)
    assert list(read.layers) == ["fc"] and list(read.trained) == ["head"]


def test_a_name_that_ends_another_is_written_as_an_expression(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    nn.lora.attach(model, 1, 1, ["0"]).save(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == "0"


def copied(tmp_path: Path, name: str, **changes: Any) -> Path:
    """PEFT's adapter with other settings in its configuration."""
    folder = tmp_path / "adapter"
    shutil.copytree(GOLDENS / "lora" / name, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "is of the kind IA3"),
        ({"lora_bias": True}, "uses lora_bias"),
        ({"bias": "all"}, "uses bias"),
        ({"init_lora_weights": "pissa_niter_4"}, "uses init_lora_weights = 'pissa_niter_4'"),
        ({"use_qalora": True}, "uses use_qalora"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(nyala.errors.CheckpointError, match=message):
        nn.lora.load(build("toy_lora")[0], copied(tmp_path, "toy_lora", **changes))


def test_damage_is_told(tmp_path: Path) -> None:
    folder = copied(tmp_path, "toy_lora")
    (folder / "adapter_config.json").write_text("[1, 2")
    with pytest.raises(nyala.errors.CheckpointError, match="damaged"):
        nn.lora.load(build("toy_lora")[0], folder)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(nyala.errors.MissingFileError, match=r"has no adapter_config\.json"):
        nn.lora.load(build("toy_lora")[0], folder)


def test_an_adapter_of_another_model_is_refused_and_changes_nothing() -> None:
    model, inputs = build("toy_lora")
    before = model(**inputs).detach().numpy()
    with pytest.raises(nyala.errors.CheckpointError, match=r"8 of its 8 layers are not in Toy: bert\.encoder\.layer\.\*"):
        nn.lora.load(model, GOLDENS / "lora" / "bert_lora")
    wide = nn.Module()
    wide.emb, wide.conv, wide.fc, wide.head = nn.Embedding(11, 6), nn.Conv2d(3, 6, 3), nn.Linear(6, 7), nn.Linear(7, 3)
    with pytest.raises(nyala.errors.CheckpointError, match="does not fit the adapter"):
        nn.lora.load(wide, GOLDENS / "lora" / "toy_lora")
    assert type(wide.fc) is nn.Linear and wide.fc.weight.requires_grad
    assert np.array_equal(model(**inputs).detach().numpy(), before)


def test_a_pytorch_file_is_not_opened(tmp_path: Path) -> None:
    folder = copied(tmp_path, "toy_lora")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(nyala.errors.MissingFileError, match=r"has no adapter_model\.safetensors"):
        nn.lora.load(build("toy_lora")[0], folder)
