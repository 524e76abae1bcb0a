"""Qwen3 (Yang et al., arXiv:2505.09388): Llama's shape, with norms of each head's queries and keys in place of biases.

Loads checkpoints in transformers' layout: ``Qwen3ForCausalLM`` (``Qwen/Qwen3-0.6B``, ``Qwen/Qwen3-Embedding-0.6B``),
``Qwen3ForSequenceClassification`` and ``Qwen3Model``; and GGUF files of these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.keymap import KeyMap
from .shared.decoder import CausalLM, Family, SequenceClassifier
from .shared.gated import GatedDecoder, SlidingConfig, gated_layer, rms_norm
from .shared.gguf import gated_gguf_config, published_rules


@dataclass(frozen=True)
class Config(SlidingConfig):
    """What shapes a Qwen3; the defaults are transformers'."""

    family: ClassVar[str] = "Qwen3"

    vocab_size: int = 151936
    """Rows of the token table."""
    intermediate_size: int = 22016
    """Width inside the feed-forward part."""
    head_dim: int | None = 128
    """Width of a head."""
    max_position_embeddings: int = 32768
    """Longest input in tokens that it was trained on."""
    attention_bias: bool = False
    """Whether the projections of attention have biases."""


class Qwen3Model(GatedDecoder):
    """The decoder without its head; see :class:`Decoder`.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        ...               num_key_value_heads=2, head_dim=6)
        >>> Qwen3Model(tiny).eval()(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    def layer(self, index: int, position: nn.Rotary) -> nn.TransformerBlock:
        """As :meth:`GatedDecoder.layer`."""
        config = self.config
        own = {"bias": config.attention_bias, "window": config.windows[index], "qk_norm": rms_norm(config)}
        return gated_layer(config, attention={"position": position, **own})


class Qwen3ForCausalLM(CausalLM):
    """The decoder and a head that says which token comes next; see :class:`CausalLM`."""

    body_class = Qwen3Model


class Qwen3ForSequenceClassification(SequenceClassifier):
    """The decoder and a classifier of the last token; see :class:`SequenceClassifier`."""

    body_class = Qwen3Model


FAMILY = Family("qwen3", Config, Qwen3Model, Qwen3ForCausalLM, Qwen3ForSequenceClassification)
CLASSES, HEADS = FAMILY.classes, FAMILY.heads
build, export_config = FAMILY.build, FAMILY.export_config
_GGUF_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """The optional prefix, and a tied head that was written all the same; and the names in GGUF files."""
    return FAMILY.key_map(config, *published_rules(Config.from_dict(config), published_names, _GGUF_NORMS))


def config_from_gguf(metadata: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The ``config.json`` of a GGUF file.

    Raises:
        DataError: a number that shapes the model is missing.
    """
    config = gated_gguf_config("qwen3", metadata, names, head_dim="attention.key_length")
    return {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **config}
