"""The rows as nyala runs them: each function prepares, and returns the call to be timed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nyala
import nyala.nn.functional as F

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
from .ops_nyala import operation as operation

Call = Callable[[], Any]


def picture_inference(name: str, batch: int) -> Call:
    """A picture model on a batch."""
    return _inference(_picture_model(name), nyala.from_numpy(array(batch, 3, PICTURE_SIZE, PICTURE_SIZE)))


def picture_training(name: str, batch: int) -> Call:
    """A step of AdamW on a picture model."""
    return _training(_picture_model(name), batch, nyala.from_numpy(array(batch, 3, PICTURE_SIZE, PICTURE_SIZE)))


def published_inference(name: str, batch: int, height: int, width: int) -> Call:
    """A model of transformers, or MONAI's U-Net, on pictures."""
    return _inference(_published(name), nyala.from_numpy(array(batch, 3, height, width)))


def segmenter_training(name: str, batch: int, side: int) -> Call:
    """A step of AdamW on a model that gives every pixel a class."""
    model, x = _published(name), nyala.from_numpy(array(batch, 3, side, side))
    with nyala.inference_mode():
        *_, classes, height, width = shape = model(x).shape
    labels = nyala.from_numpy(pixel_classes(shape[0], height, width, classes))
    return _learning(model, labels, x)


def compared_with_texts(name: str, pictures: int, texts: int, length: int) -> Call:
    """A model of pictures and texts: how well each text fits each picture."""
    pixels = nyala.from_numpy(array(pictures, 3, PICTURE_SIZE, PICTURE_SIZE))
    return _inference(_published(name), pixel_values=pixels, input_ids=nyala.from_numpy(token_ids(texts, length)))


def text_inference(name: str, rows: int, length: int) -> Call:
    """An encoder on a batch of token ids."""
    from nyala.hub import registry

    config = {"model_type": "bert", **TEXT_MODELS[name]}
    model = registry.get(f"transformers:{config['model_type']}").build(config)
    return _inference(model, **_tokens(rows, length))


def text_training(name: str, rows: int, length: int) -> Call:
    """A step of AdamW on a BERT that tells two classes apart, dropout included."""
    from nyala.text.models import bert

    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], **TEXT_MODELS[name]}
    return _training(bert.build(config, num_labels=2), rows, **_tokens(rows, length))


