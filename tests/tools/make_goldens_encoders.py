"""Goldens of transformers' encoders: RoBERTa and its kin.

``tests/goldens/text/NAME/`` and ``NAME_HEAD/`` hold tiny random models as ``save_pretrained`` writes them, and
``goldens.safetensors``:

    input_ids, attention_mask, token_type_ids   (N, T) int64; rows are padded on the right; types where the model takes them
    last_hidden_state, pooler_output, logits, start_logits, end_logits   eval mode, all arguments given (what the model has)
    plain.NAME                                  the same of the ids alone, without a padded row
    grad.PARAMETER                              gradients of sum(out[i] * cos(0.7 * i + 0.3)), i in row-major order and padding
                                                left out, where out is last_hidden_state, logits, or start_logits beside
                                                end_logits; with a head, those of the parameters outside the layers
    buckets                                     of DeBERTa-v3's settings: the kind of each distance from -600 to 600

Usage: ``python make_goldens_encoders.py [NAME...]``.
"""

from __future__ import annotations

import inspect
import sys

import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
import transformers
from golden_recorder import cotangent, narrow
from make_goldens_text import TEXT, save
from torch import nn
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

SMALL = {"vocab_size": 61, "max_position_embeddings": 32, "num_labels": 3, "attn_implementation": "eager"}
WIDE = {**SMALL, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
WINDOWS = {
    "num_hidden_layers": 4,
    "local_attention": 6,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
}
APART = {"relative_attention": True, "max_relative_positions": 12, "position_buckets": 4, "pos_att_type": ["c2p", "p2c"]}
# NAME: (what class names begin with, configuration, the token for padding)
MODELS: dict[str, tuple[str, dict, int]] = {
    "bert": ("Bert", WIDE, 0),
    "roberta": ("Roberta", {**WIDE, "type_vocab_size": 1, "layer_norm_eps": 1e-5}, 1),
    "xlm_roberta": ("XLMRoberta", {**WIDE, "type_vocab_size": 1, "layer_norm_eps": 1e-5}, 1),
    "distilbert": (
        "DistilBert",
        {**SMALL, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
        0,
    ),
    "mpnet": ("MPNet", WIDE, 1),
    "modernbert": (
        "ModernBert",
        # with eager attention a window of padding alone gives NaN
        {**WIDE, **WINDOWS, "pad_token_id": 0, "classifier_pooling": "mean", "attn_implementation": "sdpa"},
        0,
    ),
    # DeBERTa-v3 as it is published; and with projections and a head of its own, as v2 has them
    "deberta": (
        "DebertaV2",
        {**WIDE, **APART, "share_att_key": True, "position_biased_input": False, "norm_rel_ebd": "layer_norm"},
        0,
    ),
    "deberta_v2": ("DebertaV2", {**WIDE, **APART, "type_vocab_size": 2, "legacy": False}, 0),
    "electra": ("Electra", {**WIDE, "embedding_size": 12}, 0),
    "albert": ("Albert", {**WIDE, "embedding_size": 12, "num_hidden_layers": 3, "num_hidden_groups": 2, "inner_group_num": 2}, 0),
}
HEADS = {
    "": "Model",
    "_classifier": "ForSequenceClassification",
    "_tagger": "ForTokenClassification",
    "_masked_lm": "ForMaskedLM",
    "_answers": "ForQuestionAnswering",
    "_discriminator": "ForPreTraining",
}
# Not every head of those that share all code, and none that make_goldens_text.py makes.
ALONE = {
    "bert": ("_answers",),
    "xlm_roberta": ("_classifier", "_masked_lm"),
    "deberta_v2": ("_masked_lm",),
    "electra": tuple(HEADS),
}


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and name.endswith("weight"):  # norms
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        else:
            parameter.data.normal_(0, 0.3, generator=generator)


def batch(padding: int, types: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(4, 61, (4, 11), generator=generator)
    lengths = torch.tensor([11, 7, 1, 9])
    mask = (torch.arange(11) < lengths[:, None]).long()
    inputs = {"input_ids": torch.where(mask.bool(), ids, padding), "attention_mask": mask}
    if types:
        inputs["token_type_ids"] = (torch.arange(11) >= lengths[:, None] // 2).long() * mask * (types > 1)
    return inputs


def outputs(result: object) -> dict[str, torch.Tensor]:
    names = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")
    return {name: result[name] for name in names if result.get(name) is not None}


def objective(found: dict[str, torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    ends = [found[k] for k in ("start_logits", "end_logits") if k in found]
    main = torch.stack(ends, -1) if ends else found.get("logits", found.get("last_hidden_state"))
    weights = cotangent(main.shape)
    if main.shape[:2] == mask.shape:  # what stands at padding means nothing
        weights = weights * mask.reshape(*mask.shape, *[1] * (main.ndim - 2))
    return (main * weights).sum()


def tiny(name: str, head: str) -> None:
    start, sizes, padding = MODELS[name]
    config = getattr(transformers, f"{start}Config")(**sizes | ({"num_labels": 2} if head == "_answers" else {}))
    model = getattr(transformers, start + HEADS[head])(config).eval()
    randomise(model)
    folder = TEXT / (name + head)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    takes_types = "token_type_ids" in inspect.signature(type(model).forward).parameters
    model, inputs = model.double(), batch(padding, getattr(config, "type_vocab_size", 0) if takes_types else 0)
    found = outputs(model(**inputs))
    goldens = {**inputs, **{key: narrow(value) for key, value in found.items()}}
    with torch.no_grad():
        goldens |= {f"plain.{k}": narrow(v) for k, v in outputs(model(inputs["input_ids"][:1])).items()}
    tied = {id(p): k for k, p in model.named_parameters(remove_duplicate=False) if "embeddings" in k}
    named = {tied.get(id(p), k): p for k, p in model.named_parameters()}
    named = {k: p for k, p in named.items() if not head or ("layer." not in k and "layers." not in k)}
    grads = torch.autograd.grad(objective(found, inputs["attention_mask"]), list(named.values()), allow_unused=True)
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, grads, strict=True) if g is not None}
    if name + head == "deberta":
        line = make_log_bucket_position(torch.arange(-600, 601), 256, 512)
        goldens["buckets"] = line.to(torch.int16)
    save(goldens, folder / "goldens.safetensors")


def main() -> None:
    for name in sys.argv[1:] or MODELS:
        for head in ALONE.get(name, tuple(HEADS)[:5]):
            tiny(name, head)


if __name__ == "__main__":
    main()
