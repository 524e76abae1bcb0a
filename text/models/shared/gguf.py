"""Decoders in GGUF files: the names of their tensors, and the configuration in their metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import DataError
from ....core.keymap import Alias, Ignore
from .gated import GatedConfig
from .rope import rope_frequencies


def published_rules(
    config: GatedConfig, names: Collection[str], others: Mapping[str, str] | None = None, *, halves: bool = False
) -> list[Any]:
    """What old files have beside the weights; and the names in GGUF files.

    Args:
        config: sizes of the model.
        names: in the file.
        others: GGUF's names of further tensors of a layer, to ours.
        halves: whether GGUF files keep the features of queries and keys as neighbouring pairs, as Llama's do.
    """
    rules: list[Any] = [Ignore("*rotary_emb.inv_freq")]
    if "token_embd.weight" not in names:
        return rules
    if halves:
        rules += [_Halves("attn_q", config.num_attention_heads), _Halves("attn_k", config.kv_heads)]
    blocks = {**_GGUF_NAMES, **(others or {})}
    return [
        *rules,
        Ignore("rope_freqs.weight"),
        *[Alias(f"blk.{{i}}.{theirs}.{{n}}", f"model.layers.{{i}}.{ours}.{{n}}") for theirs, ours in blocks.items()],
        *GGUF_ENDS,
    ]


_GGUF_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
GGUF_ENDS = (
    Alias("token_embd.weight", "model.embed_tokens.weight"),
    Alias("output_norm.weight", "model.norm.weight"),
    Alias("output.weight", "lm_head.weight"),
)


@dataclass(frozen=True)
class _Halves:
    """GGUF keeps the features of q and k as neighbouring pairs, transformers as two halves of each head."""

    name: str
    heads: int

    def to_ours(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return {n: self._turned(a, (self.heads, -1, 2), n) for n, a in arrays.items()}

    def to_published(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return {n: self._turned(a, (self.heads, 2, -1), n) for n, a in arrays.items()}

    def _turned(self, array: Any, parts: tuple[int, int, int], name: str) -> Any:
        if f".{self.name}." not in name:
            return array
        return np.ascontiguousarray(array.reshape(*parts, *array.shape[1:]).swapaxes(1, 2)).reshape(array.shape)


GATED_GGUF = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "max_position_embeddings": "context_length",
}


def gated_gguf_config(kind: str, metadata: Mapping[str, Any], names: Collection[str], **more: str) -> dict[str, Any]:
    """The ``config.json`` of a GGUF file of Llama's shape.

    Args:
        kind: the file's ``general.architecture``.
        metadata: the file's.
        names: of its tensors: without ``output.weight`` the head shares the token table.
        **more: fields, and the keys that they have in the metadata where they have one.

    Raises:
        DataError: a number that shapes the model is missing.
    """
    config = gguf_config(kind, metadata, names, GATED_GGUF)
    config["rope_theta"] = float(metadata.get(f"{kind}.rope.freq_base", 10000.0))
    stretched = metadata.get(f"{kind}.rope.scaling.type")
    if stretched in ("linear", "yarn"):
        config["rope_scaling"] = {"rope_type": stretched, "factor": float(metadata.get(f"{kind}.rope.scaling.factor", 1.0))}
        trained = metadata.get(f"{kind}.rope.scaling.original_context_length")
        config["rope_scaling"] |= {} if trained is None else {"original_max_position_embeddings": int(trained)}
    if "rope_freqs.weight" in metadata:
        width = metadata.get(f"{kind}.rope.dimension_count", config["hidden_size"] // config["num_attention_heads"])
        config["rope_scaling"] = _stretching(metadata["rope_freqs.weight"], int(width), config["rope_theta"])
    given = {ours: metadata[f"{kind}.{theirs}"] for ours, theirs in more.items() if f"{kind}.{theirs}" in metadata}
    return {**config, **given}


def gguf_config(kind: str, metadata: Mapping[str, Any], names: Collection[str], wanted: Mapping[str, str]) -> dict[str, Any]:
    """The part of a ``config.json`` that any GGUF file has: ``wanted`` numbers (our field to their key), and tokens.

    Raises:
        DataError: one of them is missing.
    """
    missing = [f"{kind}.{theirs}" for theirs in wanted.values() if f"{kind}.{theirs}" not in metadata]
    if missing or "tokenizer.ggml.tokens" not in metadata:
        raise DataError(f"the GGUF file does not say {', '.join(missing) or 'its tokens'}", fix="get a complete file")
    config = {ours: metadata[f"{kind}.{theirs}"] for ours, theirs in wanted.items()}
    for ours, theirs in (("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")):
        config[ours] = metadata.get(f"tokenizer.ggml.{theirs}_token_id")
    config["vocab_size"] = len(metadata["tokenizer.ggml.tokens"])
    config["tie_word_embeddings"] = "output.weight" not in names
    return config


def _stretching(divisors: Sequence[float], width: int, theta: float) -> dict[str, Any]:
    """Llama 3's stretching of the angles, of which a GGUF file holds by what each is divided.

    Raises:
        DataError: it is another one.
    """
    # but for the factor, these numbers are the same in all of them
    numbers = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    found = {"rope_type": "llama3", "factor": float(max(divisors, default=1.0)), **numbers}
    expected = rope_frequencies(width, theta) / rope_frequencies(width, theta, found)
    if len(expected) != len(divisors) or not np.allclose(divisors, expected, rtol=1e-3):
        raise DataError(
            "the GGUF file stretches its angles in a way that is not known here",
            why="it is not Llama 3's",
            fix="load safetensors",
        )
    return found
