"""Qwen2 and Qwen2.5 (Yang et al., arXiv:2407.10671, arXiv:2412.15115): Llama's shape, with biases at queries, keys and values.

Loads checkpoints in transformers' layout: ``Qwen2ForCausalLM`` (``Qwen/Qwen2.5-0.5B-Instruct``, ``Qwen/Qwen2-1.5B``),
``Qwen2ForSequenceClassification`` and ``Qwen2Model``; and GGUF files of these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.keymap import KeyMap
from .shared.decoder import CausalLM, Family, SequenceClassifier
from .shared.gated import GatedDecoder, SlidingConfig, gated_layer
from .shared.gguf import gated_gguf_config, published_rules


@dataclass(frozen=True)
class Config(SlidingConfig):
    """What shapes a Qwen2; the defaults are transformers'."""

    family: ClassVar[str] = "Qwen2"

    vocab_size: int = 151936
    """Rows of the token table."""
    intermediate_size: int = 22016
    """Width inside the feed-forward part."""
    max_position_embeddings: int = 32768
    """Longest input in tokens that it was trained on."""


class Qwen2Model(GatedDecoder):
    """The decoder without its head; see :class:`Decoder`.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        ...               num_key_value_heads=2)
        >>> Qwen2Model(tiny).eval()(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    def layer(self, index: int, position: nn.Rotary) -> nn.TransformerBlock:
        """As :meth:`GatedDecoder.layer`."""
        own = {"position": position, "bias": {"out": False}, "window": self.config.windows[index]}
        return gated_layer(self.config, attention=own)


class Qwen2ForCausalLM(CausalLM):
    """The decoder and a head that says which token comes next; see :class:`CausalLM`."""

    body_class = Qwen2Model


class Qwen2ForSequenceClassification(SequenceClassifier):
    """The decoder and a classifier of the last token; see :class:`SequenceClassifier`."""

    body_class = Qwen2Model


FAMILY = Family("qwen2", Config, Qwen2Model, Qwen2ForCausalLM, Qwen2ForSequenceClassification)
CLASSES, HEADS = FAMILY.classes, FAMILY.heads
build, export_config = FAMILY.build, FAMILY.export_config


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """The optional prefix, and a tied head that was written all the same; and the names in GGUF files."""
    return FAMILY.key_map(config, *published_rules(Config.from_dict(config), published_names))


def config_from_gguf(metadata: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The ``config.json`` of a GGUF file.

    Raises:
        DataError: a number that shapes the model is missing.
    """
    config = gated_gguf_config("qwen2", metadata, names)
    return {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **config}
