"""Gemma 3 (Gemma Team, arXiv:2503.19786), its text part: windows in most layers, two kinds of angles, norms around each part.

Loads checkpoints in transformers' layout: ``Gemma3ForCausalLM`` (``google/gemma-3-270m``, ``google/gemma-3-1b-it``),
``Gemma3TextForSequenceClassification`` and ``Gemma3TextModel``, those whose tokens see the ones behind them too among them; the
part for texts of ``Gemma3ForConditionalGeneration`` (``google/gemma-3-4b-it``); and GGUF files of these. Norms multiply by
1 + weight.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core import nn
from ...core.errors import DataError
from ...core.keymap import KeyMap
from ...core.nn import functional as F
from ...core.nn import init
from ...core.tensor import Tensor
from .shared.decoder import CausalLM, Family, SequenceClassifier
from .shared.gated import SLIDING, GatedConfig, GatedDecoder, check_layer_types, gated_layer
from .shared.gguf import gated_gguf_config, published_rules
from .shared.rope import rope_settings


@dataclass(frozen=True)
class Config(GatedConfig):
    """What shapes a Gemma 3; the defaults are transformers'."""

    family: ClassVar[str] = "Gemma 3"

    vocab_size: int = 262208
    """Rows of the token table."""
    hidden_size: int = 2304
    """Width of the stream."""
    intermediate_size: int = 9216
    """Width inside the feed-forward part."""
    num_hidden_layers: int = 26
    """Layers."""
    num_attention_heads: int = 8
    """Heads of the queries."""
    num_key_value_heads: int | None = 4
    """Heads of keys and values."""
    head_dim: int | None = 256
    """Width of a head."""
    hidden_act: str = "gelu_pytorch_tanh"
    """Activation of the gate in the feed-forward part; published as ``hidden_activation``."""
    max_position_embeddings: int = 131072
    """Longest input in tokens that it was trained on."""
    rope_theta: float = 1e6
    """Base of the angles in layers that see all."""
    rope_local_base_freq: float = 10000.0
    """Base of the angles in layers with a window."""
    attention_bias: bool = False
    """Whether the projections of attention have biases."""
    query_pre_attn_scalar: float = 256
    """Scores are divided by its root."""
    sliding_window: int = 4096
    """Steps that layers with a window see, the own one included; as many on both sides together where tokens see both."""
    sliding_window_pattern: int = 6
    """Every so many layers one sees all, where ``layer_types`` does not say."""
    layer_types: Sequence[str] | None = None
    """For each layer "full_attention" or "sliding_attention"."""
    final_logit_softcapping: float | None = None
    """Logits are squeezed between minus this and this; None for as they are."""
    use_bidirectional_attention: bool = False
    """Whether tokens see those behind them too, as in models of embeddings."""
    tie_word_embeddings: bool = True
    """Whether the head shares the token table."""
    bos_token_id: int | None = 2
    """The token that begins a text."""
    eos_token_id: Any = 1
    """The token, or tokens, that end a text."""
    pad_token_id: int | None = 0
    """The token that fills up batches, and is not trained."""

    @classmethod
    def translated(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Angles and activation, from either version's keys.

        Raises:
            DataError: soft caps of scores, which no published Gemma 3 has.
        """
        if config.get("attn_logit_softcapping") is not None:
            raise DataError(
                f"attn_logit_softcapping={config['attn_logit_softcapping']}",
                why="nyala's Gemma 3 has scores as they are",
                fix="choose other weights",
            )
        found = rope_settings(config, "full_attention")
        local = rope_settings({"rope_parameters": config.get("rope_parameters")}, SLIDING)
        if local["rope_scaling"] is not None:
            raise DataError("stretched angles in layers with a window", fix="choose other weights")
        if "rope_theta" in local:
            found["rope_local_base_freq"] = local["rope_theta"]
        renamed = {"hidden_activation": "hidden_act", "_sliding_window_pattern": "sliding_window_pattern"}
        return found | {ours: config[theirs] for theirs, ours in renamed.items() if config.get(theirs) is not None}

    def published(self) -> dict[str, Any]:
        """As in a ``config.json``."""
        fields = super().published()
        return {"hidden_activation": fields.pop("hidden_act"), **fields}

    def check(self) -> None:
        """As for all, and that each layer has its type."""
        super().check()
        check_layer_types(self.layer_types, self.num_hidden_layers)

    @property
    def windows(self) -> list[int | None]:
        """For each layer how many steps a token sees to one side, itself included; None for all."""
        reach = self.sliding_window // 2 + 1 if self.use_bidirectional_attention else self.sliding_window
        slides = [bool((i + 1) % self.sliding_window_pattern) for i in range(self.num_hidden_layers)]
        if self.layer_types is not None:
            slides = [kind == SLIDING for kind in self.layer_types]
        return [reach if s else None for s in slides]


class Norm(nn.RMSNorm):
    """An RMS norm that multiplies by 1 + weight."""

    def reset_parameters(self) -> None:
        """Weight 0."""
        if self.weight is not None:
            init.zeros_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        weight = None if self.weight is None else self.weight + 1
        return F.rms_norm(input, self.normalized_shape, weight, self.eps)


class _Table(nn.Embedding):
    """A token table whose vectors are lengthened by the root of their width."""

    def forward(self, input: Tensor) -> Tensor:
        # the factor is a number of the table's kind: in bfloat16 it is coarse, and so were the models trained
        return super().forward(input) * float(np.asarray(self.embedding_dim**0.5).astype(self.weight.dtype))


_NAMES = {
    "post_norm1": "post_attention_layernorm",
    "norm2": "pre_feedforward_layernorm",
    "post_norm2": "post_feedforward_layernorm",
}


class Gemma3TextModel(GatedDecoder):
    """The decoder without its head; see :class:`Decoder`.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        ...               num_key_value_heads=1, head_dim=4)
        >>> Gemma3TextModel(tiny).eval()(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    def __init__(self, config: Config) -> None:
        self._local = nn.Rotary(config.width, config.rope_local_base_freq)
        super().__init__(config)
        self.embed_tokens = _Table(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.norm = Norm(config.hidden_size, config.rms_norm_eps)
        self.initialise()

    def layer(self, index: int, position: nn.Rotary) -> nn.TransformerBlock:
        """As :meth:`GatedDecoder.layer`."""
        config, window = self.config, self.config.windows[index]
        norm = lambda dim: Norm(dim, config.rms_norm_eps)  # noqa: E731 - handed on twice
        attention = {
            "position": position if window is None else self._local,
            "bias": config.attention_bias,
            "window": window,
            "scale": config.query_pre_attn_scalar**-0.5,
            "is_causal": not config.use_bidirectional_attention,
            "qk_norm": norm,
        }
        return gated_layer(config, attention=attention, norm=norm, sandwich=True, names=_NAMES)


class Gemma3ForCausalLM(CausalLM):
    """The decoder and a head that says which token comes next; see :class:`CausalLM`."""

    body_class = Gemma3TextModel

    def forward_head(self, hidden: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, vocab_size), squeezed where the configuration says so."""
        logits, cap = super().forward_head(hidden), self.config.final_logit_softcapping
        return logits if cap is None else (logits / cap).tanh() * cap


class Gemma3TextForSequenceClassification(SequenceClassifier):
    """The decoder and a classifier of the last token; see :class:`SequenceClassifier`."""

    body_class = Gemma3TextModel


FAMILY = Family("gemma3_text", Config, Gemma3TextModel, Gemma3ForCausalLM, Gemma3TextForSequenceClassification)
CLASSES, HEADS = FAMILY.classes, FAMILY.heads
build, export_config = FAMILY.build, FAMILY.export_config
_GGUF_NORMS = {
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_norm": "pre_feedforward_layernorm",
    "post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
}  # fmt: skip


class _AroundZero:
    """GGUF files hold the norms' factors themselves, not what is added to 1."""

    def to_ours(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return {n: a - 1 if n.endswith("norm.weight") else a for n, a in arrays.items()}

    def to_published(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return {n: a + 1 if n.endswith("norm.weight") else a for n, a in arrays.items()}


class _BesidePictures:
    """The part for texts in a file of a model that sees pictures too, under the names of either version of transformers."""

    def to_ours(self, arrays: dict[str, Any]) -> dict[str, Any]:
        kept = {n: a for n, a in arrays.items() if not n.removeprefix("model.").startswith(("vision_tower.", "multi_modal_"))}
        return {n.replace("model.language_model.", "model.").removeprefix("language_model."): a for n, a in kept.items()}

    def to_published(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return arrays  # what is written is a model of texts


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """The optional prefix, and a tied head that was written all the same; and the names in GGUF files, or beside pictures."""
    around: list[Any] = [_AroundZero()] if "token_embd.weight" in published_names else []
    if any(name.startswith(("language_model.", "model.language_model.")) for name in published_names):
        around = [_BesidePictures()]
    rules = published_rules(Config.from_dict(config), published_names, _GGUF_NORMS)
    return FAMILY.key_map(config, *around, *rules)


def config_from_gguf(metadata: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The ``config.json`` of a GGUF file.

    Raises:
        DataError: a number that shapes the model is missing.
    """
    more = {"head_dim": "attention.key_length", "sliding_window": "attention.sliding_window"}
    config = gated_gguf_config("gemma3", {"gemma3.rope.freq_base": 1e6, **metadata}, names, **more)
    # the largest model alone divides scores by the root of the stream's share of a head
    share = config["hidden_size"] // max(config["num_attention_heads"], 1)
    config["query_pre_attn_scalar"] = share if config["num_hidden_layers"] == 62 else config.get("head_dim", 256)
    return {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], **config}
