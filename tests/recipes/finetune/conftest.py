"""Tiny data and a tiny text encoder for fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

WORDS = {"good": "sun joy warm kind bright", "bad": "rain grief cold harsh dark"}
SHARED = "the a of and to in it is was on"


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in transformers' layout with a two-layer encoder of random weights."""
    import nyala
    from nyala import checkpoint
    from nyala.text.models import bert

    folder = tmp_path_factory.mktemp("tiny-bert")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *" ".join([*WORDS.values(), SHARED]).split()]
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 48,
        "vocab_size": len(tokens),
    }
    (folder / "vocab.txt").write_text("\n".join(tokens))
    (folder / "config.json").write_text(json.dumps(config))
    nyala.manual_seed(1)
    checkpoint.save_file({n: t.numpy() for n, t in bert.build(config).state_dict().items()}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 90 texts of two classes, with semicolons and columns of odd names."""
    rng = np.random.default_rng(0)
    lines = ["number;words;mood"]
    for i in range(90):
        label = ("good", "bad")[i % 2]
        words = [*rng.choice(WORDS[label].split(), 3), *rng.choice(SHARED.split(), int(rng.integers(2, 12)))]
        lines.append(f"{i};{' '.join(rng.permutation(words))};{label}")
    path = tmp_path_factory.mktemp("moods") / "moods.csv"
    path.write_text("\n".join(lines))
    return path