def _decoder(name: str, weights: str) -> Any:
    """A Llama with weights in float32 or int4; or in bfloat16 or int8, to which what layers get is rounded, as in torch."""
    from nyala.text.models import llama

    config = {"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True, **DECODERS[name]}
    model = llama.build(config).eval()
    if weights == "float32":
        return model
    return nyala.nn.quantize(model, weights, activations="float32" if weights == "int4" else weights)


def prefill(name: str, length: int, weights: str) -> Call:
    """What comes after a text that is read at once."""
    model, ids = _decoder(name, weights), nyala.from_numpy(token_ids(1, length))

    def call() -> None:
        with nyala.inference_mode():
            model(ids, caches=model.new_caches(), last=True)

    return call


def decoding(name: str, prompt: int, count: int, weights: str) -> Call:
    """``count`` tokens, one by one, after a prompt that has been read before."""
    model = _decoder(name, weights)
    caches = model.new_caches()
    with nyala.inference_mode():
        model(nyala.from_numpy(token_ids(1, prompt)), caches=caches, last=True)

    def call() -> None:
        token = nyala.tensor([[1]])
        with nyala.inference_mode():
            for _ in range(count):
                token = model(token, caches=caches, last=True)[:, -1].argmax(-1, keepdim=True)
            for cache in caches:
                cache.crop(prompt)

    return call


def picture_input(folder: Path, count: int) -> Call:
    """An epoch of a loader: decode, random resized crop, flip, normalise. As recipes do it, in threads."""
    from nyala.recipes.data.tasks import Images
    from nyala.recipes.language.schema import HorizontalFlip, RandomResizedCrop
    from nyala.vision.preprocess import ImagePreprocess

    task = Images(ImagePreprocess((PICTURE_SIZE, PICTURE_SIZE), "bilinear"))
    changes = (RandomResizedCrop(scale=(0.08, 1.0)), HorizontalFlip())
    files = picture_files(folder, count)

    class Pictures(nyala.data.Dataset):
        def __len__(self) -> int:
            return len(files)

        def get(self, index: int, key: Any) -> Any:
            return task.prepare(files[index], changes, key)

    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    loader = nyala.data.DataLoader(Pictures(), 16, shuffle=True, num_workers=workers)
    return lambda: [None for _ in loader]


def tokenizing(folder: Path, length: int) -> Call:
    """A thousand e-mails to padded batches of at most ``length`` tokens."""
    from nyala.hub.files import Files
    from nyala.text.tokenizers.tokenizer import Tokenizer

    files = Files({"vocab.txt": mail_vocabulary(folder / "vocab.txt")}, origin="benchmark")
    tokenizer, texts = Tokenizer.from_files(files, length).replace(too_long="cut"), mails()
    return lambda: [tokenizer(texts[i : i + 32]) for i in range(0, len(texts), 32)]


def depth_map(side: int) -> Call:
    """A small Depth Anything on a square picture."""
    from nyala.vision.models import depth_anything

    return _inference(depth_anything.build({"model_type": "depth_anything"}), nyala.from_numpy(array(1, 3, side, side)))


def picture_prompts(points: int) -> Call:
    """A base SAM that has seen a picture, asked with points, a mask each."""
    from nyala.vision.models import sam

    seen, asked = array(1, 256, 64, 64), abs(array(1, points, 1, 2)) * 300
    named = {"image_embeddings": nyala.from_numpy(seen), "input_points": nyala.from_numpy(asked)}
    return _inference(sam.build({"model_type": "sam"}), **named)


def prompted_picture() -> Call:
    """A base SAM's encoder of pictures."""
    from nyala.vision.models import sam

    return _inference(sam.build({"model_type": "sam"}).vision_encoder, nyala.from_numpy(array(1, 3, 1024, 1024)))


def sound_encoder(name: str) -> Call:
    """The encoder of a Whisper on a window of 30 seconds."""
    from nyala.audio.models import whisper

    made = {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], **SOUND_MODELS[name]}
    return _inference(whisper.build(made).model.encoder, nyala.from_numpy(array(1, SOUND_MODELS[name]["num_mel_bins"], 3000)))


def speech_encoder(name: str, seconds: int) -> Call:
    """A wav2vec 2.0 on samples."""
    from nyala.audio.models import wav2vec2

    return _inference(wav2vec2.build(SOUND_MODELS[name]), nyala.from_numpy(array(1, seconds * SAMPLE_RATE)))


def codec(name: str, way: str, seconds: int) -> Call:
    """EnCodec of 24 kHz with all codebooks, or DAC of 44 kHz: samples to codes, or codes to samples."""
    from nyala.audio.models import dac, encodec

    model: Any = (encodec if name == "encodec" else dac).build({}).eval()
    sound = nyala.from_numpy(0.1 * array(1, 1, seconds * CODEC_RATES[name]))
    most = {"bandwidth": 24.0} if name == "encodec" else {}
    with nyala.inference_mode():
        codes = model.encode(sound, **most).audio_codes

    def call() -> None:
        with nyala.inference_mode():
            if way == "encode":
                model.encode(sound, **most)
            else:
                model.decode(audio_codes=codes)

    return call


def log_mel(seconds: int) -> Call:
    """Whisper's picture of a sound."""
    from nyala.audio.transforms import whisper_mel

    wave = nyala.from_numpy(array(seconds * SAMPLE_RATE))

    def call() -> None:
        with nyala.inference_mode():
            whisper_mel(wave)

    return call


