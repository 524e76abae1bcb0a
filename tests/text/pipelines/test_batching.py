"""How long texts may be, and how many go through the model at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nyala
import pytest

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"


def classifier(folder: Path, positions: int, **files: Any) -> Any:
    """A tiny BERT with so many positions and a tokenizer that says as much of texts' lengths as ``files`` do."""
    folder.mkdir()
    shutil.copy(GOLDENS / "bert_classifier" / "config.json", folder)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sun"]))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return nyala.load(str(folder), random_init=True, max_position_embeddings=positions)


@pytest.mark.parametrize(
    ("positions", "files", "length"),
    [
        (900, {}, 900),  # more than the customary 512, as ModernBERT
        (900, {"tokenizer_config": {"model_max_length": 600}}, 600),
        (300, {"tokenizer_config": {"model_max_length": 600}}, 300),
        (900, {"tokenizer_config": {"model_max_length": 600}, "sentence_bert_config": {"max_seq_length": 128}}, 128),
        (900, {"tokenizer_config": {"model_max_length": 1e30}}, 900),
    ],
)
def test_classifiers_read_as_much_as_their_models(positions: int, files: dict[str, Any], length: int, tmp_path: Path) -> None:
    assert classifier(tmp_path / "m", positions, **files).preprocess.max_length == length


def test_of_long_texts_fewer_go_through_at_once(tmp_path: Path) -> None:
    pipe = classifier(tmp_path / "m", 2048)
    rows = pipe.preprocess.encode(["sun " * count for count in (*[600] * 30, *[5] * 40)])
    sizes = [len(part) for part, _ in pipe.batches(rows)]  # the second begins with three long ones
    assert sizes == [27, 27, 16] and 27 * 602 <= 32 * 512 < 28 * 602
    assert len({i for part, _ in pipe.batches(rows) for i in part}) == 70
