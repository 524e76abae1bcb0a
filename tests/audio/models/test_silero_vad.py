"""Silero VAD: parity with the network in PyTorch, whole and piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio.models import silero_vad
from nyala.errors import ArgumentError, ShapeError
from nyala.hub.files import folder_files
from nyala.hub.load import read_config, read_weights

FOLDER = Path(__file__).parents[2] / "goldens" / "audio" / "silero_vad"
FROZEN = checkpoint.load_file(FOLDER / "goldens.safetensors")


@pytest.fixture
def model() -> Any:
    files = folder_files(FOLDER)
    made = silero_vad.build(read_config(files, None))
    read_weights(made, silero_vad, files)
    return made.eval()


def test_results_equal_pytorch(model: Any) -> None:
    with nyala.no_grad():
        out, _ = model(nyala.from_numpy(np.array(FROZEN["samples"])))
    np.testing.assert_allclose(out.numpy(), FROZEN["out"], rtol=1e-5, atol=1e-6)


def test_pieces_give_the_whole(model: Any) -> None:
    samples, state, parts = nyala.from_numpy(np.array(FROZEN["samples"])), None, []
    with nyala.no_grad():
        for first, last in ((0, 64), (64, 256), (256, 320)):
            out, state = model(samples[:, first:last], state)
            parts.append(out.numpy())
    np.testing.assert_allclose(np.concatenate(parts, 1), FROZEN["out"], rtol=1e-5, atol=1e-6)


def test_gradients_equal_pytorch(model: Any) -> None:
    out, _ = model(nyala.from_numpy(np.array(FROZEN["samples"])))
    weights = np.cos(0.7 * np.arange(out.numel()) + 0.3).reshape(out.shape)
    (out * nyala.tensor(weights.astype(np.float32))).sum().backward()
    keys = silero_vad.key_map({}, [])
    found = keys.to_published({n: np.asarray(p.grad) for n, p in model.named_parameters()})
    assert set(found) == {k.removeprefix("grad.") for k in FROZEN if k.startswith("grad.")}
    for name, grad in found.items():
        expected = FROZEN[f"grad.{name}"]
        assert np.abs(grad - expected).max() < 1e-4 * np.abs(expected).max(), name


def test_the_published_file_comes_back(model: Any) -> None:
    published = checkpoint.load_file(FOLDER / "model.safetensors")
    back = silero_vad.key_map({}, list(published)).to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert set(back) == set(published) and all(np.array_equal(back[k], published[k]) for k in published)
    assert silero_vad.build(silero_vad.export_config(model)).config == model.config


def test_bad_input_is_named(model: Any) -> None:
    with pytest.raises(ShapeError, match="multiple of 64"):
        model(nyala.zeros(1, 63))
    with pytest.raises(ArgumentError, match="no option 'chunks'"):
        silero_vad.build({}, chunks=3)
