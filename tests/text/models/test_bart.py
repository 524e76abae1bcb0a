"""BART and Marian: the checkpoints there are, and what is their own; parity is in test_seq2seq.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, IndexRangeError, ShapeError
from nyala.text.models import bart, marian

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
TINY = {
    "vocab_size": 20, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12, "max_position_embeddings": 6,
}  # fmt: skip


def folder_of(tmp_path: Path, name: str, arrays: dict[str, Any], **config: Any) -> str:
    """A folder with these tensors and that golden's configuration, changed."""
    shutil.copytree(GOLDENS / name, tmp_path / name)
    written = {**json.loads((tmp_path / name / "config.json").read_text()), **config}
    (tmp_path / name / "config.json").write_text(json.dumps(written))
    checkpoint.save_file(arrays, tmp_path / name / "model.safetensors")
    return str(tmp_path / name)


def arrays_of(name: str) -> dict[str, Any]:
    return dict(checkpoint.load_file(GOLDENS / name / "model.safetensors"))


def test_a_bare_models_file_fills_a_language_model(tmp_path: Path) -> None:
    arrays = {k: v.astype(np.float32) for k, v in arrays_of("bart_bare").items()}
    copies = dict.fromkeys(("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"), arrays["shared.weight"])
    old = {**arrays, **copies, "encoder.version": np.zeros(1, np.float32)}
    folder = folder_of(tmp_path, "bart_bare", old, architectures=["BartForConditionalGeneration"])
    model = nyala.load(folder).model
    assert not model.final_logits_bias.numpy().any()
    assert np.array_equal(model.model.shared.weight.detach().numpy(), arrays["shared.weight"])


def test_a_language_models_file_fills_a_bare_one(tmp_path: Path) -> None:
    arrays = arrays_of("bart")
    arrays["lm_head.weight"] = arrays["model.shared.weight"]
    model = nyala.load(folder_of(tmp_path, "bart", arrays, architectures=["BartModel"])).model
    assert np.array_equal(model.shared.weight.detach().numpy(), arrays["model.shared.weight"])


def test_stored_positions_of_marian_are_computed(tmp_path: Path) -> None:
    arrays = arrays_of("marian")
    table = np.zeros((40, 24), np.float32)
    names = [f"model.{part}.embed_positions.weight" for part in ("encoder", "decoder")]
    model = nyala.load(folder_of(tmp_path, "marian", {**arrays, **dict.fromkeys(names, table)})).model
    angle = 3 / 10_000 ** (2 * 5 / 24)
    places = model.model.encoder.embed_positions.weight.numpy()
    np.testing.assert_allclose(places[3, [5, 17]], [np.sin(angle), np.cos(angle)], rtol=1e-6)


def test_a_tied_head_beside_two_tables_is_the_decoders() -> None:
    apart = {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 13, "pad_token_id": 12}
    model = marian.build({**TINY, **apart}).eval()
    assert model.tied_names() == ["model.decoder.embed_tokens.weight"]
    logits = model(nyala.tensor([[4, 19]]), decoder_input_ids=nyala.tensor([[12, 3]]))
    assert logits.shape == (1, 2, 13)
    with pytest.raises(IndexRangeError, match="token id 13 in sample 0 of decoder_input_ids, the vocabulary has 13"):
        model(nyala.tensor([[4, 19]]), decoder_input_ids=nyala.tensor([[13]]))
    keys = marian.key_map(marian.export_config(model), [])
    state = model.state_dict()
    keys.check_bijection(list(state), [tuple(v.shape) for v in state.values()])


def test_a_new_head_has_as_many_classes_as_asked_for() -> None:
    pipe = nyala.load(str(GOLDENS / "bart_bare"), task="text-classification", num_classes=5)
    ids = nyala.tensor([[0, 7, 2, 1], [0, 7, 8, 2]])
    with nyala.no_grad():
        assert pipe.model(ids, (ids != 1).to("int64")).shape == (2, 5)


def test_a_classifier_looks_at_the_last_token_that_ends() -> None:
    model = nyala.load(str(GOLDENS / "bart_classifier")).model
    with nyala.no_grad():
        twice = model(nyala.tensor([[0, 7, 2, 2, 9, 2, 1, 1]]), nyala.tensor([[1, 1, 1, 1, 1, 1, 0, 0]]))
        alone = model(nyala.tensor([[0, 7, 2, 2, 9, 2]]))
    np.testing.assert_allclose(twice.numpy(), alone.numpy(), atol=1e-5)
    with pytest.raises(DataError, match="sample 1 does not end"):
        model(nyala.tensor([[0, 2], [0, 7]]))


def test_bad_input_is_named() -> None:
    model = bart.build(TINY).eval()
    ids, start = nyala.tensor([[5, 6]]), nyala.tensor([[2]])
    with pytest.raises(ShapeError, match="7 tokens in a row in input_ids, the model has 6 positions"):
        model(nyala.tensor([[4] * 7]), decoder_input_ids=start)
    with nyala.inference_mode(), pytest.raises(ShapeError, match="7 tokens in a row in decoder_input_ids"):
        caches, read = model.new_caches(), model.encode(ids)
        for _ in range(7):
            model(decoder_input_ids=start, encoder_outputs=read, caches=caches)
    with pytest.raises(ArgumentError, match="d_model 8 is no multiple of 3 heads"):
        bart.build(TINY, encoder_attention_heads=3)
    with pytest.raises(ArgumentError, match="Marian has no option 'widht'"):
        marian.build(TINY, widht=3)
    with pytest.raises(DataError, match="normalize_before"):
        bart.build({**TINY, "normalize_before": True})
    with pytest.raises(DataError, match="BartForQuestionAnswering"):
        bart.build({**TINY, "architectures": ["BartForQuestionAnswering"]})
