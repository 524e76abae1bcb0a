"""The rules by which ``nyala finetune`` makes a recipe: rows of a table, of which the first that fits decides.

``table()`` prints the rows for people, so what is documented is what happens. A row has a condition in words and in code, the
values it sets, and the reason that is written beside them. Thresholds were checked on real data; ``README.md`` has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .facts import Facts
from .frame import Plan, Row, Rule, always, among, apply, image, kind, pictures
from .inputs import CHANGES, SIZES, sound

FEW, SOME, MANY = 10, (200, 20), 1000  # training samples a class; the middle one for pictures, and for texts and sounds
NARROW = 512  # width of a small encoder of texts or sounds
ENOUGH_TO_CHOOSE = 50  # validation samples


def _method(name: str) -> Callable[[Plan], bool]:
    return lambda plan: plan.method == name


# ---- what learns --------------------------------------------------------------------------------------------------

PROBE, UPPER, DECAY, FULL, ADAPTER = "head alone", "upper layers", "all, lower ones slowly", "all alike", "an adapter"
WRITER, SPELLER = "what writes", "all but the convolutions"


def _writes(plan: Plan) -> bool:
    return plan.facts.kind == "speech" and not plan.facts.spells


def _spells(plan: Plan) -> bool:
    return plan.facts.kind == "speech" and plan.facts.spells


METHODS = Rule(
    "what learns",
    names_method=True,
    rows=(
        Row(
            "texts to be continued",
            kind("corpus"),
            ADAPTER,
            {"model.adapter.type": "lora", "model.adapter.rank": 8},
            "a language model keeps what it knows: small matrices beside its weights learn (LoRA), which takes little memory",
        ),
        Row(
            "sounds with transcripts, a model that writes (Whisper)",
            _writes,
            WRITER,
            {"model.freeze": ["model.encoder"]},
            "the decoder learns how things are written here; what it hears stays, which takes a third of the time",
        ),
        Row(
            "sounds with transcripts, a model that spells (CTC)",
            _spells,
            SPELLER,
            {"model.freeze": ["*feature_extractor*"], "model.new_head": lambda p: not p.facts.covered},
            lambda p: (
                "the convolutions over the samples stay as they were pretrained; "
                + (
                    "the alphabet has all letters of these texts"
                    if p.facts.covered
                    else "a new head for the letters of these texts"
                )
            ),
        ),
        Row(
            "pictures with boxes or masks",
            among("boxes", "masks"),
            FULL,
            {},
            "where things are is told by all layers together; what is new learns faster, what was pretrained apart slower",
        ),
        Row("pairs of texts", kind("pairs"), FULL, {}, "texts are compared with each other: there is no new head to wait for"),
        Row(
            "texts to be rewritten, or with stretches cut out",
            among("seq2seq", "spans"),
            FULL,
            {},
            "what reads and what writes learn together; no head is new",
        ),
        Row(
            "texts with hidden tokens",
            kind("masked"),
            FULL,
            {},
            "every text has much to guess, hidden anew each time: every layer learns the language",
        ),
        Row(
            f"pictures, fewer than {FEW} training samples a class",
            lambda p: image(p) and p.facts.per_class < FEW,
            PROBE,
            {"model.freeze": ["*"], "model.unfreeze": lambda p: p.facts.top},
            "{amount} are few: only the new head learns, the rest stays as it was pretrained",
        ),
        Row(
            f"pictures, fewer than {SOME[0]}; texts and sounds, fewer than {SOME[1]}",
            lambda p: p.facts.per_class < (SOME[0] if image(p) else SOME[1]),
            UPPER,
            {"model.freeze": ["*"], "model.unfreeze": lambda p: p.facts.upper},
            "{amount}: the top third of the layers learns, general features below stay",
        ),
        Row(
            f"fewer than {MANY}",
            lambda p: p.facts.per_class < MANY,
            DECAY,
            {"optim.layer_decay": 0.9},
            "{amount}: every layer learns, each lower one at a smaller rate",
        ),
        Row(f"{MANY} and more", always, FULL, {}, "{amount} are enough to train every layer alike"),
    ),
)

# ---- how ----------------------------------------------------------------------------------------------------------


def _faster(plan: Plan) -> dict[str, float]:
    """What is new, which has further to go."""
    return dict.fromkeys(plan.facts.top, 10.0) if plan.facts.fresh else {}


def _apart(plan: Plan) -> dict[str, float]:
    """The new classifier, which has further to go, and a backbone, which has been further."""
    return dict.fromkeys(plan.facts.head, 10.0) | dict.fromkeys(plan.facts.slow, 0.1)


def _located(plan: Plan) -> bool:
    return plan.facts.kind in ("boxes", "masks")


RATES = Rule(
    "learning rate",
    (
        Row(
            "an adapter (model.adapter)",
            lambda p: p.method == ADAPTER or p.said("model.adapter"),
            "AdamW, 1e-3",
            {"optim.type": "adamw", "optim.lr": 1e-3, "optim.weight_decay": 0.0},
            "the small new matrices of an adapter take a large rate",
        ),
        Row(
            "pairs of texts",
            kind("pairs"),
            "AdamW, 3e-5",
            {"optim.type": "adamw", "optim.lr": 3e-5},
            "the encoder compares texts already, and forgets at higher rates",
        ),
        Row(
            "texts to be rewritten, or with stretches cut out",
            among("seq2seq", "spans"),
            f"AdamW, 3e-4 up to {NARROW} wide, 5e-5 above",
            {"optim.type": "adamw", "optim.lr": lambda p: 3e-4 if p.facts.width <= NARROW else 5e-5},
            "an encoder-decoder ({width} wide) that writes already",
        ),
        Row(
            "sounds with transcripts, a model that writes",
            _writes,
            f"AdamW, 3e-5 up to {NARROW} wide, 1e-5 above",
            {"optim.type": "adamw", "optim.lr": lambda p: 3e-5 if p.facts.width <= NARROW else 1e-5},
            "it writes well already ({width} wide), and forgets at higher rates",
        ),
        Row(
            "pictures with boxes or masks, weights drawn at random or convolutions alone",
            lambda p: _located(p) and (p.facts.scratch or not p.facts.layer_norms),
            "AdamW, 1e-3",
            {"optim.type": "adamw", "optim.lr": 1e-3, "optim.weight_decay": 1e-4},
            lambda p: "weights drawn at random have far to go" if p.facts.scratch else "convolutions bear a rate of 1e-3",
        ),
        Row(
            "other pictures with boxes or masks",
            _located,
            "AdamW, 1e-4; 10 times that for the new classifier, a tenth for the backbone of a detector",
            {"optim.type": "adamw", "optim.lr": 1e-4, "optim.weight_decay": 1e-4, "optim.lr_scale": _apart},
            "as detectors and transformers of pixels are fine-tuned; the classifier is new and learns 10 times as fast",
        ),
        Row(
            "head alone",
            _method(PROBE),
            "AdamW, 3e-3",
            {"optim.type": "adamw", "optim.lr": 3e-3},
            "a new head alone takes a large rate: there is nothing to forget",
        ),
        Row(
            "pictures",
            image,
            "AdamW, 1e-3",
            {"optim.type": "adamw", "optim.lr": 1e-3, "optim.weight_decay": 0.05},
            "convolutions with batch norm bear a rate of 1e-3",
        ),
        Row(
            f"texts and sounds, features of at most {NARROW}",
            lambda p: p.facts.width <= NARROW,
            "AdamW, 1e-4; 10 times that for what is new",
            {"optim.type": "adamw", "optim.lr": 1e-4, "optim.lr_scale": _faster},
            lambda p: "a small encoder ({width} wide)" + ("; what is new in it learns 10 times as fast" if p.facts.fresh else ""),
        ),
        Row(
            "texts and sounds, wider features",
            always,
            "AdamW, 3e-5; 10 times that for what is new",
            {"optim.type": "adamw", "optim.lr": 3e-5, "optim.lr_scale": _faster},
            lambda p: (
                "a large encoder ({width} wide) forgets at higher rates"
                + ("; what is new in it learns 10 times as fast" if p.facts.fresh else "")
            ),
        ),
    ),
)

SCHEDULES = Rule(
    "schedule",
    (
        Row(
            "pictures",
            pictures,
            "cosine, a tenth of it warm-up",
            {"schedule.type": "cosine", "schedule.warmup": 0.1},
            "small steps at first, while what is new is still random, and at the end",
        ),
        Row(
            "texts, sounds",
            always,
            "linear, a tenth of it warm-up",
            {"schedule.type": "linear", "schedule.warmup": 0.1},
            "small steps at first, while what is new is still random, and at the end",
        ),
    ),
)


def _batch(plan: Plan) -> int:
    """A power of two: about a twentieth of the training samples, at most 32 pictures or pairs or 16 others, at least 8."""
    if plan.facts.kind == "corpus":
        return 4
    most = 32 if plan.facts.kind in ("image", "pairs") else 16
    return max(8, min(most, 2 ** int(math.log2(max(8, plan.facts.train / 20)))))


BATCHES = Rule(
    "batch size",
    (
        Row(
            "texts to be continued",
            kind("corpus"),
            "4 windows; halved until it fits into half of the free memory, and then accumulated",
            {"data.batch_size": _batch, "data.eval_batch_size": 4},
            "a window is full of tokens, and each has an output for every word there is",
        ),
        Row(
            "sounds with transcripts",
            kind("speech"),
            "8; halved until it fits into half of the free memory, and then accumulated",
            {"data.batch_size": 8, "data.eval_batch_size": 8},
            "sounds are long: a Whisper looks at 30 s of each",
        ),
        Row(
            "texts with hidden tokens, or with stretches cut out",
            among("masked", "spans"),
            "8 windows; halved until it fits into half of the free memory, and then accumulated",
            {"data.batch_size": 8},
            "a window is full of tokens, and each that is hidden has an output for every word there is",
        ),
        Row(
            "pictures with boxes or masks",
            _located,
            "8; halved until it fits into half of the free memory, and then accumulated",
            {"data.batch_size": 8, "data.eval_batch_size": 8},
            "each picture has much to tell of",
        ),
        Row(
            "pictures, pairs of texts",
            lambda p: image(p) or p.facts.kind == "pairs",
            "a twentieth of the samples, 8 to 32; halved until it fits into half of the free memory, and then accumulated",
            {"data.batch_size": _batch},
            "{train:,} samples give at least 20 updates an epoch",
        ),
        Row(
            "texts, sounds",
            always,
            "a twentieth of the samples, 8 to 16; halved until it fits into half of the free memory, and then accumulated",
            {"data.batch_size": _batch},
            "{train:,} samples give at least 20 updates an epoch",
        ),
    ),
)

# ---- for how long -------------------------------------------------------------------------------------------------

_PICTURES = {PROBE: 200, UPPER: 250, DECAY: 400, FULL: 600}
_TEXTS = {UPPER: 120, DECAY: 200, FULL: 400}
_SOUNDS = {UPPER: 250, DECAY: 400, FULL: 600}
_SPEECH = {WRITER: 100, SPELLER: 400}
_LOCATED = {"boxes": 1500, "masks": 600}


def _epochs(plan: Plan) -> int:
    samples = plan.get("data.batch_size", 32) * plan.get("train.accumulate", 1)
    per_epoch = max(1, math.ceil(plan.facts.train / samples))
    most = {"image": 20, "boxes": 60, "masks": 40, "sound": 30, "speech": 20, "pairs": 3}.get(plan.facts.kind, 10)
    if plan.facts.kind in _LOCATED:
        return max(2, min(most, round(_LOCATED[plan.facts.kind] / per_epoch)))
    aim = {"image": _PICTURES, "sound": _SOUNDS, "speech": _SPEECH}.get(plan.facts.kind, _TEXTS)[plan.method]
    return max(2, min(most, round(aim / per_epoch)))


LENGTHS = Rule(
    "length",
    (
        Row(
            "texts to be continued",
            kind("corpus"),
            "1 epoch",
            {"train.epochs": 1},
            "what is read twice is learnt by heart",
        ),
        Row(
            "texts with hidden tokens, or with stretches cut out",
            among("masked", "spans"),
            "3 epochs",
            {"train.epochs": 3},
            "other tokens are hidden each time",
        ),
        Row(
            "pairs of texts",
            kind("pairs"),
            "2 to 3 epochs",
            {"train.epochs": _epochs},
            "{updates} updates adapt an encoder that compares texts already",
        ),
        Row(
            "pictures with boxes or masks",
            _located,
            f"about {_LOCATED['boxes']} updates for boxes, 2 to 60 epochs; {_LOCATED['masks']} for masks, 2 to 40 epochs",
            {"train.epochs": _epochs},
            "about {updates} updates of the weights",
        ),
        Row(
            "pictures",
            image,
            f"about {_PICTURES[PROBE]} updates for the head alone, {_PICTURES[UPPER]} for the upper layers, "
            f"{_PICTURES[DECAY]} or {_PICTURES[FULL]} for all; 2 to 20 epochs",
            {"train.epochs": _epochs},
            "about {updates} updates of the weights",
        ),
        Row(
            "sounds with transcripts",
            kind("speech"),
            f"about {_SPEECH[WRITER]} updates for a model that writes, {_SPEECH[SPELLER]} for one that spells; 2 to 20 epochs",
            {"train.epochs": _epochs},
            "about {updates} updates of the weights",
        ),
        Row(
            "sounds",
            sound,
            f"about {_SOUNDS[UPPER]} updates for the upper layers, {_SOUNDS[DECAY]} or {_SOUNDS[FULL]} for all; 2 to 30 epochs",
            {"train.epochs": _epochs},
            "about {updates} updates of the weights",
        ),
        Row(
            "texts",
            always,
            f"about {_TEXTS[UPPER]} updates for the upper layers, {_TEXTS[DECAY]} or {_TEXTS[FULL]} for all; 2 to 10 epochs",
            {"train.epochs": _epochs},
            "about {updates} updates of the weights",
        ),
    ),
)

CARE = Rule(
    "steadiness",
    (
        Row(
            "pairs of texts, questions, texts to be continued, guessed or rewritten, sounds with transcripts",
            among("pairs", "questions", "corpus", "masked", "spans", "seq2seq", "speech"),
            "gradient's norm at most 1",
            {"train.clip_norm": 1.0},
            "one odd batch must not throw the weights off",
        ),
        Row(
            "pictures with boxes",
            kind("boxes"),
            "gradient's norm at most 0.1",
            {"train.clip_norm": 0.1},
            "answers change their objects at first, which makes steep losses",
        ),
        Row(
            "pictures with masks",
            kind("masks"),
            "gradient's norm at most 5, the dice loss beside cross-entropy",
            {"train.clip_norm": 5.0, "train.dice": 1.0},
            "classes of few pixels count as much as those of many",
        ),
        Row(
            "the head alone",
            _method(PROBE),
            "gradient's norm at most 5",
            {"train.clip_norm": 5.0},
            "one odd batch must not throw the weights off",
        ),
        Row(
            "pictures",
            image,
            "gradient's norm at most 5, labels smoothed by 0.1",
            {"train.clip_norm": 5.0, "train.label_smoothing": 0.1},
            "one odd batch or label must not throw the weights off",
        ),
        Row(
            "texts, sounds",
            always,
            "gradient's norm at most 1, labels smoothed by 0.1",
            {"train.clip_norm": 1.0, "train.label_smoothing": 0.1},
            "one odd batch or label must not throw the weights off",
        ),
    ),
)

LAYERS = Rule(
    "dropped layers",
    (
        Row(
            "a model that leaves out whole layers at random in training",
            lambda p: p.facts.layerdrop > 0,
            "none",
            {"model.dropout": {"layerdrop": 0.0}},
            "in a short training every layer should learn from every sample",
        ),
        Row("else", always, "as the model has it", {}, ""),
    ),
)

BALANCE = Rule(
    "measure and balance",
    (
        Row(
            "texts to be continued",
            kind("corpus"),
            "the best weights chosen by the loss",
            {"train.best.metric": "loss"},
            "how well the next word is foreseen",
        ),
        Row(
            "texts with hidden tokens, or with stretches cut out",
            among("masked", "spans"),
            "the best weights chosen by the loss",
            {"train.best.metric": "loss"},
            "how well what is missing is foreseen",
        ),
        Row(
            "questions",
            kind("questions"),
            "the best weights chosen by F1",
            {"train.best.metric": "f1"},
            "how many words the answers have in common with the right ones",
        ),
        Row(
            "pairs of texts",
            kind("pairs"),
            "the best weights chosen by mean reciprocal rank",
            {"train.best.metric": "mrr"},
            "how high each text's partner stands among all",
        ),
        Row(
            "texts to be rewritten",
            kind("seq2seq"),
            "the best weights chosen by ROUGE-L",
            {"train.best.metric": "rouge_l"},
            "how many words of what should be written are written, in order",
        ),
        Row(
            "sounds with transcripts",
            kind("speech"),
            "the best weights chosen by the word error rate",
            {"train.best.metric": "wer"},
            "how many words are wrong, missing or too many",
        ),
        Row(
            "pictures with boxes",
            kind("boxes"),
            "the best weights chosen by mAP",
            {"train.best.metric": "map"},
            "how well boxes are found, at overlaps of 0.5 to 0.95",
        ),
        Row(
            "pictures with masks",
            kind("masks"),
            "the best weights chosen by mean IoU",
            {"train.best.metric": "mean_iou"},
            "most pixels are background: accuracy would be high without finding anything",
        ),
        Row(
            "tagged texts",
            kind("tags"),
            "the best weights chosen by the F1 of whole stretches",
            {"train.best.metric": "f1"},
            "most words have no tag: accuracy would be high without finding any stretch",
        ),
        Row(
            "the largest class has at least 3 times the samples of the smallest",
            lambda p: p.facts.imbalance >= 3,
            "losses weighed by class, the best weights chosen by macro F1",
            {"train.class_weights": "balanced", "train.best.metric": "macro_f1"},
            "the largest class has {imbalance:.1f} times the samples of the smallest: accuracy alone would overlook that one",
        ),
        Row("else", always, "no weights; the best weights chosen by accuracy", {}, ""),
    ),
)

CHOICE = Rule(
    "which weights",
    (
        Row(
            f"fewer than {ENOUGH_TO_CHOOSE} validation samples",
            lambda p: p.facts.validation < ENOUGH_TO_CHOOSE,
            "the last",
            {"train.best.use": "last"},
            "{validation} validation samples are too few to choose by",
        ),
        Row(
            "else",
            always,
            "the best on the validation part",
            {"train.best.use": "best"},
            "{validation} validation samples are enough to choose by",
        ),
    ),
)

# In the order in which they are asked: a later one may look at what an earlier one has set.
RULES = (METHODS, RATES, SCHEDULES, BATCHES, SIZES, CHANGES, LENGTHS, CARE, LAYERS, BALANCE, CHOICE)


def decide(facts: Facts, given: Mapping[str, Any], rules: tuple[Rule, ...] = RULES) -> Plan:
    """All decisions for these data and this model.

    Args:
        facts: from ``examine``.
        given: dotted path -> value, what the user has said: nothing is decided over it.
        rules: the table.
    """
    plan = Plan(facts, given)
    for rule in rules:
        apply(rule, plan)
    return plan


def table() -> str:
    """The rules as a Markdown table.

    Example:
        >>> table().splitlines()[2]
        '| what learns | texts to be continued | an adapter |'
    """
    lines = ["| decision | where | choice |", "|---|---|---|"]
    for rule in RULES:
        for number, row in enumerate(rule.rows):
            lines.append(f"| {rule.name if not number else ''} | {row.when} | {row.then} |")
    return "\n".join(lines)
