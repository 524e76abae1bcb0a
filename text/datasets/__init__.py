"""Text datasets: texts with labels, words with tags, pairs of texts, questions with answers."""

from .corpus import Corpus
from .labelled import LabelledText, read_jsonl
from .lines import kind_of_row, numbered_lines
from .mail import mail_marks, mail_questions, mail_subjects, mail_summaries, mail_texts
from .pairs import Pair, read_pairs
from .questions import Question, is_squad, read_questions
from .rewrites import Rewrite, read_rewrites
from .spam import Spam, Topics
from .tagged import Tagged, read_tagged

__all__ = [
    "Corpus",
    "LabelledText",
    "Pair",
    "Question",
    "Rewrite",
    "Spam",
    "Tagged",
    "Topics",
    "is_squad",
    "kind_of_row",
    "mail_marks",
    "mail_questions",
    "mail_subjects",
    "mail_summaries",
    "mail_texts",
    "numbered_lines",
    "read_jsonl",
    "read_pairs",
    "read_questions",
    "read_rewrites",
    "read_tagged",
]
