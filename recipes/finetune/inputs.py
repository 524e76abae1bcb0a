"""The rules of what the model sees of each sample: how large inputs are, and how they are changed at random."""

from __future__ import annotations

import math
from typing import Any

from .frame import Plan, Row, Rule, always, among, image, kind, pictures

SMALL_SIDE = 64  # pixels of pictures too small to cut much out of


def _side(plan: Plan) -> int:
    facts = plan.facts
    return min(facts.native, max(96, 32 * math.ceil(2 * facts.side / 32)))


def _own_side(plan: Plan) -> int:
    return max(32, 32 * math.ceil(plan.facts.side / 32))


def _length(plan: Plan, most: int = 256) -> int:
    return min(plan.facts.positions, most, max(16, 16 * math.ceil(plan.facts.tokens / 16)))


def sound(plan: Plan) -> bool:
    """Sounds with a class each."""
    return plan.facts.kind == "sound"


def _heard(plan: Plan) -> float:
    """What most sounds last, but no more than the weights hear, and than memory is good for."""
    return min(round(plan.facts.heard, 3), 10.0, max(0.5, 0.25 * math.ceil(4 * plan.facts.seconds)))


SIZES = Rule(
    "size of inputs",
    (
        Row(
            "texts to be continued, with hidden tokens, or with stretches cut out",
            among("corpus", "masked", "spans"),
            "windows of 256 tokens, or of what the model has positions for",
            {"model.max_length": lambda p: min(256, p.facts.positions)},
            "long enough for a paragraph, short enough for the memory",
        ),
        Row(
            "pictures with masks or boxes, smaller than those that the weights were evaluated with",
            lambda p: p.facts.kind in ("masks", "boxes") and _own_side(p) < p.facts.native,
            "the median of the shorter sides, in steps of 32",
            {"model.image_size": _own_side},
            "small pictures ({side} pixels) hold no more when they are enlarged to {native}",
        ),
        Row(
            "other pictures with masks or boxes",
            among("masks", "boxes"),
            "what the weights were evaluated with",
            {},
            "",
        ),
        Row(
            "pictures, and a model that takes any size",
            lambda p: image(p) and p.facts.flexible,
            "twice the median of the shorter sides, in steps of 32, at least 96, at most what the weights were evaluated with",
            {"model.image_size": _side},
            "the pictures have {side} pixels, the weights were evaluated at {native}: larger ones take time and gain little",
        ),
        Row(
            "pictures, and a model of one size",
            image,
            "what the weights were evaluated with",
            {},
            "the model takes pictures of {native} pixels only",
        ),
        Row("sounds with transcripts", kind("speech"), "whole sounds: a transcript tells of all", {}, ""),
        Row(
            "sounds",
            sound,
            "what 95 of 100 sounds fit into, in steps of a quarter of a second, at most 10 s and what the weights hear",
            {"model.max_seconds": _heard},
            "95 of 100 sounds last at most {seconds:.2f} s, and the weights hear {heard:.2f} s",
        ),
        Row(
            "questions",
            kind("questions"),
            "what 95 of 100 questions with texts fit into, in steps of 16, at most 384 and what the model has positions for",
            {"model.max_length": lambda p: _length(p, 384)},
            "95 of 100 have at most {tokens} tokens; longer texts are read in windows that overlap",
        ),
        Row(
            "texts",
            always,
            "what 95 of 100 texts fit into, in steps of 16, at most 256 and what the model has positions for",
            {"model.max_length": _length},
            "95 of 100 texts have at most {tokens} tokens; longer ones lose their end",
        ),
    ),
)

_SIDED = {"left", "right", "west", "east"}


def _mirrors(plan: Plan) -> bool:
    """Whether a picture may be mirrored without changing its class, as far as the classes' names tell."""
    names = [name.casefold() for name in plan.facts.classes]
    signs = all(len(name) <= 2 for name in names)
    return not signs and not any(_SIDED & set(name.replace("_", " ").replace("-", " ").split()) for name in names)


def _mirrored(plan: Plan) -> str:
    return " and mirrored" if _mirrors(plan) else "; not mirrored, since the classes look like signs or sides"


def _changes(plan: Plan, cut: bool = False) -> list[dict[str, Any]]:
    flip: list[dict[str, Any]] = [{"type": "horizontal_flip"}] if _mirrors(plan) else []
    if plan.facts.side < SMALL_SIDE and not cut:
        return [*flip, {"type": "random_crop", "padding": max(4, plan.get("model.image_size", plan.facts.native) // 16)}]
    part = {"type": "random_resized_crop"} | ({} if image(plan) else {"scale": [0.5, 1.0]})
    return [part, *flip]


def _sound_changes(plan: Plan) -> list[dict[str, Any]]:
    part = [{"type": "random_part"}] if plan.facts.seconds > plan.get("model.max_seconds", plan.facts.heard) else []
    masks = [{"type": "spec_augment"}] if plan.facts.frames else []
    return [*part, {"type": "gain"}, {"type": "noise"}, *masks]


CHANGES = Rule(
    "random changes",
    (
        Row(
            "pictures with boxes",
            kind("boxes"),
            "a random part of at least half of the area, mirrored; not mirrored where classes are signs or left and right",
            {"data.augment": lambda p: _changes(p, cut=True)},
            lambda p: "a random part of each picture with what is seen there" + _mirrored(p),
        ),
        Row(
            f"pictures below {SMALL_SIDE} pixels",
            lambda p: pictures(p) and p.facts.side < SMALL_SIDE,
            "mirrored and shifted by a sixteenth; not mirrored where classes are signs (of one or two letters) or left and right",
            {"data.augment": _changes},
            lambda p: "small pictures are only shifted" + _mirrored(p),
        ),
        Row(
            "other pictures",
            pictures,
            "a random part of at least 35 % of the area (with masks 50 %), mirrored; not mirrored where classes are signs or "
            "left and right",
            {"data.augment": _changes},
            lambda p: "a random part of each picture" + _mirrored(p),
        ),
        Row(
            "sounds",
            sound,
            "louder or softer, some with noise, stretches of time and frequency covered; of long sounds a random part",
            {"data.augment": _sound_changes},
            "recordings differ in loudness and noise, and no single stretch should decide",
        ),
        Row(
            "sounds with transcripts",
            kind("speech"),
            "louder or softer, some with noise",
            {"data.augment": [{"type": "gain"}, {"type": "noise"}]},
            "recordings differ in loudness and noise",
        ),
        Row("texts", always, "none: a text that loses words may change its class", {}, ""),
    ),
)
