"""What a model of embeddings wants to read before a text, as sentence-transformers publishes it: one thing before questions,
another before what answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...core.errors import ArgumentError, DataError, did_you_mean

if TYPE_CHECKING:
    from ...hub.files import Files

_FILE = "config_sentence_transformers.json"
QUERY, DOCUMENT = ("query",), ("document", "passage", "corpus")  # names that are tried, in this order


@dataclass(frozen=True)
class Prompts:
    """The prompts of a model.

    Attributes:
        texts: by name: "query", "document", ...
        default: the name of the one that is used where none is asked for; None for no prompt.

    Example:
        >>> known = Prompts({"query": "search_query: ", "document": "search_document: "})
        >>> known.text("query"), known.text(), known.named(("query",))
        ('search_query: ', '', 'query')
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    @staticmethod
    def from_files(files: Files) -> Prompts:
        """From ``config_sentence_transformers.json``; none where it is absent.

        Raises:
            DataError: prompts that are no texts, or a default that is none of them.
        """
        config: dict[str, Any] = files.read_json(_FILE) if _FILE in files else {}
        texts, default = config.get("prompts") or {}, config.get("default_prompt_name")
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise DataError(f"{files[_FILE]}: prompts must be names with a text each", fix="correct it, or get it again")
        if default is not None and default not in texts:
            known = ", ".join(texts) or "none"
            said = f"{files[_FILE]}: default_prompt_name is {default!r}"
            raise DataError(said, why=f"its prompts are {known}", fix="correct it")
        return Prompts(dict(texts), default)

    def text(self, name: str | None = None) -> str:
        """What stands before texts: the prompt of this name, or the default one.

        Raises:
            ArgumentError: no such prompt.
        """
        chosen = self.default if name is None else name
        if chosen is None:
            return ""
        if chosen not in self.texts:
            known = ", ".join(self.texts)
            raise ArgumentError(
                f"prompt_name={chosen!r}",
                why=f"this model has the prompts {known}" if known else "this model was published without prompts",
                fix=did_you_mean(chosen, self.texts) or "say what stands before the texts with prompt=",
            )
        return self.texts[chosen]

    def named(self, names: tuple[str, ...]) -> str | None:
        """The first of these names that there is a prompt for; the default's where there is none."""
        return next((name for name in names if name in self.texts), self.default)
