"""The built-in recipes: the first steps of each have the losses they are known to have, in small and on their real weights."""

from __future__ import annotations

import json
from pathlib import Path

import nyala
import pytest
from nyala.hub.catalogue import find
from nyala.recipes import catalog
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.training import trainer
from nyala.vision.models import efficientnet

TINY = ("data.limit_train=64", "data.limit_test=24", "data.batch_size=8", "data.eval_batch_size=8", "data.workers=0")
# As recorded on an x86-64 with AVX-512. Another CPU rounds differently, so they are not compared bit by bit.
SMALL = json.loads((Path(__file__).parents[1] / "goldens" / "recipes.json").read_text())


@pytest.fixture(scope="module")
def random_lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in timm's layout with an EfficientNet-Lite0 of random weights."""
    folder = tmp_path_factory.mktemp("random-lite0")
    card = find("tf_efficientnet_lite0")
    nyala.manual_seed(7)
    model = efficientnet.build(card.config)
    nyala.checkpoint.save_file({n: t.numpy() for n, t in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(card.config))
    return folder


@pytest.fixture(scope="module")
def clothes_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in timm's layout with a residual network of random weights that knows Fashion-MNIST's classes."""
    from nyala.vision.datasets import FashionMNIST
    from nyala.vision.models import resnet

    folder = tmp_path_factory.mktemp("clothes-teacher")
    config = {"architecture": "resnet18", "num_classes": 10, "label_names": list(FashionMNIST.classes),
              "model_args": {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_channels": 8},
              "pretrained_cfg": {"input_size": [3, 28, 28], "crop_pct": 1.0}}  # fmt: skip
    nyala.manual_seed(7)
    model = resnet.build(config)
    nyala.checkpoint.save_file({n: t.numpy() for n, t in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def in_small(name: str, request: pytest.FixtureRequest) -> list[str]:
    """Overrides that leave a recipe as it is, but for the size of its data and the weights it starts from."""
    if name in ("vision/scenes-unet", "vision/shapes-detr"):
        return [*TINY]
    if name == "vision/fashion-distill":
        return [*TINY, f"train.distill.teacher={request.getfixturevalue('clothes_teacher')}"]
    if "dinov2" in name:
        return [*TINY, f"model.name={Path(__file__).parents[1] / 'goldens' / 'vision' / 'dinov2'}", "model.image_size=32"]
    if name.startswith("vision/"):
        return [*TINY, f"model.name={request.getfixturevalue('random_lite0')}", "model.image_size=32"]
    if name == "audio/voices-ast":
        sizes = [f"model.sizes.{key}={value}" for key, value in request.getfixturevalue("ast_sizes").items()]
        return [*TINY, f"data.name={request.getfixturevalue('tiny_sounds')}", *sizes]
    if name == "audio/voices-ast-upper":
        sounds, model = (request.getfixturevalue(fixture) for fixture in ("tiny_sounds", "tiny_ast"))
        return [*TINY, f"data.name={sounds}", f"model.name={model}", 'model.unfreeze=["*.encoder.layer.1.*", "classifier"]']
    if name == "audio/numbers-whisper":
        model = Path(__file__).parents[1] / "goldens" / "audio" / "whisper"
        sounds = request.getfixturevalue("tiny_sounds")
        shape = ["model.max_seconds=none", 'model.unfreeze=["encoder.layers.1", "@head"]']
        return [*TINY, f"data.name={sounds}", f"model.name={model}", *shape]
    if name in ("audio/whisper-words", "audio/whisper-words-lora", "audio/ctc-words", "audio/ctc-digits"):
        data = [*TINY, f"data.name={request.getfixturevalue('tiny_speech')}"]
        model = "tiny_whisper" if "whisper" in name else "tiny_ctc"
        return data if name == "audio/ctc-digits" else [*data, f"model.name={request.getfixturevalue(model)}"]
    if name in ("text/mail-summaries", "text/mail-spans"):
        sizes = {"vocab_size": 400, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
        shape = [f"model.sizes.{key}={value}" for key, value in sizes.items()]
        return [*TINY, *shape, "model.random_init=true", "model.tokenizer.vocab_size=400", "model.max_length=32"]
    model = request.getfixturevalue("tiny_llama" if "smollm2" in name else "tiny_bert")
    return [*TINY, f"model.name={model}", "model.max_length=16"]


def losses(name: str, overrides: list[str], steps: int, folder: Path) -> list[float]:
    run = runs.create(config.load(name, overrides), folder)
    trainer.train(run, stop_after=steps)
    return [r["loss"] for r in metrics.read(run.folder / runs.METRICS) if r["kind"] == "step"]


@pytest.mark.parametrize("name", catalog.names())
def test_the_first_losses_in_small(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert losses(name, in_small(name, request), 5, tmp_path / "run") == pytest.approx(SMALL[name], abs=2e-3)


def test_recipes_stay_short() -> None:
    assert all(len(catalog.find(name).read_text().splitlines()) < 60 for name in catalog.names())
    assert set(SMALL) == set(catalog.names())


# As recorded on an x86-64 with AVX-512. Another CPU rounds differently, so they are not compared bit by bit.
LOSSES = {
    "audio/numbers-whisper": [3.44233, 3.25294],
    "audio/voices-ast": [1.98159, 1.86299],
    "vision/fashion-lite0": [2.35227, 2.34038],
    "text/spam-minilm": [0.68705, 0.70452],
}


@pytest.mark.weights
@pytest.mark.parametrize("name", LOSSES)
def test_the_first_losses(name: str, tmp_path: Path) -> None:
    assert losses(name, [], 2, tmp_path / "run") == pytest.approx(LOSSES[name], abs=5e-3)
