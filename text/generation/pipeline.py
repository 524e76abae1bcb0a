"""The pipeline that continues texts and answers in conversations: what ``nyala.load`` returns for a decoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.create import from_numpy
from ...core.errors import ArgumentError, DataError, MissingFileError, kind_of
from ...core.progress import notice
from ...hub.pipeline import as_is
from ..pipelines.batching import TextPipeline, tokenizer_of
from .chat import ChatTemplate
from .config import GenerationConfig
from .generate import generate, stream
from .results import Continuation, Continuations, Told
from .rows import Generated
from .speculative import LookupDraft, ModelDraft
from .steps import positions_of
from .stopping import pieces, stops_at

if TYPE_CHECKING:
    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False, repr=False)
class TextGeneration(TextPipeline):
    """Texts -> how they go on. Call it on one text (a string comes back) or a list (:class:`Continuations`).

    On a GPU ``dataclasses.replace(pipeline, model=nyala.compile(pipeline.model))`` writes the same texts, sooner: a step of one
    token is one CUDA graph.

    Attributes:
        ends: tokens that end a text.
        chat_template: replaces the published template of conversations.
        batch_size: texts that go on at once.
    """

    batch_size: int = 8
    ends: tuple[int, ...] = ()
    chat_template: str | None = None

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> TextGeneration:
        """Tokenizer from the files, the ending tokens from ``generation_config.json`` or the configuration."""
        told = files.read_json("generation_config.json") if "generation_config.json" in files else {}
        tokenizer = tokenizer_of(files, positions_of(model.config))
        return cls(model, tokenizer, as_is, card, files, config, ends=ends_of(told) or ends_of(config))

    # ---- texts

    def __call__(self, inputs: Any, **settings: Any) -> Any:
        """One text -> how it goes on; a list -> :class:`Continuations`; a string where one text comes of one.

        Args:
            inputs: texts.
            **settings: see :class:`GenerationConfig`: ``max_new_tokens``, ``temperature``, ``top_p``, ``stop``, ...; and

                * ``regex``, ``json_schema``: what is generated matches it, and is complete;
                * ``draft``: "lookup", or the pipeline of a smaller model with the same tokens: the same text, sooner;
                * ``prefix``: a :class:`PrefixCache`, ``processors``: as of :func:`generate`;
                * ``too_long``: a text that leaves no room is an error ("raise"), or loses its beginning ("cut").

        Raises:
            DataError: something that is not a text, or one that is too long.
            MissingFileError: the model came without a tokenizer.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        found = self.continuations(texts, **settings)
        return found[0] if isinstance(inputs, str) and len(found) == 1 else found

    def continuations(self, texts: Sequence[str], **settings: Any) -> Continuations:
        """How each text goes on, with all that is known of it; arguments as of a call."""
        config, objects, too_long = self._settings(settings)
        rows = [self._ids(text, config, too_long) for text in texts]
        self.check([(row,) for row in rows], texts)
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

    def stream(self, text: str, **settings: Any) -> Iterator[str]:
        """The continuation of one text, piece by piece as it is made; arguments as of a call."""
        config, objects, too_long = self._settings(settings)
        ids = self._ids(text, config, too_long)
        self.check([(ids,)], [text])
        return self._stream(ids, config, objects)

    def logits(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """(N, vocabulary) float32: what the model says of the token that comes next."""
        model, rows = self.model, [self.tokenizer().ids(text) for text in texts]
        self.check([(row,) for row in rows], texts)
        device = next(model.parameters()).device
        with inference_mode():
            found = [model(from_numpy(np.array([ids])).to(device), last=True).float().cpu().numpy()[0, -1] for ids in rows]
        return np.stack(found)

    # ---- conversations

    @cached_property
    def template(self) -> ChatTemplate:
        """The template of conversations: the one that was given, or the published one.

        Raises:
            MissingFileError: none was published.
        """
        if self.chat_template is not None:
            published = ChatTemplate.of_files(self.files).tokens if self.files is not None and self._has_template() else {}
            return ChatTemplate(self.chat_template, published)
        if self.files is None:
            raise MissingFileError("a model without files has no chat template", fix="pass chat_template=")
        return ChatTemplate.of_files(self.files)

    def _has_template(self) -> bool:
        try:
            return self.files is not None and bool(ChatTemplate.of_files(self.files))
        except MissingFileError:
            return False

    def chat(self, messages: str | Messages, **settings: Any) -> str:
        """The answer in a conversation.

        Args:
            messages: what was said so far, each with ``role`` ("system", "user" or "assistant") and ``content``; or what the
                user says first.
            **settings: as of a call; ``tools=[...]`` and other values for the template go into ``template_values={...}``.

        Raises:
            DataError: messages of another kind; or the template fails, or refuses them.
            MissingFileError: the model came without a template.
        """
        return "".join(self.chat_stream(messages, **settings))

    def chat_stream(self, messages: str | Messages, **settings: Any) -> Iterator[str]:
        """The same, piece by piece as it is made."""
        values = settings.pop("template_values", None) or {}
        config, objects, _ = self._settings(settings)
        ids = self.chat_ids(messages, **values)
        self.check([(ids,)], ["the conversation"])
        return self._stream(ids, config, objects)

    def chat_ids(self, messages: str | Messages, **values: Any) -> list[int]:
        """The tokens of a conversation, up to where the answer begins; ``values`` are the template's."""
        said = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        text = self.template.render(said, **values)
        clean = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates are no characters
        # the template writes the special tokens itself
        return [int(i) for i in self.tokenizer().backend.encode(clean, add_special_tokens=False).ids]

    # ---- what both need

    def _settings(self, settings: dict[str, Any]) -> tuple[GenerationConfig, dict[str, Any], str]:
        """How to choose tokens; the objects that ``generate`` takes; and what happens to texts that are too long."""
        plain = dict(settings)
        too_long = plain.pop("too_long", "raise")
        if too_long not in ("raise", "cut"):
            raise ArgumentError(f"too_long={too_long!r}", fix="'raise' or 'cut'")
        objects: dict[str, Any] = {name: plain.pop(name) for name in ("prefix", "draft") if name in plain}
        objects["draft"] = self._draft(objects.get("draft"))
        processors = list(plain.pop("processors", ()))
        for name in ("regex", "json_schema"):
            if (wanted := plain.pop(name, None)) is not None:
                processors.append(self._constraint(name, wanted))
        return GenerationConfig.of(plain), {**objects, "processors": processors}, too_long

    def _constraint(self, name: str, wanted: Any) -> Any:
        from . import constraints

        grammar = getattr(constraints, name)(wanted)
        return constraints.Constraint(grammar, constraints.Vocabulary.of(self.tokenizer()), self.ends)

    def _draft(self, draft: Any) -> Any:
        if draft is None or hasattr(draft, "propose"):
            return draft
        if draft == "lookup":
            return LookupDraft()
        if not isinstance(draft, TextGeneration):
            raise ArgumentError(f"draft={draft!r}", fix="'lookup', or the pipeline of a smaller model")
        sizes = [int(p.model.config.vocab_size) for p in (self, draft)]  # type: ignore[union-attr,arg-type]
        if sizes[0] != sizes[1]:
            raise ArgumentError(
                f"a draft model of {sizes[1]:,} tokens for one of {sizes[0]:,}",
                why="both must mean the same by a number",
                fix="use a smaller model of the same family, or draft='lookup'",
            )
        return ModelDraft(draft.model)

    def _ids(self, text: Any, config: GenerationConfig, too_long: str) -> list[int]:
        """The tokens to go on from; an empty text begins with the token that texts begin with, or that ends one."""
        if not isinstance(text, str):
            raise DataError(f"a text to go on from is {kind_of(text)}", fix="pass a string")
        longest = positions_of(self.model.config)
        ids = self.tokenizer().replace(max_length=1 << 30).ids(text)
        begin = getattr(self.model.config, "bos_token_id", None)
        ids = ids or ([int(begin)] if begin is not None else list(self.ends[:1]))
        if len(ids) < longest:
            return ids
        if too_long == "raise":
            raise DataError(
                f"a text of {len(ids):,} tokens",
                why=f"the model reads {longest:,}, and must write some of them itself",
                fix="shorten it, or allow its beginning to be left out: too_long='cut'",
            )
        room = max(1, longest - config.max_new_tokens)
        notice(f"a text of {len(ids):,} tokens: the model reads the last {room:,} of them", "too long")
        return ids[-room:]

    def _told(self, made: Generated, config: GenerationConfig) -> Continuation:
        decode = self.preprocess.decode
        text = "".join(pieces(made.tokens, decode, config.stop))
        told = tuple(
            Told(decode([token]), logprob, tuple((decode([t]), p) for t, p in others))
            for token, logprob, others in zip(made.tokens, made.logprobs, made.alternatives, strict=bool(made.logprobs))
        )
        return Continuation(text, made.finish, tuple(made.tokens), told, made.score)

    def _stream(self, ids: Sequence[int], config: GenerationConfig, objects: dict[str, Any]) -> Iterator[str]:
        tokens = stream(self.model, ids, config, self.ends, **objects)
        return pieces(tokens, self.preprocess.decode, config.stop)


def ends_of(config: dict[str, Any]) -> tuple[int, ...]:
    """The tokens that end a text by a published configuration.

    Example:
        >>> ends_of({"eos_token_id": [2, 5]}), ends_of({"eos_token_id": 2}), ends_of({})
        ((2, 5), (2,), ())
    """
    ends = config.get("eos_token_id")
    return () if ends is None else (int(ends),) if isinstance(ends, int) else tuple(map(int, ends))
