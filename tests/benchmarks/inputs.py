"""What both libraries are given: the sizes of the models, arrays, token ids and picture files, the same for both."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

# The keys are those of transformers' configuration; what is left out is the architecture's default in both libraries.
_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
_DISTANCES = {
    "relative_attention": True, "position_buckets": 256, "max_relative_positions": -1, "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False,
}  # fmt: skip
TEXT_MODELS: dict[str, dict[str, Any]] = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-base": _BASE,
    "mpnet-base": {**_BASE, "model_type": "mpnet", "pad_token_id": 1, "max_position_embeddings": 514},
    "deberta-v3-small": {**_BASE, "model_type": "deberta-v2", "num_hidden_layers": 6, **_DISTANCES},
    "modernbert-base": {
        **_BASE, "model_type": "modernbert", "num_hidden_layers": 22, "intermediate_size": 1152,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0),
    },
}  # fmt: skip
for _config in TEXT_MODELS.values():
    _config["vocab_size"] = 30522

# Keys as in TEXT_MODELS; embeddings and head share their weight.
DECODERS: dict[str, dict[str, Any]] = {
    "smollm2-135m": {
        "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "intermediate_size": 1536, "vocab_size": 49152, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
    },
}  # fmt: skip

# Keys of transformers' configuration, and of MONAI's for the U-Net; what is left out is the architecture's default.
PICTURE_MODELS: dict[str, dict[str, Any]] = {
    "detr-resnet-50": {
        "model_type": "detr", "architectures": ["DetrForObjectDetection"], "num_labels": 91,
        "use_timm_backbone": False, "backbone_config": {"model_type": "resnet", "out_features": ["stage4"]},
    },
    "yolos-tiny": {
        "model_type": "yolos", "architectures": ["YolosForObjectDetection"], "num_labels": 91, "image_size": [800, 1333],
        "hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768,
        "use_mid_position_embeddings": False,
    },
    "dinov2-small": {
        "model_type": "dinov2", "architectures": ["Dinov2Model"], "hidden_size": 384, "num_attention_heads": 6,
        "patch_size": 14, "image_size": 518,
    },
    "segformer-b0": {
        "model_type": "segformer", "architectures": ["SegformerForSemanticSegmentation"], "num_labels": 150,
        "classifier_dropout_prob": 0.0, "drop_path_rate": 0.0,
    },
    "upernet-convnext-tiny": {
        "model_type": "upernet", "architectures": ["UperNetForSemanticSegmentation"], "num_labels": 150,
        "backbone_config": {
            "model_type": "convnext", "hidden_sizes": [96, 192, 384, 768], "depths": [3, 3, 9, 3],
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
    },
    "unet": {
        "model_type": "unet", "spatial_dims": 2, "in_channels": 3, "out_channels": 5, "channels": [32, 64, 128, 256],
        "strides": [2, 2, 2], "num_res_units": 2, "norm": "batch",
    },
    "clip-base": {"model_type": "clip", "architectures": ["CLIPModel"]},
    "siglip-base": {"model_type": "siglip", "architectures": ["SiglipModel"]},
}  # fmt: skip

# Keys of transformers' configuration; the sizes are those of Whisper tiny, and of wav2vec 2.0 base, which are the defaults.
SOUND_MODELS: dict[str, dict[str, Any]] = {
    "whisper-tiny": {
        "d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "encoder_attention_heads": 6, "decoder_attention_heads": 6,
        "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536, "vocab_size": 51865, "num_mel_bins": 80,
    },
    "wav2vec2-base": {},
}  # fmt: skip
CODEC_RATES = {"encodec": 24_000, "dac": 44_032}  # samples a second; of DAC whole frames

PICTURE_SIZE = 224
SAMPLE_RATE = 16_000  # Hz
SENTENCE = "The quick brown fox jumps over the lazy dog."


def array(*shape: int) -> np.ndarray[Any, Any]:
    """Normal numbers of one seed, float32."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def token_ids(rows: int, length: int) -> np.ndarray[Any, Any]:
    """(rows, length) int64 ids of ordinary words in BERT's vocabulary."""
    return np.random.default_rng(0).integers(1000, 30000, (rows, length))


def pixel_classes(batch: int, height: int, width: int, classes: int) -> np.ndarray[Any, Any]:
    """(batch, height, width) int64: a class for every pixel."""
    return np.random.default_rng(0).integers(0, classes, (batch, height, width))


def picture_files(folder: Path, count: int) -> list[Path]:
    """``count`` JPEG files of 500 x 375 pixels: random clouds with some grain, which compress about as photographs do."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            random = np.random.default_rng(number)
            coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
            clouds = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.float32)
            grain = clouds + random.normal(0, 8, clouds.shape)
            Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def mails() -> list[str]:
    """The thousand texts of the shipped sample of e-mails."""
    path = Path(__file__).parents[2] / "text" / "datasets" / "samples" / "spam" / "train.jsonl.gz"
    return [json.loads(line)["text"] for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def mail_vocabulary(path: Path) -> Path:
    """A ``vocab.txt`` of the words of these texts, and letters for what is no word."""
    words = Counter(re.findall(r"[a-z]+", " ".join(mails()).lower()))
    signs = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *(f"##{sign}" for sign in signs)]
    tokens += [word for word, count in words.most_common() if count > 2 and len(word) > 1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


def vocabulary(path: Path) -> None:
    """A ``vocab.txt`` of BERT's size: the special tokens, single letters and their continuations, and made-up words."""
    letters = "abcdefghijklmnopqrstuvwxyz."
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    tokens += [f"word{number}" for number in range(30522 - len(tokens))]
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
