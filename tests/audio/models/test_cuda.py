"""Speech encoders, voice activity and pitch on ``device="cuda"``: the CPU's results, and training that goes the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint, optim
from nyala.hub.load import load
from nyala.testing import assert_close

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
NAMES = ("wav2vec2_ctc_large", "wav2vec2_classifier", "wav2vec2_xvector", "hubert", "wavlm", "wavlm_ctc")

pytestmark = pytest.mark.usefixtures("cuda")


def inputs(frozen: dict[str, Any], device: str) -> dict[str, nyala.Tensor]:
    return {k: nyala.tensor(frozen[k], device=device) for k in ("input_values", "attention_mask") if k in frozen}


@pytest.mark.parametrize("name", NAMES)
def test_results_equal_transformers(name: str, cuda: str) -> None:
    frozen = checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    model = load(str(GOLDENS / name), device="cuda").model
    assert {t.device for t in (*model.parameters(), *model.buffers())} == {cuda}
    with nyala.no_grad():
        found = model(**inputs(frozen, "cuda"))
    key = next(k for k in ("logits", "last_hidden_state") if k in frozen)
    out = found if isinstance(found, nyala.Tensor) else getattr(found, key)
    assert np.abs(out.numpy() - frozen[key]).max() < 1e-5 * np.abs(frozen[key]).max()


@pytest.mark.parametrize("name", ["wav2vec2_ctc", "wavlm_ctc"])
def test_training_with_masks_goes_the_same_way(name: str) -> None:
    frozen, states = checkpoint.load_file(GOLDENS / name / "goldens.safetensors"), []
    options = {"mask_time_prob": 0.4, "mask_time_length": 3, "mask_feature_prob": 0.2, "mask_feature_length": 2, "layerdrop": 0.3}
    for device in ("cpu", "cuda"):
        nyala.manual_seed(0)
        model = load(str(GOLDENS / name), device=device, dtype="float64", **options).model.train()
        optimizer = optim.AdamW(model.param_groups(layer_decay=0.8), lr=1e-3)
        given = {k: v.to("float64") if v.dtype.kind == "f" else v for k, v in inputs(frozen, device).items()}
        for _ in range(2):
            optimizer.zero_grad()
            logits = model(**given).log_softmax(-1).transpose(0, 1)
            targets = nyala.tensor([[1, 2, 2], [3, 4, 5]], device=device)
            loss = nyala.nn.functional.ctc_loss(logits, targets, (16, 16), (3, 3))
            loss.backward()
            optimizer.step()
        states.append({"loss": loss.detach().cpu(), **{k: v.cpu() for k, v in model.state_dict().items()}})
    assert_close(states[1], states[0], 1e-7, 1e-7)


@pytest.mark.parametrize("name", ["silero_vad", "crepe", "wav2vec2", "ge2e"])
def test_pipelines_hear_the_same(name: str) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal(3_000).astype(np.float32)
    found: list[Any] = [load(str(GOLDENS / name), device=device)(sound) for device in ("cpu", "cuda")]
    rows = [f if isinstance(f, np.ndarray) else getattr(f, "probabilities", getattr(f, "confidence", None)) for f in found]
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-5, atol=1e-6)
