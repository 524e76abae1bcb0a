"""The pipeline that continues texts: what ``nyala.load`` returns for a decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.create import from_numpy
from ...core.errors import DataError, kind_of
from ...hub.pipeline import Pipeline, Unavailable
from ..pipelines import as_is, tokenizer_of
from .config import GenerationConfig
from .generate import generate, stream
from .results import Continuation, Continuations, Told
from .rows import Generated
from .steps import positions_of
from .stopping import TextStream, stops_at

if TYPE_CHECKING:
    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

# Settings that are objects, for generate and stream themselves.
_OBJECTS = ("processors", "prefix", "draft")


@dataclass(frozen=True, eq=False, repr=False)
class TextGeneration(Pipeline):
    """Texts -> how they go on. Call it on one text (a string comes back) or a list (:class:`Continuations`).

    Attributes:
        ends: tokens that end a text.
        batch_size: texts that go on at once.
    """

    preprocess: Any
    ends: tuple[int, ...] = ()
    batch_size: int = 8

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> TextGeneration:
        """Tokenizer from the files, the ending tokens from ``generation_config.json`` or the configuration."""
        told = files.read_json("generation_config.json") if "generation_config.json" in files else {}
        tokenizer = tokenizer_of(files, positions_of(model.config))
        return cls(model, tokenizer, as_is, card, files, config, ends=ends_of(told) or ends_of(config))

    def __call__(self, inputs: Any, **settings: Any) -> Any:
        """One text -> how it goes on; a list -> :class:`Continuations`; a string where one text comes of one.

        Args:
            inputs: texts.
            **settings: see :class:`GenerationConfig`: ``max_new_tokens``, ``temperature``, ``top_p``, ``stop``, ...; and
                ``processors``, ``prefix`` and ``draft`` of :func:`generate`.

        Raises:
            DataError: something that is not a text.
            MissingFileError: the model came without a tokenizer.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        found = self.continuations(texts, **settings)
        return found[0] if isinstance(inputs, str) and len(found) == 1 else found

    def continuations(self, texts: Sequence[str], **settings: Any) -> Continuations:
        """How each text goes on, with all that is known of it; arguments as of a call."""
        objects = {name: settings.pop(name) for name in _OBJECTS if name in settings}
        config = GenerationConfig.of(settings)
        rows = [self._ids(text) for text in texts]
        order = sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i))
        found: dict[int, list[Continuation]] = {}
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            stop = stops_at(self.preprocess.decode, config.stop)
            made = generate(self.model, [rows[i] for i in part], config, self.ends, stop=stop, **objects)
            for place, i in enumerate(part):
                own = made[place * config.num_return_sequences : (place + 1) * config.num_return_sequences]
                found[i] = [self._told(g, config) for g in own]
        return Continuations([c for i in range(len(rows)) for c in found[i]], [t for i, t in enumerate(texts) for _ in found[i]])

    def _ids(self, text: Any) -> list[int]:
        """The tokens to go on from; an empty text begins with the token that texts begin with, or that ends one."""
        if isinstance(self.preprocess, Unavailable):
            self.preprocess(text)
        if not isinstance(text, str):
            raise DataError(f"a text to go on from is {kind_of(text)}", fix="pass a string")
        ids = list(self.preprocess.ids(text))
        begin = getattr(self.model.config, "bos_token_id", None)
        return ids or ([int(begin)] if begin is not None else list(self.ends[:1]))

    def _told(self, made: Generated, config: GenerationConfig) -> Continuation:
        texts = TextStream(self.preprocess.decode, config.stop)
        for token in made.tokens:
            texts.add(token)
        texts.close()
        decode = self.preprocess.decode
        told = tuple(
            Told(decode([token]), logprob, tuple((decode([t]), p) for t, p in others))
            for token, logprob, others in zip(made.tokens, made.logprobs, made.alternatives, strict=bool(made.logprobs))
        )
        return Continuation(texts.text, made.finish, tuple(made.tokens), told, made.score)

    def logits(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """(N, vocabulary) float32: what the model says of the token that comes next."""
        device, rows = next(self.model.parameters()).device, [self.preprocess.ids(text) for text in texts]
        with inference_mode():
            found = [self.model(from_numpy(np.array([ids])).to(device), last=True).float().cpu().numpy()[0, -1] for ids in rows]
        return np.stack(found)

    def stream(self, text: str, **settings: Any) -> Iterator[str]:
        """The continuation of one text, piece by piece as it is made; arguments as of a call."""
        yield from self.stream_ids(self._ids(text), **settings)

    def stream_ids(self, ids: Sequence[int], **settings: Any) -> Iterator[str]:
        """As :meth:`stream`, behind tokens."""
        objects = {name: settings.pop(name) for name in _OBJECTS if name in settings}
        config = GenerationConfig.of(settings)
        texts = TextStream(self.preprocess.decode, config.stop)
        for token in stream(self.model, ids, config, self.ends, **objects):
            if piece := texts.add(token):
                yield piece
            if texts.stopped:
                return
        if piece := texts.close():
            yield piece


def ends_of(config: dict[str, Any]) -> tuple[int, ...]:
    """The tokens that end a text by a published configuration.

    Example:
        >>> ends_of({"eos_token_id": [2, 5]}), ends_of({"eos_token_id": 2}), ends_of({})
        ((2, 5), (2,), ())
    """
    ends = config.get("eos_token_id")
    return () if ends is None else (int(ends),) if isinstance(ends, int) else tuple(map(int, ends))
