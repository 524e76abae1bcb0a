"""CLAP (Wu et al., "Large-scale contrastive language-audio pretraining", arXiv:2211.06687): which words fit a sound?

Loads checkpoints in transformers' layout, ``ClapModel``: ``laion/clap-htsat-unfused``, ``laion/clap-htsat-fused``,
``laion/larger_clap_general``, ``laion/larger_clap_music``. The tower for sounds is HTS-AT, the one for texts a RoBERTa.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

from ...core import nn
from ...core.create import tensor
from ...core.errors import ArgumentError, DataError, kind_of
from ...core.keymap import Ignore, KeyMap, Rename
from ...core.nn import encoding, windows
from ...core.nn.activation import activation
from ...core.tensor import Tensor
from .shared.htsat import AudioConfig, AudioEncoder

TASK = "zero-shot-audio-classification"


@dataclass(frozen=True)
class TextConfig:
    """What shapes the tower for texts; the defaults are transformers'."""

    vocab_size: int = 50265
    """Rows of the token table."""
    hidden_size: int = 768
    """Width of the stream."""
    num_hidden_layers: int = 12
    """Layers."""
    num_attention_heads: int = 12
    """Heads of each layer."""
    intermediate_size: int = 3072
    """Width inside the feed-forward part."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward part."""
    hidden_dropout_prob: float = 0.1
    """Dropout of the embeddings and of what is added to the stream."""
    attention_probs_dropout_prob: float = 0.1
    """Dropout of the attention weights."""
    max_position_embeddings: int = 514
    """Rows of the table of positions; the first are for padding."""
    type_vocab_size: int = 1
    """Kinds of segments."""
    layer_norm_eps: float = 1e-12
    """Added to variances in layer norms."""
    pad_token_id: int = 1
    """The token whose embedding is not trained; positions count up from behind its number."""

    @staticmethod
    def read(described: Any, where: str = "text_config") -> TextConfig:
        """From a part of ``config.json``; keys that shape nothing are left alone.

        Raises:
            DataError: it is no object.
            ArgumentError: sizes that do not fit each other.
        """
        if not isinstance(described, Mapping):
            raise DataError(f"{where} in the config.json is {kind_of(described)}", fix="correct the config.json")
        known = {f.name for f in fields(TextConfig)}
        made = replace(TextConfig(), **{k: v for k, v in described.items() if k in known and v is not None})
        if made.hidden_size % made.num_attention_heads or made.max_tokens < 1 or not 0 <= made.pad_token_id < made.vocab_size:
            what = f"hidden_size {made.hidden_size}, num_attention_heads {made.num_attention_heads}, max_position_embeddings "
            raise ArgumentError(
                f"{where}: {what}{made.max_position_embeddings}, pad_token_id {made.pad_token_id}",
                why="they do not fit each other",
                fix="correct the config.json",
            )
        activation(made.hidden_act)  # an unknown name is an error now, not in the middle of building
        return made

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens."""
        return self.max_position_embeddings - self.pad_token_id - 1


@dataclass(frozen=True)
class Config:
    """What shapes a CLAP."""

    audio_config: AudioConfig = field(default_factory=AudioConfig)
    """The tower for sounds."""
    text_config: TextConfig = field(default_factory=TextConfig)
    """The tower for texts."""
    projection_dim: int = 512
    """Width of the vectors that are compared."""
    projection_hidden_act: str = "relu"
    """Activation between the two layers that each tower's vector goes through last."""
    logit_scale_init_value: float = 1 / 0.07
    """What cosines are multiplied by, before training."""
    initializer_factor: float = 1.0
    """Factor on the deviation of new weights."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read transformers' ``config.json``; ``overrides`` replace its values, of a tower those that are given.

        Raises:
            ArgumentError: an override that is not a field, or sizes that do not fit each other.
            DataError: a tower that is described by something else than an object.
        """
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ArgumentError(f"CLAP has no option {', '.join(map(repr, unknown))}", fix=f"it has {', '.join(sorted(known))}")
        given = {k: v for k, v in {**config, **overrides}.items() if k in known}
        parts = {"audio_config": AudioConfig.read, "text_config": TextConfig.read}
        for name, read in parts.items():
            value, changed = config.get(name) or {}, overrides.get(name) or {}
            given[name] = read({**value, **changed} if isinstance(value, Mapping) and isinstance(changed, Mapping) else value)
        made = replace(Config(), **given)
        if not made.logit_scale_init_value > 0:
            raise ArgumentError(f"logit_scale_init_value {made.logit_scale_init_value}", fix="correct the config.json")
        activation(made.projection_hidden_act)
        return made


