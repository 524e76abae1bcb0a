"""Prints a digest of every array that a short training leaves on a GPU: two runs print the same.

    python -m tests.tools.gpu_bits [--device cuda] [--steps 5]

The network has every kind of sum whose order could depend on the load: convolution, norms, pooling, attention, an embedding,
dropout, AdamW and clipping.
"""

from __future__ import annotations

import argparse
import hashlib
from contextlib import nullcontext
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
from nyala import nn, optim


def trained(device: str, steps: int, dtype: str) -> dict[str, Any]:
    """What the weights are after ``steps`` updates, and the last loss."""
    nyala.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Dropout(0.2),
        nn.Flatten(2), nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU(), nn.GroupNorm(4, 16),
    ).to(device)  # fmt: skip
    table = nn.Embedding(50, 64).to(device)
    optimizer = optim.AdamW([*net.parameters(), *table.parameters()], lr=1e-2)
    wave = np.sin(np.arange(8 * 3 * 256.0) * 0.37).reshape(8, 3, 16, 16).astype(np.float32)
    x, ids = nyala.from_numpy(wave).to(device), nyala.arange(8 * 16, device=device).reshape(8, 16) % 7
    for _ in range(steps):
        optimizer.zero_grad()
        with nullcontext() if dtype == "float32" else nyala.autocast(device, dtype):
            seen, words = net(x).reshape(8, 2, 8, 64), table(ids).reshape(8, 2, 8, 64)
            mixed = F.scaled_dot_product_attention(seen, words, words).mean(2)
            loss = F.cross_entropy(mixed.reshape(8, -1), nyala.arange(8, device=device))
        loss.backward()
        optim.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return {"loss": loss, **{f"net.{k}": v for k, v in net.state_dict().items()}, "table": table.weight}


def main() -> None:
    """Trains in float32 and in bfloat16, and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.gpu_bits", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    for dtype in ("float32", "bfloat16"):
        for name, tensor in trained(args.device, args.steps, dtype).items():
            print(dtype, name, hashlib.sha256(tensor.detach().cpu().numpy().tobytes()).hexdigest())


if __name__ == "__main__":
    main()
