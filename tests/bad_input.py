"""What bad input is made of: small models, whole and damaged files, and mistakes that take more than one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint, nn, recipes
from nyala.core import devices

RESNET = {
    "architecture": "resnet18",
    "num_classes": 5,
    "model_args": {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8], "stem_channels": 4},
    "pretrained_cfg": {
        "input_size": [3, 16, 16],
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    },
}
BERT = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}


class Block(nn.Module):
    """Multiplies, joins and adds; called by name, it does so with a mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(7, 8)

    def forward(self, x: nyala.Tensor, mistake: str) -> nyala.Tensor:
        if mistake == "narrow":
            return self.narrow(x)
        if mistake == "matmul":
            return x @ nyala.zeros(7, 8)
        if mistake == "cat":
            return nyala.cat([x, nyala.zeros(3, 8)], dim=1)
        return x + nyala.zeros(3, 8) if mistake == "add" else x


class Net(nn.Module):
    """A convolution, a list of blocks and a head: modules in modules in modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({"conv": nn.Conv2d(3, 8, 3, padding=1), "norm": nn.BatchNorm2d(8)})
        self.blocks = nn.ModuleList([nn.Identity(), Block()])
        self.head = nn.Linear(8, 4)

    def forward(self, x: nyala.Tensor, block: str = "") -> nyala.Tensor:
        x = self.stem["norm"](self.stem["conv"](x)).mean((2, 3))
        return self.head(self.blocks[1](x, block))


class Faulty:
    """A dataset of which one sample cannot be made."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> float:
        return 1 / (3 - index)


class Hostile:
    """Pickled, it is a request to run a program."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo no file may do this",)


class Environment:
    """Models, files and data, whole and damaged, in a folder of their own."""

    RESNET, BERT = RESNET, BERT

    def __init__(self, tmp: Path) -> None:
        self.tmp, self.net, self.faulty_dataset = tmp, Net(), Faulty()
        nyala.manual_seed(0)
        self.resnet, self.bert = self.model_folder(RESNET), self.model_folder(BERT)
        self.weights = (self.resnet / "model.safetensors").read_bytes()
        self.resnet_model, self.bert_model = nyala.load(self.resnet).model, nyala.load(self.bert).model
        self.hostile_pickle = pickle.dumps({"fc.weight": Hostile()})
        self.torch_file = (Path(__file__).parent / "goldens" / "pth" / "tensors.zip.pth").read_bytes()
        self.picture = self._picture()
        self.data, self.broken_data, self.empty_class = self._data("data"), self._data("broken"), tmp / "one-empty"
        (self.broken_data / "red" / "3.png").write_bytes(self.picture[:40])
        (self.empty_class / "full" / "only").mkdir(parents=True)
        (self.empty_class / "full" / "only" / "0.png").write_bytes(self.picture)
        (self.empty_class / "empty").mkdir()

    # ---- files

    def file(self, name: str, content: bytes) -> Path:
        path = self.tmp / name
        path.write_bytes(content)
        return path

    def folder(self, config: Any, weights: bytes | None = None, name: str = "model.safetensors") -> Path:
        """A new folder with a config.json (an object, or any text) and weights; None leaves one out."""
        folder = self.tmp / f"folder-{len(list(self.tmp.iterdir()))}"
        folder.mkdir()
        if config is not None:
            (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        if weights is not None:
            (folder / name).write_bytes(weights)
        return folder

    def model_folder(self, config: dict[str, Any]) -> Path:
        folder = self.folder(config)
        model = nyala.load(folder, random_init=True).model
        checkpoint.save_file({name: t.numpy() for name, t in model.state_dict().items()}, folder / "model.safetensors")
        return folder

    def _picture(self) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    def _data(self, name: str) -> Path:
        for colour in ("blue", "red"):
            (self.tmp / name / colour).mkdir(parents=True)
            for i in range(10):
                (self.tmp / name / colour / f"{i}.png").write_bytes(self.picture)
        return self.tmp / name

    # ---- mistakes that take more than an expression

    def backward_twice(self) -> None:
        x = nyala.ones(3, requires_grad=True)
        y = (x * x).sum()
        y.backward()
        y.backward()

    def write_what_is_kept(self) -> None:
        x = nyala.ones(3, requires_grad=True) * 2
        y = (x * x).sum()
        x.add_(1)
        y.backward()

    def without_init(self) -> None:
        class Forgetful(nn.Module):
            def __init__(self) -> None:
                self.layer = nn.Linear(1, 1)

        Forgetful()

    def on_a_gpu(self, cupy: ModuleType | None) -> None:
        """With this module for CuPy; None: it is not installed."""
        devices.cupy.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "cupy", cupy)
            nyala.load(self.resnet, device="cuda")

    def without_a_gpu(self) -> None:
        cupy: Any = ModuleType("cupy")
        cupy.is_available = bool  # False
        self.on_a_gpu(cupy)

    def misspelt_state(self) -> dict[str, Any]:
        state = {name.replace("head", "haed"): t for name, t in self.net.state_dict().items()}
        return {**state, "stem.conv.weight": nyala.zeros(8, 4, 3, 3)}

    def texts(self, inputs: Any) -> Any:
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "text"]
        (self.bert / "vocab.txt").write_text("\n".join(tokens))
        try:
            return nyala.load(self.bert)(inputs)
        finally:
            (self.bert / "vocab.txt").unlink()

    def recipe(self, *overrides: str) -> Any:
        return recipes.load_recipe("vision/fashion-lite0", overrides)

    def recipe_file(self) -> Path:
        """A run of three steps."""
        recipe = self.tmp / "tiny.toml"
        recipe.write_text(
            f'schema = 1\n[data]\nname = "{self.data}"\nworkers = 0\nbatch_size = 4\n[model]\nname = "{self.resnet}"\n'
            '[optim]\ntype = "adamw"\n[train]\nsteps = 3\n'
        )
        return recipe

    def run(self, *overrides: str, folder: str = "") -> Any:
        recipe = self.recipe_file()
        run = recipes.create_run(
            recipes.load_recipe(recipe, overrides), self.tmp / (folder or f"run-{len(list(self.tmp.iterdir()))}")
        )
        return recipes.train(run)

    def damaged_run(self, manifest: str) -> Path:
        folder = self.tmp / "damaged-run"
        recipes.create_run(recipes.load_recipe(self.recipe_file()), folder)
        (folder / "manifest.json").write_text(manifest)
        return folder

    def run_twice(self) -> None:
        self.run("seed=1", folder="a-run")
        self.run("seed=2", folder="a-run")
