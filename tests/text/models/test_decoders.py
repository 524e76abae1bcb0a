"""Decoders: parity with transformers on tiny random models, caches, windows, classifiers, and what configurations may say."""

from __future__ import annotations

import importlib
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
import tokenizers
from nyala import checkpoint, nn
from nyala.errors import ArgumentError, DataError, IndexRangeError, ShapeError
from nyala.hub import registry
from nyala.hub.files import Files
from nyala.hub.load import read_weights
from nyala.text.models import gemma3, gpt2, gpt_neox, llama, qwen2, qwen3
from nyala.text.models.shared.rope import rope_frequencies
from nyala.text.tokenizers.tokenizer import Tokenizer

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
FOLDERS = ("llama", "llama_3", "qwen2", "qwen2_sliding", "qwen3", "gpt2", "gemma3", "gpt_neox", "gpt_neox_serial", "qwen2_yarn")
SIZES = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4,
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "llama": SIZES,
    "qwen2": SIZES,
    "qwen3": {**SIZES, "head_dim": 4},
    "gpt2": {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32},
    "gemma3": {**SIZES, "head_dim": 4, "sliding_window": 4, "sliding_window_pattern": 2},
    "gpt_neox": {**{k: v for k, v in SIZES.items() if k != "num_key_value_heads"}, "rotary_pct": 0.5},
}


def relative(actual: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def module_of(name: str) -> Any:
    return importlib.import_module(f"nyala.text.models.{name}")


def published(folder: Path) -> dict[str, np.ndarray]:
    index = folder / "model.safetensors.index.json"
    return checkpoint.load_sharded(index) if index.exists() else checkpoint.load_file(folder / "model.safetensors")


@pytest.fixture(params=FOLDERS)
def golden(request: pytest.FixtureRequest) -> tuple[Path, Any, dict[str, np.ndarray]]:
    folder = GOLDENS / request.param
    return folder, nyala.load(str(folder)), checkpoint.load_file(folder / "goldens.safetensors")


@pytest.fixture(params=sorted(SMALL))
def small(request: pytest.FixtureRequest) -> tuple[Any, dict[str, Any]]:
    nyala.manual_seed(5)
    return module_of(request.param), {**SMALL[request.param], "initializer_range": 0.3}


def test_logits_equal_transformers(golden) -> None:
    _, pipe, frozen = golden
    ids, mask = (nyala.from_numpy(np.array(frozen[k])) for k in ("input_ids", "attention_mask"))
    with nyala.no_grad():
        assert relative(pipe.model(ids), frozen["plain.logits"]) < 1e-5
        masked = pipe.model(ids, mask).numpy() * np.asarray(frozen["attention_mask"])[..., None]
    assert relative(masked, frozen["logits"]) < 1e-5


def test_gradients_equal_transformers(golden) -> None:
    _, pipe, frozen = golden
    logits = pipe.model(nyala.from_numpy(np.array(frozen["input_ids"])))
    weights = np.cos(0.7 * np.arange(logits.numel(), dtype=np.float64) + 0.3).reshape(logits.shape)
    (logits * nyala.tensor(weights.astype(np.float32))).sum().backward()
    keys = registry.get(registry.architecture_of(pipe.config)).key_map(pipe.config, [])
    grads = {n: np.asarray(p.grad) for n, p in pipe.model.named_parameters()}
    found = keys.to_published(grads)
    expected = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    if "embed_out.weight" in found:  # as published files call it
        expected["embed_out.weight"] = expected.pop("lm_head.weight")
    assert set(found) == set(expected)
    largest = max(np.abs(g).max() for g in expected.values())
    for name, g in expected.items():
        mine = found[name]
        # a key's bias shifts all scores of a query alike: its gradient is rounding noise in both
        assert relative(mine, g) < 1e-4 or np.abs(mine - g).max() < 1e-6 * largest, name


def test_the_published_file_comes_back(golden) -> None:
    folder, pipe, _ = golden
    module = registry.get(registry.architecture_of(pipe.config))
    files, config = published(folder), module.export_config(pipe.model)
    keys, state = module.key_map(config, list(files)), {k: v.numpy() for k, v in pipe.model.state_dict().items()}
    back = keys.to_published(state)
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in files.items()}
    assert all(np.array_equal(back[k], files[k].astype(np.float32)) for k in files)
    keys.check_bijection(list(state), [v.shape for v in state.values()])
    assert module.build(config).config == pipe.model.config


