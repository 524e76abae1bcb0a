"""The rows as torch, timm and transformers run them. Runs in an environment of its own."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from .inputs import (
    CODEC_RATES,
    DECODERS,
    PICTURE_MODELS,
    PICTURE_SIZE,
    SAMPLE_RATE,
    SOUND_MODELS,
    TEXT_MODELS,
    array,
    mail_vocabulary,
    mails,
    picture_files,
    pixel_classes,
    token_ids,
)
from .ops_torch import operation as operation
from .torchvision_setup import allow_torchvision
from .variant import Variant

Call = Callable[[], Any]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
torch.set_num_threads(CORES)


def picture_inference(variant: Variant, name: str, batch: int) -> Call:
    """A picture model on a batch."""
    model, x = _picture_model(variant, name), _picture_batch(variant, batch)
    return _inference(variant, model, x)


def picture_training(variant: Variant, name: str, batch: int) -> Call:
    """A step of AdamW on a picture model."""
    model, x = _picture_model(variant, name), _picture_batch(variant, batch)
    return _training(variant, model, batch, x)


def published_inference(variant: Variant, name: str, batch: int, height: int, width: int) -> Call:
    """A model of transformers, or MONAI's U-Net, on pictures."""
    return _inference(variant, _published(variant, name), _laid_out(variant, torch.from_numpy(array(batch, 3, height, width))))


def segmenter_training(variant: Variant, name: str, batch: int, side: int) -> Call:
    """A step of AdamW on a model that gives every pixel a class."""
    model, x = _published(variant, name), _laid_out(variant, torch.from_numpy(array(batch, 3, side, side)))
    with torch.inference_mode():
        out = model(x)
        rows, classes, height, width = getattr(out, "logits", out).shape
    return _learning(variant, model, torch.from_numpy(pixel_classes(rows, height, width, classes)), x)


def compared_with_texts(variant: Variant, name: str, pictures: int, texts: int, length: int) -> Call:
    """A model of pictures and texts: how well each text fits each picture."""
    pixels = _picture_batch(variant, pictures)
    return _inference(
        variant, _published(variant, name), pixel_values=pixels, input_ids=torch.from_numpy(token_ids(texts, length))
    )


def text_inference(variant: Variant, name: str, rows: int, length: int) -> Call:
    """An encoder on a batch of token ids."""
    allow_torchvision()
    from transformers import AutoConfig, AutoModel

    model = AutoModel.from_config(AutoConfig.for_model(**{"model_type": "bert", **TEXT_MODELS[name]}))
    return _inference(variant, model, **_tokens(rows, length))


def text_training(variant: Variant, name: str, rows: int, length: int) -> Call:
    """A step of AdamW on a BERT that tells two classes apart, dropout included."""
    allow_torchvision()
    from transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig(**TEXT_MODELS[name], num_labels=2))
    return _training(variant, model, rows, **_tokens(rows, length))


def tokenizing(variant: Variant, folder: Path, length: int) -> Call:  # noqa: ARG001 - nothing to compile
    """A thousand e-mails to padded batches of at most ``length`` tokens."""
    allow_torchvision()
    from transformers import BertTokenizerFast

    tokenizer, texts = BertTokenizerFast(str(mail_vocabulary(folder / "vocab.txt"))), mails()
    how = {"padding": True, "truncation": True, "max_length": length, "return_tensors": "pt"}
    return lambda: [tokenizer(texts[i : i + 32], **how) for i in range(0, len(texts), 32)]


