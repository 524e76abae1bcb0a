"""Decoders of Llama's shape: RMS norms before each part, rotary positions, shared keys and values, a gated feed-forward part.

Llama, Qwen2, Qwen3 and Gemma 3 are built from it, each with what is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....core import nn
from ....core.errors import ArgumentError, DataError
from ....core.nn.activation import activation
from .decoder import Decoder, DecoderConfig
from .rope import Stretching, reach, rope_settings, rotary

SLIDING = "sliding_attention"


@dataclass(frozen=True)
class GatedConfig(DecoderConfig):
    """What shapes a decoder of Llama's shape."""

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
    rms_norm_eps: float = 1e-6
    """Added to mean squares in norms."""
    rope_theta: float = 10000.0
    """Base of the rotary angles."""
    rope_scaling: Stretching | None = None
    """How the angles are stretched: ``rope_type`` and its numbers, see :func:`~.rope.rotary`; None for as they are."""
    attention_dropout: float = 0.0
    """Dropout of the attention weights."""

    @classmethod
    def translated(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Base and stretching of the angles, from either version's keys."""
        return rope_settings(config)

    def check(self) -> None:
        """Heads that do not fit, an unknown activation or stretching."""
        if self.num_attention_heads % self.kv_heads or (self.head_dim is None and self.hidden_size % self.num_attention_heads):
            raise ArgumentError(
                f"{self.num_attention_heads} heads of queries, {self.kv_heads} of keys and values, width {self.hidden_size}",
                fix="correct the config.json",
            )
        activation(self.hidden_act)
        rotary(self.width, self.rope_theta, self.rope_scaling, self.max_position_embeddings)

    def published(self) -> dict[str, Any]:
        """As in a ``config.json``: a width of heads that follows from the others is not in it."""
        return {name: value for name, value in super().published().items() if name != "head_dim" or value is not None}

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, with stretched angles."""
        return reach(self.rope_scaling, self.max_position_embeddings)

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_attention_heads if self.num_key_value_heads is None else self.num_key_value_heads

    @property
    def width(self) -> int:
        """Of a head."""
        return self.hidden_size // self.num_attention_heads if self.head_dim is None else self.head_dim


@dataclass(frozen=True)
class SlidingConfig(GatedConfig):
    """What shapes one whose last layers may see a window of the steps before them (Qwen)."""

    num_key_value_heads: int | None = 32
    """Heads of keys and values; as many as of the queries where it is None."""
    use_sliding_window: bool = False
    """Whether there are such layers."""
    sliding_window: int | None = 4096
    """Steps that they see, the own one included."""
    max_window_layers: int = 28
    """Layers before them, where ``layer_types`` does not say."""
    layer_types: Sequence[str] | None = None
    """For each layer "full_attention" or "sliding_attention"."""

    def check(self) -> None:
        """As for all, and that each layer has its type."""
        super().check()
        check_layer_types(self.layer_types, self.num_hidden_layers)

    @property
    def windows(self) -> list[int | None]:
        """For each layer how many steps a token sees; None for all before it."""
        if not self.use_sliding_window or self.sliding_window is None:
            return [None] * self.num_hidden_layers
        count = self.num_hidden_layers
        slides = [i >= self.max_window_layers for i in range(count)]
        if self.layer_types is not None:
            slides = [kind == SLIDING for kind in self.layer_types]
        return [self.sliding_window if s else None for s in slides]


def check_layer_types(types: Sequence[str] | None, layers: int) -> None:
    """That each layer has a type, and one that there is.

    Raises:
        DataError: not so.
    """
    if types is None:
        return
    if isinstance(types, str) or len(types) != layers or not set(types) <= {"full_attention", SLIDING}:
        raise DataError(
            f"layer_types of {layers} layers is {types!r:.200}",
            why="each must be 'full_attention' or 'sliding_attention'",
            fix="correct the config.json",
        )


_NAMES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "attn_drop": "self_attn.dropout",
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "fc1": "mlp.up_proj",
    "fc2": "mlp.down_proj",
    "mlp_drop": "mlp.dropout",
}


def gated_layer(
    config: GatedConfig, *, attention: Mapping[str, Any], norm: Callable[[int], nn.Module] | None = None,
    mlp_bias: bool = False, names: Mapping[str, str] | None = None, **settings: Any,
) -> nn.TransformerBlock:  # fmt: skip
    """One layer.

    Args:
        config: its sizes.
        attention: what is the family's own: "bias", "position", "qk_norm", "window", "scale".
        norm: makes a norm from a width; an RMS norm where it is not given.
        mlp_bias: whether the feed-forward layers have biases.
        names: where checkpoints keep layers, where it is not as in Llama's.
        **settings: further ones of :class:`nn.TransformerBlock`.
    """
    return nn.TransformerBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        norm=norm or rms_norm(config),
        attention={
            "num_kv_heads": config.kv_heads,
            "head_dim": config.width,
            "dropout": config.attention_dropout,
            "is_causal": True,
            **attention,
        },
        mlp={"act": config.hidden_act, "gated": True, "bias": mlp_bias},
        names={**_NAMES, **(names or {})},
        **settings,
    )


def rms_norm(config: GatedConfig) -> Callable[[int], nn.Module]:
    """What makes the family's norms."""
    return lambda dim: nn.RMSNorm(dim, config.rms_norm_eps)


class GatedDecoder(Decoder):
    """A decoder of Llama's shape; a family says what its layers are.

    Args:
        config: its sizes.
    """

    config: Any

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        position = rotary(config.width, config.rope_theta, config.rope_scaling, config.max_position_embeddings)
        self.layers = nn.ModuleList([self.layer(i, position) for i in range(config.num_hidden_layers)])
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.initialise()

    def layer(self, index: int, position: nn.Rotary) -> nn.TransformerBlock:  # noqa: ARG002 - a family's may depend on it
        """Layer ``index``, with the rotary positions that all share."""
        return gated_layer(self.config, attention={"position": position, "bias": False})
