"""Text datasets: texts with labels."""

from .labelled import LabelledText, read_jsonl
from .spam import Spam

__all__ = ["LabelledText", "Spam", "read_jsonl"]
