"""Whisper in CTranslate2's files, as faster-whisper has them: its names, its fused projections, and what shapes the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.errors import CheckpointError
from ...core.keymap import Alias, KeyMap

_NORMS = {
    "{p}/layer_{i}/self_attention/layer_norm": "{p}.layers.{i}.self_attn_layer_norm",
    "{p}/layer_{i}/attention/layer_norm": "{p}.layers.{i}.encoder_attn_layer_norm",
    "{p}/layer_{i}/ffn/layer_norm": "{p}.layers.{i}.final_layer_norm",
}
_LINEARS = {
    "{p}/layer_{i}/self_attention/linear_1": "{p}.layers.{i}.self_attn.out_proj",
    "{p}/layer_{i}/attention/linear_0": "{p}.layers.{i}.encoder_attn.q_proj",
    "{p}/layer_{i}/attention/linear_2": "{p}.layers.{i}.encoder_attn.out_proj",
    "{p}/layer_{i}/ffn/linear_0": "{p}.layers.{i}.fc1",
    "{p}/layer_{i}/ffn/linear_1": "{p}.layers.{i}.fc2",
}
_FUSED = {
    "/self_attention/linear_0/": ("self_attn", ("q_proj", "k_proj", "v_proj")),
    "/attention/linear_1/": ("encoder_attn", ("k_proj", "v_proj")),
}


class FromCTranslate2:
    """CTranslate2's names and fused projections, read; never written."""

    def __init__(self) -> None:
        aliases = [
            Alias("encoder/{c:conv[12]}/{w}", "encoder.{c}.{w}"),
            Alias("decoder/embeddings/weight", "decoder.embed_tokens.weight"),
        ]
        for theirs, ours in _NORMS.items():
            theirs, ours = theirs.replace("{i}", "{i:[0-9]+}"), ours.replace("{i}", "{i:[0-9]+}")
            aliases += [Alias(f"{theirs}/gamma", f"{ours}.weight"), Alias(f"{theirs}/beta", f"{ours}.bias")]
        for part in ("encoder", "decoder"):
            aliases.append(Alias(f"{part}/position_encodings/encodings", f"{part}.embed_positions.weight"))
            aliases += [Alias(f"{part}/layer_norm/gamma", f"{part}.layer_norm.weight")]
            aliases += [Alias(f"{part}/layer_norm/beta", f"{part}.layer_norm.bias")]
        aliases += [Alias(f"{theirs}/{{w}}", f"{ours}.{{w}}") for theirs, ours in _LINEARS.items()]
        self._names = KeyMap(*aliases)

    def to_ours(self, arrays: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, array in arrays.items():
            if not array.ndim:  # settings of CTranslate2's own
                continue
            found |= _parts(name, array) or {name: array}
        return self._names.to_ours(found)

    def to_published(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return arrays


def _parts(name: str, array: Any) -> dict[str, Any]:
    """The projections that lie one behind the other in one tensor; {} for a tensor that is none of these."""
    kind = next((k for k in _FUSED if k in name), None)
    if kind is None:
        return {}
    module, layers = _FUSED[kind]
    where, leaf = name.split(kind)
    if array.shape[0] % len(layers):
        raise CheckpointError(f"{name} of shape {array.shape} holds {len(layers)} projections", fix="get the file again")
    found = dict(zip(layers, np.split(array, len(layers)), strict=True))
    if leaf == "bias" and np.any(found.pop("k_proj")):
        raise CheckpointError(f"{name} has a bias for keys", why="Whisper has none", fix="check what model it is")
    before = where.replace("/layer_", ".layers.")
    return {f"{before}.{module}.{layer}.{leaf}": part for layer, part in found.items()}


_SHAPING = ("position_encodings/encodings", "layer_0/ffn/linear_0/weight")


def config_from_ctranslate2(head: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The ``config.json`` of a CTranslate2 file.

    Args:
        head: the file's, :class:`~nyala.core.checkpoint.CTranslate2`.
        settings: the ``config.json`` that lies beside it, with the tokens that are never written.

    Raises:
        CheckpointError: a tensor that shapes the model is missing.
    """
    shapes = head.shapes
    tables = ("decoder/embeddings/weight", "encoder/conv1/weight")
    both = [f"{part}/{name}" for part in ("encoder", "decoder") for name in _SHAPING]
    needed = [*tables, *both]
    missing = [name for name in needed if len(shapes.get(name, ())) < 2]
    if missing:
        raise CheckpointError(f"{head.path} holds no Whisper: {missing[0]} is missing", fix="check what model it is")
    vocabulary, width = shapes["decoder/embeddings/weight"]
    config: dict[str, Any] = {"vocab_size": vocabulary, "d_model": width, "num_mel_bins": shapes["encoder/conv1/weight"][1]}
    for part, places in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
        numbers = [int(n.split("/")[1][6:]) for n in shapes if n.startswith(f"{part}/layer_") and n.split("/")[1][6:].isdigit()]
        config[f"{part}_layers"] = max(numbers) + 1
        config[f"{part}_attention_heads"] = head.number(f"{part}/num_heads") or width // 64
        config[f"{part}_ffn_dim"] = shapes[f"{part}/layer_0/ffn/linear_0/weight"][0]
        config[places] = shapes[f"{part}/position_encodings/encodings"][0]
    end, start = (50256, 50257) if vocabulary == 51864 else (50257, 50258)  # the file does not say which tokens these are
    known = start < vocabulary
    tokens: dict[str, int | None] = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), end if known else None)
    tokens["decoder_start_token_id"] = start if known else None
    renamed = {"suppress_ids": "suppress_tokens", "suppress_ids_begin": "begin_suppress_tokens"}
    told = {ours: settings[theirs] for theirs, ours in renamed.items() if theirs in settings}
    heads = {"alignment_heads": settings["alignment_heads"]} if "alignment_heads" in settings else {}
    return {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], **config, **tokens, **told, **heads}
