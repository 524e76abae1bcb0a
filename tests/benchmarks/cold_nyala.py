"""``python cold_nyala.py NAME KIND FOLDER``: prints what ``nyala predict`` should load: NAME, or FOLDER with random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nyala

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.inputs import TEXT_MODELS, vocabulary


def _random_model(kind: str, folder: Path) -> None:
    """A model folder in the layout of timm or transformers."""
    from nyala.hub import registry

    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {"architecture": "tf_efficientnet_lite0", "num_classes": 1000}
    if kind == "text":
        config = {"model_type": "bert", "architectures": ["BertModel"], **TEXT_MODELS["minilm"]}
        vocabulary(folder / "vocab.txt")
    architecture = registry.get(registry.architecture_of(config))
    model = architecture.build(config)
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    published = architecture.key_map(config, list(arrays)).to_published(arrays)
    nyala.checkpoint.save_file(published, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def main(name: str, kind: str, folder: str) -> None:
    """Look whether the published weights are cached."""
    try:
        nyala.load(name, offline=True)
        print(name)
    except nyala.errors.NyalaError:
        _random_model(kind, Path(folder))
        print(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