@pytest.mark.parametrize("name", ["llama_dynamic", "llama_longrope"])
def test_angles_that_depend_on_the_length_equal_transformers(name: str) -> None:
    folder = GOLDENS / name
    one = folder, nyala.load(str(folder)), checkpoint.load_file(folder / "goldens.safetensors")
    test_gradients_equal_transformers(one)
    test_the_published_file_comes_back(one)
    _, pipe, frozen = one
    ids = np.array(frozen["input_ids"])
    with nyala.no_grad():
        assert relative(pipe.model(nyala.from_numpy(ids)), frozen["plain.logits"]) < 1e-5
        for row, count in enumerate(np.asarray(frozen["attention_mask"]).sum(1)):  # each alone, long and short
            found = pipe.model(nyala.from_numpy(ids[row : row + 1, 9 - count :])).numpy()[0]
            assert relative(found, np.asarray(frozen["logits"])[row, 9 - count :]) < 1e-5


def test_the_text_part_of_a_gemma_that_sees_pictures(tmp_path: Path) -> None:
    folder = GOLDENS / "gemma3_pictures"
    frozen, files = checkpoint.load_file(folder / "goldens.safetensors"), published(folder)
    assert any("vision_tower" in name for name in files)
    with pytest.warns(UserWarning, match="its part for texts is read"):
        pipe = nyala.load(str(folder))
    assert type(pipe).__name__ == "TextGeneration"
    with nyala.no_grad():
        assert relative(pipe.model(nyala.from_numpy(np.array(frozen["input_ids"]))), frozen["plain.logits"]) < 1e-5
    shutil.copy(folder / "config.json", tmp_path)
    other = {f"model.{n}".replace("model.language_model.model.", "model.language_model."): a for n, a in files.items()}
    assert set(other) != set(files)  # as the other version of transformers calls them
    checkpoint.save_file({n: np.array(a) for n, a in other.items()}, tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match="its part for texts is read"):
        again = nyala.load(str(tmp_path)).model.state_dict()
    assert all(np.array_equal(value.numpy(), again[name].numpy()) for name, value in pipe.model.state_dict().items())


def test_caches_change_nothing(golden) -> None:
    _, pipe, frozen = golden
    model, ids = pipe.model, nyala.from_numpy(np.array(frozen["input_ids"])[:1])
    with nyala.inference_mode():
        whole, caches = model(ids).numpy(), model.new_caches()
        parts = [model(ids[:, :2], caches=caches).numpy(), model(ids[:, 2:5], caches=caches).numpy()]
        parts += [model(ids[:, i : i + 1], caches=caches, last=True).numpy() for i in range(5, 9)]
    assert relative(np.concatenate(parts, 1), whole) < 1e-5


def test_rows_padded_on_the_left_go_on_by_caches(golden) -> None:
    _, pipe, frozen = golden
    model, ids, mask = pipe.model, np.array(frozen["input_ids"]), np.array(frozen["attention_mask"])
    with nyala.inference_mode():
        caches, found = model.new_caches(), []
        for first, last in ((0, 5), (5, 8), (8, 9)):
            step, seen = nyala.from_numpy(ids[:, first:last].copy()), nyala.from_numpy(mask[:, :last].copy())
            found.append(model(step, seen, caches).numpy())
    assert relative(np.concatenate(found, 1) * mask[..., None], frozen["logits"]) < 1e-5


