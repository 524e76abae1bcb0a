"""Texts in, other texts out: summaries, translations, answers; the pipeline of encoder-decoders.

What was published with the weights is kept to: ``generation_config.json`` (how many beams, how long, what is forced or
forbidden), and ``task_specific_params`` of the ``config.json`` (what a T5 wants to read before a text that it shall summarise).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...core.autograd import no_grad
from ...core.create import from_numpy
from ...core.errors import ArgumentError
from ...hub.pipeline import as_is
from ...hub.results import shortened, table
from ..generation import Continuation, Continuations, Generated, GenerationConfig, ends_of, generate, stream
from ..generation.processors import Processor
from ..generation.published import USUAL, processors_of, published_of, settings_of
from ..generation.stopping import pieces, stops_at
from ..tokenizers.tokenizer import Tokenizer
from .batching import TextPipeline, longest_of, texts_of, tokenizer_of
from .pooling import Pooling

if TYPE_CHECKING:
    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

TASKS = ("text2text-generation", "summarization", "translation")
TARGET_LENGTH = USUAL  # new tokens at most, where nothing is published
_TRANSLATION = re.compile(r"translation_(?P<source>\w+)_to_(?P<target>\w+)")


class Rewritten(Continuations):
    """What became of each text. As a sequence it holds strings; prints as a table.

    Attributes:
        details: a :class:`~nyala.text.generation.Continuation` for each.
        prompts: the texts.

    Example:
        >>> Rewritten([Continuation("Guten Tag.", "end", (5, 1))], ["Good day."])
        text       becomes
        ---------  ----------
        Good day.  Guten Tag.
    """

    def __repr__(self) -> str:
        return table(["text", "becomes"], [[shortened(p, 40), shortened(d.text, 400)] for p, d in self._pairs()], 110)

    def draw(self) -> Any:
        """Each text, and below it what became of it, in colour."""
        from .drawing import marked

        rows = [
            (f"{p}\n{d.text}", [(len(p) + 1, len(p) + 1 + len(d.text), "written")] if d.text else []) for p, d in self._pairs()
        ]
        return marked(rows)


@dataclass(frozen=True, eq=False, repr=False)
class Text2Text(TextPipeline):
    """Texts -> other texts. Call it on one text (a string comes back) or a list (:class:`Rewritten`).

    Attributes:
        ends: tokens that end a text.
        start: what the decoder is told first.
        settings: how texts are generated, as published; see :class:`~nyala.text.generation.GenerationConfig`.
        processors: what is forced or forbidden, as published.
        prefixes: what the model wants to read before a text, by what it shall do: "summarization", "translation_en_to_de".
    """

    task: ClassVar[str] = "text2text-generation"

    batch_size: int = 8
    ends: tuple[int, ...] = ()
    start: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    processors: tuple[Processor, ...] = ()
    prefixes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> Text2Text:
        """Tokenizer, ``generation_config.json`` and ``task_specific_params`` from the files.

        Raises:
            ArgumentError: a model that is no encoder-decoder.
            DataError: how to generate is not said well.
        """
        if not hasattr(model, "encode") or not hasattr(model, "new_caches"):
            raise ArgumentError(
                f"{type(model).__name__} is no encoder-decoder",
                why="it does not write texts of other texts",
                fix="choose a T5, BART or Marian: `nyala list --task text2text-generation`",
            )
        told = files.read_json("generation_config.json") if "generation_config.json" in files else {}
        params = {name: p for name, p in (config.get("task_specific_params") or {}).items() if isinstance(p, Mapping)}
        published = {**(told or config), **params.get(cls.task, {})}
        own: Any = model.config
        first = next(
            i for i in (told.get("decoder_start_token_id"), own.decoder_start_token_id, own.pad_token_id) if i is not None
        )
        return cls(
            model,
            tokenizer_of(files, Pooling.max_length(files) or longest_of(model)),
            as_is,
            card,
            files,
            config,
            ends=ends_of(told) or ends_of({"eos_token_id": own.eos_token_id}),
            start=(int(first),),
            settings=settings_of(published, files.origin),
            processors=tuple(processors_of(published)),
            prefixes={name: str(p.get("prefix") or "") for name, p in params.items()},
        )

    def __call__(self, inputs: Any, *, prefix: str | None = None, to: str | None = None, **settings: Any) -> Any:
        """One text -> what becomes of it; a list -> :class:`Rewritten`; a string where one text comes of one.

        Args:
            inputs: texts.
            prefix: what is put before each text; by default what was published for this pipeline's task.
            to: the language to translate into, as the model calls it: ``"de"``, ``"fra"``.
            **settings: see :class:`~nyala.text.generation.GenerationConfig`; they replace the published ones.

        Raises:
            DataError: something that is not a text.
            ArgumentError: a setting that is none, or a language that the model does not have.
            MissingFileError: the model came without a tokenizer.
        """
        texts, single = texts_of(inputs)
        found = self.rewritten(texts, prefix=prefix, to=to, **settings)
        return found[0] if single and len(found) == 1 else found

    def rewritten(self, texts: Sequence[str], *, prefix: str | None = None, to: str | None = None, **settings: Any) -> Rewritten:
        """What becomes of each text, with all that is known of it; arguments as of a call."""
        config = self.generation(settings)
        before = self._before(prefix, to)
        rows = self.tokenizer().encode([before + t if isinstance(t, str) else t for t in texts])
        self.check(rows, texts)
        found: dict[int, list[Continuation]] = {}
        count = config.num_return_sequences
        for part, batch in self.batches(rows):
            made = self._generated(batch, config)
            for place, i in enumerate(part):
                found[i] = [self._told(g, config) for g in made[place * count : (place + 1) * count]]
        return Rewritten([c for i in range(len(rows)) for c in found[i]], [t for i, t in enumerate(texts) for _ in found[i]])

    def stream(self, text: str, *, prefix: str | None = None, to: str | None = None, **settings: Any) -> Iterator[str]:
        """What becomes of one text, piece by piece as it is made: without beams. Arguments as of a call."""
        config = self.generation({"num_beams": 1, **settings})
        rows = self.tokenizer().encode([self._before(prefix, to) + text])
        self.check(rows, [text])
        with no_grad():
            read = self._read({k: v.to(self.device) for k, v in self.preprocess.pad(rows).items()})
        tokens = stream(self.model, self.start, config, self.ends, processors=self.processors, **read)
        yield from pieces(tokens, self.preprocess.decode, config.stop)

    def generation(self, settings: Mapping[str, Any]) -> GenerationConfig:
        """The published settings with these in place of theirs."""
        published = dict(self.settings)
        if settings.get("temperature"):
            published.pop("num_beams", None)  # draws take no beams
        return GenerationConfig.of({**published, **settings})

    def _generated(self, batch: Mapping[str, Any], config: GenerationConfig) -> list[Generated]:
        stop = stops_at(self.preprocess.decode, config.stop)
        prompts = [self.start] * len(batch["input_ids"])
        return generate(self.model, prompts, config, self.ends, processors=self.processors, stop=stop, **self._read(batch))

    def _read(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What the decoder reads from."""
        model: Any = self.model
        ids, mask = batch["input_ids"], batch["attention_mask"]
        return {"encoder_outputs": model.encode(ids, mask), "attention_mask": mask}

    def _told(self, made: Generated, config: GenerationConfig) -> Continuation:
        text = "".join(pieces(made.tokens, self.preprocess.decode, config.stop))
        return Continuation(text.strip(), made.finish, tuple(made.tokens), score=made.score)

    def logits(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """(N, vocabulary) float32: what the model says of the first token that it would write."""
        model: Any = self.model

        rows = self.tokenizer().encode(list(texts))
        self.check(rows, texts)
        found: list[Any] = [None] * len(rows)
        for part, batch in self.batches(rows):
            start = from_numpy(np.array([self.start] * len(part), np.int64)).to(self.device)
            scores = model(decoder_input_ids=start, **self._read(batch), last=True)[:, -1]
            for i, row in zip(part, scores.float().cpu().numpy(), strict=True):
                found[i] = row
        return np.stack(found)

    @property
    def device(self) -> Any:
        """Where the model is."""
        return next(self.model.parameters()).device

    def to_generation(self) -> dict[str, Any]:
        """The ``generation_config.json`` by which this pipeline generates."""
        files = self.files
        old = files.read_json("generation_config.json") if files is not None and "generation_config.json" in files else {}
        own: Any = self.model.config
        return published_of(self.settings, old, start=self.start[0], ends=self.ends, pad=own.pad_token_id)

    # ---- what stands before a text

    def _before(self, prefix: str | None, to: str | None) -> str:
        if prefix is not None and to is not None:
            raise ArgumentError("both prefix= and to=", why="the language chooses the prefix", fix="leave one of them out")
        if to is not None:
            return self._towards(to)
        return self.prefixes.get(self.task, "") if prefix is None else prefix

    def _towards(self, language: str) -> str:
        """What tells the model the language to translate into.

        Raises:
            ArgumentError: the model does not have it.
        """
        mark = f">>{language}<<"
        if self.tokenizer().backend.token_to_id(mark) is not None:
            return f"{mark} "
        known = {m["target"]: p for name, p in self.prefixes.items() if (m := _TRANSLATION.fullmatch(name))}
        if language in known:
            return known[language]
        marks = [t[2:-2] for t in self.tokenizer().backend.get_vocab() if t.startswith(">>") and t.endswith("<<")]
        listed = ", ".join(sorted([*known, *marks])[:30])
        raise ArgumentError(
            f"to={language!r}",
            why=f"this model translates into {listed}"
            if listed
            else "this model does not say which languages it translates into",
            fix="choose one of them" if listed else "leave it out, or say what it wants to read with prefix=",
        )


class Summarization(Text2Text):
    """Long texts -> short ones."""

    task = "summarization"


class Translation(Text2Text):
    """Texts -> the same in another language."""

    task = "translation"

    def _before(self, prefix: str | None, to: str | None) -> str:
        """Where the model knows several languages, one must be chosen."""
        several = {m["target"]: p for name, p in self.prefixes.items() if (m := _TRANSLATION.fullmatch(name))}
        if prefix is None and to is None and several:
            if len(several) > 1:
                raise ArgumentError(
                    f"this model translates into {', '.join(sorted(several))}",
                    fix=f"choose with to={min(several)!r} (--to {min(several)}), or with prefix=",
                )
            return next(iter(several.values()))
        return super()._before(prefix, to)


def target_tokenizer(pipeline: Any) -> Any:
    """The tokenizer of what is written: Marian cuts its two languages by models of their own."""
    files = pipeline.files
    if files is None or "target.spm" not in files or "vocab.json" not in files:
        return pipeline.preprocess
    from ..tokenizers.sentencepiece import from_marian

    made = from_marian(files, {}, side="target")
    return Tokenizer(made, pipeline.preprocess.max_length, pipeline.preprocess.pad_token)