def resampling(seconds: int, orig: int, new: int) -> Call:
    """A sound at another sample rate."""
    from nyala.audio.transforms import resample

    wave = nyala.from_numpy(array(seconds * orig))

    def call() -> None:
        with nyala.inference_mode():
            resample(wave, orig, new)

    return call


def transcription(name: str, tokens: int) -> Call:
    """From the samples of a window of 30 seconds to so many tokens, greedily: front end, encoder and decoder."""
    from nyala.audio.models import whisper
    from nyala.audio.transforms import whisper_mel

    model = whisper.build({"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], **SOUND_MODELS[name]})
    model.eval()
    wave = nyala.from_numpy(array(30 * SAMPLE_RATE))

    def call() -> None:
        with nyala.inference_mode():
            sound, caches, chosen = model.encode(whisper_mel(wave).unsqueeze(0)), model.new_caches(), 1
            for _ in range(tokens):
                row = model(decoder_input_ids=nyala.tensor([[chosen]]), encoder_outputs=sound, caches=caches, last=True)
                chosen = int(row[0, -1].argmax().item())

    return call


def chain(rows: int, width: int, compiled: bool) -> Call:
    """A dozen element-wise operations on a matrix, a row and a number."""
    x, gate, scale = (nyala.from_numpy(array(*shape)) for shape in ((rows, width), (rows, width), (width,)))

    def function(x: Any, gate: Any, scale: Any) -> Any:
        y = F.gelu(x * scale + scale) * gate
        y = (y.tanh() * 0.5 + x) * gate
        return F.relu(F.silu(y) * x + 1.0) / (y * y + 2.0)

    return _repeated(nyala.compile(function) if compiled else function, x, gate, scale)


def small_step(rows: int, compiled: bool) -> Call:
    """A step of AdamW on a small perceptron: mostly Python where it is not compiled."""
    net = nyala.nn.Sequential(nyala.nn.Linear(784, 256), nyala.nn.GELU(), nyala.nn.LayerNorm(256), nyala.nn.Linear(256, 10))
    optimizer = nyala.optim.AdamW(net.parameters(), lr=1e-4)
    x, y = nyala.from_numpy(array(rows, 784)), nyala.arange(rows) % 10

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = nyala.compile(step) if compiled else step
    for _ in range(3):
        run()
    return run


def small_picture(name: str, compiled: bool) -> Call:
    """One picture through a model of many small layers."""
    model = _picture_model(name).eval()
    x = nyala.from_numpy(array(1, 3, PICTURE_SIZE, PICTURE_SIZE))
    return _repeated(nyala.compile(model) if compiled else model, x)


def _repeated(function: Any, *inputs: Any) -> Call:
    def call() -> None:
        with nyala.inference_mode():
            function(*inputs)

    for _ in range(3):  # two records that agree, and the kernels made of them
        call()
    return call


def _picture_model(name: str) -> Any:
    from nyala.hub import registry

    return registry.get(f"timm:{name}").build({"architecture": name})


def _published(name: str) -> Any:
    from nyala.hub import registry

    config = PICTURE_MODELS[name]
    layout = "transformers" if "architectures" in config else "nyala"
    return registry.get(f"{layout}:{config['model_type']}").build(config)


def _tokens(rows: int, length: int) -> dict[str, nyala.Tensor]:
    ids = nyala.from_numpy(token_ids(rows, length))
    return {"input_ids": ids, "attention_mask": nyala.ones_like(ids)}


def _inference(model: Any, *inputs: Any, **named: Any) -> Call:
    model.eval()

    def call() -> None:
        with nyala.inference_mode():
            model(*inputs, **named)

    return call


def _training(model: Any, rows: int, *inputs: Any, **named: Any) -> Call:
    return _learning(model, nyala.arange(rows) % 2, *inputs, **named)


def _learning(model: Any, labels: nyala.Tensor, *inputs: Any, **named: Any) -> Call:
    model.train()
    optimizer = nyala.optim.AdamW(model.parameters(), lr=1e-4)

    def call() -> None:
        loss = F.cross_entropy(model(*inputs, **named), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return call
