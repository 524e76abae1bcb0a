"""What holds for every error, and mistakes that end a training before they do harm."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import errors, nn
from nyala.errors import ArgumentError, DataError, IndexRangeError, NyalaError, ShapeError
from nyala.recipes.data import datasets
from nyala.recipes.language import names

ROOT = Path(nyala.__file__).parent


def _raised(path: Path) -> list[str]:
    """Where ``path`` makes an error without saying what to do about it."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, NyalaError)}
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    made = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id in kinds and c.args]
    return [f"{path.relative_to(ROOT)}:{c.lineno}" for c in made if not any(k.arg == "fix" for k in c.keywords)]


def test_every_error_that_nyala_raises_has_a_remedy() -> None:
    files = [p for part in ("core", "hub", "vision", "audio", "text", "recipes") for p in sorted((ROOT / part).rglob("*.py"))]
    assert len(files) > 150 and [place for path in files for place in _raised(path)] == []


def test_every_class_of_error_has_its_own_code_and_an_exit_code() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, NyalaError)]
    assert len({k.code for k in kinds}) == len(kinds) and all(k.exit_code in (1, 2) for k in kinds)


def test_a_wrong_label_stops_a_training_before_its_step() -> None:
    model, data = nn.Linear(3, 2), [(np.ones(3, np.float32), label) for label in (0, 1, 1, 0, 2, 1)]
    optimizer = nyala.optim.AdamW(model.parameters(), lr=0.1)
    done = []
    with pytest.raises(IndexRangeError, match=r"label 2 of sample 0, there are 2 classes"):
        for inputs, labels in nyala.data.DataLoader(data, batch_size=4):
            before = model.weight.detach().numpy().copy()
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            done.append(before)
    assert len(done) == 1 and np.array_equal(model.weight.detach().numpy(), before)


def test_a_wrong_label_in_a_dataset_ends_a_run_before_it_begins(workshop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> datasets.Raw:
        labels = np.array([0, 1] * 9 + [5, 0], np.int64)
        return datasets.Raw("image", ["blue", "red"], datasets.Part([np.zeros((16, 16, 3), np.uint8)] * 20, labels), None, {})

    monkeypatch.setitem(datasets.REGISTERED, "mislabelled", read)
    monkeypatch.setattr(names, "DATASETS", (*names.DATASETS, "mislabelled"))
    with pytest.raises(
        DataError, match=r"sample 18 of mislabelled, training part has label 5 and there are 2 classes \(0 to 1\)"
    ):
        workshop.run("data.name=mislabelled", folder="mislabelled-run")
    assert (
        not list((workshop.tmp / "mislabelled-run").glob("checkpoints/*"))
        and not (workshop.tmp / "mislabelled-run/manifest.json").exists()
    )


def test_a_token_of_another_tokenizer_ends_a_run_and_names_its_sample(workshop: Any) -> None:
    folder = workshop.folder({**workshop.BERT, "vocab_size": 8}, name="unused")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "day", "never"]  # the last has no row in the embedding
    (folder / "vocab.txt").write_text("\n".join(words))
    lines = [f'{{"text": "{("good", "bad")[i % 2]} day{" never" if i == 7 else ""}", "label": "{i % 2}"}}' for i in range(20)]
    texts = workshop.file("days.jsonl", "\n".join(lines).encode())
    given = (f"data.name={texts}", f"model.name={folder}", "model.random_init=true")
    with pytest.raises(
        IndexRangeError, match=r"sample \d+ has token id 8 at position 3 and the vocabulary has 8.*Remedy: use the tok"
    ):
        workshop.run(*given, "train.steps=20")


@pytest.mark.parametrize(
    ("call", "near"),
    [
        (lambda: nyala.zeroes, "zeros"),
        (lambda: nyala.optimm, "optim"),
        (lambda: nyala.load_model, "load"),
    ],
)
def test_a_misspelt_name_of_the_package_gets_the_nearest(call: Callable[[], Any], near: str) -> None:
    with pytest.raises(AttributeError, match=f"nyala has no attribute .* did you mean .*'{near}'"):
        call()


def test_names_of_pytorch_that_are_elsewhere_say_where() -> None:
    with pytest.raises(AttributeError, match=r"nyala has no attribute 'save'. use nyala.checkpoint.save_file"):
        _ = nyala.save
    with pytest.raises(AttributeError, match=r"nyala has no attribute 'device'. a device is a string: 'cpu', 'cuda'"):
        _ = nyala.device
    with pytest.raises(AttributeError, match=r"nyala.utils has no attribute 'data'. nyala.data has Dataset and DataLoader"):
        _ = nyala.utils.data


def test_an_error_inside_a_model_keeps_its_path_and_its_cause() -> None:
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 2)))
    with pytest.raises(ShapeError) as caught:
        model(nyala.zeros(1, 2))
    assert caught.value.modules == ["1", "1"] and str(caught.value).startswith("at 1.1 (Linear): linear: ")
    with pytest.raises(ArgumentError) as other:
        nn.GroupNorm(1, 2)(np.zeros((1, 2)))
    assert isinstance(other.value.__cause__, AttributeError)


def test_an_attribute_error_in_somebodys_forward_stays_what_it_is() -> None:
    class Mine(nn.Module):
        def forward(self, sizes: list[int]) -> int:
            return sizes.total  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="'list' object has no attribute 'total'"):
        Mine()([1, 2])


@pytest.mark.parametrize(
    ("variable", "value", "call", "remedy"),
    [
        ("NYALA_HUB_TIMEOUT", "soon", lambda: nyala.load("org/name"), "set it to seconds"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(
    variable: str, value: str, call: Callable[[], Any], remedy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv(variable, value)
    with pytest.raises(ArgumentError, match=f"{variable}={value}. Remedy: .*{remedy}"):
        call()
