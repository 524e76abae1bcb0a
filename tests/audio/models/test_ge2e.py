"""The speaker encoder: parity with the network in PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio.models import ge2e
from nyala.errors import ArgumentError, ShapeError
from nyala.hub.files import folder_files
from nyala.hub.load import read_config, read_weights

FOLDER = Path(__file__).parents[2] / "goldens" / "audio" / "ge2e"
FROZEN = checkpoint.load_file(FOLDER / "goldens.safetensors")


@pytest.fixture
def model() -> Any:
    files = folder_files(FOLDER)
    made = ge2e.build(read_config(files, None))
    read_weights(made, ge2e, files)
    return made.eval()


def test_results_and_gradients_equal_pytorch(model: Any) -> None:
    vectors = model(nyala.from_numpy(np.array(FROZEN["frames"]))).embeddings
    out = nyala.cat([vectors, model.scores(vectors, vectors[:2])], 1)
    np.testing.assert_allclose(out.detach().numpy(), FROZEN["out"], rtol=1e-5, atol=1e-5)
    weights = np.cos(0.7 * np.arange(out.numel()) + 0.3).reshape(out.shape)
    (out * nyala.tensor(weights.astype(np.float32))).sum().backward()
    grads = {n: np.asarray(p.grad) for n, p in model.named_parameters()}
    assert set(grads) == {k.removeprefix("grad.") for k in FROZEN if k.startswith("grad.")}
    for name, grad in grads.items():
        expected = FROZEN[f"grad.{name}"]
        assert np.abs(grad - expected).max() < 1e-4 * max(1e-3, np.abs(expected).max()), name


def test_the_published_file_comes_back(model: Any) -> None:
    published = checkpoint.load_file(FOLDER / "model.safetensors")
    keys = ge2e.key_map({}, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert set(back) == set(published) and all(np.array_equal(back[k], published[k]) for k in published)
    keys.check_bijection(list(model.state_dict()), [v.shape for v in model.state_dict().values()])
    assert ge2e.build(ge2e.export_config(model)).config == model.config


def test_the_published_size() -> None:
    with nyala.nn.init.skip_random():
        assert ge2e.build({}).num_parameters() == 1_423_618


def test_bad_input_is_named(model: Any) -> None:
    with pytest.raises(ShapeError, match=r"\(N, T, 8\)"):
        model(nyala.zeros(1, 20, 40))
    for wrong, message in (({"depth": 3}, "no option 'depth'"), ({"num_layers": 0}, "num_layers=0")):
        with pytest.raises(ArgumentError, match=message):
            ge2e.build({}, **wrong)
