"""GPT-NeoX (Black et al., arXiv:2204.06745), and what shares its shape: Pythia (Biderman et al., arXiv:2304.01373).

Loads checkpoints in transformers' layout: ``GPTNeoXForCausalLM`` (``EleutherAI/pythia-160m``, ``EleutherAI/gpt-neox-20b``),
``GPTNeoXForSequenceClassification`` and ``GPTNeoXModel``; and GGUF files of these. Our module names are the published ones: the
head is ``embed_out``, as in all files on the hub; ``lm_head`` is read too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core import nn
from ...core.errors import ArgumentError
from ...core.keymap import Alias, Ignore, KeyMap
from ...core.nn.activation import activation
from ...core.tensor import Tensor
from .shared.decoder import CausalLM, Decoder, DecoderConfig, Family, SequenceClassifier
from .shared.gguf import gguf_config
from .shared.rope import Stretching, reach, rope_settings, rotary


@dataclass(frozen=True)
class Config(DecoderConfig):
    """What shapes a GPT-NeoX; the defaults are transformers'."""

    family: ClassVar[str] = "GPT-NeoX"

    vocab_size: int = 50432
    """Rows of the token table."""
    hidden_size: int = 6144
    """Width of the stream."""
    num_hidden_layers: int = 44
    """Layers."""
    num_attention_heads: int = 64
    """Heads of each layer; they share the width."""
    intermediate_size: int = 24576
    """Width inside the feed-forward part."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward part."""
    rotary_pct: float = 0.25
    """Share of a head's features that is turned by its position."""
    rotary_emb_base: float = 10000.0
    """Base of the rotary angles."""
    rope_scaling: Stretching | None = None
    """How the angles are stretched: ``rope_type`` and its numbers, see :func:`~.shared.rope.rotary`; None for as they are."""
    attention_dropout: float = 0.0
    """Dropout of the attention weights."""
    hidden_dropout: float = 0.0
    """Dropout of the embeddings and of what is added to the stream."""
    max_position_embeddings: int = 2048
    """Longest input in tokens that it was trained on."""
    layer_norm_eps: float = 1e-5
    """Added to variances in layer norms."""
    use_parallel_residual: bool = True
    """Whether attention and feed-forward part see the same input."""
    attention_bias: bool = True
    """Whether the projections of attention have biases."""
    bos_token_id: int | None = 0
    """The token that begins a text."""
    eos_token_id: Any = 2
    """The token, or tokens, that end a text."""

    @classmethod
    def translated(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Angles from either version's keys."""
        found = rope_settings(config)
        theta = {"rotary_emb_base": found.pop("rope_theta")} if "rope_theta" in found else {}
        new = config.get("rope_parameters")
        share = new.get("partial_rotary_factor") if isinstance(new, Mapping) else None
        return {**theta, **found, **({} if share is None else {"rotary_pct": share})}

    def check(self) -> None:
        """Heads that do not divide the width, an odd number of turned features, an unknown activation or stretching."""
        if self.hidden_size % self.num_attention_heads or self.turned % 2 or not 0 < self.turned <= self.width:
            raise ArgumentError(
                f"{self.num_attention_heads} heads of width {self.hidden_size}, {self.rotary_pct} of each turned",
                fix="correct the config.json",
            )
        activation(self.hidden_act)
        rotary(self.turned, self.rotary_emb_base, self.rope_scaling, self.max_position_embeddings)

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, with stretched angles."""
        return reach(self.rope_scaling, self.max_position_embeddings)

    @property
    def width(self) -> int:
        """Of a head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def turned(self) -> int:
        """Features of a head that are turned by its position."""
        return int(self.width * self.rotary_pct)


_NAMES = {
    "qkv": "attention.query_key_value",
    "out": "attention.dense",
    "attn_drop": "attention.dropout",
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "drop1": "post_attention_dropout",
    "drop2": "post_mlp_dropout",
    "fc1": "mlp.dense_h_to_4h",
    "fc2": "mlp.dense_4h_to_h",
    "mlp_drop": "mlp.dropout",
}


def _layer(config: Config, position: nn.Rotary) -> nn.TransformerBlock:
    return nn.TransformerBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        norm=lambda dim: nn.LayerNorm(dim, config.layer_norm_eps),
        dropout=config.hidden_dropout,
        parallel=config.use_parallel_residual,
        attention={
            "fused": "heads",
            "bias": config.attention_bias,
            "dropout": config.attention_dropout,
            "is_causal": True,
            "position": position,
        },
        mlp={"act": config.hidden_act},
        names=_NAMES,
    )


