"""More tasks on the shipped e-mails: which subject belongs to a message, where links, sums and dates are, and questions.

The subjects are what people wrote. The marks and the answers are made by the rules below, so a model that learns them learns
these rules: a small, real-text stand-in for a hand-made corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .pairs import Pair
from .questions import Question
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


_NAME = r"[A-Z][\w.'-]+"
# What can be asked of a message: the questions, in turn, and the rule whose only match in the message is the answer.
_ASKED = (
    (("Which link is in the message?", "What is the address of the page?"), _RULES["LINK"]),
    (("Which e-mail address is given?", "Where can one write to?"), _RULES["ADDRESS"]),
    (("How much money is it about?", "Which sum is named?"), _RULES["MONEY"]),
    (("Which date is named?", "On which day is it?"), _RULES["DATE"]),
    (("At what time was it?", "Which time of day is named?"), re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?(?:\s?[APap]\.?[Mm]\b)?")),
    (("Which percentage is named?", "How many per cent is it?"), re.compile(r"\b\d+(?:\.\d+)?\s?(?:%|percent)")),
    (("Who is quoted?", "Whose message is answered?"), re.compile(rf"(?:{_NAME} ){{0,3}}{_NAME}(?= (?:wrote|writes)\b)")),
)


def mail_questions(split: str) -> list[Question]:
    """What can be asked of the shipped e-mails: for each message the kinds of things of which it names just one, and for every
    other such message one question that it does not answer.

    Args:
        split: "train" or "test".

    Example:
        >>> one = mail_questions("train")[0]
        >>> one.question, one.answers[0][0]
        ('How much money is it about?', '$250,000')
    """
    found: list[Question] = []
    asked_of = 0
    for number, text in enumerate(Spam(split).texts):
        matches = [[(m.group(), m.start()) for m in rule.finditer(text)] for _, rule in _ASKED]
        answered = [i for i, hits in enumerate(matches) if len({what for what, _ in hits}) == 1]
        found += [Question(_ASKED[i][0][(number + i) % 2], text, tuple(matches[i])) for i in answered]
        absent = [i for i, hits in enumerate(matches) if not hits]
        asked_of += bool(answered)
        if answered and absent and asked_of % 2:
            i = absent[number % len(absent)]
            found.append(Question(_ASKED[i][0][number % 2], text, ()))
    return found
