"""How well SmolLM2-135M-Instruct foresees real e-mails with its weights, and what they meet, in fewer bits.

    python -m tests.benchmarks.perplexity

The e-mails are the shipped test messages, one after the other, in windows of 512 tokens; a window's tokens behind its first are
foreseen. The weights are the published ones in float32, and ``nn.quantize``'s of these.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import nyala
from nyala import nn
from nyala.text.datasets import Spam

MODEL, LENGTH = "SmolLM2-135M-Instruct-Q4_1", 512
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("float32", {}),
    ("bfloat16", {"dtype": "bfloat16"}),
    ("bfloat16, activations too", {"dtype": "bfloat16", "activations": "bfloat16"}),
    ("int8", {"dtype": "int8"}),
    ("int8, activations too", {"dtype": "int8", "activations": "int8"}),
    ("int8 in groups of 128", {"dtype": "int8", "group_size": 128}),
    ("int8 in groups of 128, activations too", {"dtype": "int8", "group_size": 128, "activations": "int8"}),
    ("int4", {"dtype": "int4"}),
    ("int4, the head left alone", {"dtype": "int4", "skip": "lm_head"}),
    ("int4 in groups of 64", {"dtype": "int4", "group_size": 64}),
)


def windows(pipe: Any, count: int) -> list[nyala.Tensor]:
    """(1, LENGTH) ids each."""
    ids = [i for text in Spam("test").texts for i in pipe.preprocess.ids(text)]
    return [nyala.tensor([ids[i : i + LENGTH]]) for i in range(0, count * LENGTH, LENGTH)]


def surprise(model: nn.Module, ids: nyala.Tensor) -> tuple[float, list[int]]:
    """(mean of -log p of what comes next, the most likely tokens)."""
    with nyala.inference_mode():
        logits = model(ids)[0, :-1]
        return nn.functional.cross_entropy(logits, ids[0, 1:]).item(), logits.argmax(-1).tolist()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.perplexity", description=__doc__)
    parser.add_argument("--windows", type=int, default=16, help="how many times 512 tokens")
    count = parser.parse_args(arguments).windows
    exact: tuple[float, list[int]] | None = None
    print("| weights | perplexity | against float32 | same next token |\n|---|---|---|---|")
    for name, how in WAYS:
        pipe = nyala.load(MODEL)
        model = nn.quantize(pipe.model, **how) if how else pipe.model
        found = [surprise(model, ids) for ids in windows(pipe, count)]
        value, chosen = math.exp(sum(loss for loss, _ in found) / count), [best for _, row in found for best in row]
        exact = exact or (value, chosen)
        same = sum(a == b for a, b in zip(exact[1], chosen, strict=True)) / len(chosen)
        print(f"| {name} | {value:.3f} | {100 * (value / exact[0] - 1):+.2f} % | {100 * same:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