@dataclass(frozen=True)
class PairOutput:
    """What CLAP returns.

    Attributes:
        logits_per_audio: (N, M), how well each of N sounds fits each of M texts.
        logits_per_text: (M, N), the same the other way around, by a scale of its own.
        text_embeds: (M, D), of length 1.
        audio_embeds: (N, D), of length 1.
    """

    logits_per_audio: Tensor
    logits_per_text: Tensor
    text_embeds: Tensor
    audio_embeds: Tensor


class Projection(nn.Module):
    """Two layers, from a tower's width to that of the vectors that are compared."""

    def __init__(self, width: int, config: Config) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, config.projection_dim)
        self.act = activation(config.projection_hidden_act)
        self.linear2 = nn.Linear(config.projection_dim, config.projection_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.act(self.linear1(x)))


class TextTower(nn.Module):
    """Texts -> one vector: RoBERTa's encoder and pooler."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = encoding.CountedEmbeddings(config)
        self.encoder = encoding.Layers(config)
        self.pooler = encoding.Pooler(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(M, T) int64 -> (M, hidden_size)."""
        mask = encoding.checked_mask(input_ids, attention_mask, self.config.vocab_size, "the tower for texts")
        return self.pooler(self.encoder(self.embeddings(input_ids), mask))


class ClapModel(nn.Model):
    """Both towers. Sounds and texts that belong together get vectors of one direction.

    Shape: ``input_ids`` (M, T) int64, ``input_features`` (N, 1, frames, bands), with fusion (N, 4, frames, bands) and
    ``is_longer`` (N,), ``attention_mask`` (M, T), 1 for tokens and 0 for padding -> :class:`PairOutput`.

    Example:
        >>> import nyala
        >>> part = {"num_mel_bins": 8, "spec_size": 16, "window_size": 2, "depths": [2, 2], "num_attention_heads": [1, 2]}
        >>> sounds = {**part, "patch_embeds_hidden_size": 8, "hidden_size": 16}
        >>> texts = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 9}
        >>> model = build({"audio_config": sounds, "text_config": texts, "projection_dim": 6}).eval()
        >>> model(nyala.tensor([[0, 5, 2], [0, 7, 2]]), nyala.randn(3, 1, 30, 8)).logits_per_audio.shape
        (3, 2)
    """

    each_alone: ClassVar[bool] = False
    """A sound's logits compete: none says by itself how likely a text fits."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.logit_scale_a = nn.Parameter(tensor(math.log(config.logit_scale_init_value)))
        self.logit_scale_t = nn.Parameter(tensor(math.log(config.logit_scale_init_value)))
        self.text_model = TextTower(config.text_config)
        self.text_projection = Projection(config.text_config.hidden_size, config)
        self.audio_model = nn.Module()
        self.audio_model.audio_encoder = AudioEncoder(config.audio_config)
        self.audio_projection = Projection(config.audio_config.hidden_size, config)
        _initialise(self, config)

    def forward(  # type: ignore[override]
        self, input_ids: Tensor, input_features: Tensor, is_longer: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> PairOutput:
        sounds = _unit(self.get_audio_features(input_features, is_longer))
        texts = _unit(self.get_text_features(input_ids, attention_mask))
        cosines = texts @ sounds.transpose(0, 1)
        by_sound, by_text = (scale.exp() for scale in (self.logit_scale_a, self.logit_scale_t))
        return PairOutput(cosines.transpose(0, 1) * by_sound, cosines * by_text, texts, sounds)

    def forward_features(self, input_features: Tensor, is_longer: Tensor | None = None) -> Tensor:
        """One vector a place of the sound's folded picture: (N, H, W, hidden_size)."""
        return self.audio_model.audio_encoder.tokens(input_features, is_longer)

    def forward_head(self, hidden: Tensor, pre_logits: bool = False) -> Tensor:  # noqa: ARG002 - there are no logits of a sound
        """(N, H, W, hidden_size) -> (N, projection_dim)."""
        return self.audio_projection(hidden.mean(dim=(1, 2)))

    def get_audio_features(self, input_features: Tensor, is_longer: Tensor | None = None) -> Tensor:
        """Frames of N sounds -> (N, projection_dim), not of length 1."""
        return self.forward_head(self.forward_features(input_features, is_longer))

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(M, T) int64 -> (M, projection_dim), not of length 1."""
        return self.text_projection(self.text_model(input_ids, attention_mask))

    def scores(self, texts: Tensor, sounds: Tensor) -> Tensor:
        """Unit vectors (M, D) and (N, D) -> logits (M, N), how well each text fits each sound."""
        return (texts @ sounds.transpose(0, 1)) * self.logit_scale_a.exp()

    def checkpointed_blocks(self) -> Iterator[nn.Module]:
        """The layers of both towers."""
        for stage in self.audio_model.audio_encoder.layers:
            yield from stage.blocks
        yield from self.text_model.encoder.layer

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies in its tower: 0 for the embeddings, 1.. for the layers, the last number for what follows."""
        depths = self.config.audio_config.depths
        if ".layers." in name:
            stage, kind, number, *_ = name.partition(".layers.")[2].split(".")
            done = sum(depths[: int(stage)])
            return done + int(number) + 1 if kind == "blocks" else done + depths[int(stage)]
        if ".encoder.layer." in name:
            return int(name.partition(".encoder.layer.")[2].partition(".")[0]) + 1
        if any(part in name for part in (".embeddings.", ".patch_embed.", ".batch_norm.")):
            return 0
        return 1 + max(sum(depths), self.config.text_config.num_hidden_layers)


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()


