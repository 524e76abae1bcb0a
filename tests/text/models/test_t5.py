"""T5: the checkpoints there are, and what is its own; parity is in test_seq2seq.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, CheckpointError, DataError, IndexRangeError, ShapeError
from nyala.text.models import t5

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
TINY = {"vocab_size": 20, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}


def model_of(name: str) -> Any:
    return nyala.load(str(GOLDENS / name)).model


def test_padding_of_the_decoder_is_not_seen() -> None:
    model = model_of("t5")
    ids = nyala.tensor([[0, 7, 9]])
    padded, mask = nyala.tensor([[0, 7, 9, 33]]), nyala.tensor([[1, 1, 1, 0]])
    with nyala.no_grad():
        short = model(nyala.tensor([[5, 6, 1]]), decoder_input_ids=ids)
        long = model(nyala.tensor([[5, 6, 1]]), decoder_input_ids=padded, decoder_attention_mask=mask)
        left = model(
            nyala.tensor([[5, 6, 1]]), decoder_input_ids=nyala.tensor([[33, 0]]), decoder_attention_mask=nyala.tensor([[0, 1]])
        )
        alone = model(nyala.tensor([[5, 6, 1]]), decoder_input_ids=nyala.tensor([[0]]))
    np.testing.assert_allclose(long[:, :3].numpy(), short.numpy(), atol=1e-5)
    np.testing.assert_allclose(left[:, 1:].numpy(), alone.numpy(), atol=1e-5)


def folder_of(tmp_path: Path, name: str, arrays: dict[str, Any], **config: Any) -> str:
    """A folder with these tensors and that golden's configuration, changed."""
    shutil.copytree(GOLDENS / name, tmp_path / name)
    written = {**json.loads((tmp_path / name / "config.json").read_text()), **config}
    (tmp_path / name / "config.json").write_text(json.dumps({k: v for k, v in written.items() if v is not ...}))
    checkpoint.save_file(arrays, tmp_path / name / "model.safetensors")
    return str(tmp_path / name)


def test_old_files_hold_copies_of_the_table(tmp_path: Path) -> None:
    arrays = dict(checkpoint.load_file(GOLDENS / "t5" / "model.safetensors"))
    table = arrays["shared.weight"]
    copies = dict.fromkeys(("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"), table)
    unused = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": np.zeros((8, 3), np.float32)}
    old = {"tie_word_embeddings": ..., "scale_decoder_outputs": ..., "num_decoder_layers": ...}
    config = {**old, "architectures": ["T5WithLMHeadModel"]}
    model = nyala.load(folder_of(tmp_path / "a", "t5", {**arrays, **copies, **unused}, **config)).model
    plain = model_of("t5")
    assert all(np.array_equal(v.numpy(), plain.state_dict()[k].numpy()) for k, v in model.state_dict().items())
    del arrays["shared.weight"]  # a table under another of its names alone
    other = nyala.load(folder_of(tmp_path / "b", "t5", {**arrays, "encoder.embed_tokens.weight": table})).model
    assert np.array_equal(other.shared.weight.detach().numpy(), table)


def test_a_head_that_differs_is_not_tied_away(tmp_path: Path) -> None:
    arrays = dict(checkpoint.load_file(GOLDENS / "t5" / "model.safetensors"))
    arrays["lm_head.weight"] = arrays["shared.weight"] + 1
    with pytest.raises(CheckpointError, match="tie_word_embeddings=False"):
        nyala.load(folder_of(tmp_path, "t5", arrays))


def test_a_head_of_its_own_that_the_file_lacks_is_the_table(tmp_path: Path) -> None:
    arrays = dict(checkpoint.load_file(GOLDENS / "flan_t5" / "model.safetensors"))
    del arrays["lm_head.weight"]
    model = nyala.load(folder_of(tmp_path, "flan_t5", arrays)).model
    assert np.array_equal(model.lm_head.weight.detach().numpy(), model.shared.weight.detach().numpy())


def test_a_sharded_folder_is_read(tmp_path: Path) -> None:
    arrays = checkpoint.load_file(GOLDENS / "t5" / "model.safetensors")
    folder = Path(folder_of(tmp_path, "t5", dict(arrays)))
    (folder / "model.safetensors").unlink()
    names = sorted(arrays)
    parts = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for part, own in parts.items():
        checkpoint.save_file({n: arrays[n] for n in own}, folder / part)
    index = {"weight_map": {n: part for part, own in parts.items() for n in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    state, plain = nyala.load(str(folder)).model.state_dict(), model_of("t5").state_dict()
    assert all(np.array_equal(v.numpy(), plain[k].numpy()) for k, v in state.items())


def test_the_head_is_shared_and_scaled_as_the_configuration_says() -> None:
    def head(**config: Any) -> tuple[bool, bool]:
        made = t5.Config.from_dict({**TINY, **config})
        return made.tie_word_embeddings, made.scale_decoder_outputs

    assert head() == head(tie_word_embeddings=True) == (True, True)
    assert head(tie_word_embeddings=False) == (False, False)
    assert head(tie_word_embeddings=True, scale_decoder_outputs=False) == (False, False)
    assert head(model_type="mt5") == (False, False)
    assert t5.export_config(t5.build({**TINY, "model_type": "mt5"}))["model_type"] == "mt5"


def test_layers_are_as_deep_as_they_lie() -> None:
    model = model_of("flan_t5")
    depths = {n: model.layer_of(n) for n, _ in model.named_parameters()}
    assert depths["shared.weight"] == 0 and depths["encoder.block.2.layer.0.layer_norm.weight"] == 3
    assert depths["encoder.final_layer_norm.weight"] == 3 and depths["decoder.block.0.layer.0.layer_norm.weight"] == 4
    assert depths["lm_head.weight"] == depths["decoder.final_layer_norm.weight"] == 6


def test_bad_input_is_named() -> None:
    model = t5.build(TINY).eval()
    ids, start = nyala.tensor([[5, 6]]), nyala.tensor([[0]])
    with pytest.raises(IndexRangeError, match="token id 20 in sample 1 of input_ids, the vocabulary has 20"):
        model(nyala.tensor([[1, 2], [3, 20]]), decoder_input_ids=start)
    with pytest.raises(IndexRangeError, match="of decoder_input_ids"):
        model(ids, decoder_input_ids=nyala.tensor([[-1]]))
    with pytest.raises(ShapeError, match=r"\(N, T\)"):
        model(nyala.tensor([1, 2]), decoder_input_ids=start)
    with pytest.raises(ShapeError, match=r"attention_mask of shape \(1, 3\)"):
        model(ids, nyala.tensor([[1, 2, 3]]), start)
    with pytest.raises(ArgumentError, match="without decoder_input_ids"):
        model(ids)
    with pytest.raises(ArgumentError, match="input_ids or encoder_outputs"):
        model(decoder_input_ids=start)
    with pytest.raises(ArgumentError, match="no option 'widht'"):
        t5.build(TINY, widht=3)
    with pytest.raises(DataError, match="T5ForQuestionAnswering"):
        t5.build({**TINY, "architectures": ["T5ForQuestionAnswering"]})
