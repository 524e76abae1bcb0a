"""The model card of an upload: ``README.md``, with the front matter that model hubs read and a page for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .cards import Card
from .push_run import RunFacts

# Task of nyala -> the hub's own word for it.
_HUB_TASKS = {"sentence-embedding": "sentence-similarity", "speech-recognition": "automatic-speech-recognition"}
_METRICS = {"macro_f1": "f1", "top1": "accuracy"}
_NAMES = {
    "macro_f1": "macro F1",
    "ece": "expected calibration error",
    "wer": "word error rate",
    "cer": "character error rate",
}
_SHOWN_LABELS = 30


@dataclass(frozen=True)
class CardFacts:
    """All that the model card says.

    Attributes:
        repo: where it goes, ``org/name``.
        task: nyala's name of the task.
        library: whose layout the files are in: ``"timm"``, ``"transformers"``, ``"sentence-transformers"``, ``"peft"``.
        config: content of ``config.json``.
        license: as the hub writes it, e.g. ``"apache-2.0"``; empty where unknown.
        base: the weights that the training began with, by the name nyala knows them by; empty where unknown.
        base_repo: the same on the model hub, ``org/name``.
        base_card: the catalogue's card of the base.
        run: the run, where there is one.
    """

    repo: str
    task: str
    library: str
    config: Mapping[str, Any]
    license: str = ""
    base: str = ""
    base_repo: str = ""
    base_card: Card | None = None
    run: RunFacts | None = None
    labels: Sequence[str] = field(default_factory=tuple)


def write_card(facts: CardFacts) -> str:
    """The text of ``README.md``. Equal facts make equal bytes.

    Example:
        >>> facts = CardFacts("me/cats", "image-classification", "timm", {"architecture": "resnet18"}, license="mit")
        >>> print(write_card(facts).splitlines()[1])
        license: "mit"
    """
    sections = [_title(facts), _use(facts), _labels(facts), _results(facts), _training(facts), _licence(facts)]
    return f"---\n{front_matter(facts)}---\n\n" + "\n".join(section for section in sections if section)


def hub_task(task: str) -> str:
    """The hub's word for a task of nyala's.

    Example:
        >>> hub_task("sentence-embedding"), hub_task("image-classification")
        ('sentence-similarity', 'image-classification')
    """
    return _HUB_TASKS.get(task, task)


def labels_of(config: Mapping[str, Any]) -> list[str]:
    """Class names in the order of the outputs, from a ``config.json`` of timm's or transformers' layout.

    Example:
        >>> labels_of({"id2label": {"1": "spam", "0": "ham"}})
        ['ham', 'spam']
    """
    names = config.get("id2label")
    if isinstance(names, dict) and all(str(key).isdecimal() for key in names):
        return [str(names[key]) for key in sorted(names, key=int)]
    listed = config.get("label_names")
    return [str(name) for name in listed] if isinstance(listed, list) else []


# ---- what machines read


def front_matter(facts: CardFacts) -> str:
    """The YAML between the dashes. Texts are written as JSON, which is YAML as well."""
    tree: dict[str, Any] = {"license": facts.license or None}
    if facts.base_repo:
        tree |= {"base_model": [facts.base_repo], "base_model_relation": "adapter" if facts.library == "peft" else "finetune"}
    tree |= {"library_name": facts.library, "pipeline_tag": hub_task(facts.task), "tags": _tags(facts)}
    if facts.run and facts.run.scores:
        scores = facts.run.scores
        tree["metrics"] = list(dict.fromkeys(_kind(name, scores) for name in scores if name != "loss")) or None
        tree["model-index"] = [{"name": facts.repo.partition("/")[2], "results": [_result(facts, facts.run)]}]
    return "".join(_yaml({key: value for key, value in tree.items() if value is not None}, 0))


def _tags(facts: CardFacts) -> list[str]:
    architecture = facts.config.get("model_type") or facts.config.get("architecture")
    return [str(tag) for tag in ("nyala", hub_task(facts.task), architecture) if tag]


def _result(facts: CardFacts, run: RunFacts) -> dict[str, Any]:
    metrics = [{"type": _kind(n, run.scores), "name": _NAMES.get(n, n), "value": round(v, 6)} for n, v in run.scores.items()]
    dataset = {"name": run.data, "type": run.data, "split": "test"}
    return {"task": {"type": hub_task(facts.task)}, "dataset": dataset, "metrics": metrics}


def _kind(name: str, scores: Mapping[str, float]) -> str:
    """The hub's word for a score, unless another score is called so."""
    word = _METRICS.get(name, name)
    return name if word in scores else word


