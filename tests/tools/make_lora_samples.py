"""Adapters that nyala writes, with the results nyala gets from them, for PEFT to read.

python tests/tools/make_lora_samples.py FOLDER                      with nyala's environment
python tests/tools/make_goldens_lora.py --check FOLDER              with the reference environment
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import nyala
from nyala import checkpoint, nn

TESTS = Path(__file__).resolve().parents[1]
SETTINGS: dict[str, dict[str, Any]] = {
    "toy_everything": {"targets": ["emb", "conv", "fc"], "train": ["head"]},
    "toy_dora": {"targets": ["emb", "conv", "fc"], "dora": True},
    "toy_rslora_dora": {"targets": ["conv", "fc"], "dora": True, "rslora": True, "train": ["head"]},
    "bert_lora": {"targets": ["query", "value"], "train": ["classifier"]},
    "bert_dora": {"targets": "all-linear", "dora": True, "train": ["classifier"]},
}


def main(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("test_peft", TESTS / "core" / "test_peft.py")
    assert spec and spec.loader
    models: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    for name, options in SETTINGS.items():
        model, inputs = models.build(name.partition("_")[0] + "_lora")
        kept = {f"base.{n}": t.numpy().copy() for n, t in model.state_dict().items()}
        kept |= {f"input.{n}": t.numpy() for n, t in inputs.items()} | {"plain": model(**inputs).detach().numpy()}
        adapter = nn.lora.attach(model, 3, 5, seed=1, **options)
        key = nyala.random.key(2, "sample")
        for number, parameter in enumerate(adapter.parameters()):
            parameter.array[...] += 0.2 * key.fold(number).normal(parameter.shape)
        adapter.save(folder / name, task_type="SEQ_CLS" if name.startswith("bert") else None)
        checkpoint.save_file({**kept, "output": model(**inputs).detach().numpy()}, folder / name / "nyala.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
