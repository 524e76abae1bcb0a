"""Whole runs on sounds with transcripts: a tiny Whisper that writes and a tiny wav2vec 2.0 that spells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.audio.ctc.letters import Letters
from nyala.audio.datasets.utterances import Utterance
from nyala.core.random import key
from nyala.errors import DataError, RecipeError, UnknownNameError
from nyala.recipes.data import speech
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.judging import judge
from nyala.recipes.language import config
from nyala.recipes.language.schema import Speed
from nyala.recipes.proof.verify import verify
from nyala.recipes.training import scores, setup, trainer
from nyala.recipes.training.objectives.speech import SpeechResult

KINDS = ("writes", "spells", "spells anew")


@pytest.fixture
def recipe(tmp_path: Path, tiny_speech: Path, tiny_whisper: Path, tiny_ctc: Path, request: pytest.FixtureRequest) -> Path:
    kind = getattr(request, "param", "writes")
    model = tiny_whisper if kind == "writes" else tiny_ctc
    path = tmp_path / f"{kind.replace(' ', '-')}.toml"
    path.write_text(
        f"""schema = 1
seed = 2
[data]
name = "{tiny_speech}"
batch_size = 4
eval_batch_size = 5
workers = 0
augment = [{{ type = "gain" }}, {{ type = "noise" }}]
[model]
name = "{model}"
new_head = {str(kind != "spells").lower()}
[optim]
type = "adamw"
lr = 0.01
[train]
epochs = 3
hash_every = 5
checkpoint = {{ every = 7 }}
best = {{ metric = "wer" }}
"""
    )
    return path


def scores_of(run: Any) -> dict[str, Any]:
    return next(r for r in metrics.read(run.folder / runs.METRICS) if r["kind"] == "final")


@pytest.mark.parametrize("recipe", KINDS, indirect=True)
def test_it_learns_stops_goes_on_loads_and_is_verified(recipe: Path, tmp_path: Path) -> None:
    loaded = config.load(recipe)
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    trainer.train(whole)
    trainer.train(stopped, stop_after=9)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    losses = [r["loss"] for r in metrics.read(whole.folder / runs.METRICS) if r["kind"] == "step"]
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    found = scores_of(whole)
    assert {"wer", "cer", "accuracy", "loss"} < set(found)
    pipe = nyala.load(str(whole.folder))
    lines = [json.loads(line) for line in (whole.folder / "predictions.jsonl").read_text().splitlines()]
    test = setup.prepare(loaded.recipe).source.test.inputs
    for line, one in list(zip(lines, test, strict=True))[:3]:
        assert line["text"].lower() == one.text
        assert pipe(one.sound).text == line["predicted_text"]  # the pipeline writes what the run's evaluation did
    judged = judge.evaluate(str(whole.folder), batch_size=5)
    assert judged.assessment.found["wer"].value == pytest.approx(found["wer"])
    assert "word error rate" in str(judged) and "<audio" in (whole.folder / "report.html").read_text()
    judged.save(tmp_path / "page.html")
    assert "<audio" in (tmp_path / "page.html").read_text()
    assert verify(whole.folder).level == "bitwise"


@pytest.mark.parametrize("recipe", ["spells anew"], indirect=True)
def test_a_new_alphabet_is_that_of_the_training_part(recipe: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe, ["train.steps=2", "train.epochs=none"]), tmp_path / "run")
    trainer.train(run)
    assert json.loads((run.folder / "model/vocab.json").read_text()) == {
        "<pad>": 0, "|": 1, "a": 2, "h": 3, "i": 4, "l": 5, "<unk>": 6,
    }  # fmt: skip
    written = json.loads((run.folder / "model/config.json").read_text())
    assert (written["vocab_size"], written["pad_token_id"]) == (7, 0) and len(written["id2label"]) == 2
    assert nyala.load(str(run.folder)).letters.lower


def test_what_a_whisper_must_know_goes_with_its_weights(recipe: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe, ["train.steps=1", "train.epochs=none"]), tmp_path / "run")
    trainer.train(run)
    told = json.loads((run.folder / "model/generation_config.json").read_text())
    assert told["suppress_tokens"] == [0] and told["begin_suppress_tokens"] == [4] and not told["is_multilingual"]
    front = json.loads((run.folder / "model/preprocessor_config.json").read_text())
    assert (front["n_samples"], front["nb_max_frames"], front["chunk_length"]) == (16_000, 100, 1)
    pipe = nyala.load(str(run.folder))
    assert (pipe.suppress, pipe.suppress_first) == ((0,), (4,))


def test_accumulated_batches_are_one(recipe: Path, tmp_path: Path) -> None:
    losses = []
    for name, more in {"one": ["data.batch_size=8"], "two": ["train.accumulate=2"]}.items():
        run = runs.create(config.load(recipe, ["train.steps=3", "train.epochs=none", "data.augment=[]", *more]), tmp_path / name)
        trainer.train(run)
        losses.append([r["loss"] for r in metrics.read(run.folder / runs.METRICS) if r["kind"] == "step"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_what_does_not_fit_is_told(recipe: Path, tiny_bert: Path, tiny_ast: Path, tiny_ctc: Path) -> None:
    for other in (tiny_bert, tiny_ast):
        with pytest.raises(RecipeError, match="recognises no speech, and the data are sounds with transcripts"):
            setup.prepare(config.load(recipe, [f"model.name={other}"]).recipe)
    with pytest.raises(UnknownNameError, match="knows English alone"):
        setup.prepare(config.load(recipe, ['model.language="de"']).recipe)
    with pytest.raises(RecipeError, match="spells what it hears, in one language"):
        setup.prepare(config.load(recipe, [f"model.name={tiny_ctc}", 'model.language="de"']).recipe)
    with pytest.raises(RecipeError, match="random_part is not for sounds with transcripts"):
        setup.prepare(config.load(recipe, ['data.augment=[{type="random_part"}]']).recipe)


def test_sounds_that_are_too_long_or_too_short_for_their_text(recipe: Path, tiny_ctc: Path) -> None:
    writes = setup.prepare(config.load(recipe).recipe).task
    with pytest.raises(DataError, match=r"lasts 1.5 s: the model hears 1 s at once"):
        writes.prepare(Utterance((np.ones(12_000, np.float32), 8_000), "la"))
    spells = setup.prepare(config.load(recipe, [f"model.name={tiny_ctc}", "model.new_head=false"]).recipe).task
    sound = (np.random.default_rng(0).normal(0, 0.1, 1000).astype(np.float32), 8_000)  # 3 frames
    with pytest.raises(DataError, match=r"has 3 frames for the 6 letters of 'hello'"):
        spells.prepare(Utterance(sound, "hello"))
    # played at its own speed where, played faster, it would be too short for its text
    frames = {int(spells.prepare(Utterance(sound, "his"), [Speed(by=0.5)], key(i, "speed"))[1][0]) for i in range(8)}
    assert min(frames) == 3 < max(frames)


def test_letters_that_an_alphabet_lacks_are_mistakes() -> None:
    letters = Letters(("-", " ", "a", "b", "<unk>"), 0, " ", frozenset({"-", "<unk>"}), 4, True)
    assert speech.spelled("A-b, Ä!", letters) == "a b ä"
    from nyala.recipes.training.objectives import Spelled

    assert Spelled(letters)._text(np.array(letters.encode("a bä"))) == "a b\u0294"


def test_error_rates_count_words_and_letters() -> None:
    result = SpeechResult(["one two", "Three."], ["one too", "three"], np.array([2.0, 1.0]), np.array([4, 2]))
    found = result.record()
    assert found == {"loss": 0.5, "wer": pytest.approx(1 / 3), "cer": pytest.approx(1 / 12), "accuracy": 0.5}
    assert result.resampled(np.array([0, 2]))["wer"] == 0.0
    shown = result.shown([None, None], 3)
    assert [s["index"] for s in shown] == [0, 1] and shown[1]["label"] == shown[1]["predicted"]
    assert scores.better("wer", 0.1, 0.2) and not scores.better("wer", 0.3, 0.2) and scores.better("accuracy", 0.3, 0.2)
