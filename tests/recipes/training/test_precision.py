"""Runs in half precision and on a device: they learn, repeat themselves, and go on with the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nyala
import pytest
from nyala import checkpoint
from nyala.core.kernels import CPU
from nyala.errors import OutOfMemoryError, RecipeError
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.language.schema import digest
from nyala.recipes.proof import verify
from nyala.recipes.training import setup, trainer

Trained = Callable[..., runs.Run]
KINDS = ("bf16", "fp16", "bf16-weights")


def records(run: runs.Run, kind: str) -> list[dict[str, Any]]:
    return [r for r in metrics.read(run.folder / runs.METRICS) if r["kind"] == kind]


def results(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors")]


def weights(run: runs.Run) -> dict[str, Any]:
    return checkpoint.load_file(run.folder / runs.MODEL / "model.safetensors")


@pytest.mark.parametrize("precision", KINDS)
def test_it_learns_in_half_precision(trained: Trained, precision: str) -> None:
    run = trained("run", f"train.precision={precision}", "train.epochs=6")
    steps = records(run, "step")
    assert steps[-1]["loss"] < steps[0]["loss"] / 2
    assert records(run, "final")[0]["accuracy"] >= 0.7
    dtypes = {name: a.dtype for name, a in weights(run).items() if a.dtype.kind in "fV"}
    kept = nyala.bfloat16 if precision == "bf16-weights" else nyala.float32
    assert {d for name, d in dtypes.items() if "running" not in name} == {kept}
    assert {d for name, d in dtypes.items() if "running" in name} == {nyala.float32}


@pytest.mark.parametrize("precision", KINDS)
def test_stopped_it_goes_on_with_the_same_bytes(recipe_file: Path, tmp_path: Path, trained: Trained, precision: str) -> None:
    given = f"train.precision={precision}"
    whole = trained("whole", given, "train.ema=0.9")
    run = runs.create(config.load(recipe_file, (given, "train.ema=0.9")), tmp_path / "stopped")
    trainer.train(run, stop_after=7)
    trainer.train(runs.open_run(tmp_path / "stopped"))
    assert results(run.folder) == results(whole.folder)


def test_a_run_in_half_precision_is_verified_bitwise(trained: Trained) -> None:
    assert verify.verify(trained("run", "train.precision=bf16").folder).level == "bitwise"


def test_a_step_that_overflows_is_left_out_and_the_scale_falls(
    trained: Trained, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nyala.core.amp import GradScaler
    from nyala.recipes.training import precision

    monkeypatch.setattr(precision, "GradScaler", lambda device: GradScaler(device, init_scale=2.0**40))
    run = trained("run", "train.precision=fp16", "train.epochs=6", "train.watchdog.loss=10.0")
    steps = records(run, "step")
    left_out = [r["step"] for r in steps if r["grad_norm"] in ("inf", "nan")]
    assert left_out[:10] == list(range(1, 11)) and len(left_out) < len(steps) - 5
    assert "inf" not in (run.folder / "report.html").read_text().split("Gradient norm")[1][:2000]
    given = ("train.precision=fp16", "train.epochs=6", "train.watchdog.loss=10.0")
    stopped = runs.create(config.load(recipe_file, given), tmp_path / "stopped")
    trainer.train(stopped, stop_after=5)
    trainer.train(runs.open_run(tmp_path / "stopped"))
    assert results(run.folder) == results(stopped.folder)


def test_half_precision_is_another_recipe_and_the_default_is_the_old_one(recipe_file: Path) -> None:
    plain = digest(config.load(recipe_file).recipe)
    assert digest(config.load(recipe_file, ("train.precision=fp32", "train.device=cpu")).recipe) == plain
    assert digest(config.load(recipe_file, ("train.precision=bf16",)).recipe) != plain


def test_on_a_gpu_it_learns_the_same(trained: Trained, cuda: str) -> None:
    given = ("train.epochs=1", "train.ema=0.9")
    there, here = trained("there", *given, f"train.device={cuda}"), trained("here", *given)
    for a, b in zip(records(there, "step"), records(here, "step"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)
    assert there.manifest()["environment"]["device"] != "cpu"
    with_half = trained("half", "train.epochs=1", "train.device=cuda", "train.precision=bf16")
    assert records(with_half, "final")[0]["loss"] == pytest.approx(records(here, "final")[0]["loss"], rel=0.3)


def test_a_device_that_is_not_there_is_told(recipe_file: Path) -> None:
    if nyala.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(RecipeError, match=r"train\.device.*CuPy"):
        setup.prepare(config.load(recipe_file, ("train.device=cuda",)).recipe)


@pytest.mark.parametrize("given", ["train.device=gpu", "train.precision=half"])
def test_unknown_devices_and_precisions_are_told(recipe_file: Path, given: str) -> None:
    with pytest.raises(RecipeError, match=given.partition("=")[0].replace(".", r"\.")):
        config.load(recipe_file, (given,))


def _room_for(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Convolutions of more pictures find no memory."""
    real = CPU.conv_forward

    def conv(x: Any, *rest: Any) -> Any:
        if len(x) > rows:
            raise MemoryError("Unable to allocate 9.0 GiB")
        return real(x, *rest)

    monkeypatch.setattr(CPU, "conv_forward", conv, raising=False)


def test_a_batch_that_finds_no_memory_is_told_with_one_that_fits(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    _room_for(monkeypatch, 3)
    large = nyala.nn.Parameter(nyala.zeros(30_000_000))
    with pytest.raises(OutOfMemoryError, match="a step with batches of 8 ran out of memory on cpu") as raised:
        trained("run", "train.accumulate=2")
    text = str(raised.value)
    assert "Unable to allocate 9.0 GiB" in text and "set data.batch_size=2 and train.accumulate=8" in text
    assert f"parameter {large.shape} float32" in text


def test_where_not_one_sample_fits_that_is_said(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    _room_for(monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match="not even one sample fits"):
        trained("run")