class _Forgetful(nn.KVCache):
    """A cache that gives the last steps alone, as a sliding one does."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def update(self, k: Any, v: Any) -> tuple[Any, Any]:
        keys, values = super().update(k, v)
        kept = self.window - 1 + k.shape[2]
        return keys[:, :, -kept:], values[:, :, -kept:]


def test_a_cache_may_forget_what_no_window_shows(golden) -> None:
    _, pipe, frozen = golden
    model, ids, mask = pipe.model, np.array(frozen["input_ids"]), np.array(frozen["attention_mask"])
    with nyala.inference_mode():
        caches = [nn.KVCache() if w is None else _Forgetful(w) for w in model.layer_windows()]
        found = [
            model(nyala.from_numpy(ids[:, i : i + 2].copy()), nyala.from_numpy(mask[:, : i + 2].copy()), caches).numpy()
            for i in range(0, 8, 2)
        ]
    assert relative(np.concatenate(found, 1) * mask[:, :8, None], frozen["logits"][:, :8]) < 1e-5


def test_classifiers_equal_transformers(golden) -> None:
    folder, _, frozen = golden
    model = nyala.load(str(folder), num_classes=3).model
    assert type(model).__name__.endswith("ForSequenceClassification")
    model.score.weight.array[...] = np.cos(np.arange(3 * 24)).reshape(3, 24)
    ids, lengths = np.array(frozen["input_ids"]), np.asarray(frozen["attention_mask"]).sum(1)
    right = (np.arange(9) < lengths[:, None]).astype(np.int64)
    left = np.stack([np.roll(row, 9 - n) for row, n in zip(ids * right, lengths, strict=True)])
    with nyala.no_grad():
        found = model(nyala.from_numpy(ids * right), nyala.from_numpy(right))
        turned = model(nyala.from_numpy(left), nyala.from_numpy(right[:, ::-1].copy()))
        alone = model(nyala.from_numpy(ids[:1].copy()))
    assert relative(found, frozen["classifier.logits"]) < 1e-5
    assert relative(turned, frozen["classifier.logits"]) < 1e-5
    assert relative(alone, frozen["classifier.logits"][:1]) < 1e-5


@pytest.mark.parametrize("classes", [1, 2, 53])
def test_any_number_of_classes_is_a_new_head(classes: int) -> None:
    model = nyala.load(str(GOLDENS / "gpt2"), num_classes=classes).model
    assert model(nyala.tensor([[1, 2]])).shape == (1, classes)


def test_without_a_mask_the_padding_token_tells_the_last() -> None:
    model = llama.build({**SMALL["llama"], "pad_token_id": 0, "architectures": ["LlamaForSequenceClassification"]}).eval()
    with nyala.no_grad():
        padded, alone = model(nyala.tensor([[7, 5, 0, 0]])), model(nyala.tensor([[7, 5]]))
    assert relative(padded, alone.numpy()) < 1e-6


@pytest.mark.parametrize("padding", [False, True])
def test_a_model_without_its_head_gives_vectors(golden, padding: bool) -> None:
    folder, pipe, frozen = golden
    body = nyala.load(str(folder), task="feature-extraction").model
    inputs = {"input_ids": nyala.from_numpy(np.array(frozen["input_ids"]))}
    if padding:
        inputs["attention_mask"] = nyala.from_numpy(np.array(frozen["attention_mask"]))
    with nyala.no_grad():
        hidden = body(**inputs, token_type_ids=nyala.zeros(3, 9, dtype="int64")).last_hidden_state
        assert relative(hidden, pipe.model.forward_features(**inputs).numpy()) < 1e-6


def test_the_shared_interface(small) -> None:
    module, sizes = small
    for name, kind in module.CLASSES.items():
        model = module.build({**sizes, "architectures": [name]})
        assert type(model) is kind and model.layer_of(next(iter(model.state_dict()))) == 0
        depths = {n: model.layer_of(n) for n, _ in model.named_parameters()}
        assert set(depths.values()) == {0, 1, 2, 3} and len(model.layer_windows()) == 2
        groups = model.param_groups(weight_decay=0.1, layer_decay=0.5)
        assert {g["lr_scale"] for g in groups} == {0.125, 0.25, 0.5, 1.0}
        assert module.build(module.export_config(model)).config == model.config
        keys = module.key_map(module.export_config(model), list(model.state_dict()))
        keys.check_bijection(list(model.state_dict()), [tuple(v.shape) for v in model.state_dict().values()])
    classifier = module.build(sizes, num_labels=5)
    classifier.reset_head(7)
    assert classifier(nyala.tensor([[1, 2]])).shape == (1, 7) and classifier.head_names() == ["score.weight"]
    assert module.export_config(classifier)["id2label"]["6"] == "LABEL_6"


def test_checkpointing_and_training_change_no_gradient(small) -> None:
    module, sizes = small
    off = {k: 0.0 for k in ("resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout") if k in dir(module.Config())}
    model = module.build(sizes, num_labels=2, **off).train()
    ids, grads = nyala.tensor([[1, 2, 3], [4, 5, 6]]), []
    for enable in (False, True):
        model.enable_checkpointing(enable)
        model.zero_grad()
        (model(ids) * nyala.tensor([[1.0, -2.0]])).sum().backward()
        grads.append({n: np.asarray(p.grad) for n, p in model.named_parameters()})
    assert all(np.array_equal(grads[0][n], grads[1][n]) for n in grads[0])


def test_bad_input_is_named(small) -> None:
    module, sizes = small
    model = module.build(sizes).eval()
    with pytest.raises(IndexRangeError, match="token id 40 in sample 1, the vocabulary has 40"):
        model(nyala.tensor([[1, 2], [3, 40]]))
    with pytest.raises(ShapeError, match=r"\(N, T\)"):
        model(nyala.tensor([1, 2]))
    with pytest.raises(ShapeError, match=r"attention_mask \(1, 3\)"):
        model(nyala.tensor([[1, 2]]), nyala.tensor([[1, 1, 1]]))
    with pytest.raises(ArgumentError, match="no option 'widht'"):
        module.build(sizes, widht=3)
    with pytest.raises(DataError, match="OfAnotherKind"):
        module.build({**sizes, "architectures": ["OfAnotherKind"]})


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    from nyala.errors import CheckpointError

    other = gpt2.build(SMALL["gpt2"])
    checkpoint.save_file({k: v.numpy() for k, v in other.state_dict().items()}, tmp_path / "model.safetensors")
    files = Files({"model.safetensors": tmp_path / "model.safetensors"}, origin="here")
    with pytest.raises(CheckpointError, match=r"model\.layers\.0"):
        read_weights(llama.build(SMALL["llama"]), llama, files)


@pytest.mark.parametrize("rounds", [False, True], ids=["weights", "both"])
@pytest.mark.parametrize(("dtype", "near"), [("int8", 0.05), ("bfloat16", 0.03)])
def test_weights_in_few_bits_say_nearly_the_same(golden, dtype: str, near: float, rounds: bool) -> None:
    _, pipe, frozen = golden
    module = registry.get(registry.architecture_of(pipe.config))
    activations = dtype if rounds else "float32"
    model = nn.quantize(pipe.model, dtype, activations=activations)
    assert not any(type(m) is nn.Linear for m in model.modules()) and not model.tied_names()
    with nyala.inference_mode():
        found = model(nyala.from_numpy(np.array(frozen["input_ids"])))
        again = module.build({**module.export_config(model), "initializer_range": 0.0}).eval()
        again = nn.quantize(again, dtype, activations=activations)
        again.load_state_dict(model.state_dict())
        assert np.array_equal(again(nyala.from_numpy(np.array(frozen["input_ids"]))).numpy(), found.numpy())
    error = np.abs(found.numpy() - frozen["plain.logits"]).mean() / np.abs(frozen["plain.logits"]).mean()
    assert 0 < error < near


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_rounded_activations_are_the_same_read_at_once_and_one_by_one(dtype: str) -> None:
    nyala.manual_seed(0)
    model = nn.quantize(llama.build(SMALL["llama"]), dtype, activations=dtype)
    ids = nyala.from_numpy(np.arange(60, dtype=np.int64).reshape(2, 30) % 37)
    with nyala.inference_mode():
        whole, caches = model(ids).numpy(), model.new_caches()
        parts = [model(ids[:, :17], caches=caches).numpy()] + [
            model(ids[:, i : i + 1], caches=caches).numpy() for i in range(17, 30)
        ]
        alone = model(ids[1:]).numpy()
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
    np.testing.assert_array_equal(alone, whole[1:])


# ---- embedders


def embedder(folder: Path, *, kinds: tuple[str, ...] = ("Transformer", "Pooling", "Normalize")) -> Path:
    """A folder as sentence-transformers writes it, of a decoder whose file names the head that it was trained from."""
    files = published(GOLDENS / "qwen3")
    bare = {k.removeprefix("model."): v for k, v in files.items() if k != "lm_head.weight"}
    checkpoint.save_file(bare, folder / "model.safetensors")
    shutil.copy(GOLDENS / "qwen3" / "config.json", folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true, "pooling_mode_mean_tokens": false}')
    modules = [{"idx": i, "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    tokens = {f"t{i}": i for i in range(52)} | {"[PAD]": 52}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(tokens, unk_token="t0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_decoder_published_for_vectors_pools_the_last_token(tmp_path: Path, side: str) -> None:
    folder = embedder(tmp_path)
    (folder / "tokenizer_config.json").write_text(json.dumps({"padding_side": side, "pad_token": "[PAD]"}))
    pipe = nyala.load(str(folder))
    assert type(pipe.model).__name__ == "Qwen3Model" and type(pipe).__name__ == "TextEmbedding"
    found = pipe(["t5 t6 t7", "t8", "t9 t10"]).array
    model = nyala.load(str(GOLDENS / "qwen3")).model
    with nyala.no_grad():
        alone = [model.forward_features(nyala.tensor([ids])).numpy()[0, -1] for ids in ([5, 6, 7], [8], [9, 10])]
    np.testing.assert_allclose(found, [v / np.linalg.norm(v) for v in alone], rtol=1e-4, atol=1e-6)


def test_layers_behind_the_pooling_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"modules\.json asks for LSTM"):
        nyala.load(str(embedder(tmp_path, kinds=("Transformer", "Pooling", "LSTM", "Normalize"))))
    assert type(nyala.load(str(tmp_path), task="text-generation", random_init=True).model).__name__ == "Qwen3ForCausalLM"


# ---- what is a family's own


def test_windows_are_read_as_published() -> None:
    sizes = {**SIZES, "num_hidden_layers": 3, "sliding_window": 4}
    assert qwen2.build(sizes).layer_windows() == [None] * 3
    assert qwen2.build({**sizes, "use_sliding_window": True, "max_window_layers": 2}).layer_windows() == [None, None, 4]
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    assert qwen3.build({**sizes, "use_sliding_window": True, "layer_types": types}).layer_windows() == [4, None, 4]
    for bad in (types[:2], ["sliding"] * 3):
        with pytest.raises(DataError, match="layer_types of 3 layers"):
            qwen3.build({**sizes, "layer_types": bad})


def test_old_names_of_gpt2_are_read() -> None:
    files = published(GOLDENS / "gpt2")
    old = {k.removeprefix("transformer."): v for k, v in files.items()}
    old |= {f"h.{i}.attn.{name}": np.ones((1, 1, 4, 4), np.float32) for i in range(2) for name in ("bias", "masked_bias")}
    model = nyala.load(str(GOLDENS / "gpt2")).model
    ours = gpt2.key_map(gpt2.export_config(model), list(old)).to_ours(old)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert all(np.array_equal(ours[k], v.numpy()) for k, v in model.state_dict().items())
    assert model.transformer.h[0].get_parameter("attn.c_attn.weight").shape == (72, 24)


def test_gpt2_has_only_so_many_positions() -> None:
    model = gpt2.build(SMALL["gpt2"]).eval()
    with pytest.raises(ShapeError, match="33 tokens in a row, the model has 32"):
        model(nyala.zeros(1, 33, dtype="int64"))
    with pytest.raises(DataError, match="attends to a context"):
        gpt2.build({**SMALL["gpt2"], "add_cross_attention": True})
    with pytest.raises(ArgumentError, match="no multiple of n_head"):
        gpt2.build({**SMALL["gpt2"], "n_head": 3})


def test_gpt2_may_scale_scores_by_the_layer() -> None:
    ids = nyala.tensor([[1, 2, 3]])
    nyala.manual_seed(1)
    plain = gpt2.build({**SMALL["gpt2"], "initializer_range": 1.0}).eval()
    scaled = gpt2.build({**SMALL["gpt2"], "scale_attn_by_inverse_layer_idx": True}).eval()
    scaled.load_state_dict(plain.state_dict())
    with nyala.no_grad():
        assert relative(scaled(ids), plain(ids).numpy()) > 1e-3
        first = [m.transformer.h[0](m.transformer.embed(ids, None, nn.KVCache())).numpy() for m in (plain, scaled)]
    assert np.array_equal(*first)


def test_gemma_reads_old_and_new_configurations() -> None:
    new = {
        **SMALL["gemma3"], "layer_types": ["sliding_attention", "full_attention"], "hidden_activation": "silu",
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "rope_theta": 500.0, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
        },
    }  # fmt: skip
    old = {**SMALL["gemma3"], "rope_theta": 500.0, "rope_local_base_freq": 50.0, "hidden_activation": "silu"}
    old["rope_scaling"] = {"rope_type": "linear", "factor": 8.0}
    first, second = gemma3.Config.from_dict(new), gemma3.Config.from_dict(old)
    assert first.windows == second.windows == [4, None] and first.hidden_act == second.hidden_act == "silu"
    assert (first.rope_theta, first.rope_local_base_freq) == (second.rope_theta, second.rope_local_base_freq) == (500.0, 50.0)
    assert first.rope_scaling["factor"] == second.rope_scaling["factor"] == 8.0
    with pytest.raises(DataError, match="attn_logit_softcapping=50"):
        gemma3.build({**old, "attn_logit_softcapping": 50.0})


def test_gemma_may_see_both_ways() -> None:
    sizes = {**SMALL["gemma3"], "architectures": ["Gemma3TextModel"], "use_bidirectional_attention": True}
    nyala.manual_seed(2)
    model = gemma3.build({**sizes, "initializer_range": 0.5}).eval()
    assert model.layer_windows() == [3, None]
    ids = np.arange(8)[None] + 1
    with nyala.no_grad():
        first = [
            model(nyala.from_numpy(np.where(np.arange(8) == 7, last, ids))).last_hidden_state.numpy()[0, 0] for last in (8, 9)
        ]
    assert np.abs(first[0] - first[1]).max() > 1e-4


def test_heads_of_neox_are_read_by_either_name() -> None:
    files = published(GOLDENS / "gpt_neox")
    model = nyala.load(str(GOLDENS / "gpt_neox")).model
    old = {k: v for k, v in files.items() if k != "embed_out.weight"} | {"lm_head.weight": files["embed_out.weight"]}
    old |= {"gpt_neox.layers.0.attention.bias": np.ones(4), "gpt_neox.layers.1.attention.rotary_emb.inv_freq": np.ones(2)}
    ours = gpt_neox.key_map(gpt_neox.export_config(model), list(old)).to_ours(old)
    assert set(ours) == set(model.state_dict())
    with pytest.raises(ArgumentError, match="heads of width 16"):
        gpt_neox.build({**SMALL["gpt_neox"], "rotary_pct": 0.25})


# ---- GGUF files


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gpt2", "gemma3", "gpt_neox"])
def test_gguf_files_give_the_logits_of_the_model_in_them(name: str, tmp_path: Path) -> None:
    shutil.copy(GOLDENS / "gguf" / f"{name}.gguf", tmp_path)
    frozen, pipe = checkpoint.load_file(GOLDENS / "gguf" / "goldens.safetensors"), nyala.load(str(tmp_path))
    assert type(pipe).__name__ == "TextGeneration" and pipe.preprocess.ids("ABA") == [52, 36]
    with nyala.no_grad():
        found = pipe.model(nyala.from_numpy(np.array(frozen["input_ids"])))
    assert relative(found, frozen[f"{name}.logits"]) < 1e-5
    module = module_of(name)
    config = module.export_config(pipe.model)
    names = list(checkpoint.read_gguf(tmp_path / f"{name}.gguf").shapes)
    module.key_map(config, names).check_bijection(
        list(pipe.model.state_dict()), [tuple(v.shape) for v in pipe.model.state_dict().values()]
    )


def test_pieces_in_a_gguf_file_give_sentencepiece_s_tokens(tmp_path: Path) -> None:
    """A file as TinyLlama's and Mistral's: pieces with scores in place of merges."""
    shutil.copy(GOLDENS / "gguf" / "tinyllama.gguf", tmp_path)
    frozen, pipe = checkpoint.load_file(GOLDENS / "gguf" / "goldens.safetensors"), nyala.load(str(tmp_path))
    for text, ids, back in json.loads((GOLDENS / "sentencepiece" / "ids.json").read_text())["llama"]:
        assert pipe.preprocess.ids(text) == ids, text
        assert back is None or pipe.preprocess.decode(ids).lstrip() == back.lstrip()
    with nyala.no_grad():
        found = pipe.model(nyala.from_numpy(np.array(frozen["input_ids"])))
    assert relative(found, frozen["tinyllama.logits"]) < 1e-5
    assert isinstance(pipe("call me", max_new_tokens=4), str) and set(pipe.ends) == {2}
    assert pipe.chat([{"role": "user", "content": "call me"}], max_new_tokens=3) is not None


_KIND = b"tokenizer.ggml.model" + struct.pack("<IQ", 8, 5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((b"tokenizer.ggml.scores", b"tokenizer.ggml.scored"), "a tokenizer without scores"),
        ((_KIND + b"llama", _KIND + b"lamma"), "kind 'lamma'"),
    ],
)
def test_a_gguf_file_without_a_part_of_its_tokenizer_says_so(change: tuple[bytes, bytes], said: str, tmp_path: Path) -> None:
    content = (GOLDENS / "gguf" / "tinyllama.gguf").read_bytes()
    assert content.count(change[0]) == 1
    (tmp_path / "model.gguf").write_bytes(content.replace(*change))
    with pytest.raises(DataError, match=said):
        Tokenizer.from_files(Files({"model.gguf": tmp_path / "model.gguf"}, origin="here"))


@pytest.mark.parametrize(
    ("before", "pieces", "first"),
    [
        ("gpt-2", ["Ab", "Ġ12345", "'s", "!!"], []),
        ("smollm", ["Ab", "Ġ", "1", "2", "3", "4", "5", "'s", "!!"], []),
        ("qwen2", ["Ab", "Ġ", "1", "2", "3", "4", "5", "'s", "!!"], []),
        ("llama-bpe", ["Ab", "Ġ", "123", "45", "'s", "!!"], [1]),
    ],
)
def test_texts_are_cut_as_gguf_files_say(before: str, pieces: list[str], first: list[int], tmp_path: Path) -> None:
    content, old = (GOLDENS / "gguf" / "llama.gguf").read_bytes(), struct.pack("<Q", 5) + b"gpt-2"
    assert content.count(old) == 1
    # the tensors, which nobody reads here, lie elsewhere then: what was cut off is put behind them
    (tmp_path / "model.gguf").write_bytes(content.replace(old, struct.pack("<Q", len(before)) + before.encode()) + b"\0" * 64)
    tokenizer = Tokenizer.from_files(Files({"model.gguf": tmp_path / "model.gguf"}, origin="here"))
    cut = [piece for piece, _ in tokenizer.backend.pre_tokenizer.pre_tokenize_str("Ab 12345's!!")]
    assert cut == pieces
    assert tokenizer.ids("A") == [*first, 36]


def test_stretched_angles_in_gguf_files_are_llama_3s() -> None:
    path = GOLDENS / "gguf" / "llama.gguf"
    head = checkpoint.read_gguf(path)
    metadata = {**head.metadata, "llama.rope.freq_base": 500000.0, "llama.embedding_length": 256}  # heads 64 wide
    told = {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    told = {"rope_type": "llama3", **told}
    divisors = rope_frequencies(64, 500000.0) / rope_frequencies(64, 500000.0, told)
    found = llama.config_from_gguf({**metadata, "rope_freqs.weight": divisors.astype(np.float32).tolist()}, head.shapes)
    assert found["rope_scaling"] == told
    with pytest.raises(DataError, match="not known here"):
        llama.config_from_gguf({**metadata, "rope_freqs.weight": [1.0, 2.0, 3.0]}, head.shapes)
    assert list(head.read(["output_norm.weight"])) == ["output_norm.weight"]


def test_gguf_files_say_that_angles_are_stretched_as_yarn() -> None:
    head = checkpoint.read_gguf(GOLDENS / "gguf" / "llama.gguf")
    told = {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0, "llama.rope.scaling.original_context_length": 16}
    found = llama.config_from_gguf({**head.metadata, **told}, head.shapes)
    assert found["rope_scaling"] == {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    assert llama.Config.from_dict(found).max_tokens == 64
