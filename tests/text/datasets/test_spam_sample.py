"""The shipped sample of e-mails keeps its promises: balance, size, no leak between the halves, no mailboxes."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import nyala

FOLDER = Path(nyala.__file__).parent / "text/datasets/samples/spam"


def rows(half: str) -> list[dict[str, str]]:
    with gzip.open(FOLDER / f"{half}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def fragments(text: str) -> set[tuple[str, ...]]:
    """Every four words in a row of the body."""
    words = re.findall(r"[a-z]+", text.partition("\n")[2].lower())
    return {tuple(words[i : i + 4]) for i in range(max(1, len(words) - 3))}


def test_halves_are_balanced_and_small() -> None:
    for half, count in {"train": 500, "test": 200}.items():
        labels = [row["label"] for row in rows(half)]
        assert labels.count("ham") == labels.count("spam") == count
        assert set(labels[:20]) == {"ham", "spam"}, "the labels are not in one block each"
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 1_000_000
    assert all(40 <= len(row["text"]) <= 800 for half in ("train", "test") for row in rows(half))


def test_no_test_message_resembles_a_training_message() -> None:
    train = [fragments(row["text"]) for row in rows("train")]
    threads = {row["text"].partition("\n")[0].lower().removeprefix("re: ") for row in rows("train")} - {""}
    for row in rows("test"):
        assert row["text"].partition("\n")[0].lower().removeprefix("re: ") not in threads
        mine = fragments(row["text"])
        share = max(len(mine & other) / min(len(mine), len(other)) for other in train)
        assert share < 0.5, row["text"][:80]


def test_no_mailbox_is_shipped() -> None:
    text = " ".join(row["text"] for half in ("train", "test") for row in rows(half))
    mailboxes = set(re.findall(r"[\w.+-]+@[\w-]+\.[\w.-]*\w", text))
    assert {box for box in mailboxes if not box.startswith("name@exa")} == set()


def test_the_licence_lies_beside_the_data() -> None:
    licence = (FOLDER / "LICENSE").read_text()
    assert "CC0" in licence and "Public Domain Dedication" in licence
