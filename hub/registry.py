"""Architecture name -> the module that builds it. Data only: nothing is imported until it is asked for.

An architecture's name is its layout and its type there: ``timm:resnet18`` (``architecture`` in timm's ``config.json``),
``transformers:bert`` (``model_type`` in transformers'), or ``nyala:crepe`` where no layout is published. Its module offers

* ``build(config, **overrides) -> Module``: ``config`` is the content of the published ``config.json``; ``overrides``
  replace its keys (``num_classes=10``);
* ``key_map(config, published_names) -> KeyMap``: the published tensor names to ours, and back;
* ``export_config(model) -> dict``: the ``config.json`` from which ``build`` makes the same model.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol, cast

from ..core.errors import DataError, UnknownNameError, did_you_mean

# Keys are shell patterns; the first that fits wins.
ARCHITECTURES: dict[str, str] = {
    "timm:resnet18": "vision.models.resnet",
    "timm:resnet34": "vision.models.resnet",
    "timm:resnet50": "vision.models.resnet",
    "timm:resnet101": "vision.models.resnet",
    "timm:resnet152": "vision.models.resnet",
    "timm:resnext[0-9]*": "vision.models.resnet",
    "timm:wide_resnet[0-9]*": "vision.models.resnet",
    "transformers:resnet": "vision.models.resnet",
    "timm:vgg[0-9]*": "vision.models.vgg",
    "timm:densenet[0-9]*": "vision.models.densenet",
    "timm:regnet[xy]_*": "vision.models.regnet",
    "transformers:regnet": "vision.models.regnet",
    "timm:tf_efficientnet_lite[0-4]": "vision.models.efficientnet",
    "timm:efficientnet_b[0-4]": "vision.models.efficientnet",
    "timm:tf_efficientnet_b[0-4]": "vision.models.efficientnet",
    "timm:efficientnetv2_*": "vision.models.efficientnet",
    "timm:tf_efficientnetv2_*": "vision.models.efficientnet",
    "timm:mobilenetv2_*": "vision.models.efficientnet",
    "timm:mobilenetv3_*": "vision.models.mobilenet",
    "timm:tf_mobilenetv3_*": "vision.models.mobilenet",
    "timm:mobilenetv4_conv_*": "vision.models.mobilenet",
    "timm:convnext_*": "vision.models.convnext",
    "timm:convnextv2_*": "vision.models.convnext",
    "transformers:convnext": "vision.models.convnext",
    "transformers:convnextv2": "vision.models.convnext",
    "transformers:clip": "vision.models.clip",
    "transformers:siglip": "vision.models.siglip",
    "timm:vit_*_dinov3*": "vision.models.dinov3",
    "transformers:dinov3_vit": "vision.models.dinov3",
    "timm:vit_*_patch*": "vision.models.vit",
    "timm:deit*_patch*": "vision.models.vit",
    "transformers:vit": "vision.models.vit",
    "transformers:deit": "vision.models.vit",
    "transformers:dinov2*": "vision.models.vit",
    "timm:beit*_patch*": "vision.models.beit",
    "transformers:beit": "vision.models.beit",
    "timm:swin_*_patch*": "vision.models.swin",
    "transformers:swin": "vision.models.swin",
    "transformers:segformer": "vision.models.segformer",
    "transformers:upernet": "vision.models.upernet",
    "transformers:depth_anything": "vision.models.depth_anything",
    "transformers:sam": "vision.models.sam",
    "transformers:detr": "vision.models.detr",
    "transformers:yolos": "vision.models.yolos",
    "transformers:bert": "text.models.bert",
    "transformers:roberta": "text.models.roberta",
    "transformers:xlm-roberta": "text.models.roberta",
    "transformers:camembert": "text.models.roberta",
    "transformers:distilbert": "text.models.distilbert",
    "transformers:mpnet": "text.models.mpnet",
    "transformers:modernbert": "text.models.modernbert",
    "transformers:deberta-v2": "text.models.deberta",
    "transformers:electra": "text.models.electra",
    "transformers:albert": "text.models.albert",
    "transformers:gemma3_text": "text.models.gemma3",
    "transformers:gpt2": "text.models.gpt2",
    "transformers:gpt_neox": "text.models.gpt_neox",
    "transformers:llama": "text.models.llama",
    "transformers:qwen2": "text.models.qwen2",
    "transformers:qwen3": "text.models.qwen3",
    "transformers:t5": "text.models.t5",
    "transformers:mt5": "text.models.t5",
    "transformers:bart": "text.models.bart",
    "transformers:marian": "text.models.marian",
    "transformers:whisper": "audio.models.whisper",
    "transformers:wav2vec2": "audio.models.wav2vec2",
    "transformers:hubert": "audio.models.hubert",
    "transformers:wavlm": "audio.models.wavlm",
    "transformers:audio-spectrogram-transformer": "audio.models.ast",
    "transformers:clap": "audio.models.clap",
    "transformers:vits": "audio.models.vits",
    "transformers:encodec": "audio.models.encodec",
    "transformers:dac": "audio.models.dac",
    "nyala:unet": "vision.models.unet",
    "nyala:silero-vad": "audio.models.silero_vad",
    "nyala:crepe": "audio.models.crepe",
    "nyala:ge2e": "audio.models.ge2e",
}
_OWN = "nyala:"  # of architectures that were published without a layout: a card says what they are


class Architecture(Protocol):
    """What the module of an architecture offers; see the top of this file."""

    def build(self, config: dict[str, Any], **overrides: Any) -> Any: ...

    def key_map(self, config: dict[str, Any], published_names: Collection[str]) -> Any: ...

    def export_config(self, model: Any) -> dict[str, Any]: ...


def architecture_of(config: Mapping[str, Any], where: str = "config.json") -> str:
    """The registry name of what a ``config.json`` describes.

    Args:
        config: content of a ``config.json`` in timm's or transformers' layout.
        where: the file's path, for the message.

    Raises:
        DataError: it names neither an ``architecture`` nor a ``model_type``.

    Example:
        >>> architecture_of({"model_type": "bert", "hidden_size": 384})
        'transformers:bert'
    """
    if isinstance(config.get("model_type"), str):
        own = f"{_OWN}{config['model_type']}"
        return own if own in ARCHITECTURES else f"transformers:{config['model_type']}"
    if isinstance(config.get("architecture"), str):  # timm may write the tag into it: resnet50.a1_in1k
        return f"timm:{config['architecture'].partition('.')[0]}"
    raise DataError(
        f"{where} names no architecture",
        why="timm's layout has the key 'architecture', transformers' has 'model_type'",
        fix="use a folder or repository in one of these layouts",
    )


def import_path(architecture: str) -> str:
    """The module that builds ``architecture``, without importing it.

    Raises:
        UnknownNameError: nyala does not know it; the message lists what it knows.

    Example:
        >>> import_path("timm:tf_efficientnet_lite0")
        'nyala.vision.models.efficientnet'
    """
    for pattern, module in ARCHITECTURES.items():
        if fnmatchcase(architecture, pattern):
            return f"{__package__.rpartition('.')[0]}.{module}"
    layout, _, kind = architecture.partition(":")
    known = [name for where, _, name in (pattern.partition(":") for pattern in ARCHITECTURES) if where == layout]
    near = did_you_mean(kind, known)
    raise UnknownNameError(
        f"nyala does not know the architecture {architecture!r}",
        why=f"in the layout of {layout} it knows {', '.join(known)}"
        if known
        else "it reads the layouts of timm and transformers",
        fix=f"{near} Otherwise choose a model of a known architecture" if near else "choose a model of a known architecture",
    )


def domain_of(architecture: str) -> str:
    """``"vision"``, ``"audio"`` or ``"text"``.

    Raises:
        UnknownNameError: nyala does not know the architecture.

    Example:
        >>> domain_of("transformers:whisper")
        'audio'
    """
    return import_path(architecture).split(".")[1]


def get(architecture: str) -> Architecture:
    """Import and return the module that builds ``architecture``.

    Raises:
        UnknownNameError: nyala does not know it.
    """
    return cast(Architecture, importlib.import_module(import_path(architecture)))
