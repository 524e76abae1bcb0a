"""Llama (Touvron et al., arXiv:2302.13971; Llama 3: arXiv:2407.21783), and what shares its shape: SmolLM2, TinyLlama.

Loads checkpoints in transformers' layout: ``LlamaForCausalLM`` (``HuggingFaceTB/SmolLM2-135M``,
``TinyLlama/TinyLlama-1.1B-Chat-v1.0``, ``meta-llama/Llama-3.2-1B``) and ``LlamaModel``; and GGUF files of these. Our module names
are the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ...core import nn
from ...core.create import arange
from ...core.errors import ArgumentError, DataError, IndexRangeError, ShapeError
from ...core.keymap import Alias, Ignore, KeyMap, Prefix
from ...core.nn import functional as F
from ...core.nn.activation import activation
from ...core.tensor import Tensor


@dataclass(frozen=True)
class Config:
    """What shapes a Llama; the defaults are transformers'."""

    vocab_size: int = 32000
    """Rows of the token table."""
    hidden_size: int = 4096
    """Width of the stream."""
    intermediate_size: int = 11008
    """Width inside the feed-forward part."""
    num_hidden_layers: int = 32
    """Layers."""
    num_attention_heads: int = 32
    """Heads of the queries."""
    num_key_value_heads: int | None = None
    """Heads of keys and values; as many as of the queries where absent."""
    head_dim: int | None = None
    """Width of a head; the stream's divided by the heads where absent."""
    hidden_act: str = "silu"
    """Activation of the gate in the feed-forward part."""
    max_position_embeddings: int = 2048
    """Longest input in tokens that it was trained on."""
    initializer_range: float = 0.02
    """Standard deviation of new weights."""
    rms_norm_eps: float = 1e-6
    """Added to mean squares in norms."""
    rope_theta: float = 10000.0
    """Base of the rotary angles."""
    rope_scaling: Mapping[str, Any] | None = None
    """How the angles are stretched: ``rope_type`` "linear" or "llama3" with its numbers; None for as they are."""
    attention_bias: bool = False
    """Whether the projections of attention have biases."""
    mlp_bias: bool = False
    """Whether the feed-forward layers have biases."""
    attention_dropout: float = 0.0
    """Dropout of the attention weights."""
    tie_word_embeddings: bool = False
    """Whether the head shares the token table."""
    bos_token_id: int | None = 1
    """The token that begins a text."""
    eos_token_id: int | Sequence[int] | None = 2
    """The token, or tokens, that end a text."""
    pad_token_id: int | None = None
    """The token that fills up batches, and is not trained."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``, of version 4 or 5; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or heads that do not fit.
            DataError: a stretching of the angles that is not known here.
        """
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ArgumentError(f"Llama has no option {', '.join(map(repr, unknown))}", fix=f"it has {', '.join(sorted(known))}")
        given = {**config, **_positions(config)}
        made = replace(Config(), **{**{k: v for k, v in given.items() if k in known}, **overrides})
        if made.num_attention_heads % made.kv_heads or (made.head_dim is None and made.hidden_size % made.num_attention_heads):
            raise ArgumentError(
                f"{made.num_attention_heads} heads of queries, {made.kv_heads} of keys and values, width {made.hidden_size}",
                fix="correct the config.json",
            )
        activation(made.hidden_act)
        _frequencies(made)  # an unknown stretching is an error now, not in the middle of building
        return made

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_attention_heads if self.num_key_value_heads is None else self.num_key_value_heads

    @property
    def width(self) -> int:
        """Of a head."""
        return self.hidden_size // self.num_attention_heads if self.head_dim is None else self.head_dim


def _positions(config: Mapping[str, Any]) -> dict[str, Any]:
    """Base and stretching of the angles, from either version's keys."""
    new = config.get("rope_parameters")
    if isinstance(new, Mapping):
        kind = new.get("rope_type", "default")
        return {"rope_theta": new.get("rope_theta", 10000.0), "rope_scaling": None if kind == "default" else dict(new)}
    old = config.get("rope_scaling")
    plain = not isinstance(old, Mapping) or old.get("rope_type", old.get("type")) in (None, "default")
    return {"rope_scaling": None if plain else dict(old)}  # type: ignore[arg-type]


def _frequencies(config: Config) -> np.ndarray[Any, Any]:
    """Turns of each pair of features per position, float64 (width / 2,)."""
    plain = config.rope_theta ** (-np.arange(0, config.width, 2, dtype=np.float64) / config.width)
    scaling = config.rope_scaling
    if scaling is None:
        return plain
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        return plain / scaling["factor"]
    if kind != "llama3":
        raise DataError(f"rope_scaling of type {kind!r}", why="nyala knows 'linear' and 'llama3'", fix="choose other weights")
    # slow turns are divided by the factor, quick ones stay, and those between are blended (Llama 3.1)
    low, high, context = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["original_max_position_embeddings"]
    share = np.clip((context * plain / (2 * math.pi) - low) / (high - low), 0, 1)
    return plain * (share + (1 - share) / scaling["factor"])


