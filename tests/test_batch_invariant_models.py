"""Inside ``batch_invariant`` a model gives a row alone the bits it gives it in a batch, on one thread and on two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.kernels.cpu.running import parallel
from nyala.hub.load import load
from nyala.text.models import bert
from nyala.vision.models import efficientnet, resnet

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(autouse=True)
def threads() -> Iterator[Callable[[int], None]]:
    before = parallel.workers() + 1
    yield parallel.start
    parallel.start(before)


def pictures(count: int, size: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((count, 3, size, size), dtype=np.float32)}


def words(count: int, vocabulary: int, length: int = 21) -> dict[str, Any]:
    """Sentences of different lengths, padded."""
    rng = np.random.default_rng(0)
    mask = np.arange(length) < rng.integers(3, length + 1, (count, 1))
    return {"input_ids": rng.integers(0, vocabulary, (count, length)) * mask, "attention_mask": mask.astype(np.int64)}


def _tiny(folder: str, **options: Any) -> Any:
    return load(str(GOLDENS / folder), **options).model


ENCODERS = ("roberta", "distilbert", "mpnet", "modernbert", "deberta", "electra", "albert")
MODELS: dict[str, tuple[Callable[[], Any], Callable[[int], dict[str, Any]]]] = {
    "tiny ResNet": (lambda: _tiny("vision/resnet_basic"), lambda n: pictures(n, 64)),
    "tiny ResNet with bottlenecks": (lambda: _tiny("vision/resnet_bottleneck"), lambda n: pictures(n, 40)),
    "tiny EfficientNet-Lite": (lambda: _tiny("vision/efficientnet_lite"), lambda n: pictures(n, 64)),
    "ResNet-18": (lambda: resnet.build({"architecture": "resnet18"}), lambda n: pictures(n, 64)),
    "EfficientNet-Lite0": (lambda: efficientnet.build({"architecture": "tf_efficientnet_lite0"}), lambda n: pictures(n, 64)),
    "tiny BERT": (lambda: _tiny("text/bert", task="feature-extraction"), lambda n: words(n, 50)),
    **{f"tiny {name}": (partial(_tiny, f"text/{name}", task="feature-extraction"), lambda n: words(n, 50)) for name in ENCODERS},
    "BERT of MiniLM's width": (
        lambda: bert.build(
            {"architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 12,
             "intermediate_size": 1536, "vocab_size": 500}
        ),
        lambda n: words(n, 500, 40),
    ),
}  # fmt: skip


def outputs(model: Any, given: dict[str, Any], rows: slice) -> list[Any]:
    out = model(*[nyala.from_numpy(v[rows].copy()) for v in given.values()])
    found: tuple[Any, ...] = (out.last_hidden_state, out.pooler_output) if isinstance(out, bert.BertOutput) else (out,)
    return [x.detach().numpy() for x in found if x is not None]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("recorded", [False, True])
def test_a_row_alone_equals_the_row_in_a_batch(name: str, recorded: bool, threads: Callable[[int], None]) -> None:
    nyala.manual_seed(0)
    model, given = MODELS[name][0]().eval(), MODELS[name][1](7)
    with nyala.batch_invariant(), nyala.set_grad_enabled(recorded):
        threads(1)
        alone = outputs(model, given, slice(1, 2))
        for count in (2, 3, 7):
            for many in (1, 2):
                threads(many)
                for got, expected in zip(outputs(model, given, slice(0, count)), alone, strict=True):
                    assert got[1:2].tobytes() == expected.tobytes(), (count, many)


def test_what_mixes_rows_still_does() -> None:
    """Batch norm in training: a row's result is a function of the batch."""
    x = nyala.from_numpy(pictures(4, 8)["x"])
    with nyala.batch_invariant():
        layer = nyala.nn.BatchNorm2d(3).train()
        assert (layer(x)[:2].detach().numpy() != layer(x[:2]).detach().numpy()).any()
