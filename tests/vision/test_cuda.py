"""Image models and their pipeline on ``device="cuda"``: the CPU's results, and training that goes the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import checkpoint, optim
from nyala.errors import DeviceError
from nyala.hub.load import load
from nyala.testing import assert_close
from nyala.vision.prompting.everything import everything

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"
TINY = ("resnet_basic", "resnet_bottleneck", "efficientnet_lite")

pytestmark = pytest.mark.usefixtures("cuda")


@pytest.mark.parametrize("name", TINY)
def test_logits_equal_timm(name: str, cuda: str) -> None:
    model, frozen = load(str(GOLDENS / name), device="cuda").model, checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    assert {t.device for t in (*model.parameters(), *model.buffers())} == {cuda}
    with nyala.no_grad():
        logits = model(nyala.from_numpy(frozen["input"]).cuda()).numpy()
    assert np.abs(logits - frozen["logits"]).max() < 1e-5 * np.abs(frozen["logits"]).max()


@pytest.mark.parametrize("name", TINY)
def test_training_goes_the_same_way(name: str) -> None:
    frozen, states = checkpoint.load_file(GOLDENS / name / "goldens.safetensors"), []
    for device in ("cpu", "cuda"):
        nyala.manual_seed(0)
        model = load(str(GOLDENS / name), device=device, dtype="float64").model.train()
        optimizer = optim.AdamW(model.param_groups(), lr=1e-3)
        x = nyala.tensor(frozen["input"], dtype="float64", device=device)
        labels = nyala.arange(len(x), device=device) % model.config.num_classes
        for _ in range(2):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels, label_smoothing=0.1)
            loss.backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        states.append({"loss": loss.detach().cpu(), **{k: v.cpu() for k, v in model.state_dict().items()}})
    assert_close(states[1], states[0], 1e-7, 1e-7)


def test_the_pipeline_takes_pictures_there_and_results_back() -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (50 + i, 60, 3), dtype=np.uint8) for i in range(3)]
    here, there = load(str(GOLDENS / "resnet_basic")), load(str(GOLDENS / "resnet_basic"), device="cuda")
    assert np.allclose(there.logits(pictures), here.logits(pictures), rtol=1e-4, atol=1e-5)
    assert there(pictures[0]).labels == here(pictures[0]).labels and "picture 0" in repr(there(pictures))


def test_a_picture_left_behind_is_named_with_its_layer() -> None:
    model: Any = load(str(GOLDENS / "resnet_basic"), device="cuda").model
    with pytest.raises(DeviceError, match=r"at conv1 \(Conv2d\): .*\(1, 3, 32, 32\) is on cpu.*\.to\('cuda:0'\)"):
        model(nyala.ones(1, 3, 32, 32))


@pytest.mark.parametrize("name", ["depth_anything", "depth_anything_metric"])
def test_depths_equal_transformers(name: str) -> None:
    pipe, frozen = load(str(GOLDENS / name), device="cuda"), checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    with nyala.no_grad():
        for given, expected in (("input", "logits"), ("odd_input", "odd_logits")):
            found = pipe.model(nyala.from_numpy(frozen[given]).cuda()).numpy()
            assert np.abs(found - frozen[expected]).max() < 1e-5 * np.abs(frozen[expected]).max()
    assert pipe(np.zeros((20, 30, 3), np.uint8)).depth.shape == (20, 30)


def test_masks_equal_transformers() -> None:
    pipe, frozen = load(str(GOLDENS / "sam"), device="cuda"), checkpoint.load_file(GOLDENS / "sam" / "goldens.safetensors")
    names = {"pixel_values": "input"} | {f"input_{key}": key for key in ("points", "labels", "boxes", "masks")}
    with nyala.no_grad():
        out = pipe.model(**{ours: nyala.from_numpy(np.array(frozen[theirs])).cuda() for ours, theirs in names.items()})
    assert np.abs(out.pred_masks.numpy() - frozen["all.masks"]).max() < 1e-5 * np.abs(frozen["all.masks"]).max()
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert pipe(image, points=[(9, 9)], boxes=[(0, 0, 30, 30)]).masks.shape == (1, 40, 60)
    assert everything(pipe, pipe.embed(image), points_per_side=2, score=-9, stability=-1).masks.shape[1:] == (40, 60)