_NAMES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "attn_drop": "self_attn.dropout",
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "fc1": "mlp.up_proj",
    "fc2": "mlp.down_proj",
    "mlp_drop": "mlp.dropout",
}


def _layer(config: Config, position: nn.Rotary) -> nn.TransformerBlock:
    return nn.TransformerBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        norm=lambda dim: nn.RMSNorm(dim, config.rms_norm_eps),
        attention={
            "num_kv_heads": config.kv_heads,
            "head_dim": config.width,
            "bias": config.attention_bias,
            "dropout": config.attention_dropout,
            "is_causal": True,
            "position": position,
        },
        mlp={"act": config.hidden_act, "gated": True, "bias": config.mlp_bias},
        names=_NAMES,
    )


class LlamaModel(nn.Model):
    """The decoder without its head.

    Shape: ``input_ids`` (N, T) int64, ``attention_mask`` (N, T) with 1 for tokens and 0 for padding on either side -> (N, T, D).
    With ``caches``, one ``nn.KVCache`` a layer, the ids go on behind what the caches hold.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
        >>> LlamaModel(tiny).eval()(nyala.tensor([[1, 2, 3]])).shape
        (1, 3, 8)
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        position = nn.Rotary(config.width, config.rope_theta, frequencies=_frequencies(config))
        self.layers = nn.ModuleList([_layer(config, position) for _ in range(config.num_hidden_layers)])
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        _initialise(self, config)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, caches: Sequence[nn.KVCache] | None = None
    ) -> Tensor:
        return self.forward_features(input_ids, attention_mask, caches)

    def forward_features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, caches: Sequence[nn.KVCache] | None = None
    ) -> Tensor:
        """One vector a token: (N, T, D)."""
        _check_ids(input_ids, self.config.vocab_size)
        mask = None if attention_mask is None else _mask(input_ids, attention_mask, caches[0].length if caches else 0)
        x = self.embed_tokens(input_ids)
        for i, layer in enumerate(self.layers):
            x = layer(x, mask=mask, cache=caches[i] if caches else None)
        return self.norm(x)

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for the token table, 1.. for the layers, the last number for what follows."""
        if "layers." in name:
            return int(name.partition("layers.")[2].partition(".")[0]) + 1
        return 0 if "embed_tokens" in name else self.config.num_hidden_layers + 1


def _initialise(part: nn.Module, config: Config) -> None:
    for module in part.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, 0.0, config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _mask(input_ids: Tensor, attention_mask: Tensor, before: int) -> Tensor | None:
    """True where a token may look among all so far: (N, 1, 1, before + T); None where nothing is padding.

    That a token sees none behind it is the attention's own affair. A row of padding sees itself, so that nothing is divided by 0.
    """
    expected = (input_ids.shape[0], before + input_ids.shape[1])
    if attention_mask.shape != expected:
        raise ShapeError(
            f"attention_mask {attention_mask.shape} for input_ids {input_ids.shape} behind {before} cached token(s)",
            fix=f"pass one of shape {expected}",
        )
    seen = attention_mask != 0
    if bool(seen.all().item()):
        return None
    place = arange(expected[1], device=input_ids.device)
    own = place.reshape(1, -1) == (place[before:]).reshape(-1, 1)  # (T, before + T)
    return seen.unsqueeze(1).unsqueeze(2) | own.unsqueeze(0).unsqueeze(0)


def _check_ids(input_ids: Tensor, vocab_size: int) -> None:
    if input_ids.ndim != 2 or not input_ids.shape[1]:
        raise ShapeError(f"input_ids of shape {input_ids.shape}", why="a Llama takes (N, T), T at least 1", fix="reshape them")
    if not input_ids.numel():
        return
    low, high = int(input_ids.min().item()), int(input_ids.max().item())
    if low < 0 or high >= vocab_size:
        bad = low if low < 0 else high
        sample = int((input_ids == bad).any(dim=1).to("int64").argmax().item())
        raise IndexRangeError(
            f"token id {bad} in sample {sample}, the vocabulary has {vocab_size} tokens (0 to {vocab_size - 1})",
            why="the tokenizer belongs to another model",
            fix="use the tokenizer that came with these weights",
        )


