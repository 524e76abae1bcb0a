"""Vision transformers in transformers' layout: their ``config.json`` and tensor names, read and written.

``vit`` (``google/vit-base-patch16-224``), ``deit`` (``facebook/deit-base-distilled-patch16-224``), ``dinov2`` and
``dinov2_with_registers`` (``facebook/dinov2-small``, ``facebook/dinov2-with-registers-small``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ...core.errors import DataError
from ...core.keymap import Concat, Ignore, KeyMap, Prefix, Rename, Rule
from .vit import Config

# transformers' key -> ours, where the value is the same
_SAME = {
    "image_size": "img_size",
    "patch_size": "patch_size",
    "num_channels": "in_chans",
    "hidden_size": "embed_dim",
    "num_hidden_layers": "depth",
    "num_attention_heads": "num_heads",
    "hidden_act": "act",
    "attention_probs_dropout_prob": "attn_drop_rate",
    "hidden_dropout_prob": "proj_drop_rate",
    "layer_norm_eps": "norm_eps",
    "qkv_bias": "qkv_bias",
    "drop_path_rate": "drop_path_rate",
    "use_swiglu_ffn": "swiglu",
    "use_mask_token": "mask_token",
    "layerscale_value": "init_values",
    "num_register_tokens": "reg_tokens",
}
_DINO = ("use_swiglu_ffn", "use_mask_token", "layerscale_value", "drop_path_rate")
# model_type -> (name of the classes, what their defaults are other than ours)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViT", {"norm_eps": 1e-12}),
    "deit": ("DeiT", {"norm_eps": 1e-12, "distilled": True}),
    "dinov2": ("Dinov2", {"patch_size": 14, "init_values": 1.0, "mask_token": True}),
    "dinov2_with_registers": (
        "Dinov2WithRegisters",
        {"patch_size": 14, "init_values": 1.0, "mask_token": True, "reg_tokens": 4, "embed_registers": False, "antialias": True},
    ),
}


def _known(kind: str) -> set[str]:
    """The keys that a kind's ``config.json`` has."""
    if not kind.startswith("dinov2"):
        return set(_SAME) - {*_DINO, "num_register_tokens"}
    return set(_SAME) - (set() if kind.endswith("registers") else {"num_register_tokens"})


def read(config: Mapping[str, Any], **overrides: Any) -> Config:
    """What shapes the model that transformers' ``config.json`` describes; ``overrides`` replace its keys.

    Raises:
        DataError: patches that are no squares, or another class than those nyala builds.
    """
    kind = str(config["model_type"])
    name, defaults = KINDS[kind]
    said = {**config, **overrides}
    values = {ours: said[theirs] for theirs, ours in _SAME.items() if theirs in _known(kind) and said.get(theirs) is not None}
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    if isinstance(values.get("patch_size"), tuple):
        if len(set(values["patch_size"])) != 1:
            raise DataError(f"patch_size={values['patch_size']}", why="patches are squares", fix="choose other weights")
        values["patch_size"] = values["patch_size"][0]
    found = replace(Config(kind, antialias=False, num_classes=0), **{**defaults, **values})
    if kind.startswith("dinov2"):
        found = replace(found, mlp_ratio=float(said.get("mlp_ratio", 4)))
    else:
        found = replace(found, mlp_ratio=int(said.get("intermediate_size", 3072)) / found.embed_dim)
    return _with_head(replace(found, pos_drop_rate=found.proj_drop_rate), name, said, "num_labels" in overrides)


def _with_head(config: Config, name: str, said: Mapping[str, Any], new: bool) -> Config:
    published = (said.get("architectures") or [f"{name}Model"])[0]
    layout = f"{name}ForImageClassification" if new and "ForImage" not in published else published
    heads = {f"{name}ForImageClassification", f"{name}ForImageClassificationWithTeacher"}
    if layout not in heads | {f"{name}Model", f"{name}Backbone"}:
        raise DataError(
            f"architectures names {layout!r}", why=f"nyala builds {', '.join(sorted(heads))}", fix="choose other weights"
        )
    if layout not in heads:
        return replace(config, layout=layout, pooler=layout in ("ViTModel", "DeiTModel"))
    labels = said.get("num_labels")
    count = int(len(said.get("id2label") or ()) or 2) if labels is None else int(labels)
    pool = "token+avg" if name.startswith("Dinov2") else "token"
    return replace(config, layout=layout, num_classes=count, global_pool=pool)


