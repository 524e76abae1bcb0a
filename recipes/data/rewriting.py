"""For encoder-decoders: texts and what is to be written of them, and texts whose stretches are cut out to be written."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core import random
from ...core.create import from_numpy
from ...core.errors import DataError
from ...core.random import Key
from ...text.datasets.packing import pack
from ...text.models.shared.seq2seq import shift_right
from ...text.pipelines.text2text import TARGET_LENGTH, TASKS, target_tokenizer
from ...text.tokenizers.spans import SpanCorruption
from ..language.schema import Augment, Model, Spans
from . import augment
from .datasets import Part, Source
from .speech import UNTOLD, filled
from .tasks import Task, check_tokens

_WINDOW = 256


class Told(Task):
    """What is read, and what is to be written: two rows of tokens each.

    Args:
        pipeline: of an encoder-decoder; see :class:`~nyala.text.pipelines.text2text.Text2Text`.
    """

    def __init__(self, pipeline: Any) -> None:
        self.tokenizer, self.start = pipeline.preprocess, pipeline.start[0]
        config = pipeline.model.config
        self.sizes = (config.vocab_size, getattr(config, "target_vocab_size", config.vocab_size))
        self.pad = config.pad_token_id or 0

    def collate(self, prepared: Sequence[Any], indices: np.ndarray) -> dict[str, Any]:
        read = self.tokenizer.pad([(ids.tolist(), (0,) * len(ids)) for ids, _ in prepared])
        told = filled([row for _, row in prepared], UNTOLD)
        check_tokens(np.asarray(read["input_ids"]), self.sizes[0], indices)
        check_tokens(np.maximum(told, 0), self.sizes[1], indices)
        before = from_numpy(shift_right(told, self.start, self.pad))
        return {"input_ids": read["input_ids"], "attention_mask": read["attention_mask"], "decoder_input_ids": before}

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - they are in the text
        return filled([row for _, row in prepared], UNTOLD)


class Rewriting(Told):
    """Texts and their summaries, translations, ...: read behind the pipeline's prefix.

    Args:
        pipeline: as of :class:`Told`.
    """

    def __init__(self, pipeline: Any) -> None:
        super().__init__(pipeline)
        self.prefix = pipeline.prefixes.get(pipeline.task, "")
        self.length = int(pipeline.settings["max_new_tokens"])
        self.writer = target_tokenizer(pipeline).replace(too_long="cut")

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> tuple[np.ndarray, np.ndarray]:
        text = raw.source if key is None else augment.text(raw.source, augments, key)
        read = self.tokenizer.ids(self.prefix + text)
        told = self.writer.ids(raw.target, min(self.length, self.writer.max_length))
        return np.array(read, np.int64), np.array(told, np.int64)

    def show(self, raw: Any) -> dict[str, Any]:
        from ..report.samples import show_text

        return show_text(raw.source)


class CutOut(Told):
    """Rows of tokens whose stretches are cut out: in training by the sample's key, in evaluation always the same ones.

    Args:
        pipeline: as of :class:`Told`.
        spans: how.
    """

    def __init__(self, pipeline: Any, spans: Spans) -> None:
        super().__init__(pipeline)
        self.corrupt = SpanCorruption(self.tokenizer, pipeline.ends[0], spans.density, spans.mean_length)

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002 - none is for them
        fixed = random.key(0, "spans", zlib.crc32(np.ascontiguousarray(raw).tobytes()))
        return self.corrupt(raw, fixed if key is None else key.fold("spans"))

    def show(self, raw: Any) -> dict[str, Any]:
        return {"text": self.tokenizer.decode(raw)[:600]}


def windows(source: Source, pipeline: Any, recipe: Model) -> Source:
    """The texts of each part as rows of equal length, which with their sentinels and end are at most ``model.max_length`` long.

    Raises:
        DataError: a part too short for one row.
    """
    length = (recipe.max_length or min(_WINDOW, pipeline.preprocess.max_length)) - 1

    def cut(said: str, part: Part) -> Part:
        found = pack(part.inputs, pipeline.preprocess, length, between=pipeline.ends[0])
        if not len(found) and len(part):
            raise DataError(
                f"the {said} part has {len(part)} text(s), together shorter than one row of {length} tokens",
                fix="give more text, or make model.max_length smaller",
            )
        return Part(found, np.zeros(len(found), np.int64))

    train, validation, test = cut("training", source.train), cut("validation", source.validation), cut("test", source.test)
    return replace(source, train=train, validation=validation, test=test)


# ---- the pipeline as the recipe wants it --------------------------------------------------------------------------


def settled(pipeline: Any, recipe: Model) -> Any:
    """The pipeline with the recipe's prefix and the length of what is written."""
    length = recipe.max_target_length or pipeline.settings.get("max_new_tokens", TARGET_LENGTH)
    if recipe.max_target_length is None and recipe.random_init:
        length = TARGET_LENGTH
    prefixes = {**pipeline.prefixes, **dict.fromkeys(TASKS, recipe.prefix)} if recipe.prefix else pipeline.prefixes
    return replace(pipeline, settings={**pipeline.settings, "max_new_tokens": int(length)}, prefixes=prefixes)