class _Int4Linear(torch.nn.Module):
    """torch's own product with int4 weights, 32 terms a scale; quick where what comes in is bfloat16."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        groups = layer.weight.detach().float().unflatten(1, (-1, 32))
        least, most = groups.amin(-1), groups.amax(-1)
        scale = (most - least) / 15
        whole = ((groups - least[..., None]) / scale[..., None]).round().clamp(0, 15).flatten(1).int()
        self.packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(whole, 1)
        self.scales = torch.stack([scale, least + 8 * scale], -1).transpose(0, 1).contiguous().bfloat16()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        return torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.packed, 32, self.scales).unflatten(0, x.shape[:-1])


def _in_int4(model: Any) -> Any:
    """A model in bfloat16 whose linear layers hold int4."""
    linear = [name for name, m in model.named_modules() if type(m) is torch.nn.Linear]
    for name in linear:
        model.set_submodule(name, _Int4Linear(model.get_submodule(name)))
    return model.bfloat16()


def _decoder(name: str, weights: str) -> Any:
    """A Llama of transformers: float32; bfloat16 altogether; or with linear layers that hold int8 or int4."""
    allow_torchvision()
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**DECODERS[name], tie_word_embeddings=True)).eval()
    if weights == "bfloat16":
        return model.bfloat16()
    if weights == "int4":
        return _in_int4(model)
    return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}) if weights == "int8" else model


def prefill(variant: Variant, name: str, length: int, weights: str) -> Call:
    """What comes after a text that is read at once."""
    model, ids = _decoder(name, weights), torch.from_numpy(token_ids(1, length))
    from transformers import DynamicCache

    run = torch.compile(model) if variant.compiled else model

    def call() -> None:
        with torch.inference_mode():
            run(ids, past_key_values=DynamicCache(), use_cache=True, logits_to_keep=1)

    return call


def decoding(variant: Variant, name: str, prompt: int, count: int, weights: str) -> Call:
    """``count`` tokens, one by one, after a prompt that has been read before. Compiled with a cache of fixed size."""
    model = _decoder(name, weights)
    from transformers import DynamicCache, StaticCache

    cache = StaticCache(config=model.config, max_cache_len=prompt + count) if variant.compiled else DynamicCache()
    with torch.inference_mode():
        model(torch.from_numpy(token_ids(1, prompt)), past_key_values=cache, use_cache=True, logits_to_keep=1)
    step = torch.compile(model) if variant.compiled else model

    def call() -> None:
        token = torch.tensor([[1]])
        with torch.inference_mode():
            for _ in range(count):
                token = step(token, past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)
            if not variant.compiled:
                cache.crop(-count)
            else:
                for layer in cache.layers:
                    layer.cumulative_length.fill_(prompt)

    return call


def depth_map(variant: Variant, side: int) -> Call:
    """A small Depth Anything on a square picture."""
    allow_torchvision()
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

    return _inference(variant, DepthAnythingForDepthEstimation(DepthAnythingConfig()), torch.from_numpy(array(1, 3, side, side)))


def picture_prompts(variant: Variant, points: int) -> Call:
    """A base SAM that has seen a picture, asked with points, a mask each."""
    allow_torchvision()
    from transformers import SamConfig, SamModel

    seen, asked = array(1, 256, 64, 64), abs(array(1, points, 1, 2)) * 300
    named = {"image_embeddings": torch.from_numpy(seen), "input_points": torch.from_numpy(asked)}
    return _inference(variant, SamModel(SamConfig()), **named)


def prompted_picture(variant: Variant) -> Call:
    """A base SAM's encoder of pictures."""
    allow_torchvision()
    from transformers import SamConfig, SamModel

    return _inference(variant, SamModel(SamConfig()).vision_encoder, torch.from_numpy(array(1, 3, 1024, 1024)))


def sound_encoder(variant: Variant, name: str) -> Call:
    """The encoder of a Whisper on a window of 30 seconds."""
    allow_torchvision()
    from transformers import WhisperConfig, WhisperModel

    encoder = WhisperModel(WhisperConfig(**SOUND_MODELS[name])).encoder
    return _inference(variant, encoder, torch.from_numpy(array(1, SOUND_MODELS[name]["num_mel_bins"], 3000)))


def speech_encoder(variant: Variant, name: str, seconds: int) -> Call:
    """A wav2vec 2.0 on samples."""
    allow_torchvision()
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return _inference(
        variant, Wav2Vec2Model(Wav2Vec2Config(**SOUND_MODELS[name])), torch.from_numpy(array(1, seconds * SAMPLE_RATE))
    )


def codec(variant: Variant, name: str, way: str, seconds: int) -> Call:
    """EnCodec of 24 kHz with all codebooks, or DAC of 44 kHz: samples to codes, or codes to samples."""
    allow_torchvision()
    from transformers import DacConfig, DacModel, EncodecConfig, EncodecModel

    small = name == "encodec"
    model: Any = (EncodecModel(EncodecConfig()) if small else DacModel(DacConfig())).eval()
    sound = torch.from_numpy(0.1 * array(1, 1, seconds * CODEC_RATES[name]))
    most = {"bandwidth": 24.0} if small else {}
    with torch.inference_mode():
        codes = model.encode(sound, **most).audio_codes
    if variant.compiled:
        model.encoder, model.decoder = torch.compile(model.encoder), torch.compile(model.decoder)

    def call() -> None:
        with torch.inference_mode():
            if way == "encode":
                model.encode(sound, **most)
            else:
                model.decode(audio_codes=codes, **({"audio_scales": [None]} if small else {}))

    return call


