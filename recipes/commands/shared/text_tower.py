"""``nyala embed`` on texts by a model that compares them with pictures or sounds (CLIP, SigLIP, CLAP): its tower for texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from ....core.errors import ArgumentError
from ....hub.zero_shot import ComparedWithTexts
from ....text.pipelines.embedding import Embeddings
from ....text.pipelines.prompts import Prompts


class TextTower:
    """The tower for texts, with what the command asks of a model of embeddings. Vectors have length 1."""

    prompts = Prompts()

    def __init__(self, pipeline: ComparedWithTexts) -> None:
        self.pipeline, self.name = pipeline, pipeline.name

    @cached_property
    def width(self) -> int:
        """How many numbers a vector has."""
        return int(self.pipeline.embed_texts("a").shape[1])

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """One text -> (D,) float32; a list -> :class:`Embeddings`."""
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        found = self._vectors(texts, **options)
        return found[0] if isinstance(inputs, str) else Embeddings(found, texts)

    def stream(self, texts: Iterable[str], *, chunk: int = 4096, **options: Any) -> Iterator[np.ndarray[Any, Any]]:
        """The vectors of any number of texts, (n, D) for each ``chunk`` of them."""
        rest = iter(texts)
        while part := list(islice(rest, chunk)):
            yield self._vectors(part, **options)

    def _vectors(
        self, texts: Sequence[str], *, prompt_name: str | None = None, prompt: str | None = None, too_long: str | None = None
    ) -> np.ndarray[Any, Any]:
        if too_long not in (None, "notice"):
            raise ArgumentError(f"--too-long {too_long} with {self.name}", why="a tower for texts cuts them", fix="leave it out")
        before = self.prompts.text(prompt_name) if prompt is None else prompt
        return self.pipeline.embed_texts([before + text for text in texts])
