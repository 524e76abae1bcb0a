"""``python cold_torch.py prepare KIND FOLDER`` saves random weights; ``predict KIND FOLDER INPUT`` is what is timed.

Predicting is written as a script for one purpose is: it imports what it needs and no more.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.torchvision_setup import allow_torchvision

allow_torchvision()


def prepare(kind: str, folder: Path) -> None:
    """Random weights, and for text a vocabulary, in ``folder``."""
    from benchmarks.inputs import TEXT_MODELS, vocabulary

    folder.mkdir(parents=True, exist_ok=True)
    if kind == "picture":
        from safetensors.torch import save_file
        from timm import create_model

        save_file(create_model("tf_efficientnet_lite0").state_dict(), folder / "model.safetensors")
    else:
        from transformers import BertConfig, BertModel

        BertModel(BertConfig(**TEXT_MODELS["minilm"])).save_pretrained(folder)
        vocabulary(folder / "vocab.txt")


def predict_picture(folder: Path, path: str) -> None:
    """The five likeliest classes of a picture file."""
    from PIL import Image
    from safetensors.torch import load_file
    from timm import create_model
    from timm.data import create_transform, resolve_data_config

    model = create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    transform = create_transform(**resolve_data_config({}, model=model))
    with torch.inference_mode(), Image.open(path) as image:
        logits = model(transform(image.convert("RGB")).unsqueeze(0))
    print(logits.softmax(-1).topk(5))


def predict_text(folder: Path, text: str) -> None:
    """The vector of a sentence: the mean of its tokens', of length one."""
    from transformers import BertModel, BertTokenizer

    tokenizer, model = BertTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        mean = model(**tokenizer([text], return_tensors="pt")).last_hidden_state.mean(1)
    print((mean / mean.norm())[0, :4])


if __name__ == "__main__":
    action, kind, folder, *rest = sys.argv[1:]
    if action == "prepare":
        prepare(kind, Path(folder))
    else:
        (predict_picture if kind == "picture" else predict_text)(Path(folder), *rest)
