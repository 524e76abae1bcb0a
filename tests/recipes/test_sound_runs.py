"""Whole runs on sounds: folders and manifests of sound files through a tiny AST, changed at random, and what becomes of them."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.audio import io as sound
from nyala.audio.transforms.frontends import Fbank
from nyala.core import random
from nyala.errors import DataError, GradError, RecipeError
from nyala.recipes.data import datasets, tasks
from nyala.recipes.data.augment import SOUND
from nyala.recipes.finetune import finetune
from nyala.recipes.folder import run as runs
from nyala.recipes.judging import judge
from nyala.recipes.language import config
from nyala.recipes.language.schema import Data, Gain, RandomPart, SpecAugment
from nyala.recipes.proof.verify import verify
from nyala.recipes.training import freezing, setup, trainer

EVERY = (
    '[{type="random_part"}, {type="time_shift", seconds=0.02}, {type="speed"}, {type="gain"}, {type="noise"}, {type="room"}, '
    '{type="noise", colour="pink"}, {type="spec_augment"}]'
)


@pytest.fixture
def recipe(tmp_path: Path, tiny_sounds: Path, tiny_ast: Path) -> Path:
    path = tmp_path / "sounds.toml"
    path.write_text(
        f"""schema = 1
seed = 3
[data]
name = "{tiny_sounds}"
batch_size = 8
workers = 0
augment = {EVERY}
[model]
name = "{tiny_ast}"
[optim]
type = "adamw"
lr = 0.003
[train]
epochs = 8
mixup = 0.2
checkpoint = {{ every = 4 }}
"""
    )
    return path


def test_a_stopped_run_ends_the_same_and_repeats(recipe: Path, tmp_path: Path) -> None:
    loaded = config.load(recipe, ["train.epochs=2"])
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    trainer.train(whole)
    trainer.train(stopped, stop_after=6)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/preprocessor_config.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    verdict = verify(whole.folder)
    assert verdict.equal and verdict.level == "bitwise"


def test_it_learns_and_loads(recipe: Path, tmp_path: Path, tiny_sounds: Path) -> None:
    run = runs.create(config.load(recipe, ["data.augment=[]", "train.mixup=0.0", "train.epochs=8"]), tmp_path / "run")
    assert trainer.train(run)["accuracy"] >= 0.75
    pipe = nyala.load(str(run.folder))
    assert pipe.labels == ("high", "low", "noise") and pipe.preprocess == Fbank(32, 32, 16_000, -6.0, 4.0)
    at = np.arange(2_400) / 8_000
    found = pipe([(0.3 * np.sin(2 * np.pi * 300 * at), 8_000), tiny_sounds / "noise" / "01.wav"])
    assert [p.label for p in found] == ["low", "noise"]


def test_the_report_lets_samples_be_heard(recipe: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe, ["train.epochs=1"]), tmp_path / "run")
    trainer.train(run)
    page = (run.folder / "report.html").read_text()
    players = re.findall(r'<audio controls preload="none" src="data:audio/wav;base64,([^"]+)">', page)
    assert 3 <= len(players) <= 24
    for content in players:
        samples, rate = sound.read(io.BytesIO(base64.b64decode(content)))
        assert samples.shape[0] == 1 and rate in (8_000, 11_025) and abs(samples.shape[1] / rate - 0.3) < 0.01
    assert len((run.folder / "data.sha256").read_text().splitlines()) == 60
    found = judge.evaluate(run.folder)
    assert len(found.assessment) == 12
    found.save(tmp_path / "page.html")
    assert "<audio" in (tmp_path / "page.html").read_text()


def test_the_model_folder_is_in_transformers_layout(recipe: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe, ["train.epochs=1", "model.max_seconds=0.2"]), tmp_path / "run")
    trainer.train(run)
    described = json.loads((run.folder / "model" / "preprocessor_config.json").read_text())
    assert described["feature_extractor_type"] == "ASTFeatureExtractor" and described["max_length"] == 18
    assert (described["mean"], described["std"], described["sampling_rate"]) == (-6.0, 4.0, 16_000)
    made = json.loads((run.folder / "model" / "config.json").read_text())
    assert made["max_length"] == 18 and made["id2label"] == {"0": "high", "1": "low", "2": "noise"}
    published = nyala.checkpoint.load_file(run.folder / "model" / "model.safetensors")
    assert published["audio_spectrogram_transformer.embeddings.position_embeddings"].shape == (1, 2 + 4 * 2, 16)
    assert nyala.load(run.folder).preprocess.frames == 18


def test_fine_tuning_by_rules(tiny_sounds: Path, tiny_ast: Path, tmp_path: Path) -> None:
    done = finetune(tiny_ast, tiny_sounds, folder=tmp_path / "run", epochs=2, overrides=["data.workers=0"])
    text = done.recipe.read_text()
    assert "max_seconds = 0.335" in text and "spec_augment" in text and "random_part" not in text
    assert "95 of 100 sounds last at most 0.30 s" in text
    assert done.pipeline(tiny_sounds / "low" / "00.wav").label in ("high", "low", "noise")


def test_a_model_of_samples_learns_too(tiny_sounds: Path, tmp_path: Path) -> None:
    model = Path(__file__).parents[1] / "goldens" / "audio" / "wav2vec2_classifier"
    done = finetune(model, tiny_sounds, folder=tmp_path / "run", epochs=1, overrides=["data.workers=0", "data.limit_train=16"])
    text = done.recipe.read_text()
    assert "max_seconds = 0.5" in text and "layerdrop = 0.0" in text and "spec_augment" not in text
    assert (done.folder / "model" / "preprocessor_config.json").is_file()
    assert done.pipeline(tiny_sounds / "low" / "00.wav").label in ("high", "low", "noise")


def test_a_layer_that_was_left_out_is_told() -> None:
    dropped = nn.Linear(2, 2)
    dropped.config = SimpleNamespace(layerdrop=0.1)  # type: ignore[assignment]
    with pytest.raises(
        GradError, match=r"no gradient reaches weight, bias.*\(layerdrop=0\.1\).*model\.dropout=\{layerdrop=0\.0\}"
    ):
        freezing.check_gradients(dropped)


# ---- reading them


def rows(folder: Path, tiny_sounds: Path, column: str) -> Path:
    files = sorted(tiny_sounds.glob("*/0[0-5].wav"))
    table = "\n".join(f"{path},{path.parent.name}" for path in files)
    (folder / "list.csv").write_text(f"{column},label\n{table}\n")
    return folder / "list.csv"


@pytest.mark.parametrize("column", ["audio", "path", "Wav-Path", "clip"])
def test_a_manifest_of_sounds(column: str, tiny_sounds: Path, tmp_path: Path) -> None:
    source = datasets.load(Data(name=str(rows(tmp_path, tiny_sounds, column))), 0)
    assert source.kind == "sound" and source.labels == ["high", "low", "noise"]
    assert len(source.train) + len(source.validation) + len(source.test) == 18


def test_a_column_can_be_named(tiny_sounds: Path, tmp_path: Path) -> None:
    file = rows(tmp_path, tiny_sounds, "where")
    named = Data(name=str(file), columns=nyala.recipes.language.schema.Columns(audio="where", label="label"))
    assert datasets.load(named, 0).kind == "sound"
    with pytest.raises(DataError, match="no column 'wo'"):
        datasets.load(Data(name=str(file), columns=nyala.recipes.language.schema.Columns(audio="wo")), 0)


def test_a_sound_that_is_not_there_or_none_is_named(tiny_sounds: Path, tmp_path: Path) -> None:
    file = rows(tmp_path, tiny_sounds, "audio")
    file.write_text(file.read_text() + "gone.wav,low\n")
    with pytest.raises(DataError, match=r"(?s)list\.csv:20: there is no file .*gone\.wav.*a sound's path counts from"):
        datasets.read(Data(name=str(file)))
    for name in ("a", "b"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "1.wav").write_bytes(b"RIFF nothing")
    part = datasets.read(Data(name=str(tmp_path / "broken"))).train
    with pytest.raises(DataError, match=r"broken/a/1\.wav cannot be read as sound"):
        tasks.Sounds(Fbank(32, 32)).prepare(part.inputs[0])


def test_split_folders_and_their_hash(tiny_sounds: Path, tmp_path: Path) -> None:
    for part, names in {"train": ("00", "01", "02"), "test": ("03", "04")}.items():
        for kind in ("high", "low"):
            (tmp_path / part / kind).mkdir(parents=True)
            for name in names:
                (tmp_path / part / kind / f"{name}.wav").write_bytes((tiny_sounds / kind / f"{name}.wav").read_bytes())
    first = datasets.read(Data(name=str(tmp_path)))
    assert (len(first.train), len(first.test or ())) == (6, 4)
    (tmp_path / "test" / "low" / "04.wav").write_bytes((tiny_sounds / "low" / "05.wav").read_bytes())
    second = datasets.read(Data(name=str(tmp_path)))
    assert first.hashes["train"] == second.hashes["train"] and first.hashes["test"] != second.hashes["test"]


# ---- what one sample becomes


def test_a_random_part_is_cut_out_of_a_longer_sound(tmp_path: Path) -> None:
    steps = np.repeat(np.linspace(0, 0.9, 10), 1_600)  # a second, each tenth as loud as its number
    sound.write(tmp_path / "long.wav", steps, 16_000, floating=True)
    front = Fbank(8, 32, mean=None, std=None)  # hears 0.095 s
    task, seen = tasks.Sounds(front), set()
    for seed in range(40):
        frames = task.prepare(tmp_path / "long.wav", [RandomPart()], random.key(seed, "t"))
        again = task.prepare((tmp_path / "long.wav").read_bytes(), [RandomPart()], random.key(seed, "t"))
        np.testing.assert_array_equal(frames, again)
        seen.add(frames.tobytes())
    assert len(seen) > 15
    plain = task.prepare(tmp_path / "long.wav")
    np.testing.assert_array_equal(plain, task.prepare(tmp_path / "long.wav", [RandomPart()]))  # no key, no change
    np.testing.assert_array_equal(plain, front.one(np.zeros(1_520, np.float32)))


def test_changes_of_samples_come_before_those_of_frames(tiny_sounds: Path) -> None:
    task, path, key = tasks.Sounds(Fbank(32, 32)), tiny_sounds / "low" / "00.wav", random.key(1, "t")
    plain, louder = task.prepare(path), task.prepare(path, [Gain(db=(-6.0, -6.0))], key)
    np.testing.assert_allclose(plain - louder, 0.6 * np.log(10) * 2 / 2 / (2 * 4.5689974), atol=0.2)
    covered = task.prepare(path, [Gain(db=(-6.0, -6.0)), SpecAugment(time_width=0.5, band_width=0.5)], key)
    same = covered == louder
    assert 0.1 < same.mean() < 0.95


@pytest.mark.parametrize("seconds", [0.03, 0.5])
def test_whatever_the_length_a_sample_has_the_models_size(seconds: float) -> None:
    task, key = tasks.Sounds(Fbank(32, 32)), random.key(4, "t")
    wave = 0.1 * np.random.default_rng(1).normal(size=round(8_000 * seconds)).astype(np.float32)
    changes = [kind() for kind in SOUND]
    prepared = [task.prepare((wave, 8_000), changes, key.fold(i)) for i in range(5)]
    assert task.collate(prepared, np.arange(5)).shape == (5, 32, 32)
    assert all(np.isfinite(p).all() for p in prepared)


# ---- what makes no sense


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.cutmix=0.5", "train.cutmix: sounds cannot be blended"),
        ("model.image_size=32", "model.image_size: the data are sounds"),
        ("model.max_length=32", "model.max_length: the data are sounds"),
        ('data.augment=[{type="horizontal_flip"}]', r"data.augment\[0\]: horizontal_flip is not for sounds"),
        ("model.max_seconds=9", r"model.max_seconds is 9: 898 frames: this AST has positions for 8 to 32"),
        ("model.max_seconds=0.01", r"model.max_seconds is 0.01: 1 frames"),
    ],
)
def test_options_that_do_not_fit_are_refused(override: str, message: str, recipe: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        setup.prepare(config.load(recipe, [override]).recipe)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('data.augment=[{type="gain"}, {type="random_part"}]', r"data.augment\[1\]: random_part comes after other changes"),
        ('data.augment=[{type="spec_augment"}, {type="gain"}]', r"data.augment\[0\]: spec_augment comes before other changes"),
        ('data.augment=[{type="noise", snr=[30.0, 10.0]}]', r"data.augment\[0\].snr: the lower bound 30 is above"),
        ("model.sizes={hidden_size=8}", "model.sizes: the weights have sizes of their own"),
    ],
)
def test_mistakes_across_keys(override: str, message: str, recipe: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        config.load(recipe, [override])


def test_other_kinds_of_models_are_refused(recipe: Path, tiny_bert: Path, tiny_model: Path) -> None:
    for model, kind in ((tiny_bert, "text"), (tiny_model, "vision")):
        with pytest.raises(RecipeError, match=f"is for {kind} and the data are sounds"):
            setup.prepare(config.load(recipe, [f"model.name={model}"]).recipe)


def test_from_scratch_at_other_sizes(recipe: Path) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "max_length": 40}
    table = ", ".join(f"{key}={value}" for key, value in sizes.items())
    made: Any = setup.prepare(
        config.load(recipe, ["model.name=ast-speech-commands", "model.random_init=true", f"model.sizes={{{table}}}"]).recipe
    )
    assert made.model.config.hidden_size == 8 and made.pipeline.preprocess.frames == 40 and made.weights == {}
    with pytest.raises(nyala.errors.ArgumentError, match="no option 'widht'"):
        setup.prepare(
            config.load(recipe, ["model.name=ast-speech-commands", "model.random_init=true", "model.sizes={widht=3}"]).recipe
        )
