"""Volumes: the sliding window is MONAI's, and the pipeline takes files and arrays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError
from nyala.hub.load import load
from nyala.recipes.cli import main
from nyala.vision.volumes import VolumeSegmentation, sliding_window_inference

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"
WINDOWS: dict[str, dict[str, Any]] = {
    "plain": {"overlap": 0.25},
    "gaussian": {"overlap": 0.5, "mode": "gaussian"},
    "apart": {"overlap": 0.0, "mode": "gaussian", "sigma_scale": 0.25},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("unet") / "model"
    shutil.copytree(GOLDENS / "unet_volumes", made)
    settings = {"roi_size": [8, 8, 8], "window": [-2.0, 2.0]}
    (made / "preprocessor_config.json").write_text(json.dumps(settings))
    return made


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Any:
    return load(str(folder))


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("together", [1, 3])
def test_windows_equal_monais(name: str, together: int, pipe: Any) -> None:
    frozen = checkpoint.load_file(GOLDENS / "windows.safetensors")
    found = sliding_window_inference(np.array(frozen["input"]), (8, 8, 8), together, pipe._predict, **WINDOWS[name])
    assert found.shape == frozen[name].shape
    assert np.abs(found - frozen[name]).max() < 1e-5 * np.abs(frozen[name]).max()


def test_one_window_is_the_model_itself(pipe: Any) -> None:
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 8)).astype(np.float32)
    found = sliding_window_inference(x, (8, 8, 8), 1, pipe._predict)
    with nyala.no_grad():
        assert np.array_equal(found, pipe.model(nyala.from_numpy(x[None])).numpy()[0])


def test_the_pipeline_gives_every_voxel_a_class(pipe: Any, folder: Path, tmp_path: Path) -> None:
    assert isinstance(pipe, VolumeSegmentation) and pipe.window == (-2.0, 2.0)
    volume = np.random.default_rng(0).normal(size=(10, 12, 9)).astype(np.float32)
    found = pipe(volume)
    assert found.mask.shape == (10, 12, 9) and sum(row[2] for row in found.rows()) == pytest.approx(1)
    assert found.to_dict()["size"] == [10, 12, 9] and "voxels" in str(found)
    assert found.volume.min() >= 0 and found.volume.max() <= 1
    np.save(tmp_path / "scan.npy", volume[None])
    out, masks = tmp_path / "out.png", tmp_path / "masks"
    assert main(["predict", str(folder), str(tmp_path / "scan.npy"), "--output", str(out), "--masks", str(masks)]) == 0
    assert np.array_equal(np.load(masks / "scan.npy"), found.mask) and out.is_file()
    assert np.array_equal(pipe([volume, volume[:, :5]])[0].mask, found.mask)


def test_bad_volumes(pipe: Any, tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no numbers")
    for source, text in {
        "nowhere.npy": "there is no file",
        str(tmp_path / "text.npy"): "is no volume in NumPy's format",
    }.items():
        with pytest.raises(DataError, match=text):
            pipe(source)
    for source, text in (
        (np.zeros((4, 4)), r"shape \(4, 4\) is no volume"),
        (np.zeros((2, 8, 8, 8)), "has 2 channels"),
        (np.full((8, 8, 8), np.nan), "not finite"),
        ([], "no volume to work on"),
        (3, "is no volume"),
    ):
        with pytest.raises(DataError, match=text):
            pipe(source)
    with pytest.raises(ArgumentError, match=r"overlap=1.5"):
        sliding_window_inference(np.zeros((1, 8, 8)), (4, 4), 1, lambda x: x, overlap=1.5)


def test_settings_that_make_no_sense(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    for settings in ({"roi_size": [8, 8, 7]}, {"roi_size": "large"}, {"window": [3, 1]}):
        (copied / "preprocessor_config.json").write_text(json.dumps(settings))
        with pytest.raises(DataError, match=r"roi_size|makes no sense"):
            load(str(copied))
