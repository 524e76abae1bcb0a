"""Llama (Touvron et al., arXiv:2302.13971; Llama 3: arXiv:2407.21783), and what shares its shape: SmolLM2, TinyLlama.

Loads checkpoints in transformers' layout: ``LlamaForCausalLM`` (``HuggingFaceTB/SmolLM2-135M``,
``TinyLlama/TinyLlama-1.1B-Chat-v1.0``, ``meta-llama/Llama-3.2-1B``), ``LlamaForSequenceClassification`` and ``LlamaModel``; and
GGUF files of these. Our module names are the published ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.keymap import KeyMap
from .shared.decoder import CausalLM, Family, SequenceClassifier
from .shared.gated import GatedConfig, GatedDecoder, gated_layer
from .shared.gguf import gated_gguf_config, published_rules


@dataclass(frozen=True)
class Config(GatedConfig):
    """What shapes a Llama; the defaults are transformers'."""

    family: ClassVar[str] = "Llama"

    attention_bias: bool = False
    """Whether the projections of attention have biases."""
    mlp_bias: bool = False
    """Whether the feed-forward layers have biases."""
    bos_token_id: int | None = 1
    """The token that begins a text."""
    eos_token_id: Any = 2
    """The token, or tokens, that end a text."""


class LlamaModel(GatedDecoder):
    """The decoder without its head; see :class:`Decoder`.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
        >>> LlamaModel(tiny).eval()(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    def layer(self, index: int, position: nn.Rotary) -> nn.TransformerBlock:  # noqa: ARG002 - all are alike
        """As :meth:`GatedDecoder.layer`."""
        bias = self.config.attention_bias
        return gated_layer(self.config, attention={"position": position, "bias": bias}, mlp_bias=self.config.mlp_bias)


class LlamaForCausalLM(CausalLM):
    """The decoder and a head that says which token comes next; see :class:`CausalLM`."""

    body_class = LlamaModel


class LlamaForSequenceClassification(SequenceClassifier):
    """The decoder and a classifier of the last token; see :class:`SequenceClassifier`."""

    body_class = LlamaModel


FAMILY = Family("llama", Config, LlamaModel, LlamaForCausalLM, LlamaForSequenceClassification)
CLASSES, HEADS = FAMILY.classes, FAMILY.heads
build, export_config = FAMILY.build, FAMILY.export_config


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """Old buffers, the optional prefix, and a tied head that was written all the same; and the names in GGUF files."""
    return FAMILY.key_map(config, *published_rules(Config.from_dict(config), published_names, halves=True))


def config_from_gguf(metadata: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The ``config.json`` of a GGUF file.

    Raises:
        DataError: a number that shapes the model is missing.
    """
    config = gated_gguf_config("llama", metadata, names)
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **config}
