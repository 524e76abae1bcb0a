"""Whisper: parity with transformers on tiny random models, caches, and CTranslate2's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fuzz
import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio.models import whisper
from nyala.errors import ArgumentError, CheckpointError, DataError, IndexRangeError, ShapeError
from nyala.hub.files import folder_files
from nyala.hub.load import read_config, read_weights

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
FOLDERS = ("whisper", "whisper_bare")
TINY = {
    "vocab_size": 53, "num_mel_bins": 6, "d_model": 24, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 3,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 36, "max_source_positions": 10,
    "max_target_positions": 16, "pad_token_id": 50,
}  # fmt: skip


def relative(actual: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def model_of(folder: Path) -> Any:
    files = folder_files(folder)
    model = whisper.build(read_config(files, None))
    read_weights(model, whisper, files)
    return model.eval()


def inputs_of(frozen: dict[str, np.ndarray]) -> list[Any]:
    return [nyala.from_numpy(np.array(frozen[k])) for k in ("input_features", "decoder_input_ids")]


@pytest.fixture(params=FOLDERS)
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, np.ndarray]]:
    folder = GOLDENS / request.param
    return model_of(folder), checkpoint.load_file(folder / "goldens.safetensors")


def test_results_equal_transformers(golden) -> None:
    model, frozen = golden
    with nyala.no_grad():
        found = model(*inputs_of(frozen))
        encoder = model.encode(inputs_of(frozen)[0]) if "logits" in frozen else found.encoder_last_hidden_state
    assert relative(encoder, frozen["encoder"]) < 1e-5
    if "logits" in frozen:
        assert relative(found, frozen["logits"]) < 1e-5
    else:
        assert relative(found.last_hidden_state, frozen["last_hidden_state"]) < 1e-5


def test_gradients_equal_transformers(golden) -> None:
    model, frozen = golden
    found = model(*inputs_of(frozen))
    out = found if "logits" in frozen else found.last_hidden_state
    weights = np.cos(0.7 * np.arange(out.numel(), dtype=np.float64) + 0.3).reshape(out.shape)
    (out * nyala.tensor(weights.astype(np.float32))).sum().backward()
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    names = [k.removeprefix("grad.") for k in frozen if k.startswith("grad.")]
    assert set(names) == set(parameters)
    for name in names:
        assert relative(parameters[name].grad, frozen[f"grad.{name}"]) < 1e-4, name


@pytest.mark.parametrize("name", FOLDERS)
def test_the_published_file_comes_back(name: str) -> None:
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    model = model_of(GOLDENS / name)
    config = whisper.export_config(model)
    keys = whisper.key_map(config, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in published.items()}
    assert all(np.array_equal(back[k], published[k]) for k in published)
    keys.check_bijection(list(model.state_dict()), [tuple(v.shape) for v in model.state_dict().values()])
    assert whisper.build(config).config == model.config


def test_every_size_that_is_published_has_its_number_of_parameters() -> None:
    sizes = {(384, 4, 4, 80, 51864): 37_184_256, (512, 6, 6, 80, 51865): 71_825_920}
    for (width, encoder, decoder, bands, words), count in sizes.items():
        heads = {f"{part}_attention_heads": width // 64 for part in ("encoder", "decoder")}
        inner = {f"{part}_ffn_dim": 4 * width for part in ("encoder", "decoder")}
        layers = {"encoder_layers": encoder, "decoder_layers": decoder}
        with nyala.nn.init.skip_random():
            made = whisper.build({"vocab_size": words, "d_model": width, "num_mel_bins": bands, **layers, **heads, **inner})
        assert sum(p.numel() for p in made.parameters() if p.requires_grad) == count


def test_positions_of_the_encoder_are_the_published_ones_and_fixed() -> None:
    published = checkpoint.load_file(GOLDENS / "whisper" / "model.safetensors")["model.encoder.embed_positions.weight"]
    places = whisper.build(TINY).model.encoder.embed_positions.weight
    np.testing.assert_allclose(places.numpy(), published, atol=1e-6)
    assert not places.requires_grad


def test_caches_change_nothing() -> None:
    folder = GOLDENS / "whisper"
    model, frozen = model_of(folder), checkpoint.load_file(folder / "goldens.safetensors")
    features, ids = inputs_of(frozen)
    with nyala.inference_mode():
        sound, caches = model.encode(features), model.new_caches()
        whole = model(decoder_input_ids=ids, encoder_outputs=sound).numpy()
        parts = [model(decoder_input_ids=ids[:, :3], encoder_outputs=sound, caches=caches).numpy()]
        for i in range(3, 7):
            step = model(decoder_input_ids=ids[:, i : i + 1], encoder_outputs=sound, caches=caches, last=True)
            parts.append(step.numpy())
    assert caches.length == 7
    assert relative(np.concatenate(parts, 1), whole) < 1e-5


def test_padding_of_a_text_changes_nothing_before_it() -> None:
    folder = GOLDENS / "whisper"
    model, frozen = model_of(folder), checkpoint.load_file(folder / "goldens.safetensors")
    features, ids = inputs_of(frozen)
    mask = nyala.tensor([[1] * 7, [1] * 4 + [0] * 3])
    with nyala.no_grad():
        found, plain = model(features, ids, mask).numpy(), model(features, ids).numpy()
    assert relative(found[0], plain[0]) < 1e-6 and relative(found[1, :4], plain[1, :4]) < 1e-6


def test_bad_input_is_named() -> None:
    model = whisper.build(TINY).eval()
    sound = nyala.zeros(1, 6, 20)
    with pytest.raises(ShapeError, match=r"\(N, 6, 20\)"):
        model(nyala.zeros(1, 6, 19), nyala.tensor([[1]]))
    with pytest.raises(IndexRangeError, match="token id 53 in sample 0"):
        model(sound, nyala.tensor([[53]]))
    with pytest.raises(ShapeError, match="17 tokens in a row, the decoder has 16"):
        model(sound, nyala.ones(1, 17, dtype=nyala.int64))
    with pytest.raises(ShapeError, match="decoder_attention_mask"):
        model(sound, nyala.tensor([[1, 2]]), nyala.tensor([[1]]))
    with pytest.raises(ArgumentError, match="decoder_input_ids"):
        model(sound)
    with pytest.raises(ArgumentError, match="one of them"):
        model(decoder_input_ids=nyala.tensor([[1]]))
    with pytest.raises(ArgumentError, match="no option 'widht'"):
        whisper.build(TINY, widht=3)
    with pytest.raises(ArgumentError, match="no multiple of 5 heads"):
        whisper.build(TINY, encoder_attention_heads=5)
    with pytest.raises(DataError, match="WhisperForVision"):
        whisper.build({**TINY, "architectures": ["WhisperForVision"]})


def test_an_exported_config_is_json() -> None:
    config = json.loads(json.dumps(whisper.export_config(whisper.build(TINY))))
    assert config["model_type"] == "whisper" and config["d_model"] == 24


def _as_ctranslate2(published: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of transformers' file as CTranslate2's converter lays them out."""
    found: dict[str, np.ndarray] = {f"{part}/num_heads": np.array(n, np.int16) for part, n in (("encoder", 3), ("decoder", 4))}

    def put(theirs: str, ours: str, leaves: tuple[str, str] = ("weight", "bias")) -> None:
        for leaf, own in zip(leaves, ("weight", "bias"), strict=True):
            found[f"{theirs}/{leaf}"] = published[f"model.{ours}.{own}"]

    def join(theirs: str, ours: str, names: str) -> None:
        width = published[f"model.{ours}.k_proj.weight"].shape[0]
        biases = [published.get(f"model.{ours}.{n}_proj.bias", np.zeros(width, np.float32)) for n in names]
        found[f"{theirs}/weight"] = np.concatenate([published[f"model.{ours}.{n}_proj.weight"] for n in names])
        found[f"{theirs}/bias"] = np.concatenate(biases)

    norm = ("gamma", "beta")
    for part, count in (("encoder", 2), ("decoder", 3)):
        put(f"{part}/layer_norm", f"{part}.layer_norm", norm)
        found[f"{part}/position_encodings/encodings"] = published[f"model.{part}.embed_positions.weight"]
        for i in range(count):
            theirs, ours = f"{part}/layer_{i}", f"{part}.layers.{i}"
            join(f"{theirs}/self_attention/linear_0", f"{ours}.self_attn", "qkv")
            put(f"{theirs}/self_attention/linear_1", f"{ours}.self_attn.out_proj")
            put(f"{theirs}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm", norm)
            put(f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm", norm)
            put(f"{theirs}/ffn/linear_0", f"{ours}.fc1")
            put(f"{theirs}/ffn/linear_1", f"{ours}.fc2")
            if part == "decoder":
                put(f"{theirs}/attention/linear_0", f"{ours}.encoder_attn.q_proj")
                join(f"{theirs}/attention/linear_1", f"{ours}.encoder_attn", "kv")
                put(f"{theirs}/attention/linear_2", f"{ours}.encoder_attn.out_proj")
                put(f"{theirs}/attention/layer_norm", f"{ours}.encoder_attn_layer_norm", norm)
    for conv in ("conv1", "conv2"):
        put(f"encoder/{conv}", f"encoder.{conv}")
    return {**found, "decoder/embeddings/weight": published["model.decoder.embed_tokens.weight"]}


def _write(path: Path, tensors: dict[str, np.ndarray]) -> None:
    kinds = {"float32": 0, "int16": 2}
    path.write_bytes(fuzz.ctranslate2_file({n: (a.shape, kinds[a.dtype.name], a.tobytes()) for n, a in tensors.items()}))


def test_a_folder_of_ctranslate2_is_the_same_model(tmp_path) -> None:
    tensors = _as_ctranslate2(checkpoint.load_file(GOLDENS / "whisper" / "model.safetensors"))
    _write(tmp_path / "model.bin", tensors)
    (tmp_path / "config.json").write_text(json.dumps({"suppress_ids": [1, 2], "suppress_ids_begin": [3]}))
    pipe = nyala.load(tmp_path)
    assert (pipe.suppress, pipe.suppress_first) == ((1, 2), (3,))
    frozen = checkpoint.load_file(GOLDENS / "whisper" / "goldens.safetensors")
    with nyala.no_grad():
        assert relative(pipe.model(*inputs_of(frozen)), frozen["logits"]) < 1e-5


def test_a_ctranslate2_file_that_is_no_whisper_is_told(tmp_path) -> None:
    tensors = _as_ctranslate2(checkpoint.load_file(GOLDENS / "whisper" / "model.safetensors"))
    fused = tensors["encoder/layer_0/self_attention/linear_0/bias"]
    fused[24:48] = 1.0
    _write(tmp_path / "model.bin", tensors)
    with pytest.raises(CheckpointError, match="bias for keys"):
        nyala.load(tmp_path)
    del tensors["encoder/conv1/weight"]
    _write(tmp_path / "model.bin", tensors)
    with pytest.raises(CheckpointError, match=r"holds no Whisper: encoder/conv1/weight is missing"):
        nyala.load(tmp_path)
