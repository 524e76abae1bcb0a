"""Goldens of SentencePiece.

``tests/goldens/text/sentencepiece/KIND/`` holds a small model as SentencePiece trains it on the shipped e-mails, for KIND in

    t5          ``spiece.model``: Unigram, rules for some characters
    albert      ``spiece.model``: Unigram without rules, [CLS] and [SEP] in it
    deberta     ``spm.model``: Unigram, bytes for what is not known
    xlm         ``sentencepiece.bpe.model``: Unigram, with the numbers before which fairseq puts its own
    marian      ``source.spm``, ``target.spm`` and ``vocab.json`` of the pieces of both
    llama       ``tokenizer.model``: byte-pair encoding, bytes for what is not known, spaces as they are

and ``tests/goldens/text/sentencepiece/ids.json``: for each kind ``[text, ids, back]``, ids by SentencePiece with the tokens
around that the model's published tokenizer puts there, and what SentencePiece makes of the ids, null where one is unknown.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import sentencepiece
from golden_recorder import GOLDENS

FOLDER = GOLDENS / "text" / "sentencepiece"
SAMPLES = GOLDENS.parents[1] / "text" / "datasets" / "samples" / "spam"
TEXTS = [
    "Please find the report attached, and call me on Monday.",
    "  two  spaces   before, between and behind  ",
    "",
    " ",
    "tab\tand\nline\r\nfeeds",
    "Unknown: \u65e5\u672c\u8a9e, \u03b1\u03b2\u03b3, \U0001f98c \u0301",
    "\ufb01ne \uff21\uff22 \u00bd cafe\u0301 caf\u00e9",
    "$1,234.56 (50% off!!!) http://example.com/a?b=c&d=e_f",
    "UPPER lower MiXeD don't",
    "x" * 40,
    "\u2581underline\u2581",
    "space \n around a line's end",
]
RULES = [
    ("09", "20"), ("0A", "20"), ("0D", "20"), ("3000", "20"), ("FB01", "66 69"), ("FF21", "41"), ("FF22", "42"),
    ("BD", "31 2044 32"), ("65 301", "E9"), ("200B", ""),
]  # fmt: skip


def corpus() -> list[str]:
    lines: list[str] = []
    for path in sorted(SAMPLES.glob("*train*.gz")):
        for row in gzip.decompress(path.read_bytes()).decode().splitlines():
            lines += [line for line in json.loads(row)["text"].splitlines() if line.strip()]
    return lines[:6000]


def train(lines: list[str], path: Path, **settings: Any) -> sentencepiece.SentencePieceProcessor:
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "m"
        usual = {"vocab_size": 300, "model_type": "unigram", "num_threads": 1, "minloglevel": 2, "character_coverage": 0.995}
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_prefix=str(prefix), **{**usual, **settings})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(prefix.with_suffix(".model").read_bytes())
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def plain(text: str) -> str:
    """What ALBERT does to a text first."""
    text = unicodedata.normalize("NFKD", text.replace("``", '"').replace("''", '"'))
    return "".join(c for c in text if not unicodedata.combining(c)).lower()


def back(model: sentencepiece.SentencePieceProcessor, text: str) -> str | None:
    ids = model.encode(text)
    return None if model.unk_id() in ids else model.decode(ids)


def main() -> None:
    lines, found = corpus(), {}
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write("".join(f"{a}\t{b}\n" for a, b in RULES))
        rules.flush()
        ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
        t5 = train(lines, FOLDER / "t5" / "spiece.model", normalization_rule_tsv=rules.name, **ids)
    found["t5"] = [[t, [*t5.encode(t), 1], back(t5, t)] for t in TEXTS]

    ids = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "normalization_rule_name": "identity"}
    albert = train(lines, FOLDER / "albert" / "spiece.model", control_symbols=["[CLS]", "[SEP]", "[MASK]"], **ids)
    cut = {t: albert.encode(plain(t)) for t in TEXTS}
    found["albert"] = [[t, [2, *ids, 3], back(albert, plain(t))] for t, ids in cut.items()]

    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    more = {"unk_piece": "[UNK]", "normalization_rule_name": "identity", "byte_fallback": True, "vocab_size": 520}
    deberta = train(lines, FOLDER / "deberta" / "spm.model", **ids, **more)
    found["deberta"] = [[t, [1, *deberta.encode(t), 2], back(deberta, t)] for t in TEXTS]

    xlm = train(lines, FOLDER / "xlm" / "sentencepiece.bpe.model", normalization_rule_name="identity")
    found["xlm"] = [[t, [0, *(3 if i == 0 else i + 1 for i in xlm.encode(t)), 2], back(xlm, t)] for t in TEXTS]

    ids = {"model_type": "bpe", "byte_fallback": True, "vocab_size": 520, "normalization_rule_name": "identity"}
    more = {"remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True}
    llama = train(
        [*lines, *(f"{' ' * (i % 9)}indented" for i in range(200))], FOLDER / "llama" / "tokenizer.model", **ids, **more
    )
    found["llama"] = [[t, [1, *llama.encode(t)], back(llama, t)] for t in TEXTS]

    source = train(lines[::2], FOLDER / "marian" / "source.spm", normalization_rule_name="identity", vocab_size=200)
    train(lines[1::2], FOLDER / "marian" / "target.spm", normalization_rule_name="identity", vocab_size=200)
    target = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "marian" / "target.spm"))
    pieces = [m.id_to_piece(i) for m in (source, target) for i in range(3, m.get_piece_size())]
    listed = ["</s>", "<unk>", *dict.fromkeys(pieces), ">>fra<<", "<pad>"]
    table = {text: i for i, text in enumerate(listed)}
    (FOLDER / "marian" / "vocab.json").write_text(json.dumps(table, ensure_ascii=False))
    rows = []
    for t in TEXTS:
        pieces = source.encode(t, out_type=str)
        rows.append([t, [*(table.get(p, 1) for p in pieces), 0], back(source, t)])
    found["marian"] = rows
    (FOLDER / "ids.json").write_text(json.dumps(found, indent=0, ensure_ascii=False) + "\n")
    for path in sorted(FOLDER.rglob("*")):
        print(path.relative_to(GOLDENS), path.stat().st_size)


if __name__ == "__main__":
    main()
