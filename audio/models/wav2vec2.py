"""wav2vec 2.0 (Baevski et al., arXiv:2006.11477): speech encoders, and letters, classes or voices from them.

Loads checkpoints in transformers' layout: ``Wav2Vec2ForCTC`` (``facebook/wav2vec2-base-960h``, ``-large-960h-lv60-self``,
XLS-R and MMS fine-tuned ones), ``Wav2Vec2ForSequenceClassification`` (``superb/wav2vec2-base-superb-ks``),
``Wav2Vec2ForAudioFrameClassification``, ``Wav2Vec2ForXVector`` and ``Wav2Vec2Model``; ``Wav2Vec2ForPreTraining``
(``facebook/wav2vec2-base``) as the encoder alone. Our module names are the published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ...core import nn
from ...core.nn import functional as F
from ...core.tensor import Tensor
from .shared import speech_heads as heads
from .shared.speech_adapter import AdapterConfig, adapter_of
from .shared.speech_encoder import Encoder, SpeechConfig, SpeechModel, layer_settings


@dataclass(frozen=True)
class Config(AdapterConfig):
    """What shapes a wav2vec 2.0."""

    adapter_attn_dim: int | None = None
    """Width of the adapter behind each layer, of one language (MMS); None for none."""


class Adapter(nn.Module):
    """What a language adds behind a layer."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, inner)
        self.linear_2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.relu(self.linear_1(self.norm(x))))


class AdaptedLayer(nn.TransformerBlock):
    """A transformer layer with an adapter behind it."""

    def __init__(self, config: Config, inner: int) -> None:
        sizes = config.hidden_size, config.num_attention_heads, config.intermediate_size
        super().__init__(*sizes, **layer_settings(config))
        self.adapter_layer = Adapter(config.hidden_size, inner)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        x = super().forward(*args, **kwargs)
        return x + self.adapter_layer(x)


class Wav2Vec2Model(SpeechModel):
    """The encoder alone.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        ...     conv_stride=(5, 2), conv_kernel=(10, 3), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
        >>> Wav2Vec2Model(tiny).eval()(nyala.zeros(2, 100)).last_hidden_state.shape
        (2, 9, 16)
    """

    config_class: ClassVar[type[SpeechConfig]] = Config

    def build_encoder(self, config: Config) -> Encoder:
        if config.adapter_attn_dim is None or not config.do_stable_layer_norm:  # only these layers have one
            return super().build_encoder(config)
        inner = config.adapter_attn_dim
        return Encoder(config, [AdaptedLayer(config, inner) for _ in range(config.num_hidden_layers)])

    def build_adapter(self, config: Config) -> nn.Module | None:
        return adapter_of(config)


class Wav2Vec2ForCTC(heads.ForCTC):
    """Letters."""

    base, encoder_class = "wav2vec2", Wav2Vec2Model


class Wav2Vec2ForSequenceClassification(heads.ForSequenceClassification):
    """Classes of sounds."""

    base, encoder_class = "wav2vec2", Wav2Vec2Model


class Wav2Vec2ForAudioFrameClassification(heads.ForAudioFrameClassification):
    """Classes of frames."""

    base, encoder_class = "wav2vec2", Wav2Vec2Model


class Wav2Vec2ForXVector(heads.ForXVector):
    """Voices."""

    base, encoder_class = "wav2vec2", Wav2Vec2Model


_FAMILY = heads.Family(
    "wav2vec2",
    Wav2Vec2Model,
    (Wav2Vec2ForCTC, Wav2Vec2ForSequenceClassification, Wav2Vec2ForAudioFrameClassification, Wav2Vec2ForXVector),
    ("Wav2Vec2ForPreTraining",),
)
HEADS = {"speech-recognition": "Wav2Vec2ForCTC", "audio-classification": "Wav2Vec2ForSequenceClassification"}
build, key_map, export_config = _FAMILY.build, _FAMILY.key_map, _FAMILY.export_config
