"""Goldens of transformers' ``generate``: the same ids on tiny random models, and on SmolLM2 where its GGUF file is given.

``tests/goldens/text/generation.json``, made from the models that lie beside it:

    cases        model (a folder), inputs (lists of ids; padded on the left for decoders, on the right for encoders), settings
                 (nyala's names), ends, and ids: for each text the new ones, without the one that ended it and padding
    filters      logits, and for several settings the probabilities of drawing each token

``tests/goldens/real/smollm2.json``, key ``generation``: prompt, settings and what is generated.

Run: ``python tests/tools/make_goldens_generation.py [SmolLM2-135M-Instruct.Q4_1.gguf]``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, LogitsProcessorList, set_seed
from transformers.generation.logits_process import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

DECODERS, BOTH = ("llama", "gpt2", "qwen3"), ("t5", "bart")
INPUTS = [[5, 17, 9, 30, 22, 8, 41], [12, 7], [33, 3, 3, 19]]
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"min_new_tokens": 6},
    {"repetition_penalty": 1.7},
    {"no_repeat_ngram_size": 2},
    {"suppress_tokens": [4, 11, 20]},
    {"num_beams": 4},
    {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 2.0},
    {"num_beams": 3, "length_penalty": -1.0, "early_stopping": True},
    {"num_beams": 3, "length_penalty": 0.5, "early_stopping": "never"},
    {"num_beams": 2, "repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "min_new_tokens": 4},
)
FILTERS: tuple[dict[str, float], ...] = (
    {"temperature": 1.0},
    {"temperature": 0.6},
    {"temperature": 1.0, "top_k": 5},
    {"temperature": 1.4, "top_p": 0.8},
    {"temperature": 1.0, "min_p": 0.2},
    {"temperature": 0.9, "top_k": 12, "top_p": 0.9, "min_p": 0.1},
)
WARPERS = {
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
}
SPOKEN = (
    ("Once upon a time there was a small antelope who", {"num_beams": 4, "max_new_tokens": 20}),
    ("Three things about rivers:", {"repetition_penalty": 1.3, "max_new_tokens": 24}),
    ("The quick brown fox", {"no_repeat_ngram_size": 2, "max_new_tokens": 24}),
    ("def fibonacci(n):", {"max_new_tokens": 24}),
)


def new_ids(found: torch.Tensor, length: int, ends: list[int]) -> list[list[int]]:
    """What stands behind the first ``length`` ids, up to an end."""
    rows = []
    for row in found[:, length:].tolist():
        stop = next((i for i, token in enumerate(row) if token in ends), len(row))
        rows.append(row[:stop])  # only what has ended is padded
    return rows


def told(settings: dict[str, Any], ends: list[int], pad: int) -> dict[str, Any]:
    return {"max_new_tokens": 12, **settings, "do_sample": False, "eos_token_id": ends, "pad_token_id": pad}


def decoder_cases(name: str) -> list[dict[str, Any]]:
    model = AutoModelForCausalLM.from_pretrained(GOLDENS / "text" / name).eval()
    pad, longest = 0, max(map(len, INPUTS))
    ids = torch.tensor([[pad] * (longest - len(row)) + row for row in INPUTS])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in INPUTS])
    greedy = model.generate(ids, attention_mask=mask, **told({}, [], pad))
    ends = sorted({int(greedy[0, longest + 5]), int(greedy[1, longest + 8])})  # so that texts end early
    cases = []
    for settings in SETTINGS:
        found = model.generate(ids, attention_mask=mask, **told(settings, ends, pad))
        rows = new_ids(found, longest, ends)
        cases.append({"model": name, "inputs": INPUTS, "settings": settings, "ends": ends, "ids": rows})
    return cases


def both_cases(name: str) -> list[dict[str, Any]]:
    model = AutoModelForSeq2SeqLM.from_pretrained(GOLDENS / "text" / name).eval()
    pad, longest = 0, max(map(len, INPUTS))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in INPUTS])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in INPUTS])
    plain = {"forced_eos_token_id": None, "forced_bos_token_id": None, "decoder_start_token_id": 2}
    greedy = model.generate(ids, attention_mask=mask, **plain, **told({}, [], pad))
    ends = sorted({int(greedy[0, 6]), int(greedy[1, 9])})
    cases = []
    for settings in SETTINGS:
        found = model.generate(ids, attention_mask=mask, **plain, **told(settings, ends, pad))
        rows = new_ids(found, 1, ends)
        cases.append({"model": name, "inputs": INPUTS, "start": 2, "settings": settings, "ends": ends, "ids": rows})
    return cases


def filters() -> dict[str, Any]:
    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(7)) * 2
    found = []
    for settings in FILTERS:
        warpers = LogitsProcessorList([WARPERS[name](value) for name, value in settings.items()])
        found.append({"settings": settings, "probabilities": torch.softmax(warpers(None, logits), -1)[0].tolist()})
    return {"logits": logits[0].tolist(), "cases": found}


def spoken(path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name).eval()
    cases = []
    for prompt, settings in SPOKEN:
        ids = tokenizer(prompt, return_tensors="pt")
        found = model.generate(**ids, **{**settings, "do_sample": False, "eos_token_id": [2], "pad_token_id": 2})
        rows = new_ids(found, ids["input_ids"].shape[1], [2])
        cases.append({"prompt": prompt, "settings": settings, "ids": rows[0], "text": tokenizer.decode(rows[0])})
    target = GOLDENS / "real" / "smollm2.json"
    target.write_text(json.dumps({**json.loads(target.read_text()), "generation": cases}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    set_seed(0)
    there = [name for name in (*DECODERS, *BOTH) if (GOLDENS / "text" / name).is_dir()]
    every = [case for name in there for case in (decoder_cases if name in DECODERS else both_cases)(name)]
    content = json.dumps({"cases": every, "filters": filters()})
    (GOLDENS / "text" / "generation.json").write_text(content + "\n")
    print(f"{len(every)} cases of {', '.join(there)}, {len(content) / 1e3:.0f} kB")
    for argument in sys.argv[1:]:
        spoken(Path(argument))
