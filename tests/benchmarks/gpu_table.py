"""The rows of ``--device cuda``, by name; ``gpu_nyala.py`` and ``gpu_torch.py`` say how each library runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .inputs import DECODERS
from .table import Row

DTYPES = {"": "float32", " bf16": "bfloat16"}

# Keys of transformers' configuration; what is left out is the architecture's default, which for GPT-2 is the 124M model.
DECODER_CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
    "smollm2-135m": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True, **DECODERS["smollm2-135m"],
    },
}  # fmt: skip
WHISPER_CONFIGS: dict[str, dict[str, Any]] = {
    "whisper-small": {
        "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "d_model": 768, "encoder_layers": 12,
        "decoder_layers": 12, "encoder_attention_heads": 12, "decoder_attention_heads": 12, "encoder_ffn_dim": 3072,
        "decoder_ffn_dim": 3072, "vocab_size": 51865, "num_mel_bins": 80,
    },
}  # fmt: skip


@dataclass(frozen=True)
class GpuRow(Row):
    """A line of the table on a GPU.

    Attributes:
        items: pictures, texts, tokens or sounds that a call takes or gives, for the column of what is done in a second.
    """

    items: int = 1


def _rows(label: str, dtype: str) -> list[GpuRow]:
    """All rows in one dtype: weights and inputs in it for inference, autocast over float32 weights for training."""
    rows = [
        GpuRow(f"{name}/infer {n}{label}", "picture_inference", (model, n, dtype), pictures=name == "resnet50", items=n)
        for name, model in (("resnet50", "resnet50"), ("vit-base", "vit_base_patch16_224"))
        for n in (1, 128)
    ]
    rows += [GpuRow(f"bert-base/infer {n}x128{label}", "text_inference", ("bert-base", n, 128, dtype), items=n) for n in (1, 64)]
    rows += [GpuRow(f"whisper-small/encode {n}{label}", "sound_inference", ("whisper-small", n, dtype), items=n) for n in (1, 16)]
    for name in DECODER_CONFIGS:
        rows.append(GpuRow(f"{name}/prefill 1024{label}", "prefill", (name, 1, 1024, dtype), items=1024))
        for n in (1, 32):
            rows.append(GpuRow(f"{name}/decode {n}{label}", "decoding", (name, n, 256, 32, dtype), items=32 * n))
    return [
        *rows,
        GpuRow(f"resnet50/train 64{label}", "picture_training", ("resnet50", 64, dtype), pictures=True, items=64),
        GpuRow(f"vit-base/train 64{label}", "picture_training", ("vit_base_patch16_224", 64, dtype), items=64),
        GpuRow(f"bert-base/train 32x128{label}", "text_training", ("bert-base", 32, 128, dtype), items=32),
        GpuRow(f"gpt2/train 8x512{label}", "language_training", ("gpt2", 8, 512, dtype), items=8 * 512),
    ]


GPU_ROWS: tuple[GpuRow, ...] = tuple(row for label, dtype in DTYPES.items() for row in _rows(label, dtype))
