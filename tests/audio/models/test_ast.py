"""AST: parity with transformers on tiny random models, and its front end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio.models import ast
from nyala.errors import ArgumentError, DataError, ShapeError
from nyala.hub.files import folder_files
from nyala.hub.load import read_config, read_weights

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
FOLDERS = ("ast", "ast_bare")
TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "patch_size": 4,
    "max_length": 14,
    "num_mel_bins": 10,
}


def relative(actual: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def model_of(folder: Path) -> Any:
    files = folder_files(folder)
    model = ast.build(read_config(files, None))
    read_weights(model, ast, files)
    return model.eval()


def result_of(model: Any, frozen: dict[str, np.ndarray]) -> tuple[Any, str]:
    found = model(nyala.from_numpy(np.array(frozen["input_values"])))
    return (found, "logits") if "logits" in frozen else (found.last_hidden_state, "last_hidden_state")


@pytest.fixture(params=FOLDERS)
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, np.ndarray]]:
    folder = GOLDENS / request.param
    return model_of(folder), checkpoint.load_file(folder / "goldens.safetensors")


def test_results_equal_transformers(golden) -> None:
    model, frozen = golden
    with nyala.no_grad():
        found, name = result_of(model, frozen)
    assert relative(found, frozen[name]) < 1e-5


def test_gradients_equal_transformers(golden) -> None:
    model, frozen = golden
    out, _ = result_of(model, frozen)
    weights = np.cos(0.7 * np.arange(out.numel(), dtype=np.float64) + 0.3).reshape(out.shape)
    (out * nyala.tensor(weights.astype(np.float32))).sum().backward()
    parameters = dict(model.named_parameters())
    names = [k.removeprefix("grad.") for k in frozen if k.startswith("grad.")]
    assert set(names) == set(parameters)
    largest = max(np.abs(frozen[f"grad.{n}"]).max() for n in names)
    for name in names:
        expected, found = frozen[f"grad.{name}"], np.asarray(parameters[name].grad)
        # a key's bias shifts all scores of a query alike: its gradient is rounding noise in both
        assert relative(found, expected) < 1e-4 or np.abs(found - expected).max() < 1e-6 * largest, name


@pytest.mark.parametrize("name", FOLDERS)
def test_the_published_file_comes_back(name: str) -> None:
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    model = model_of(GOLDENS / name)
    config = ast.export_config(model)
    keys = ast.key_map(config, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in published.items()}
    assert all(np.array_equal(back[k], published[k]) for k in published)
    keys.check_bijection(list(model.state_dict()), [tuple(v.shape) for v in model.state_dict().values()])
    assert ast.build(config).config == model.config


def test_a_new_head_and_no_head() -> None:
    model = ast.build(TINY, num_labels=7).eval()
    assert model(nyala.zeros(2, 14, 10)).shape == (2, 7)
    model.reset_head(3)
    assert model(nyala.zeros(2, 14, 10)).shape == (2, 3) and model.config.num_labels == 3
    assert [n for n, _ in model.named_parameters() if n in model.head_names()] == [
        "classifier.dense.weight",
        "classifier.dense.bias",
    ]


def test_the_published_size() -> None:
    with nyala.nn.init.skip_random():
        model = ast.build({}, num_labels=527)
    assert model.num_parameters() == 86_594_063  # MIT/ast-finetuned-audioset-10-10-0.4593 has 86.6 million


def test_bad_input_is_named() -> None:
    with pytest.raises(ShapeError, match=r"\(N, 14, 10\)"):
        ast.build(TINY)(nyala.zeros(1, 10, 14))
    with pytest.raises(ArgumentError, match="no option 'widht'"):
        ast.build(TINY, widht=3)
    with pytest.raises(ArgumentError, match="no multiple"):
        ast.build(TINY, num_attention_heads=5)
    with pytest.raises(ArgumentError, match="patches of 40"):
        ast.build(TINY, patch_size=40)
    with pytest.raises(DataError, match="ASTForTagging"):
        ast.build({**TINY, "architectures": ["ASTForTagging"]})
