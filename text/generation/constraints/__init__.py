"""Constrained output: regular expressions and JSON schemas, compiled to automata over a tokenizer's vocabulary.

``Constraint(json_schema(...), Vocabulary.of(tokenizer), ends)`` is a processor of ``generate``; pipelines make it themselves of
``regex=`` and ``json_schema=``.
"""

from .automaton import Automaton
from .constraint import Constraint
from .grammar import Grammar
from .regex import regex
from .schema import json_schema
from .vocabulary import Vocabulary

__all__ = ["Automaton", "Constraint", "Grammar", "Vocabulary", "json_schema", "regex"]
