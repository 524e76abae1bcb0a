"""Goldens of PEFT's LoRA and DoRA.

``tests/goldens/lora/NAME/`` holds an adapter as ``PeftModel.save_pretrained`` writes it, and ``goldens.safetensors``:

    base.PARAMETER      the weights of the model without the adapter
    input.ARGUMENT      what it is called with
    plain, output       results without and with the adapter, eval mode
    merged              result after merge_and_unload
    grad.PARAMETER      gradients of sum(out[i] * cos(0.7 * i + 0.3)) over the adapter's parameters, by the names in its file

``toy_*``: an embedding, a convolution and two linear layers (see ``Toy``); ``bert_*``: transformers' classifier over a tiny BERT,
whose configuration is that of ``tests/goldens/text/bert_classifier``.

    python tests/tools/make_goldens_lora.py                 writes them
    python tests/tools/make_goldens_lora.py --check FOLDER  lets PEFT read what make_lora_samples.py wrote
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
import torchvision_shim  # noqa: F401 - must come before peft, which imports transformers
from golden_recorder import GOLDENS, cotangent
from make_goldens_text import batch, configuration, randomise
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertForSequenceClassification

LORA = GOLDENS / "lora"
EVERYTHING = ["emb", "conv", "fc"]
CASES = {
    "toy_lora": {"target_modules": EVERYTHING, "r": 3, "lora_alpha": 5, "modules_to_save": ["head"]},
    "toy_dora": {"target_modules": EVERYTHING, "r": 2, "lora_alpha": 7, "use_dora": True},
    "toy_rslora": {"target_modules": ".*(fc|conv)", "r": 4, "lora_alpha": 6, "use_rslora": True},
    "bert_lora": {
        "target_modules": ["query", "value", "output.dense"],
        "r": 4,
        "lora_alpha": 8,
        "rank_pattern": {"query": 2},
        "alpha_pattern": {"layer.1.attention.self.value": 3},
        "task_type": "SEQ_CLS",
    },
    "bert_dora": {"target_modules": "all-linear", "r": 2, "lora_alpha": 4, "use_dora": True, "task_type": "SEQ_CLS"},
}


class Toy(nn.Module):
    """A layer of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.conv = nn.Embedding(11, 6), nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.fc, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, ids: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.fc(self.emb(ids).mean(1) + self.conv(image).mean((2, 3)))))


def build(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The base model and what it is called with."""
    if name.startswith("toy"):
        model: nn.Module = Toy()
        generator = torch.Generator().manual_seed(5)
        image = torch.randn(4, 3, 8, 8, generator=generator)
        inputs = {"ids": torch.randint(11, (4, 5), generator=generator), "image": image}
    else:
        model, inputs = BertForSequenceClassification(configuration()), batch()
    randomise(model)
    return model.eval(), inputs


def result(model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    found = model(**inputs)
    return getattr(found, "logits", found)


def make(name: str, options: dict[str, object]) -> None:
    model, inputs = build(name)
    kept = {f"base.{k}": v.clone() for k, v in model.state_dict().items()}
    kept |= {f"input.{k}": v for k, v in inputs.items()} | {"plain": result(model, inputs).detach()}
    torch.manual_seed(3)
    adapted = get_peft_model(model, LoraConfig(init_lora_weights=False, **options)).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    out = result(adapted, inputs)
    (out * cotangent(out.shape)).sum().backward()
    kept["output"] = out.detach()
    for full, parameter in adapted.named_parameters():
        if parameter.grad is not None:
            short = full.replace(".default", "").replace(".modules_to_save", "")
            kept[f"grad.{short.removesuffix('.weight') if 'magnitude' in short else short}"] = parameter.grad
    adapted.save_pretrained(str(LORA / name))
    (LORA / name / "README.md").unlink(missing_ok=True)
    kept["merged"] = result(adapted.merge_and_unload(), inputs).detach()
    save_file({k: v.contiguous() for k, v in kept.items()}, LORA / name / "goldens.safetensors")


def check(folder: Path) -> None:
    """PEFT reads each adapter below ``folder`` and gives the results that nyala recorded beside it."""
    for case in sorted(p for p in folder.iterdir() if (p / "adapter_config.json").is_file()):
        recorded = load_file(case / "nyala.safetensors")
        model, _ = build(case.name)
        model.load_state_dict({k.removeprefix("base."): v for k, v in recorded.items() if k.startswith("base.")})
        inputs = {k.removeprefix("input."): v for k, v in recorded.items() if k.startswith("input.")}
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*(adapter|keys|unexpected|missing)")
            adapted = PeftModel.from_pretrained(model, str(case)).eval()
        worst = (result(adapted, inputs) - recorded["output"]).abs().max().item()
        plain = (recorded["output"] - recorded["plain"]).abs().max().item()
        print(f"{case.name}: {worst:.2e} apart (the adapter changes the result by up to {plain:.2f})")
        assert worst < 1e-5 < plain


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        check(Path(sys.argv[2]))
    else:
        for name, options in CASES.items():
            make(name, options)
