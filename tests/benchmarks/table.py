"""The rows: what is timed, by name.

How each library does it stands in ``rows_nyala.py``, ``rows_torch.py`` and, for whole processes, ``processes.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .inputs import SAMPLE_RATE


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what ``--rows`` matches and the JSON calls it.
        make: name of the function, the same for both libraries, that prepares the call to be timed.
        arguments: what that function is called with.
        compiles: ``torch.compile`` has something to compile here.
        pictures: a convolutional model: torch is tried contiguous and channels-last, and the faster of the two is kept.
        files: the function takes a folder for files, as its first argument.
        process: the call starts a fresh process; its memory is that process's.
    """

    name: str
    make: str
    arguments: tuple[Any, ...] = ()
    compiles: bool = True
    pictures: bool = False
    files: bool = False
    process: bool = False

    @property
    def group(self) -> str:
        """ "op" for single operations, "workload" for all else. Without ``--rows`` the workloads are run."""
        return "op" if self.name.startswith("op/") else "workload"


def _picture_rows() -> list[Row]:
    rows = []
    for name, model in (("resnet18", "resnet18"), ("resnet50", "resnet50"), ("lite0", "tf_efficientnet_lite0")):
        rows += [Row(f"{name}/infer {n}", "picture_inference", (model, n), pictures=True) for n in (1, 8)]
    learning = {
        "resnet18": "resnet18", "lite0": "tf_efficientnet_lite0", "resnet50": "resnet50", "convnext-tiny": "convnext_tiny",
        "vit-small": "vit_small_patch16_224",
    }  # fmt: skip
    for name, model in learning.items():
        rows.append(Row(f"{name}/train 16", "picture_training", (model, 16), pictures=True))
    others = {
        "resnext50": "resnext50_32x4d", "vgg11": "vgg11", "densenet121": "densenet121", "regnety-800mf": "regnety_008",
        "dinov3-small": "vit_small_patch16_dinov3", "beit-base": "beit_base_patch16_224",
        "efficientnet-b0": "efficientnet_b0", "efficientnetv2-b0": "tf_efficientnetv2_b0", "mobilenetv2": "mobilenetv2_100",
        "mobilenetv3-large": "mobilenetv3_large_100", "mobilenetv4-small": "mobilenetv4_conv_small",
        "convnext-tiny": "convnext_tiny", "vit-small": "vit_small_patch16_224", "swin-tiny": "swin_tiny_patch4_window7_224",
    }  # fmt: skip
    rows += [Row(f"{name}/infer 8", "picture_inference", (model, 8), pictures=True) for name, model in others.items()]
    return rows


def _published_rows() -> list[Row]:
    rows = []
    for name in ("detr-resnet-50", "yolos-tiny"):
        rows.append(Row(f"{name}/infer 480x640", "published_inference", (name, 1, 480, 640), pictures=True))
    rows.append(Row("dinov2-small/infer 8", "published_inference", ("dinov2-small", 8, 224, 224), pictures=True))
    for name in ("segformer-b0", "upernet-convnext-tiny", "unet"):
        rows.append(Row(f"{name}/infer 512", "published_inference", (name, 1, 512, 512), pictures=True))
    for name in ("segformer-b0", "unet"):
        rows.append(Row(f"{name}/train 4x256", "segmenter_training", (name, 4, 256), pictures=True))
    rows.append(Row("clip-base/infer 8", "compared_with_texts", ("clip-base", 8, 4, 77), pictures=True))
    rows.append(Row("siglip-base/infer 2", "compared_with_texts", ("siglip-base", 2, 4, 64), pictures=True))
    return rows


def _decoder_rows() -> list[Row]:
    rows = []
    for kind, weights in (("", "float32"), (" bf16", "bfloat16"), (" int8", "int8")):
        rows.append(Row(f"smollm2/prefill 512{kind}", "prefill", ("smollm2-135m", 512, weights), compiles=weights != "int8"))
        rows.append(Row(f"smollm2/decode 8{kind}", "decoding", ("smollm2-135m", 64, 8, weights), compiles=weights != "int8"))
    rows.append(Row("smollm2/decode 8 int4", "decoding", ("smollm2-135m", 64, 8, "int4"), compiles=False))
    return rows


