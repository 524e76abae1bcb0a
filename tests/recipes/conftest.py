"""A tiny model and tiny data, so that a whole run takes a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TINY = {
    "architecture": "resnet18",
    "num_classes": 5,
    "model_args": {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8], "stem_channels": 4},
    "pretrained_cfg": {
        "input_size": [3, 16, 16],
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    },
}
COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 50, 40)}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in timm's layout with a residual network of random weights."""
    import nyala
    from nyala import checkpoint
    from nyala.vision.models import resnet

    folder = tmp_path_factory.mktemp("tiny-model")
    nyala.manual_seed(5)
    model = resnet.build(TINY)
    checkpoint.save_file({name: t.numpy() for name, t in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(TINY))
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of 16x16 pictures, 20 of each of three noisy colours."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("tiny-data")
    rng = np.random.default_rng(3)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for i in range(20):
            noisy = np.array(colour) + rng.normal(0, 60, (16, 16, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture
def recipe_file(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> Path:
    """A recipe over both: 43 training samples, 6 steps an epoch, 2 epochs."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        f"""schema = 1
seed = 11
[data]
name = "{tiny_data}"
batch_size = 8
eval_batch_size = 16
workers = 0
augment = [{{ type = "horizontal_flip" }}, {{ type = "random_crop", padding = 2 }}]
[model]
name = "{tiny_model}"
[optim]
type = "adamw"
lr = 0.01
[schedule]
type = "cosine"
warmup = 2
[train]
epochs = 2
hash_every = 3
checkpoint = {{ every = 4 }}
"""
    )
    return path


@pytest.fixture
def trained(recipe_file: Path, tmp_path: Path) -> Callable[..., Any]:
    """``trained("name", "key=value", ...)``: a finished run in ``tmp_path/name``."""
    from nyala.recipes import config, trainer
    from nyala.recipes import run as runs

    def carry_out(name: str, *overrides: str) -> Any:
        run = runs.create(config.load(recipe_file, overrides), tmp_path / name)
        trainer.train(run)
        return run

    return carry_out