def write(config: Config) -> dict[str, Any]:
    """The ``config.json`` that :func:`read` takes."""
    kind = config.architecture
    values = {theirs: getattr(config, ours) for theirs, ours in _SAME.items() if theirs in _known(kind)}
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    wide = {"mlp_ratio": config.mlp_ratio} if kind.startswith("dinov2") else {"intermediate_size": config.hidden_dim}
    if kind.startswith("dinov2") and config.mlp_ratio == int(config.mlp_ratio):
        wide = {"mlp_ratio": int(config.mlp_ratio)}  # transformers takes whole numbers alone
    head = {"num_labels": config.num_classes} if "ForImage" in config.layout else {}
    return {"model_type": kind, "architectures": [config.layout], **values, **wide, **head}


_BLOCK = {
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "mlp.weights_in": "mlp.fc1",
    "mlp.weights_out": "mlp.fc2",
}
_TOKENS = {
    "cls_token": "cls_token",
    "distillation_token": "dist_token",
    "register_tokens": "reg_token",
    "mask_token": "mask_token",
    "position_embeddings": "pos_embed",
}


_FOLDED_CLASS, _FOLDED_PATCHES = re.compile(r"onnx::Concat_\d+"), re.compile(r"onnx::Reshape_\d+")


def _exported(names: Collection[str]) -> list[Rule]:
    """A backbone that was exported to ONNX with a decoder behind it: the exporter has cut the position vectors in two."""
    if not any(name.startswith("backbone.") for name in names):
        return []
    parts = [[name for name in names if kind.fullmatch(name)] for kind in (_FOLDED_CLASS, _FOLDED_PATCHES)]
    joined: list[Rule] = []
    if [len(found) for found in parts] == [1, 1]:
        joined = [Concat([parts[0][0], parts[1][0]], "embeddings.position_embeddings", axis=1)]
    return [Ignore("decoder.*"), *joined, Prefix("backbone.", written=False)]


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """transformers' names, with or without the prefix of the class's name."""
    shape = read(config)
    block = dict(_BLOCK)
    if shape.architecture.startswith("dinov2"):  # whose feed-forward part and norms are called as ours
        dense = {"mlp.weights_in", "mlp.weights_out"} if shape.swiglu else set()
        block = {k: v for k, v in _BLOCK.items() if k in {"attention.output.dense", *dense}}
    else:
        block = {k: v for k, v in _BLOCK.items() if not k.startswith("mlp.")}
    heads = {"classifier": "head", "cls_classifier": "head", "distillation_classifier": "head_dist"}
    taught = shape.layout.endswith("WithTeacher")
    heads = {k: v for k, v in heads.items() if (k == "classifier") != taught}
    rules = [Rename(f"embeddings.{theirs}", ours) for theirs, ours in _TOKENS.items()]
    rules += [Rename(f"encoder.layer.{{i}}.{a}.{{p}}", f"blocks.{{i}}.{b}.{{p}}") for a, b in block.items()]
    rules += [Rename(f"encoder.layer.{{i}}.layer_scale{n}.lambda1", f"blocks.{{i}}.ls{n}.gamma") for n in "12"]
    rules += [Rename("encoder.layer.{i}.{rest...}", "blocks.{i}.{rest...}")]
    rules += [Rename(f"{theirs}.{{p}}", f"{ours}.{{p}}") for theirs, ours in heads.items()]
    rules += [Rename("embeddings.patch_embeddings.projection.{p}", "patch_embed.proj.{p}"), Rename("layernorm.{p}", "norm.{p}")]
    parts = [f"encoder.layer.{{i}}.attention.attention.{role}.{{p}}" for role in ("query", "key", "value")]
    bare = not heads or shape.num_classes == 0
    outside = ("classifier.*", "cls_classifier.*", "distillation_classifier.*")
    unread = [] if shape.pooler else [Ignore("pooler.*")]
    unread += [] if shape.mask_token else [Ignore("embeddings.mask_token")]
    prefix = Prefix(f"{shape.architecture}.", written=not bare, outside=outside)
    return KeyMap(*_exported(published_names), prefix, *unread, Concat(parts, "encoder.layer.{i}.attn.qkv.{p}"), *rules)
