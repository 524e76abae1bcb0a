"""The rows as nyala runs them: name -> a function that prepares and returns the call to be timed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
from nyala.core.autograd import no_grad

Call = Callable[[], Any]


def _array(*shape: int) -> nyala.Tensor:
    return nyala.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def _forward(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[], Call]:
    def prepare() -> Call:
        inputs = [_array(*s) for s in shapes]

        def call() -> None:
            with no_grad():
                function(*inputs)

        return call

    return prepare


def _both(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[], Call]:
    def prepare() -> Call:
        inputs = [_array(*s).requires_grad_() for s in shapes]

        def call() -> None:
            nyala.autograd.grad(function(*inputs).sum(), inputs)

        return call

    return prepare


def _overhead() -> Call:
    a, b = _array(8).requires_grad_(), _array(8)
    return lambda: a + b


def _import() -> Call:
    return lambda: subprocess.run([sys.executable, "-c", "import nyala; nyala.tensor([1.0])"], check=True)


def _resnet18(batch: int) -> Callable[[], Call]:
    def prepare() -> Call:
        from nyala.vision.models import resnet

        return _inference(resnet.build({"architecture": "resnet18"}), _array(batch, 3, 224, 224))

    return prepare


def _lite0(batch: int) -> Callable[[], Call]:
    def prepare() -> Call:
        from nyala.vision.models import efficientnet

        return _inference(efficientnet.build({"architecture": "tf_efficientnet_lite0"}), _array(batch, 3, 224, 224))

    return prepare


def _inference(model: Any, *inputs: Any, **named: Any) -> Call:
    model.eval()

    def call() -> None:
        with no_grad():
            model(*inputs, **named)

    return call


MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522}


def _tokens(rows: int, length: int) -> dict[str, nyala.Tensor]:
    ids = np.random.default_rng(0).integers(1000, 30000, (rows, length))
    return {"input_ids": nyala.from_numpy(ids), "attention_mask": nyala.from_numpy(np.ones_like(ids))}


def _minilm(rows: int, length: int) -> Callable[[], Call]:
    def prepare() -> Call:
        from nyala.text.models import bert

        return _inference(bert.build({"model_type": "bert", "architectures": ["BertModel"], **MINILM}), **_tokens(rows, length))

    return prepare


def _training(make: Callable[[], tuple[Any, dict[str, Any], int]]) -> Callable[[], Call]:
    def prepare() -> Call:
        model, inputs, rows = make()
        model.train()
        optimizer = nyala.optim.AdamW(model.parameters(), lr=1e-4)
        labels = nyala.from_numpy(np.arange(rows) % 2)

        def call() -> None:
            loss = F.cross_entropy(model(**inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return call

    return prepare


def _resnet18_batch() -> tuple[Any, dict[str, Any], int]:
    from nyala.vision.models import resnet

    return resnet.build({"architecture": "resnet18"}), {"x": _array(16, 3, 224, 224)}, 16


def _lite0_batch() -> tuple[Any, dict[str, Any], int]:
    from nyala.vision.models import efficientnet

    return efficientnet.build({"architecture": "tf_efficientnet_lite0"}), {"x": _array(32, 3, 96, 96)}, 32


def _minilm_batch() -> tuple[Any, dict[str, Any], int]:
    from nyala.text.models import bert

    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], **MINILM}
    return bert.build(config, num_labels=2), _tokens(16, 128), 16


ROWS: dict[str, Callable[[], Call]] = {
    "op/add 8 (with grad)": _overhead,
    "op/add 1M": _forward(lambda a, b: a + b, (1024, 1024), (1024, 1024)),
    "op/matmul 1024": _forward(lambda a, b: a @ b, (1024, 1024), (1024, 1024)),
    "op/linear 4096x384->1536 f+b": _both(F.linear, (4096, 384), (1536, 384)),
    "op/gelu 32x128x1536 f+b": _both(F.gelu, (32, 128, 1536)),
    "op/layer_norm 32x128x384 f+b": _both(lambda x: F.layer_norm(x, (384,)), (32, 128, 384)),
    "op/softmax 32x12x128x128 f+b": _both(lambda x: F.softmax(x, -1), (32, 12, 128, 128)),
    "op/attention 32x12x128x32 f+b": _both(F.scaled_dot_product_attention, *[(32, 12, 128, 32)] * 3),
    "op/conv 8x64x56x56 3x3": _forward(lambda x, w: F.conv2d(x, w, padding=1), (8, 64, 56, 56), (64, 64, 3, 3)),
    "op/conv 8x64x56x56 3x3 f+b": _both(lambda x, w: F.conv2d(x, w, padding=1), (8, 64, 56, 56), (64, 64, 3, 3)),
    "op/conv 8x256x14x14 1x1 f+b": _both(lambda x, w: F.conv2d(x, w), (8, 256, 14, 14), (256, 256, 1, 1)),
    "op/depthwise 8x96x56x56 3x3 f+b": _both(lambda x, w: F.conv2d(x, w, padding=1, groups=96), (8, 96, 56, 56), (96, 1, 3, 3)),
    "op/batch_norm 8x64x56x56 f+b": _both(lambda x: F.batch_norm(x, None, None, training=True), (8, 64, 56, 56)),
    "op/max_pool 8x64x112x112 f+b": _both(lambda x: F.max_pool2d(x, 3, 2, 1), (8, 64, 112, 112)),
    "op/interpolate 8x3x224x224 bilinear": _forward(
        lambda x: F.interpolate(x, size=(256, 256), mode="bilinear"), (8, 3, 224, 224)
    ),
    "resnet18/infer 1": _resnet18(1),
    "resnet18/infer 8": _resnet18(8),
    "resnet18/train 16": _training(_resnet18_batch),
    "lite0/infer 1": _lite0(1),
    "lite0/infer 8": _lite0(8),
    "lite0/train 32x96px": _training(_lite0_batch),
    "minilm/infer 1x16": _minilm(1, 16),
    "minilm/infer 32x128": _minilm(32, 128),
    "minilm/train 16x128": _training(_minilm_batch),
    "import": _import,
}
