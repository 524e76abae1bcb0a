"""Goldens of transformers' ``generate``: the same ids on tiny random models, and on SmolLM2 where its GGUF file is given.

``tests/goldens/text/generation.json``, made from the models that lie beside it:

    cases        model (a folder), inputs (lists of ids; padded on the left for decoders, on the right for encoders), settings
                 (nyala's names), ends, and ids: for each text the new ones, without the one that ended it and padding
    filters      logits, and for several settings the probabilities of drawing each token

``tests/goldens/text/chat_templates.json``: templates of several families, and what they write of conversations; SmolLM2's own
comes from its GGUF file, and stays as it is where none is given.

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
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, LogitsProcessorList, set_seed
from transformers.generation.logits_process import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.utils.chat_template_utils import render_jinja_template

DECODERS = ("llama", "gpt2", "qwen3", "qwen2_sliding", "gemma3_text", "gemma3", "gpt_neox")
BOTH = ("t5", "bart")
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


TEMPLATES = {
    "llama-3": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
        "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
        "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
    ),
    "blocks": (
        "{%- set ns = namespace(system='', n=0) %}\n{%- for message in messages %}\n    {%- if message.role == 'system' %}\n"
        "        {%- set ns.system = message.content %}\n        {%- continue %}\n    {%- endif %}\n"
        "    {%- set ns.n = ns.n + 1 %}\n    [{{ ns.n }}] {{ message.role | upper }}: "
        "{{ message.content.split('|')[-1].strip() }}\n"
        "    {%- if message.tool_calls is defined %}\n    {{ message.tool_calls | tojson(indent=1) }}\n    {%- endif %}\n"
        "    {% generation %}{{ message.content | length }}{% endgeneration %}\n{%- endfor %}\n"
        "{{ {'tools': tools | default([]), 'sys': ns.system} | tojson }}\n"
        "{%- if not ns.n %}{% for i in range(9) %}{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}{% endif %}"
    ),
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
USER, ANSWER, SYSTEM = (
    {"role": r, "content": c} for r, c in (("user", " Hi <&> 猫| a\n"), ("assistant", "Yes."), ("system", "Be"))
)
CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"x": "<é>"}}]}
TALKS: tuple[list[dict[str, Any]], ...] = ([USER], [USER, ANSWER, USER], [SYSTEM, USER], [USER, USER], [SYSTEM], [USER, CALL])


def chat_templates(path: Path | None) -> None:
    target = GOLDENS / "text" / "chat_templates.json"
    known = json.loads(target.read_text()) if target.exists() else []
    own = [case for case in known if case["name"] == "smollm2"]
    if path is not None:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        own = [rendered("smollm2", tokenizer.chat_template, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})]
    cases = [*own, *(rendered(name, template, TOKENS) for name, template in TEMPLATES.items())]
    target.write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(cases)} templates")


def rendered(name: str, template: str, tokens: dict[str, str]) -> dict[str, Any]:
    cases = []
    for messages in TALKS:
        for values in (
            {"add_generation_prompt": True},
            {"add_generation_prompt": False, "tools": [{"type": "function", "n": 1}]},
        ):
            told: dict[str, Any] = {"messages": messages, "values": values}
            given = {k: v for k, v in values.items() if k not in ("add_generation_prompt", "tools")}
            try:
                texts = render_jinja_template(
                    [messages], chat_template=template, **given, **tokens,
                    add_generation_prompt=values["add_generation_prompt"], tools=values.get("tools"),
                )  # fmt: skip
                told["text"] = (texts[0] if isinstance(texts, tuple) else texts)[0]
            except TemplateError as error:
                told["error"] = str(error)
            cases.append(told)
    return {"name": name, "template": template, "tokens": tokens, "cases": cases}


if __name__ == "__main__":
    set_seed(0)
    there = [name for name in (*DECODERS, *BOTH) if (GOLDENS / "text" / name).is_dir()]
    every = [case for name in there for case in (decoder_cases if name in DECODERS else both_cases)(name)]
    content = json.dumps({"cases": every, "filters": filters()})
    (GOLDENS / "text" / "generation.json").write_text(content + "\n")
    print(f"{len(every)} cases of {', '.join(there)}, {len(content) / 1e3:.0f} kB")
    chat_templates(Path(sys.argv[1]) if sys.argv[1:] else None)
    for argument in sys.argv[1:]:
        spoken(Path(argument))