def log_mel(variant: Variant, seconds: int) -> Call:
    """Whisper's picture of a sound, as transformers' feature extractor makes it with torch."""
    allow_torchvision()
    from transformers import WhisperFeatureExtractor

    wave, window = torch.from_numpy(array(seconds * SAMPLE_RATE)), torch.hann_window(400)
    table = torch.from_numpy(WhisperFeatureExtractor().mel_filters).float().T.contiguous()

    def picture(wave: torch.Tensor) -> torch.Tensor:
        power = torch.stft(wave, 400, 160, window=window, return_complex=True)[..., :-1].abs() ** 2
        logs = torch.clamp(table @ power, min=1e-10).log10()
        return (torch.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0

    made = torch.compile(picture) if variant.compiled else picture

    def call() -> None:
        with torch.inference_mode():
            made(wave)

    return call


def resampling(variant: Variant, seconds: int, orig: int, new: int) -> Call:  # noqa: ARG001 - never compiled
    """A sound at another sample rate: torchaudio's, or where it is not installed SciPy's, whose filter nyala's is."""
    wave = array(seconds * orig)
    if importlib.util.find_spec("torchaudio") is None:
        from scipy.signal import resample_poly

        shared = math.gcd(orig, new)
        return lambda: resample_poly(wave, new // shared, orig // shared)
    import torchaudio

    sound = torchaudio.transforms.Resample(orig, new)

    def call() -> None:
        with torch.inference_mode():
            sound(torch.from_numpy(wave))

    return call


def transcription(variant: Variant, name: str, tokens: int) -> Call:  # noqa: ARG001 - never compiled
    """From the samples of a window of 30 seconds to so many tokens, greedily, by transformers' ``generate``."""
    allow_torchvision()
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    model, look = WhisperForConditionalGeneration(WhisperConfig(**SOUND_MODELS[name])).eval(), WhisperFeatureExtractor()
    wave = array(30 * SAMPLE_RATE)

    def call() -> None:
        with torch.inference_mode():
            features = look(wave, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
            model.generate(features, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)

    return call


class Pictures(torch.utils.data.Dataset):
    """Picture files through torchvision's transforms. At the top of the module so that worker processes find it."""

    def __init__(self, files: list[Path]) -> None:
        from torchvision.transforms import v2

        self.files = files
        self.transform = v2.Compose(  # on bytes in tensors, its fastest way
            [
                v2.ToImage(),
                v2.RandomResizedCrop(PICTURE_SIZE, scale=(0.08, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        from PIL import Image

        with Image.open(self.files[index]) as image:
            return self.transform(image.convert("RGB"))


def picture_input(variant: Variant, folder: Path, count: int) -> Call:  # noqa: ARG001 - all rows take it
    """An epoch of a loader: decode, random resized crop, flip, normalise. In worker processes that stay."""
    allow_torchvision()
    loader = torch.utils.data.DataLoader(
        Pictures(picture_files(folder, count)), 16, shuffle=True, num_workers=CORES, persistent_workers=True
    )
    return lambda: [None for _ in loader]


def _picture_model(variant: Variant, name: str) -> Any:
    allow_torchvision()
    from timm import create_model

    return _laid_out(variant, create_model(name))


def _published(variant: Variant, name: str) -> Any:
    config = dict(PICTURE_MODELS[name])
    if config["model_type"] == "unet":
        from monai.networks.nets import UNet

        del config["model_type"]
        return _laid_out(variant, UNet(**config))
    allow_torchvision()
    import transformers

    made = transformers.AutoConfig.for_model(**config)
    return _laid_out(variant, getattr(transformers, config["architectures"][0])(made))


def _picture_batch(variant: Variant, batch: int) -> torch.Tensor:
    return _laid_out(variant, torch.from_numpy(array(batch, 3, PICTURE_SIZE, PICTURE_SIZE)))


def chain(variant: Variant, rows: int, width: int, compiled: bool) -> Call:  # noqa: ARG001 - torch has variants instead
    x, gate, scale = (torch.from_numpy(array(*shape)) for shape in ((rows, width), (rows, width), (width,)))

    def function(x: Any, gate: Any, scale: Any) -> Any:
        y = F.gelu(x * scale + scale) * gate
        y = (y.tanh() * 0.5 + x) * gate
        return F.relu(F.silu(y) * x + 1.0) / (y * y + 2.0)

    run = torch.compile(function) if variant.compiled else function

    def call() -> None:
        with torch.inference_mode():
            run(x, gate, scale)

    return call


def small_step(variant: Variant, rows: int, compiled: bool) -> Call:  # noqa: ARG001 - as above
    net = torch.nn.Sequential(torch.nn.Linear(784, 256), torch.nn.GELU(), torch.nn.LayerNorm(256), torch.nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    x, y = torch.from_numpy(array(rows, 784)), torch.arange(rows) % 10
    model = torch.compile(net) if variant.compiled else net

    def step() -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    return step


def small_picture(variant: Variant, name: str, compiled: bool) -> Call:  # noqa: ARG001 - as above
    return picture_inference(variant, name, 1)


def _laid_out(variant: Variant, given: Any) -> Any:
    return given.to(memory_format=torch.channels_last) if variant.channels_last else given


def _tokens(rows: int, length: int) -> dict[str, torch.Tensor]:
    ids = torch.from_numpy(token_ids(rows, length))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _inference(variant: Variant, model: Any, *inputs: Any, **named: Any) -> Call:
    model.eval()
    if variant.compiled:
        model = torch.compile(model)

    def call() -> None:
        with torch.inference_mode():
            model(*inputs, **named)

    return call


def _training(variant: Variant, model: Any, rows: int, *inputs: Any, **named: Any) -> Call:
    return _learning(variant, model, torch.arange(rows) % 2, *inputs, **named)


def _learning(variant: Variant, model: Any, labels: torch.Tensor, *inputs: Any, **named: Any) -> Call:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    if variant.compiled:
        model = torch.compile(model)

    def call() -> None:
        out = model(*inputs, **named)
        loss = F.cross_entropy(getattr(out, "logits", out), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return call
