"""What is VGG's own: torchvision's names, and training in less memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
from nyala.vision.models import vgg

TINY: dict[str, Any] = {
    "architecture": "vgg11_bn",
    "num_classes": 5,
    "model_args": {"depths": [1, 2], "channels": [4, 6], "head_hidden_size": 8, "mlp_ratio": 0.5},
}


def test_torchvisions_linear_layers_are_our_convolutions() -> None:
    ours = {k: v.numpy().copy() for k, v in vgg.build(TINY).state_dict().items()}
    published = {k: v for k, v in ours.items() if k.startswith("features.")}
    wide = ours["pre_logits.fc1.weight"]
    published["classifier.0.weight"] = wide.reshape(4, 6 * 49)  # as torch.flatten lays the map out
    published["classifier.3.weight"] = ours["pre_logits.fc2.weight"].reshape(8, 4)
    published["classifier.6.weight"] = ours["head.fc.weight"]
    for theirs, name in (("0", "pre_logits.fc1"), ("3", "pre_logits.fc2"), ("6", "head.fc")):
        published[f"classifier.{theirs}.bias"] = ours[f"{name}.bias"]
    keys = vgg.key_map(TINY, list(published))
    read = keys.to_ours(published)
    assert {k: v.shape for k, v in read.items()} == {k: v.shape for k, v in ours.items()}
    assert all(np.array_equal(read[k], ours[k]) for k in ours)
    again = keys.to_published(read)
    assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in published.items()}


def test_each_stage_is_one_block_to_compute_again() -> None:
    model = vgg.build(TINY)
    stages = [[type(layer).__name__ for layer in stage.children()] for stage in model.checkpointed_blocks()]
    unit = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert stages == [[*unit, "MaxPool2d"], [*unit, *unit, "MaxPool2d"]]


def test_large_maps_are_read_in_several_places() -> None:
    model = vgg.build(TINY).eval()
    with nyala.no_grad():
        assert model.pre_logits(nyala.ones(1, 6, 9, 8)).shape == (1, 8, 3, 2)
        assert model.pre_logits(nyala.ones(1, 6, 2, 8)).shape == (1, 8, 1, 2)
