"""GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019), and DistilGPT-2.

Loads checkpoints in transformers' layout: ``GPT2LMHeadModel`` (``openai-community/gpt2``, ``distilbert/distilgpt2``),
``GPT2ForSequenceClassification`` and ``GPT2Model``; and GGUF files of these. Published matrices are the transposes of a Linear's;
files with or without the prefix ``transformer.``, with old buffers (``attn.bias``) are read alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.errors import ArgumentError, DataError, ShapeError
from ...core.keymap import Alias, Ignore, KeyMap, Transpose
from ...core.nn.activation import activation
from ...core.tensor import Tensor
from .shared.decoder import CausalLM, Decoder, DecoderConfig, Family, SequenceClassifier, fitted
from .shared.gguf import gguf_config


@dataclass(frozen=True)
class Config(DecoderConfig):
    """What shapes a GPT-2; names and defaults are transformers'."""

    family: ClassVar[str] = "GPT-2"

    vocab_size: int = 50257
    """Rows of the token table."""
    n_positions: int = 1024
    """Longest input in tokens."""
    n_embd: int = 768
    """Width of the stream."""
    n_layer: int = 12
    """Layers."""
    n_head: int = 12
    """Heads of each layer; they share the width."""
    n_inner: int | None = None
    """Width inside the feed-forward part; four times the stream's where absent."""
    activation_function: str = "gelu_new"
    """Activation of the feed-forward part."""
    resid_pdrop: float = 0.1
    """Dropout of what is added to the stream."""
    embd_pdrop: float = 0.1
    """Dropout of the embeddings."""
    attn_pdrop: float = 0.1
    """Dropout of the attention weights."""
    layer_norm_epsilon: float = 1e-5
    """Added to variances in layer norms."""
    scale_attn_weights: bool = True
    """Whether scores are divided by the root of a head's width."""
    scale_attn_by_inverse_layer_idx: bool = False
    """Whether the scores of layer i, from 1, are divided by i."""
    tie_word_embeddings: bool = True
    """Whether the head shares the token table."""
    bos_token_id: int | None = 50256
    """The token that begins a text."""
    eos_token_id: Any = 50256
    """The token, or tokens, that end a text."""

    def check(self) -> None:
        """Heads that do not divide the width, an unknown activation."""
        if self.n_embd % self.n_head:
            raise ArgumentError(f"n_embd {self.n_embd} is no multiple of n_head {self.n_head}", fix="correct the config.json")
        activation(self.activation_function)

    @classmethod
    def translated(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing is spelled otherwise; a decoder with attention to a context is another model.

        Raises:
            DataError: it has that.
        """
        if config.get("add_cross_attention"):
            raise DataError("this GPT-2 attends to a context", why="nyala builds the decoder alone", fix="load a plain GPT-2")
        return {}

    @property
    def hidden_size(self) -> int:
        """Width of the stream."""
        return self.n_embd

    @property
    def num_hidden_layers(self) -> int:
        """Layers."""
        return self.n_layer

    @property
    def max_position_embeddings(self) -> int:
        """Longest input in tokens."""
        return self.n_positions


_NAMES = {
    "qkv": "attn.c_attn",
    "out": "attn.c_proj",
    "attn_drop": "attn.attn_dropout",
    "drop1": "attn.resid_dropout",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "fc1": "mlp.c_fc",
    "fc2": "mlp.c_proj",
    "drop2": "mlp.dropout",
    "mlp_drop": "mlp.inner_dropout",
}


def _layer(config: Config, index: int) -> nn.TransformerBlock:
    scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
    if config.scale_attn_by_inverse_layer_idx:
        scale /= index + 1
    return nn.TransformerBlock(
        config.n_embd,
        config.n_head,
        4 * config.n_embd if config.n_inner is None else config.n_inner,
        norm=lambda dim: nn.LayerNorm(dim, config.layer_norm_epsilon),
        dropout=config.resid_pdrop,
        attention={"fused": True, "dropout": config.attn_pdrop, "is_causal": True, "scale": scale},
        mlp={"act": config.activation_function},
        names=_NAMES,
    )


class GPT2Model(Decoder):
    """The decoder without its head; see :class:`Decoder`.

    Positions count the tokens of a text: with a mask, padding on the left shifts nothing.

    Example:
        >>> import nyala
        >>> tiny = Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2)
        >>> GPT2Model(tiny).eval()(nyala.tensor([[1, 2, 3]])).last_hidden_state.shape
        (1, 3, 8)
    """

    parts = ("wte", "h", "ln_f")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList([_layer(config, i) for i in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.initialise()

    def initialise(self) -> None:
        """Draw the weights; those of what is added to the stream are smaller the more layers add to it."""
        super().initialise()
        std = self.config.initializer_range / (2 * self.config.n_layer) ** 0.5
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, 0.0, std)

    def embed(self, input_ids: Tensor, attention_mask: Tensor | None, behind: nn.KVCache) -> Tensor:
        """Token and position vectors, added.

        Raises:
            ShapeError: more tokens than there are positions.
        """
        count = input_ids.shape[1]
        if not behind.fits(count, self.config.n_positions):
            raise ShapeError(
                f"{behind.length + count} tokens in a row, the model has {self.config.n_positions} positions",
                fix="cut the text, e.g. with the tokenizer's max_length",
            )
        places = behind.places(count, input_ids.device)
        if attention_mask is not None:
            tokens = (fitted(attention_mask, behind.span(count)) != 0).to("int64")
            places = (tokens.cumsum(1) - 1).clamp(min=0).index_select(1, places)
        return self.drop(self.wte(input_ids) + self.wpe(places))


class GPT2LMHeadModel(CausalLM):
    """The decoder and a head that says which token comes next; see :class:`CausalLM`."""

    body_class, prefix = GPT2Model, "transformer"


class GPT2ForSequenceClassification(SequenceClassifier):
    """The decoder and a classifier of the last token; see :class:`SequenceClassifier`."""

    body_class, prefix = GPT2Model, "transformer"


FAMILY = Family("gpt2", Config, GPT2Model, GPT2LMHeadModel, GPT2ForSequenceClassification)
CLASSES, HEADS = FAMILY.classes, FAMILY.heads
build, export_config = FAMILY.build, FAMILY.export_config
_GGUF_BLOCKS = {
    "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "attn_norm": "ln_1", "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}  # fmt: skip
_GGUF_ENDS = {"token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f"}


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:
    """Transposed matrices, old buffers, the optional prefix, and the tied head; and the names in GGUF files."""
    if "token_embd.weight" in published_names:
        blocks = [Alias(f"blk.{{i}}.{t}.{{n}}", f"transformer.h.{{i}}.{o}.{{n}}") for t, o in _GGUF_BLOCKS.items()]
        ends = [Alias(f"{t}.{{n}}", f"transformer.{o}.{{n}}") for t, o in _GGUF_ENDS.items()]
        return FAMILY.key_map(config, *blocks, *ends, Alias("output.weight", "lm_head.weight"))
    turned = [Transpose(f"*{name}.weight") for name in (".c_attn", ".c_proj", ".c_fc")]
    return FAMILY.key_map(config, Ignore("*.attn.bias", "*.attn.masked_bias"), *turned)


def config_from_gguf(metadata: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The ``config.json`` of a GGUF file.

    Raises:
        DataError: a number that shapes the model is missing.
    """
    wanted = {
        "n_positions": "context_length",
        "n_embd": "embedding_length",
        "n_layer": "block_count",
        "n_head": "attention.head_count",
        "n_inner": "feed_forward_length",
        "layer_norm_epsilon": "attention.layer_norm_epsilon",
    }
    config = gguf_config("gpt2", metadata, names, wanted)
    return {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **config}