_OPERATIONS = (
    "add 8 (with grad)",
    "add 1M",
    "matmul 1024",
    "linear 4096x384->1536 f+b",
    "gelu 32x128x1536 f+b",
    "layer_norm 32x128x384 f+b",
    "softmax 32x12x128x128 f+b",
    "attention 32x12x128x32 f+b",
    "conv 8x64x56x56 3x3",
    "conv 8x64x56x56 3x3 f+b",
    "conv 8x256x14x14 1x1 f+b",
    "depthwise 8x96x56x56 3x3 f+b",
    "batch_norm 8x64x56x56 f+b",
    "max_pool 8x64x112x112 f+b",
    "interpolate 8x3x224x224 bilinear",
)

ROWS: tuple[Row, ...] = (
    *_picture_rows(),
    *_published_rows(),
    Row("minilm/infer 1x16", "text_inference", ("minilm", 1, 16)),
    Row("minilm/infer 32x128", "text_inference", ("minilm", 32, 128)),
    Row("minilm/train 32x128", "text_training", ("minilm", 32, 128)),
    Row("bert-base/infer 8x128", "text_inference", ("bert-base", 8, 128)),
    Row("mpnet-base/infer 8x128", "text_inference", ("mpnet-base", 8, 128)),
    Row("deberta-v3-small/infer 8x128", "text_inference", ("deberta-v3-small", 8, 128)),
    Row("modernbert-base/infer 2x512", "text_inference", ("modernbert-base", 2, 512)),
    *_decoder_rows(),
    *[
        Row(f"compile/{name}{'' if compiled else ' eager'}", make, (*arguments, compiled), pictures=make == "small_picture")
        for name, make, arguments in (
            ("chain", "chain", (2048, 1024)),
            ("small chain", "chain", (64, 256)),
            ("small step", "small_step", (32,)),
            ("lite0 1", "small_picture", ("tf_efficientnet_lite0",)),
        )
        for compiled in (True, False)
    ],
    Row("text/tokenize 1000", "tokenizing", (128,), compiles=False, files=True),
    Row("pictures/input 64", "picture_input", (64,), compiles=False, files=True),
    Row("depth-anything-small/infer 518", "depth_map", (518,)),
    Row("sam-base/encode 1024", "prompted_picture"),
    Row("sam-base/ask 4", "picture_prompts", (4,)),
    Row("whisper-tiny/encoder 30 s", "sound_encoder", ("whisper-tiny",)),
    Row("wav2vec2-base/encode 10 s", "speech_encoder", ("wav2vec2-base", 10)),
    *(
        Row(f"audio/{n} {way} {t} s", "codec", (n, way, t))
        for n, t in (("encodec", 10), ("dac", 2))
        for way in ("encode", "decode")
    ),
    Row("whisper-tiny/transcribe 30 s", "transcription", ("whisper-tiny", 64), compiles=False),
    Row("audio/log-mel 60 s", "log_mel", (60,)),
    Row("audio/resample 60 s", "resampling", (60, 44_100, SAMPLE_RATE), compiles=False),
    Row("import", "import_library", compiles=False, files=True, process=True),
    Row("cold/lite0", "cold_start", ("picture",), compiles=False, files=True, process=True),
    Row("cold/minilm", "cold_start", ("text",), compiles=False, files=True, process=True),
    *(Row(f"op/{name}", "operation", (name,), compiles=False) for name in _OPERATIONS),
)


def select(patterns: str | None, rows: Sequence[Row] = ROWS) -> list[Row]:
    """The rows that fit one of the comma-separated patterns of the shell's kind; without patterns all workloads.

    Raises:
        ValueError: a pattern that no row fits; says which rows there are.

    Example:
        >>> [row.name for row in select("minilm/infer*,import")]
        ['minilm/infer 1x16', 'minilm/infer 32x128', 'import']
    """
    if patterns is None:
        return [row for row in rows if row.group == "workload"]
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    idle = [pattern for pattern in wanted if not any(fnmatchcase(row.name, pattern) for row in rows)]
    if idle or not wanted:
        names = ", ".join(repr(row.name) for row in rows)
        raise ValueError(f"no row fits {idle[0] if idle else patterns!r}: there are {names}")
    return [row for row in rows if any(fnmatchcase(row.name, pattern) for pattern in wanted)]