def _yaml(tree: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Block style: dictionaries and lists of scalars or dictionaries, which is all a card needs."""
    margin = "  " * depth
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield f"{margin}{key}:\n"
            yield from _yaml(value, depth + 1)
        elif isinstance(value, list):
            yield f"{margin}{key}:\n"
            for item in value:
                lines = list(_yaml(item, depth + 1)) if isinstance(item, Mapping) else [f"{margin}  {_scalar(item)}\n"]
                yield f"{margin}- {lines[0].lstrip()}"
                yield from lines[1:]
        else:
            yield f"{margin}{key}: {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    # Characters that cannot be seen, such as U+2028, may end a line in YAML: they are written as escapes.
    return json.dumps(value, ensure_ascii=not value.isprintable()) if isinstance(value, str) else json.dumps(value)


# ---- what people read


def _title(facts: CardFacts) -> str:
    name, run = facts.repo.partition("/")[2], facts.run
    what = f"A model for {hub_task(facts.task).replace('-', ' ')}"
    base = _linked_base(facts)
    began = f", fine-tuned from {base}" if base else ""
    on = f" on `{run.data}`" if run and run.data else ""
    described = f"\n{run.description}\n" if run and run.description else ""
    return f"# {name}\n\n{what}{began}{on}.\n{described}"


def _linked_base(facts: CardFacts) -> str:
    if facts.base_repo:
        return f"[{facts.base_repo}](https://huggingface.co/{facts.base_repo})"
    return f"`{facts.base}`" if facts.base else ""


_RAW = {"image-classification": '"picture.png"', "audio-classification": '"sound.wav"'}


def _use(facts: CardFacts) -> str:
    raw = _RAW.get(facts.task, '"sound.wav"' if "speech" in facts.task else '"some text"')
    lines = ["## Use it", "", "```python", "import nyala", "", f'pipe = nyala.load("{facts.repo}")', f"print(pipe({raw}))", "```"]
    return "\n".join([*lines, "", "or", "", "```python", *_elsewhere(facts), "```", ""])


_PEFT = {
    "text-classification": "AutoPeftModelForSequenceClassification",
    "token-classification": "AutoPeftModelForTokenClassification",
    "text-generation": "AutoPeftModelForCausalLM",
}


def _elsewhere(facts: CardFacts) -> list[str]:
    """The same in the library whose layout the files have."""
    if facts.library == "timm":
        return ["import timm", "", f'model = timm.create_model("hf-hub:{facts.repo}", pretrained=True).eval()']
    if facts.library == "sentence-transformers":
        return ["from sentence_transformers import SentenceTransformer", "", f'model = SentenceTransformer("{facts.repo}")']
    if facts.library == "peft":
        kind = _PEFT.get(facts.task, "AutoPeftModelForFeatureExtraction")
        return [f"from peft import {kind}", "", f'model = {kind}.from_pretrained("{facts.repo}")']
    return ["from transformers import pipeline", "", f'pipe = pipeline("{hub_task(facts.task)}", model="{facts.repo}")']


def _labels(facts: CardFacts) -> str:
    if not facts.labels or "classification" not in facts.task:  # others have labels by default, which mean nothing
        return ""
    shown = ", ".join(f"`{' '.join(name.replace('`', '').split())}`" for name in facts.labels[:_SHOWN_LABELS])
    more = f", and {len(facts.labels) - _SHOWN_LABELS} more" if len(facts.labels) > _SHOWN_LABELS else ""
    return f"## Classes\n\n{len(facts.labels)}: {shown}{more}.\n"


def _results(facts: CardFacts) -> str:
    run = facts.run
    if run is None or not run.scores:
        return ""
    rows = "\n".join(f"| {_NAMES.get(name, name).replace('_', ' ')} | {value:.4f} |" for name, value in run.scores.items())
    of = f" of {run.samples} samples" if run.samples else ""
    return f"## Results\n\nOn the test part{of}, looked at once, at the end.\n\n| metric | value |\n|---|---|\n{rows}\n"


def _training(facts: CardFacts) -> str:
    run = facts.run
    if run is None:
        return ""
    recipe, manifest = run.recipe, run.manifest
    named = manifest.get("recipe")
    digest = named.get("sha256", "") if isinstance(named, Mapping) else ""
    length = ", ".join(_count(recipe["train"][key], key) for key in ("epochs", "steps") if key in recipe.get("train", {}))
    optim = recipe.get("optim", {})
    facts_of = {
        "recipe": f"`{run.name}`, sha256 `{digest}`" if digest else f"`{run.name}`",
        "data": f"`{run.data}`",
        "length": length,
        "optimizer": f"{optim.get('type', '')}, learning rate {optim.get('lr', '')}" if optim else "",
        "batch size": recipe.get("data", {}).get("batch_size", ""),
        "seed": recipe.get("seed", ""),
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts_of.items() if value != "")
    proof = (
        "[`nyala/recipe.resolved.toml`](nyala/recipe.resolved.toml) holds every value; `nyala run` on it repeats the run,\n"
        "and [`nyala/manifest.json`](nyala/manifest.json) holds the hashes of recipe, code, data, weights and results to compare."
    )
    return f"## Training\n\n| | |\n|---|---|\n{rows}\n\n{proof}\n"


def _count(number: Any, unit: str) -> str:
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def _licence(facts: CardFacts) -> str:
    card = facts.base_card
    cited = f"\nThe base: {card.citation}.\n" if card and card.citation else ""
    if not facts.license:
        return f"## Licence\n\nNot stated: the licence of the base applies.\n{cited}"
    whose = ", the licence of the base" if facts.base else ""
    return f"## Licence\n\n{facts.license}{whose}.\n{cited}"
