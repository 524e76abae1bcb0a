"""Two more tasks on the shipped e-mails: which subject belongs to a message, and where links, sums and dates are.

The subjects are what people wrote. The marks are made by the rules below, so a model that learns them learns these rules: a
small, real-text stand-in for a hand-made corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .pairs import Pair
from .rewrites import Rewrite
from .spam import Spam
from .tagged import Tagged

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.?"
_RULES = {
    "LINK": re.compile(r"(?:https?://|www\.)[^\s<>\"')]+"),
    "ADDRESS": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "MONEY": re.compile(r"(?:US)?\$\s?\d[\d,]*(?:\.\d+)?(?:\s?(?:(?i:million|billion|trillion)|M|K)\b)?"),
    "DATE": re.compile(
        rf"\b(?:\d{{1,2}} {_MONTH} \d{{4}}|{_MONTH} \d{{1,2}}(?:, ?\d{{4}})?"
        r"|\d{1,2}/\d{1,2}/\d{2,4}|\d{4}-\d{2}-\d{2})\b"
    ),
}


def mail_subjects(split: str) -> list[Pair]:
    """(subject, message) of each shipped e-mail that has both.

    Args:
        split: "train" or "test".

    Example:
        >>> mail_subjects("train")[1].anchor
        'Wishing you a wonderful day'
    """
    parts = (text.partition("\n") for text in Spam(split).texts)
    return [Pair(subject.strip(), body.strip()) for subject, _, body in parts if subject.strip() and body.strip()]


def mail_summaries(split: str) -> list[Rewrite]:
    """(message, subject) of each shipped e-mail that has both; marks of answers and of mailing lists are taken off subjects.

    Args:
        split: "train" or "test".

    Example:
        >>> mail_summaries("train")[2].target
        'Windows port / bug reports?'
    """
    found = (Rewrite(pair.positive, _MARK.sub("", pair.anchor).strip()) for pair in mail_subjects(split))
    return [both for both in found if both.target]


# "Re:", "Fwd:", "[ILUG]" at the beginning of a subject.
_MARK = re.compile(r"^(?:\s*(?:(?:re|fw|fwd|aw)(?:\[\d+\])?:|\[[^\]]*\]))+", re.IGNORECASE)


def mail_texts(split: str) -> list[str]:
    """The shipped e-mails that people wanted, as they are: subject, then message.

    Args:
        split: "train" or "test".
    """
    data = Spam(split)
    wanted = data.classes.index("ham")
    return [text for text, label in zip(data.texts, data.labels, strict=True) if label == wanted]


def mail_marks(split: str) -> list[Tagged]:
    """The lines of the shipped e-mails that have a link, address, sum of money or date in them, and as many that have none.

    Args:
        split: "train" or "test".
    """
    marked: list[Tagged] = []
    plain: list[Tagged] = []
    for line in _lines(split):
        text = tagged(line)
        (plain if all(tag == "O" for tag in text.tags) else marked).append(text)
    return marked + plain[:: max(1, len(plain) // max(1, len(marked)))][: len(marked)]


def _lines(split: str) -> Iterator[str]:
    for text in Spam(split).texts:
        yield from (line for line in text.splitlines() if len(line.split()) > 3)


def tagged(line: str) -> Tagged:
    """The words of a line, tagged by the rules; the first rule that fits a place wins.

    Example:
        >>> tagged("Pay $5 million by Sept 12, 2002").tags
        ('O', 'B-MONEY', 'I-MONEY', 'O', 'B-DATE', 'I-DATE', 'I-DATE')
    """
    found = [(m.start(), m.end(), kind) for kind, rule in _RULES.items() for m in rule.finditer(line)]
    words, tags, last = [], [], None
    for word in re.finditer(r"\S+", line):
        hit = next((f for f in found if f[0] < word.end() and word.start() < f[1]), None)
        words.append(word.group())
        tags.append("O" if hit is None else f"{'I' if hit == last else 'B'}-{hit[2]}")
        last = hit
    return Tagged(tuple(words), tuple(tags))