class GPTNeoXModel(Decoder):
    """The decoder without its head; see :class:`Decoder`.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
        >>> GPTNeoXModel(tiny).eval()(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 16)
    """

    parts = ("embed_in", "layers", "final_layer_norm")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.embed_in = nn.Embedding(config.vocab_size, config.hidden_size)
        self.emb_dropout = nn.Dropout(config.hidden_dropout)
        position = rotary(config.turned, config.rotary_emb_base, config.rope_scaling, config.max_position_embeddings)
        self.layers = nn.ModuleList([_layer(config, position) for _ in range(config.num_hidden_layers)])
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.initialise()

    def embed(self, input_ids: Tensor, attention_mask: Tensor | None, behind: nn.KVCache) -> Tensor:
        """Token vectors, with dropout."""
        return self.emb_dropout(super().embed(input_ids, attention_mask, behind))


class GPTNeoXForCausalLM(CausalLM):
    """The decoder and a head that says which token comes next; see :class:`CausalLM`."""

    body_class, prefix, head_name = GPTNeoXModel, "gpt_neox", "embed_out"


class GPTNeoXForSequenceClassification(SequenceClassifier):
    """The decoder and a classifier of the last token; see :class:`SequenceClassifier`."""

    body_class, prefix = GPTNeoXModel, "gpt_neox"


FAMILY = Family("gpt_neox", Config, GPTNeoXModel, GPTNeoXForCausalLM, GPTNeoXForSequenceClassification)
CLASSES, HEADS = FAMILY.classes, FAMILY.heads
build, export_config = FAMILY.build, FAMILY.export_config
_GGUF_BLOCKS = {
    "attn_qkv": "attention.query_key_value", "attn_output": "attention.dense", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm", "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h",
}  # fmt: skip
_GGUF_ENDS = {"token_embd": "gpt_neox.embed_in", "output_norm": "gpt_neox.final_layer_norm", "output": "embed_out"}


@dataclass(frozen=True)
class _ByHeads:
    """GGUF keeps all queries, all keys, all values; here each head has its three together."""

    heads: int

    def to_ours(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return {n: self._turned(a, (3, self.heads), n) for n, a in arrays.items()}

    def to_published(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return {n: self._turned(a, (self.heads, 3), n) for n, a in arrays.items()}

    def _turned(self, array: Any, parts: tuple[int, int], name: str) -> Any:
        if ".attn_qkv." not in name:
            return array
        return np.ascontiguousarray(array.reshape(*parts, -1, *array.shape[1:]).swapaxes(0, 1)).reshape(array.shape)


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """Old buffers, the optional prefix, and the head's other name; and the names in GGUF files."""
    if "token_embd.weight" in published_names:
        blocks = [Alias(f"blk.{{i}}.{t}.{{n}}", f"gpt_neox.layers.{{i}}.{o}.{{n}}") for t, o in _GGUF_BLOCKS.items()]
        ends = [Alias(f"{t}.{{n}}", f"{o}.{{n}}") for t, o in _GGUF_ENDS.items()]
        return FAMILY.key_map(config, _ByHeads(int(config["num_attention_heads"])), *blocks, *ends)
    old = Ignore("*.attention.bias", "*.attention.masked_bias", "*rotary_emb.inv_freq")
    return FAMILY.key_map(config, old, Alias("lm_head.weight", "embed_out.weight"))


def config_from_gguf(metadata: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The ``config.json`` of a GGUF file.

    Raises:
        DataError: a number that shapes the model is missing.
    """
    wanted = {
        "max_position_embeddings": "context_length",
        "hidden_size": "embedding_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "intermediate_size": "feed_forward_length",
        "layer_norm_eps": "attention.layer_norm_epsilon",
        "use_parallel_residual": "use_parallel_residual",
        "turned": "rope.dimension_count",
    }
    config = gguf_config("gptneox", metadata, names, wanted)
    width = config["hidden_size"] / max(config["num_attention_heads"], 1)
    share = {"rotary_pct": config.pop("turned") / max(width, 1)}
    base = {"rotary_emb_base": float(metadata.get("gptneox.rope.freq_base", 10000.0))}
    bias = {"attention_bias": "blk.0.attn_qkv.bias" in names}
    return {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], **config, **share, **base, **bias}