def _initialise(model: nn.Module, config: Config) -> None:
    """As transformers: narrower the wider and deeper the text tower."""
    texts, factor = config.text_config, config.initializer_factor
    deep = texts.num_hidden_layers + len(config.audio_config.depths)
    std = factor * texts.hidden_size**-0.5 * (2 * deep) ** -0.5
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0.0, 0.02 * factor)
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


HEADS = {"zero-shot-audio-classification": "ClapModel", "sound-embedding": "ClapModel"}


def build(config: Mapping[str, Any], **overrides: Any) -> ClapModel:
    """The model that transformers' ``config.json`` describes.

    Raises:
        DataError: it names a part of CLAP.
        ArgumentError: a classifier is asked for.
    """
    if "num_labels" in overrides:
        why = "it compares sounds with words, and transformers knows no classifier on it"
        raise ArgumentError(
            "CLAP has no classes to be trained on",
            why=why,
            fix="train an AST, Whisper or wav2vec 2.0, or give it labels as words",
        )
    name = (config.get("architectures") or ["ClapModel"])[0]
    if name != "ClapModel":
        raise DataError(f"the architecture {name!r} is not built", why="there is ClapModel, with both towers", fix="load that")
    return ClapModel(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """The layers of the tower for sounds have Swin's names with us, all else the published ones."""
    at = "audio_model.audio_encoder.layers.{s}.blocks.{i}"
    theirs = {**windows.PUBLISHED, **{f"attention.self.{role}": f"attn.{role[0]}" for role in ("query", "key", "value")}}
    rules = [Rename(f"{at}.{a}.{{p}}", f"{at}.{b}.{{p}}") for a, b in theirs.items()]
    table = "relative_position_bias_table"
    follow = Ignore("*.relative_position_index", "text_model.embeddings.position_ids", "text_model.embeddings.token_type_ids")
    return KeyMap(follow, Rename(f"{at}.attention.self.{table}", f"{at}.attn.{table}"), *rules)


def export_config(model: ClapModel) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model, and which transformers reads."""
    plain = asdict(model.config)
    for part in ("audio", "text"):
        own = {"model_type": f"clap_{part}_model", "projection_dim": plain["projection_dim"], **plain[f"{part}_config"]}
        plain[f"{part}_config"] = {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}
    return {"model_type": "clap", "architectures": ["ClapModel"], **plain}
