"""The ``model`` folder of a run: weights, configuration, preprocessing and tokenizer in the layout the base was published in.

``nyala.load(RUN)`` reads it, and so do the libraries whose layout it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...core import checkpoint
from ...core.atomic import atomic_folder
from ...core.nn import Module
from ...hub import registry
from ...hub.pipeline import Pipeline
from ..data.speech import letters_of

# What is copied as it is. Weights and configuration are written anew, and nothing else of the base belongs to the result.
COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "source.spm",
    "target.spm",
    "preprocessor_config.json",
)


def save(
    pipeline: Pipeline, model: Module, labels: Sequence[str], folder: Path, write_weights: Callable[[Path], None] | None = None
) -> None:
    """Writes the model folder, whole or not at all; an older one is replaced.

    Args:
        pipeline: where the model came from: its layout and files.
        model: with the final weights.
        labels: class names by number.
        folder: the folder to write.
        write_weights: writes an adapter's weights into the folder, in place of all of the model's.
    """
    config = configuration(pipeline, model, labels)
    with atomic_folder(folder, replace=True) as new:
        if write_weights is not None:
            write_weights(new)
        else:
            _write_weights(model, config, new)
        (new / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for name in COPIED:
            if pipeline.files is not None and name in pipeline.files:
                pipeline.files.copy(name, new / name)
        if hasattr(pipeline.preprocess, "to_preprocessor") and "architecture" not in config:  # timm's layout has it there
            _write_preprocessor(new / "preprocessor_config.json", pipeline.preprocess.to_preprocessor())
        if not (new / "tokenizer.json").exists() and hasattr(pipeline.preprocess, "save"):
            pipeline.preprocess.save(new / "tokenizer.json")  # of a base that has it in another form
        if hasattr(pipeline, "to_generation"):
            (new / "generation_config.json").write_text(json.dumps(pipeline.to_generation(), indent=2) + "\n", encoding="utf-8")
        if hasattr(pipeline, "letters") and labels:
            for name, content in letters_of(labels, pipeline).files().items():
                (new / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        pooling = getattr(pipeline, "pooling", None)
        if pooling is not None:
            _write_pooling(new, pooling, int(getattr(model.config, "hidden_size", 0)))
        if hasattr(pipeline.preprocess, "max_length"):
            _write_length(new, int(pipeline.preprocess.max_length))


def _write_pooling(folder: Path, pooling: Any, width: int) -> None:
    """How the vectors of tokens become one, as sentence-transformers reads it."""
    for name, content in pooling.files(width).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    for name, arrays in pooling.arrays().items():
        checkpoint.save_file(arrays, folder / name, metadata={"format": "pt"})


def _write_preprocessor(path: Path, own: dict[str, Any]) -> None:
    """The preprocessing as it was used, over what the base says of it."""
    base = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**base, **own}, indent=2) + "\n", encoding="utf-8")


def _write_length(folder: Path, length: int) -> None:
    """The length that texts are cut to, at both places where loaders look for it: the base's may be another."""
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length}) + "\n", encoding="utf-8")
    tokenizer = folder / "tokenizer_config.json"
    if tokenizer.is_file():
        settings = {**json.loads(tokenizer.read_text(encoding="utf-8")), "model_max_length": length}
        tokenizer.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_weights(model: Module, config: dict[str, Any], folder: Path) -> None:
    arrays = {name: t.numpy() for name, t in model.state_dict().items()}
    architecture = registry.get(registry.architecture_of(config))
    published = architecture.key_map(config, list(arrays)).to_published(arrays)
    checkpoint.save_file(published, folder / "model.safetensors", metadata={"format": "pt"})


def configuration(pipeline: Pipeline, model: Module, labels: Sequence[str]) -> dict[str, Any]:
    """``config.json``: the architecture's own, the class names, and for pictures the preprocessing as it was used."""
    architecture = registry.get(registry.architecture_of(pipeline.config))
    config = dict(architecture.export_config(model))
    if "architecture" in config:
        old = pipeline.config.get("pretrained_cfg", {})
        kept = {k: old[k] for k in ("first_conv", "classifier", "license") if k in old}
        config["label_names"] = list(labels)
        preprocess: Any = pipeline.preprocess
        config["pretrained_cfg"] = {**kept, **preprocess.to_config(), "num_classes": len(labels)}
    elif labels and not hasattr(pipeline, "letters"):  # letters have a file of their own
        config["id2label"] = {str(i): name for i, name in enumerate(labels)}
        config["label2id"] = {name: i for i, name in enumerate(labels)}
    special = {name: {"prefix": prefix} for name, prefix in getattr(pipeline, "prefixes", {}).items() if prefix}
    if hasattr(pipeline, "to_task"):
        special |= pipeline.to_task()
    return {**config, "task_specific_params": special} if special else config
