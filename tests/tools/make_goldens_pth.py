"""Write the small PyTorch files of tests/goldens/pth, and what they hold as expected.safetensors.

Run where torch is installed, which the tests need not be: ``python tests/tools/make_goldens_pth.py``.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import safetensors.torch
import torch

FOLDER = Path(__file__).parents[1] / "goldens" / "pth"
OLD_DTYPES = ["uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "bool", "complex64"]
NEW_DTYPES = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"]  # these have no storage class of their own


def tensors() -> OrderedDict[str, torch.Tensor]:
    made = OrderedDict((name, torch.arange(6).reshape(2, 3).remainder(2).to(getattr(torch, name))) for name in OLD_DTYPES)
    made.update((name, torch.tensor([0, 1, 2, 4]).to(getattr(torch, name))) for name in NEW_DTYPES)
    base = torch.arange(24.0).reshape(4, 6) / 7
    made["base"] = base
    made["tied"] = base
    made["transposed"] = base.T
    made["sliced"] = base[1:3, 1::2]
    made["expanded"] = torch.tensor([[1.5], [2.5]]).expand(2, 4)
    made["scalar"] = torch.tensor(3.25)
    made["empty"] = torch.zeros(2, 0, 3)
    made["parameter"] = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    return made


def training_checkpoint() -> dict[str, object]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.5)
    model(torch.randn(2, 1, 5, 5)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "loss": 0.25, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    everything, nested = tensors(), training_checkpoint()
    for legacy in (False, True):
        kind = "legacy" if legacy else "zip"
        torch.save(everything, FOLDER / f"tensors.{kind}.pth", _use_new_zipfile_serialization=not legacy)
        torch.save(nested, FOLDER / f"training.{kind}.pth", _use_new_zipfile_serialization=not legacy)
    plain = {name: tensor.detach().clone().contiguous() for name, tensor in everything.items()}
    safetensors.torch.save_file(plain, FOLDER / "tensors.expected.safetensors")
    safetensors.torch.save_file(dict(nested["state_dict"]), FOLDER / "training.expected.safetensors")


if __name__ == "__main__":
    main()
