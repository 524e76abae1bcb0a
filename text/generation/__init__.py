"""Text that goes on: one token after the other, with the keys and values of earlier ones kept; and the pipeline of it.

Works on decoders and on encoder-decoders: what a model offers for it stands in ``steps``.
"""

from .caches import PrefixCache
from .chat import ChatTemplate
from .config import GenerationConfig
from .generate import generate, stream
from .pipeline import TextGeneration, ends_of
from .results import Continuation, Continuations
from .rows import Generated, Row
from .speculative import LookupDraft, ModelDraft
from .stopping import TextStream

__all__ = [
    "ChatTemplate",
    "Continuation",
    "Continuations",
    "Generated",
    "GenerationConfig",
    "LookupDraft",
    "ModelDraft",
    "PrefixCache",
    "Row",
    "TextGeneration",
    "TextStream",
    "ends_of",
    "generate",
    "stream",
]
