"""Goldens of transformers' tokenizers.

``tests/goldens/text/tokenizers/NAME/`` holds a tokenizer with a small vocabulary, learnt from TEXTS, as ``save_pretrained``
writes it (``tokenizer.json``, ``tokenizer_config.json``), and beside it the older files that hold the same (``vocab.txt``, or
``vocab.json`` and ``merges.txt``). ``goldens.json`` says what transformers makes of TEXTS and PAIRS with each:

    single, pairs       ids and type ids
    cut, cut_left       ids of texts and of pairs cut to 12 tokens, at the end and at the beginning
    offsets             for each text, where its tokens stand in it
    windows             for the last pair, windows of 14 tokens with 3 in common: ids, and offsets of the second text
    added               a text with the mask and the special tokens in it
    decoded             what becomes of the ids of each text
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import tokenizers
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, GPT2Tokenizer, MPNetTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer, RobertaTokenizer

FOLDER = GOLDENS / "text" / "tokenizers"
TEXTS = [
    "The cat sat on the mat.",
    "  Antelopes of southern Africa graze at dawn,  and hide in thickets near water through the heat of the day.",
    "Überraschung! Ça coûte 12,50 € à l'hôtel.",
    "naïve ﬁancé — e\u0301tude",
    "import numpy as np; np.einsum('ij,jk->ik', a, b)",
    "猫が座った。 кот сидел",
    "tabs\tand\nline\r\nbreaks",
    "I'll say they've 1234567890 reasons",
    "🙂🙃 emoji \u200b zero width",
    "",
    " ",
    "antidisestablishmentarianism " * 3,
]
PAIRS = [
    ("Who sat?", "The cat sat on the mat."),
    ("a", ""),
    ("Where do antelopes hide through the heat of the day in southern Africa?", "The cat sat on the mat, and hid."),
    ("When do they graze?", " ".join(TEXTS[:5])),
]
SPECIAL = {"bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "bart": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]}


def wordpiece(special: list[str], lower: bool) -> dict[str, int]:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=220, special_tokens=special, show_progress=False))
    return tokenizer.get_vocab()


def byte_pairs(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.model.save(folder)
        lines = Path(folder, "merges.txt").read_text().splitlines()[1:]
    return tokenizer.get_vocab(), [tuple(line.split(" ")) for line in lines]


def unigram() -> PreTrainedTokenizerFast:
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = SPECIAL["bart"]
    trainer = trainers.UnigramTrainer(vocab_size=180, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    ends = [(t, tokenizer.token_to_id(t)) for t in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, model_max_length=64)


def made() -> dict[str, Any]:
    """Every tokenizer by name."""
    plain, qwen = byte_pairs(["<|endoftext|>"]), byte_pairs([])
    qwen_tokens = {"<|endoftext|>": len(qwen[0]), "<|im_start|>": len(qwen[0]) + 1, "<|im_end|>": len(qwen[0]) + 2}
    mpnet = wordpiece(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"], True)
    found = {
        "bert": BertTokenizer(vocab=wordpiece(SPECIAL["bert"], True), do_lower_case=True, model_max_length=32),
        "bert_cased": BertTokenizer(vocab=wordpiece(SPECIAL["bert"], False), do_lower_case=False, model_max_length=32),
        "mpnet": MPNetTokenizer(vocab=mpnet, model_max_length=32),
        "roberta": RobertaTokenizer(*byte_pairs(SPECIAL["bart"]), model_max_length=64),
        "gpt2": GPT2Tokenizer(*plain, model_max_length=64),
        "qwen2": Qwen2Tokenizer(*qwen, model_max_length=64, padding_side="left"),
        "unigram": unigram(),
    }
    found["qwen2"].add_special_tokens({"additional_special_tokens": list(qwen_tokens)[1:]})
    return found


def goldens(tokenizer: Any) -> dict[str, Any]:
    """What transformers makes of the texts."""

    def ids(*texts: str, **how: Any) -> list[int]:
        return tokenizer(*([text] for text in texts), **how)["input_ids"][0]  # one by one it takes "" for no second text

    def types(first: str, second: str) -> list[int]:
        return list(tokenizer._tokenizer.encode(first, second).type_ids)

    found: dict[str, Any] = {"single": [ids(t) for t in TEXTS], "pairs": [[ids(*p), types(*p)] for p in PAIRS]}
    for name, side in (("cut", "right"), ("cut_left", "left")):
        tokenizer.truncation_side = side
        cut = {"truncation": True, "max_length": 12}
        found[name] = [[ids(t, **cut) for t in TEXTS], [ids(*p, **cut) for p in PAIRS]]
    tokenizer.truncation_side = "right"
    tokenizer._tokenizer.no_truncation()
    found["offsets"] = [tokenizer(t, return_offsets_mapping=True)["offset_mapping"] for t in TEXTS]
    question, context = PAIRS[-1]
    windows = tokenizer(
        question, context, truncation="only_second", max_length=len(ids(question, "")) + 9, stride=3,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    found["windows"] = [
        [row, [o if s == 1 else None for o, s in zip(offsets, windows.sequence_ids(i), strict=True)]]
        for i, (row, offsets) in enumerate(zip(windows["input_ids"], windows["offset_mapping"], strict=True))
    ]
    tokenizer._tokenizer.no_truncation()
    mask = tokenizer.mask_token or ""
    text = f"The cat {mask} on {tokenizer.eos_token or tokenizer.sep_token} the mat{mask}."
    found["added"] = [text, ids(text)]
    found["decoded"] = [tokenizer._tokenizer.decode(row, skip_special_tokens=True) for row in found["single"]]
    found["pad"], found["side"] = tokenizer.pad_token_id, tokenizer.padding_side
    return found


def main() -> None:
    everything: dict[str, Any] = {"texts": TEXTS, "given_pairs": PAIRS}
    for name, tokenizer in made().items():
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(folder)
        if name != "unigram":
            tokenizer._tokenizer.model.save(str(folder))
        everything[name] = goldens(tokenizer)
        for path in folder.iterdir():
            if path.name == "tokenizer.json":
                path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False, separators=(",", ":")) + "\n")
            path.chmod(0o644)
        print(name, sum(p.stat().st_size for p in folder.iterdir()), "bytes")
    (FOLDER / "goldens.json").write_text(json.dumps(everything, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
