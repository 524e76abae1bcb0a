"""The rules of fine-tuning: what they choose for which data, that the user has the last word, and that the table is complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nyala
import pytest
from nyala.recipes.finetune import frame, rules
from nyala.recipes.finetune.facts import Facts
from nyala.recipes.finetune.rules import decide


def facts(**changes: Any) -> Facts:
    """Pictures of a middling size, 100 samples of each of four classes."""
    count, classes = changes.pop("each", 100), changes.pop("classes", ["ant", "bee", "cat", "dog"])
    given: dict[str, Any] = {
        "kind": "image",
        "classes": classes,
        "train": count * max(1, len(classes)),
        "validation": 60,
        "test": 100,
        "counts": [count] * len(classes),
        "own_validation": False,
        "side": 300,
        "grey": False,
        "tokens": 0,
        "longest": 0,
        "model": "m",
        "parameters": 1000,
        "width": 512,
        "layers": 9,
        "native": 224,
        "positions": 0,
        "flexible": True,
        "memory": 8 << 30,
        "top": ["fc"],
        "upper": ["layer4", "fc"],
    }
    return Facts(**(given | changes))


TEXT = {"kind": "text", "side": 0, "native": 0, "tokens": 90, "longest": 400, "positions": 512, "width": 384}


SOUND = {"kind": "sound", "side": 0, "native": 0, "seconds": 1.9, "heard": 10.0, "frames": True, "width": 384}
DROPS = {**SOUND, "layerdrop": 0.1}


SPEECH = {**SOUND, "kind": "speech", "counts": [], "heard": 0.0}
SPOKEN = (SPEECH, {**SPEECH, "spells": True})


LOCATED = tuple(
    {"kind": kind, "counts": [], "head": ["new"], **more}
    for kind in ("boxes", "masks")
    for more in ({}, {"side": 100}, {"slow": ["model.backbone"]}, {"scratch": True}, {"layer_norms": False})
)


STRUCTURED = tuple({**TEXT, "kind": kind, "counts": []} for kind in ("tags", "pairs", "corpus", "seq2seq", "questions", "masked"))


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({"each": 5}, rules.PROBE),
        ({"each": 50}, rules.UPPER),
        ({"each": 500}, rules.DECAY),
        ({"each": 5000}, rules.FULL),
        ({"each": 5, **TEXT}, rules.UPPER),
        ({"each": 50, **TEXT}, rules.DECAY),
        ({"each": 5000, **TEXT}, rules.FULL),
        ({"each": 5, **SOUND}, rules.UPPER),
        ({"each": 50, **SOUND}, rules.DECAY),
    ],
)
def test_the_more_samples_the_more_learns(changes: dict[str, Any], method: str) -> None:
    plan = decide(facts(**changes), {})
    assert plan.method == method and "samples a class" in plan.because
    frozen = method in (rules.PROBE, rules.UPPER)
    assert plan.values.get("model.freeze") == (["*"] if frozen else None)
    assert ("optim.layer_decay" in plan.values) == (method == rules.DECAY)


def test_every_row_of_the_table_can_be_the_first_that_fits() -> None:
    """No row stands behind one that always fits: each is reached by some data."""
    reached = set()
    for each in (3, 15, 50, 150, 500, 5000):
        for kind in (
            {},
            TEXT,
            {"side": 20},
            {"flexible": False},
            {**TEXT, "width": 1024},
            SOUND,
            DROPS,
            *SPOKEN,
            *STRUCTURED,
            *LOCATED,
        ):
            for more in ({}, {"counts": [1, 9, 9, 9]}, {"validation": 9}):
                plan = frame.Plan(facts(each=each, **(kind | more)))
                for rule in rules.RULES:
                    reached.add((rule.name, next(i for i, row in enumerate(rule.rows) if row.holds(plan))))
                    frame.apply(rule, plan)
    assert reached == {(rule.name, i) for rule in rules.RULES for i in range(len(rule.rows))}


def test_what_writes_learns_and_what_spells_may_keep_its_alphabet() -> None:
    whisper = decide(facts(**SPEECH), {}).values
    assert whisper["model.freeze"] == ["model.encoder"] and whisper["optim.lr"] == 3e-5 and whisper["train.best.metric"] == "wer"
    assert decide(facts(**{**SPEECH, "width": 1280}), {}).values["optim.lr"] == 1e-5
    for covered in (True, False):
        plan = decide(facts(**{**SPEECH, "spells": True, "covered": covered, "top": ["lm_head"]}), {})
        assert plan.values["model.new_head"] is not covered and plan.values["model.freeze"] == ["*feature_extractor*"]
        assert plan.values["optim.lr_scale"] == {"lm_head": 10.0}
        assert ("alphabet has all" in plan.because) is covered


@pytest.mark.parametrize(("side", "size"), [(28, 96), (50, 128), (100, 224), (600, 224)])
def test_pictures_are_not_blown_up_for_nothing(side: int, size: int) -> None:
    assert decide(facts(side=side), {}).values["model.image_size"] == size
    assert "model.image_size" not in decide(facts(side=side, flexible=False), {}).values


def test_pictures_with_boxes_and_masks() -> None:
    boxes, small, slow, scratch, _, masks, *_, plain = (decide(facts(**one), {}).values for one in LOCATED)
    assert boxes["train.best.metric"] == "map" and masks["train.best.metric"] == "mean_iou" and masks["train.dice"] == 1.0
    assert (boxes["optim.lr"], scratch["optim.lr"], plain["optim.lr"]) == (1e-4, 1e-3, 1e-3)
    assert boxes["optim.lr_scale"] == {"new": 10.0} and slow["optim.lr_scale"] == {"new": 10.0, "model.backbone": 0.1}
    assert small["model.image_size"] == 128 and "model.image_size" not in boxes and "train.label_smoothing" not in masks
    assert not {"model.freeze", "optim.layer_decay"} & set(boxes)


@pytest.mark.parametrize(("tokens", "length"), [(3, 16), (90, 96), (96, 96), (400, 256)])
def test_texts_keep_what_95_of_100_need(tokens: int, length: int) -> None:
    assert decide(facts(**(TEXT | {"tokens": tokens})), {}).values["model.max_length"] == length
    assert decide(facts(**(TEXT | {"tokens": tokens, "positions": 64})), {}).values["model.max_length"] <= 64


@pytest.mark.parametrize(("seconds", "heard"), [(0.3, 0.5), (1.9, 2.0), (2.0, 2.0), (60.0, 10.0)])
def test_sounds_are_heard_as_long_as_they_last(seconds: float, heard: float) -> None:
    plan = decide(facts(**(SOUND | {"seconds": seconds})), {})
    assert plan.values["model.max_seconds"] == heard
    changes = [change["type"] for change in plan.values["data.augment"]]
    assert changes == ["random_part"] * (seconds > 10) + ["gain", "noise", "spec_augment"]
    samples = decide(facts(**(SOUND | {"frames": False})), {}).values["data.augment"]
    assert {"type": "spec_augment"} not in samples  # a model that looks at samples has no frames


def test_no_layer_is_left_out_of_a_short_training() -> None:
    assert decide(facts(**DROPS), {}).values["model.dropout"] == {"layerdrop": 0.0}
    assert "model.dropout" not in decide(facts(**SOUND), {}).values


@pytest.mark.parametrize(
    ("classes", "mirrored"),
    [
        (["cat", "dog"], True),
        (["0", "1", "10"], False),
        (["a", "b"], False),
        (["turn left", "go-ahead"], False),
        (["bright", "dull"], True),
    ],
)
def test_signs_and_sides_are_not_mirrored(classes: list[str], mirrored: bool) -> None:
    plan = decide(facts(classes=classes), {})
    assert ({"type": "horizontal_flip"} in plan.values["data.augment"]) == mirrored
    assert ("not mirrored" in plan.reasons["data.augment"]) == (not mirrored)


def test_lengths_keep_the_number_of_updates_in_bounds() -> None:
    for each in (3, 30, 300, 3000, 30000):
        for kind in ({}, TEXT):
            plan = decide(facts(each=each, **kind), {})
            assert 8 <= plan.values["data.batch_size"] <= 32 and 2 <= plan.values["train.epochs"] <= 20
    assert decide(facts(each=3000), {}).values["train.epochs"] == 2


def test_rare_classes_are_weighed() -> None:
    plan = decide(facts(counts=[10, 40, 50, 90]), {})
    assert plan.values["train.class_weights"] == "balanced" and plan.values["train.best.metric"] == "macro_f1"
    assert "9.0 times" in plan.reasons["train.class_weights"]
    assert "train.class_weights" not in decide(facts(), {}).values


def test_a_few_validation_samples_choose_nothing() -> None:
    assert decide(facts(validation=10), {}).values["train.best.use"] == "last"
    assert decide(facts(validation=100), {}).values["train.best.use"] == "best"


def test_nothing_is_decided_over_the_user() -> None:
    given = {"optim.lr": 0.5, "data.batch_size": 4, "model.freeze": [], "schedule": {"type": "constant"}}
    plan = decide(facts(each=50), given)
    assert not set(plan.values) & set(given) and not any(path.startswith("schedule.") for path in plan.values)
    assert plan.get("optim.lr") == 0.5
    few = decide(facts(each=1000), {"data.batch_size": 512})
    assert few.values["train.epochs"] > decide(facts(each=1000), {}).values["train.epochs"]  # by the batch size that holds


@pytest.mark.parametrize("said", ["model.freeze", "model.unfreeze", "model.adapter.type", "train.unfreeze"])
def test_who_says_what_learns_says_all_of_it(said: str) -> None:
    for each in (5, 50, 500):
        plan = decide(facts(each=each), {said: "x"})
        assert not {"model.freeze", "model.unfreeze", "optim.layer_decay"} & set(plan.values)
        assert plan.because.startswith("what learns is as you said")


def test_an_adapter_gets_a_rate_of_its_own() -> None:
    assert decide(facts(**TEXT), {"model.adapter.type": "dora"}).values["optim.lr"] == 1e-3
    assert decide(facts(**STRUCTURED[2]), {}).values["model.adapter.type"] == "lora"


def test_texts_that_are_guessed_are_windows_and_a_published_head_learns_no_faster() -> None:
    for kind in ("masked", "spans"):
        values = decide(facts(**{**TEXT, "kind": kind, "counts": [], "classes": []}), {}).values
        assert values["model.max_length"] == 256 and values["train.epochs"] == 3 and values["train.best.metric"] == "loss"
        assert "train.label_smoothing" not in values and "train.class_weights" not in values
    masked = {**STRUCTURED[5], "top": ["cls"]}
    assert decide(facts(**masked), {}).values["optim.lr_scale"] == {"cls": 10.0}
    assert decide(facts(**masked, fresh=False), {}).values["optim.lr_scale"] == {}
    asked = decide(facts(**{**STRUCTURED[4], "tokens": 900}), {}).values
    assert asked["model.max_length"] == 384 and asked["train.best.metric"] == "f1" and "train.label_smoothing" not in asked


def test_a_wide_text_encoder_gets_a_smaller_rate() -> None:
    small, large = (decide(facts(**(TEXT | {"width": w})), {}).values["optim.lr"] for w in (384, 1024))
    assert large < small


def test_the_table_in_the_readme_is_that_of_the_rules() -> None:
    readme = Path(nyala.__file__).parent / "recipes" / "finetune" / "README.md"
    assert rules.table() in readme.read_text(encoding="utf-8"), "copy the output of `nyala finetune --rules` into it"