class LlamaForCausalLM(nn.Model):
    """The decoder and a head that says which token comes next.

    Shape: as :class:`LlamaModel` -> logits (N, T, vocab_size); with ``last=True`` of the last place alone, (N, 1, vocab_size).
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model = LlamaModel(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
            _initialise(self.lm_head, config)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        caches: Sequence[nn.KVCache] | None = None,
        *,
        last: bool = False,
    ) -> Tensor:
        hidden = self.forward_features(input_ids, attention_mask, caches)
        return self.forward_head(hidden[:, -1:] if last else hidden)

    def forward_features(self, *args: Any, **kwargs: Any) -> Tensor:
        """One vector a token: (N, T, D)."""
        return self.model.forward_features(*args, **kwargs)

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, vocab_size)."""
        return F.linear(hidden, self.model.embed_tokens.weight) if self.config.tie_word_embeddings else self.lm_head(hidden)

    def tied_names(self) -> list[str]:
        """The token table, where it is the head too."""
        return ["model.embed_tokens.weight"] if self.config.tie_word_embeddings else []

    def new_caches(self) -> list[nn.KVCache]:
        """An empty cache for each layer."""
        return [nn.KVCache() for _ in self.model.layers]

    def layer_of(self, name: str) -> int:
        """As :meth:`LlamaModel.layer_of`."""
        return self.model.layer_of(name)


CLASSES: dict[str, type[nn.Model]] = {"LlamaModel": LlamaModel, "LlamaForCausalLM": LlamaForCausalLM}
HEADS = {"text-generation": "LlamaForCausalLM"}


def _class_of(config: Mapping[str, Any]) -> type[nn.Model]:
    name = (config.get("architectures") or ["LlamaForCausalLM"])[0]
    if name not in CLASSES:
        raise DataError(
            f"the architecture {name!r} of Llama is not built", why=f"there are {', '.join(CLASSES)}", fix="choose one"
        )
    return CLASSES[name]


def build(config: Mapping[str, Any], **overrides: Any) -> nn.Model:
    """The model that transformers' ``config.json`` describes."""
    return _class_of(config)(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """Old buffers, the optional prefix, and a tied head that was written all the same; and the names in GGUF files."""
    made = Config.from_dict(config)
    rules: list[Any] = [Ignore("*rotary_emb.inv_freq")]
    if "token_embd.weight" in published_names:
        rules += _gguf_rules(made)
    if _class_of(config) is LlamaModel:
        return KeyMap(*rules, Ignore("lm_head.weight"), Prefix("model.", ours=False, written=False))
    tied = [Ignore("lm_head.weight")] if made.tie_word_embeddings else []
    return KeyMap(*rules, *tied, Prefix("model.", ours=True, written=True, outside=("lm_head.*",)))


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    config = {f.name: getattr(model.config, f.name) for f in fields(Config)}
    return {"model_type": "llama", "architectures": [type(model).__name__], **config}


# ---- GGUF ---------------------------------------------------------------------------------------------------------

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


def _gguf_rules(config: Config) -> list[Any]:
    blocks = [Alias(f"blk.{{i}}.{theirs}.{{n}}", f"model.layers.{{i}}.{ours}.{{n}}") for theirs, ours in _GGUF_NAMES.items()]
    return [
        _Halves("attn_q", config.num_attention_heads),
        _Halves("attn_k", config.kv_heads),
        Ignore("rope_freqs.weight"),
        *blocks,
        Alias("token_embd.weight", "model.embed_tokens.weight"),
        Alias("output_norm.weight", "model.norm.weight"),
        Alias("output.weight", "lm_head.weight"),
    ]


def config_from_gguf(metadata: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The ``config.json`` of a GGUF file.

    Args:
        metadata: the file's.
        names: of its tensors: without ``output.weight`` the head shares the token table.

    Raises:
        DataError: a number that shapes the model is missing.
    """
    wanted = {
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "rms_norm_eps": "attention.layer_norm_rms_epsilon",
        "max_position_embeddings": "context_length",
    }
    missing = [f"llama.{theirs}" for theirs in wanted.values() if f"llama.{theirs}" not in metadata]
    if missing or "tokenizer.ggml.tokens" not in metadata:
        raise DataError(f"the GGUF file does not say {', '.join(missing) or 'its tokens'}", fix="get a complete file")
    config = {ours: metadata[f"llama.{theirs}"] for ours, theirs in wanted.items()}
    config["rope_theta"] = float(metadata.get("llama.rope.freq_base", 10000.0))
    config["vocab_size"] = len(metadata["tokenizer.ggml.tokens"])
    for ours, theirs in (("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")):
        config[ours] = metadata.get(f"tokenizer.ggml.{theirs}_token_id")
    tied = "output.weight" not in names
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": tied, **config}
