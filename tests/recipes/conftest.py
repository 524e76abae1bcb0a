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
WORDS = {"good": "sun joy warm kind bright", "bad": "rain grief cold harsh dark"}
SHARED = "the a of and to in it is was on"
TINY_BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}
TINY_AST = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "patch_size": 8,
    "frequency_stride": 8,
    "time_stride": 8,
    "max_length": 32,
    "num_mel_bins": 32,
}
GROUNDS = np.array([(30, 30, 30), (210, 60, 50), (60, 80, 220)])
TINY_UNET = {
    "model_type": "unet", "architectures": ["UNetForSemanticSegmentation"], "in_channels": 3, "num_labels": 4,
    "channels": [4, 8], "strides": [2], "num_res_units": 1,
}  # fmt: skip
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


@pytest.fixture(scope="session")
def tiny_sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of 20 sounds of 0.3 s each: low tones, high tones, and noise, by 8 kHz and by 11,025 Hz in two channels."""
    from nyala.audio import io

    folder = tmp_path_factory.mktemp("tiny-sounds")
    rng = np.random.default_rng(5)
    for name, tone in {"high": 2_000, "low": 300, "noise": 0}.items():
        (folder / name).mkdir()
        for i in range(20):
            rate, channels = ((8_000, 1), (11_025, 2))[i % 2]
            at = np.arange(round(0.3 * rate)) / rate
            wave = 0.3 * np.sin(2 * np.pi * tone * rng.uniform(0.8, 1.2) * at) if tone else 0.0
            noisy = wave + rng.normal(0, 0.05 if tone else 0.2, (channels, len(at)))
            io.write(folder / name / f"{i:02}.wav", noisy, rate)
    return folder


@pytest.fixture(scope="session")
def ast_sizes() -> dict[str, int]:
    """What shapes ``tiny_ast``."""
    return TINY_AST


@pytest.fixture(scope="session")
def tiny_ast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in transformers' layout with an AST of random weights, which hears 0.3 s and knows two sounds."""
    import nyala
    from nyala import checkpoint
    from nyala.audio.models import ast

    folder = tmp_path_factory.mktemp("tiny-ast")
    nyala.manual_seed(3)
    model = ast.build({"architectures": ["ASTForAudioClassification"], "initializer_range": 0.2, **TINY_AST})
    checkpoint.save_file({n: t.numpy() for n, t in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(ast.export_config(model)))
    (folder / "preprocessor_config.json").write_text(json.dumps({"mean": -6.0, "std": 4.0, "sampling_rate": 16_000}))
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
    from nyala.recipes.folder import run as runs
    from nyala.recipes.language import config
    from nyala.recipes.training import trainer

    def carry_out(name: str, *overrides: str) -> Any:
        run = runs.create(config.load(recipe_file, overrides), tmp_path / name)
        trainer.train(run)
        return run

    return carry_out


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in transformers' layout with a BERT of random weights."""
    import nyala
    from nyala import checkpoint
    from nyala.text.models import bert

    folder = tmp_path_factory.mktemp("tiny-bert")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *" ".join([*WORDS.values(), SHARED]).split()]
    (folder / "vocab.txt").write_text("\n".join(tokens))
    config_json = {**TINY_BERT, "vocab_size": len(tokens)}
    (folder / "config.json").write_text(json.dumps(config_json))
    nyala.manual_seed(1)
    checkpoint.save_file({n: t.numpy() for n, t in bert.build(config_json).state_dict().items()}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in transformers' layout with a Llama of random weights that knows the words of both moods."""
    import nyala
    import tokenizers
    from nyala import checkpoint
    from nyala.text.models import llama
    from tokenizers import models, pre_tokenizers

    folder = tmp_path_factory.mktemp("tiny-llama")
    words = ["</s>", "<unk>", *" ".join([*WORDS.values(), SHARED]).split()]
    tokenizer = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    shape = {
        "vocab_size": len(words),
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    made = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **shape,
        "max_position_embeddings": 32,
        "eos_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(made))
    nyala.manual_seed(2)
    checkpoint.save_file({n: t.numpy() for n, t in llama.build(made).state_dict().items()}, folder / "model.safetensors")
    return folder


@pytest.fixture
def text_recipe_file(tmp_path: Path, tiny_bert: Path) -> Path:
    """A recipe over it and 90 short texts of two classes."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(90):
        label = ("good", "bad")[i % 2]
        words = [*rng.choice(WORDS[label].split(), 3), *rng.choice(SHARED.split(), int(rng.integers(2, 12)))]
        lines.append(json.dumps({"text": " ".join(rng.permutation(words)), "label": label}))
    (tmp_path / "moods.jsonl").write_text("\n".join(lines))
    path = tmp_path / "moods.toml"
    path.write_text(
        f"""schema = 1
[data]
name = "moods.jsonl"
batch_size = 8
workers = 0
augment = [{{ type = "word_dropout", p = 0.1 }}]
[model]
name = "{tiny_bert}"
max_length = 12
[optim]
type = "adamw"
lr = 0.01
[train]
epochs = 3
accumulate = 2
checkpoint = {{ every = 4 }}
"""
    )
    return path


TINY_WHISPER = {
    "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "num_mel_bins": 80, "d_model": 16,
    "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16, "max_source_positions": 50, "max_target_positions": 24, "init_std": 0.1,
}  # fmt: skip
TINY_CTC = {
    "model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"], "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8, 16], "conv_stride": [80, 8], "conv_kernel": [160, 8],
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
    "layerdrop": 0.0,
}  # fmt: skip
TONES = {"la": 300, "hi": 2_000}


@pytest.fixture(scope="session")
def tiny_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 48 sounds of one to three tones, "la" for a low one and "hi" for a high one."""
    from nyala.audio import io

    folder = tmp_path_factory.mktemp("tiny-speech")
    rng = np.random.default_rng(9)
    rows = ["audio,text"]
    for i in range(48):
        said = [list(TONES)[k] for k in rng.integers(0, 2, 1 + i % 3)]
        at = np.arange(1600) / 8_000
        wave = np.concatenate([0.4 * np.sin(2 * np.pi * TONES[word] * at) * np.hanning(len(at)) for word in said])
        io.write(folder / f"{i:02}.wav", wave + rng.normal(0, 0.01, len(wave)), 8_000)
        rows.append(f"{i:02}.wav,{' '.join(said)}")
    (folder / "speech.csv").write_text("\n".join(rows))
    return folder / "speech.csv"


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in transformers' layout with a Whisper of random weights for English alone, whose windows last a second."""
    import nyala
    import tokenizers
    from nyala.audio.models import whisper
    from tokenizers import AddedToken, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("tiny-whisper")
    letters = ["a", "h", "i", "l", "Ġ", "la", "hi", "Ġla", "Ġhi"]
    merges = [("l", "a"), ("h", "i"), ("Ġ", "la"), ("Ġ", "hi")]
    marks = ["endoftext", "startoftranscript", "translate", "transcribe", "startofprev", "nospeech", "notimestamps"]
    backend = tokenizers.Tokenizer(models.BPE({w: i for i, w in enumerate(letters)}, merges))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(f"<|{mark}|>", special=True) for mark in marks])
    backend.save(str(folder / "tokenizer.json"))
    end = len(letters)
    tokens = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": end + 1}
    config = {**TINY_WHISPER, **tokens, "vocab_size": end + len(marks) + 51, "suppress_tokens": [0], "begin_suppress_tokens": [4]}
    (folder / "config.json").write_text(json.dumps(config))
    nyala.manual_seed(4)
    state = {n: t.numpy() for n, t in whisper.build(config).state_dict().items()}
    nyala.checkpoint.save_file(state, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def tiny_ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in transformers' layout with a wav2vec 2.0 of random weights that spells in large letters."""
    import nyala
    from nyala.audio.models import wav2vec2

    folder = tmp_path_factory.mktemp("tiny-ctc")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
    config = {**TINY_CTC, "vocab_size": len(letters)}
    nyala.manual_seed(6)
    state = {n: t.numpy() for n, t in wav2vec2.build(config).state_dict().items()}
    nyala.checkpoint.save_file(wav2vec2.key_map(config, list(state)).to_published(state), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    return folder


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 drawn pictures and their boxes in COCO's format: ``pictures/`` and ``_annotations.coco.json``; ids begin at 3."""
    from nyala.vision.datasets import DrawnShapes
    from PIL import Image

    folder = tmp_path_factory.mktemp("coco")
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": 3 + 2 * i, "name": name} for i, name in enumerate(DrawnShapes.classes)]
    for i, sample in enumerate(DrawnShapes("train", 24, size=32)):
        Image.fromarray(sample.image).save(folder / f"{i:02}.png")
        content["images"].append({"id": i, "file_name": f"{i:02}.png", "height": 32, "width": 32})
        for box, label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            number = len(content["annotations"])
            content["annotations"].append({"id": number, "image_id": i, "category_id": 3 + 2 * label, "bbox": sides})
    (folder / "_annotations.coco.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 pictures of 20 x 16 pixels with a red or blue square on dark ground, and their masks."""
    folder = tmp_path_factory.mktemp("masks")
    from PIL import Image

    for name in ("images", "masks"):
        (folder / name).mkdir()
    (folder / "classes.txt").write_text("ground\nred\nblue\n")
    rng = np.random.default_rng(3)
    for i in range(24):
        mask = np.zeros((16, 20), np.uint8)
        top, left = rng.integers(0, 8), rng.integers(0, 12)
        mask[top : top + 8, left : left + 8] = 1 + i % 2
        noisy = GROUNDS[mask] + rng.normal(0, 20, (16, 20, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{i:02}.png")
        mask[:2, :2] = 255
        Image.fromarray(mask).save(folder / "masks" / f"{i:02}.png")
    return folder


@pytest.fixture(scope="session")
def tiny_unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-Net of random weights with a head of four classes."""
    import nyala
    from nyala import checkpoint
    from nyala.vision.models import unet

    folder = tmp_path_factory.mktemp("tiny-unet")
    nyala.manual_seed(5)
    model = unet.build(TINY_UNET)
    checkpoint.save_file({n: t.numpy() for n, t in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(unet.export_config(model)))
    return folder
