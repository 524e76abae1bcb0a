"""HuBERT (Hsu et al., arXiv:2106.07447): wav2vec 2.0's encoder, taught to predict clusters.

Loads checkpoints in transformers' layout: ``HubertModel`` (``facebook/hubert-base-ls960``), ``HubertForCTC``
(``facebook/hubert-large-ls960-ft``) and ``HubertForSequenceClassification`` (``superb/hubert-base-superb-er``). Our module names
are the published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...core import nn
from .shared import speech_heads as heads
from .shared.speech_encoder import Encoder, FeatureProjection, SpeechConfig, SpeechModel, layer_settings


@dataclass(frozen=True)
class Config(SpeechConfig):
    """What shapes a HuBERT."""

    feat_proj_layer_norm: bool = True
    """Whether there is a norm between the convolutions and the transformer."""
    conv_pos_batch_norm: bool = False
    """Whether the convolution for places has a batch norm before it rather than a normalised weight."""


class HubertModel(SpeechModel):
    """The encoder alone.

    Example:
        >>> import nyala
        >>> tiny = Config(
        ...     hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        ...     conv_stride=(5, 2), conv_kernel=(10, 3), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
        >>> HubertModel(tiny).eval()(nyala.zeros(2, 100)).last_hidden_state.shape
        (2, 9, 16)
    """

    config_class: ClassVar[type[SpeechConfig]] = Config

    def build_projection(self, config: Config) -> FeatureProjection:
        return FeatureProjection(config, config.feat_proj_layer_norm)

    def build_encoder(self, config: Config) -> Encoder:
        sizes = config.hidden_size, config.num_attention_heads, config.intermediate_size
        layers = [nn.TransformerBlock(*sizes, **layer_settings(config)) for _ in range(config.num_hidden_layers)]
        return Encoder(config, layers, config.conv_pos_batch_norm)


class HubertForCTC(heads.ForCTC):
    """Letters."""

    base, encoder_class = "hubert", HubertModel


class HubertForSequenceClassification(heads.ForSequenceClassification):
    """Classes of sounds."""

    base, encoder_class = "hubert", HubertModel


_FAMILY = heads.Family("hubert", HubertModel, (HubertForCTC, HubertForSequenceClassification))
HEADS = {"speech-recognition": "HubertForCTC", "audio-classification": "HubertForSequenceClassification"}
build, key_map, export_config = _FAMILY.build, _FAMILY.key_map, _FAMILY.export_config
