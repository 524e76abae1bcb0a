"""``nyala.load``: a name -> a pipeline. The files come from :mod:`.client`, the model from its architecture's module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.devices import parse as parse_device
from ..core.errors import ArgumentError, CheckpointError, DataError, MissingFileError, NyalaError, UnknownNameError, kind_of
from ..core.progress import notice
from . import adapters, registry
from .cards import Card
from .client import Resolved, fetch, fetch_resolved, resolve
from .files import CTRANSLATE2, GGUF, ONNX, WEIGHTS, Files
from .pipeline import Pipeline, pipeline_class

if TYPE_CHECKING:
    from ..core.checkpoint.safetensors import Arrays
    from ..core.nn import Module
    from ..core.part import FilePart

# What a transformers' architecture is for, by the end of its class's name.
_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "BertForPreTraining": "fill-mask",
    "ForQuestionAnswering": "question-answering",
    "ForCausalLM": "text-generation",
    "T5WithLMHeadModel": "text2text-generation",
    "LMHeadModel": "text-generation",
    "ForImageClassification": "image-classification",
    "ForImageClassificationWithTeacher": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForSemanticSegmentation": "image-segmentation",
    "ForAudioClassification": "audio-classification",
    "WhisperForConditionalGeneration": "speech-recognition",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "translation",
    "ForCTC": "speech-recognition",
}
HEAD = "@head"  # the pattern that means all parameters of the head
_LABEL_KEYS = ("id2label", "label2id", "label_names", "label_descriptions")

_COUNTS: dict[str, type] = {"num_classes": int}
_KINDS: dict[str, type] = {
    **_COUNTS, "num_labels": int, "architectures": list, "label_names": list, "id2label": dict, "label2id": dict,
    "label_descriptions": dict, "model_args": dict, "pretrained_cfg": dict,
}  # fmt: skip
_SAID = {int: "a whole number", list: "a list", dict: "an object"}
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers")
_MAX_LAYERS = 10_000

pull = fetch


def load(
    name: str | Path,
    *,
    device: str | None = None,
    dtype: Any = None,
    revision: str | None = None,
    num_classes: int | None = None,
    new_head: Iterable[str] = (),
    random_init: bool = False,
    task: str | None = None,
    offline: bool = False,
    lock: str | Path | None = None,
    **config_overrides: Any,
) -> Pipeline:
    """Load a model by name, with its weights, preprocessing and labels.

    Args:
        name: a catalogue name (``nyala.list_models()``), a hub id ``org/name[@revision]`` whose ``config.json`` is in timm's
            or transformers' layout, a local folder in one of these layouts, the folder of a finished recipe run, or
            a bundle, ``FILE.nyala`` (``FILE.nyala#NAME`` of several models). An adapter in PEFT's layout is loaded with its
            base, and merged.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; None for the default device.
        dtype: convert the parameters to this floating dtype; None keeps float32, whatever the file holds.
        revision: branch, tag or commit on the model hub.
        num_classes: build a new, untrained classifier for this many classes, where the weights have none of that size.
        new_head: patterns of further parameters that are new, e.g. ``["classifier.*"]``, or ``"@head"`` for all of the head; they
            alone may be missing.
        random_init: leave the weights out: every parameter is drawn.
        task: make the pipeline of this task instead of the model's own, e.g. ``"token-classification"``.
        offline: make no network call.
        lock: a lock file (``nyala lock``): load exactly the bytes in it. By default ``$NYALA_LOCK``; ``""`` for none.
        **config_overrides: values for keys of the ``config.json``, e.g. ``attention_probs_dropout_prob=0.0``.

    Returns:
        a :class:`Pipeline`: call it on raw input, or use ``.model``. ``eval()`` is set.

    Raises:
        UnknownNameError: no such name, repository, revision or architecture; the message lists the nearest.
        CheckpointError: the weights do not fit: lists missing, unexpected and differently shaped tensors.
        NetworkError, AccessError, IntegrityError, StorageError: see :func:`.client.fetch`.
        DeviceError: the device is not there.

    Example:
        >>> import nyala
        >>> try:
        ...     nyala.load("resnet81")
        ... except nyala.errors.UnknownNameError as error:
        ...     print(error.what)
        no model in the catalogue is called 'resnet81'
    """
    if device is not None:
        parse_device(device)  # before anything is fetched
    if not isinstance(name, (str, Path)):
        raise ArgumentError(f"load was given {kind_of(name)}", fix="pass a name, or the path of a folder")
    if num_classes is not None and num_classes < 1:
        raise ArgumentError(
            f"num_classes={num_classes}", why="a new head has at least one class", fix="for features use .model.forward_features"
        )
    resolved = resolve(str(name), revision=revision, lock=lock)
    files = _fetch(resolved, random_init, offline)
    if adapters.is_adapter(files):
        options = {"new_head": new_head, "random_init": random_init, "offline": offline, "lock": lock, **config_overrides}
        return _with_adapter(files, num_classes, task, {"device": device, "dtype": dtype}, options)
    config = read_config(files, resolved.card)
    architecture = registry.architecture_of(config, str(files.get("config.json", "the card's config")))
    module = registry.get(architecture)
    task = _in_domain(task, architecture)
    patterns = list(new_head)
    new = bool(random_init or num_classes or patterns)
    config, published = _with_head_for(task or _vectors_of(config, files), config, module, new)
    classes = _new_classes(module, num_classes, published)
    with _initialised(random_init or classes is not None or bool(patterns)), _nonsense_told(files):
        model = module.build(config, **config_overrides, **_head_override(config, classes))
    fresh = _fresh_names(model, classes, patterns)
    if not random_init:
        read_weights(model, module, files, fresh)
    if dtype is not None or device is not None:
        model.to(dtype=dtype, device=device)
    config, card = _relabelled(config, resolved.card, classes)
    return pipeline_class(task or task_of(config, files, card, classes)).from_files(model, files, card, config)


def _with_adapter(
    files: Files, num_classes: int | None, task: str | None, place: dict[str, Any], options: dict[str, Any]
) -> Pipeline:
    """The base of an adapter with what was learnt in its weights: a plain model, as quick as the base."""
    name, own = adapters.base_of(files), adapters.classes_of(files)
    task = task or adapters.task_of(files)
    base = load(name, num_classes=own or num_classes, task=task, **options)
    architecture = registry.get(registry.architecture_of(base.config))
    if not options["random_init"]:
        adapters.merge(base.model, architecture, files)
    config = read_config(files, None) if "config.json" in files else base.config
    classes = num_classes if num_classes is not None and num_classes != own else None
    if classes is not None and own is not None:
        base.model.reset_head(classes)
    if place["dtype"] is not None or place["device"] is not None:
        base.model.to(**place)
    config, _ = _relabelled(config, None, classes)
    both = files if base.files is None else adapters.together(files, base.files)
    chosen = task or task_of(config, both, None, classes)
    return pipeline_class(chosen).from_files(base.model, both, None, config)


def _initialised(needed: bool) -> AbstractContextManager[None]:
    """Building draws no random numbers in here unless some parameter will keep them: that takes longer than reading all."""
    from ..core.nn import init

    return nullcontext() if needed else init.skip_random()


@contextmanager
def _nonsense_told(files: Files) -> Iterator[None]:
    """A configuration may come from anywhere: numbers that no memory holds and values of another kind get nyala's errors."""
    fix = "check the config.json, and what was passed to replace its values"
    try:
        yield
    except MemoryError as error:
        why = f"no memory holds it: {error}"
        raise CheckpointError(f"{files.origin}: its configuration describes a giant", why=why, fix=fix) from error
    except (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError) as error:
        if isinstance(error, NyalaError):
            raise
        raise CheckpointError(f"{files.origin}: its configuration describes no model: {error}", fix=fix) from error


def _fetch(resolved: Resolved, random_init: bool, offline: bool) -> Files:
    if random_init and resolved.card and resolved.card.config:  # the card alone says how to build it
        return Files({}, origin=f"card {resolved.card.name}")
    return fetch_resolved(resolved, offline=offline)


def read_config(files: Files, card: Card | None) -> dict[str, Any]:
    """The content of the model's ``config.json``, or what its card has in its place, with the card's arguments.

    Raises:
        MissingFileError: neither is there.
        DataError: a value of it is of another kind than it must be.
    """
    if "config.json" not in files and any(name.endswith(GGUF) for name in files):
        config = _config_in(files)
    elif _has_ctranslate2(files):
        config = _config_beside(files)
    elif "config.json" in files or card is None or not card.config:
        config = files.read_json("config.json", "know the architecture")
    else:
        config = dict(card.config)
    config = _text_part(config, files.origin)
    _check_kinds(config, files.origin)
    return {**config, **(card.arguments if card else {})}


# Models of texts and pictures whose part for texts is built: their kind -> that of the part, and its class.
_WITH_TEXTS = {"gemma3": ("gemma3_text", "Gemma3ForCausalLM")}
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def _text_part(config: dict[str, Any], origin: str) -> dict[str, Any]:
    """The configuration of the part for texts, where a model has one for pictures beside it."""
    kind, inner = config.get("model_type"), config.get("text_config")
    if not isinstance(kind, str) or kind not in _WITH_TEXTS or not isinstance(inner, Mapping):
        return config
    notice(f"{origin} is for texts and pictures: its part for texts is read", "text part")
    part, name = _WITH_TEXTS[kind]
    tokens = {key: config[key] for key in _TOKENS if config.get(key) is not None}
    return {**inner, **tokens, "model_type": part, "architectures": [name]}


def _check_kinds(config: Mapping[str, Any], origin: str) -> None:
    """A file from anywhere may hold anything: what is read before any architecture looks at it has the kind it must have."""
    fix = "correct the config.json, or get it again from where it came"
    inner = config.get("model_args")
    for where, table in ((config, _KINDS), (inner if isinstance(inner, Mapping) else {}, _COUNTS)):
        for key, kind in table.items():
            value = where.get(key)
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise DataError(
                    f"{origin}: {key} in the config.json is {kind_of(value)}", why=f"it must be {_SAID[kind]}", fix=fix
                )
    if not all(isinstance(name, str) for name in config.get("architectures") or []):
        raise DataError(f"{origin}: architectures in the config.json are no names", fix=fix)
    deep = next((k for k in _LAYERS if isinstance(config.get(k), int) and config[k] > _MAX_LAYERS), None)
    if deep:
        raise DataError(f"{origin}: {deep} in the config.json is {config[deep]:.3g}", why="no model has so many layers", fix=fix)


# Architectures that GGUF files call otherwise than transformers.
_GGUF_KINDS = {"gemma3": "gemma3_text", "gptneox": "gpt_neox"}


def _config_in(files: Files) -> dict[str, Any]:
    """The configuration that a GGUF file has in itself.

    Raises:
        UnknownNameError: of an architecture that nyala does not know.
    """
    from ..core.checkpoint import read_gguf

    head = read_gguf(files[files.weights()])
    kind = head.metadata.get("general.architecture", "")
    module: Any = registry.get(f"transformers:{_GGUF_KINDS.get(kind, kind)}")
    if not hasattr(module, "config_from_gguf"):
        raise UnknownNameError(
            f"nyala reads no GGUF files of the architecture {kind!r}", fix="load it as safetensors, in transformers' layout"
        )
    stretching = {name: values.tolist() for name, values in head.read(n for n in head.shapes if n == "rope_freqs.weight").items()}
    return dict(module.config_from_gguf({**head.metadata, **stretching}, head.shapes))


# What CTranslate2 calls its kinds of models -> the architecture that reads them.
_SPECIFICATIONS = {"WhisperSpec": "transformers:whisper"}


def _has_ctranslate2(files: Files) -> bool:
    """Whether the weights are CTranslate2's, whose ``config.json`` does not say what shapes the model."""
    from ..core.checkpoint import is_ctranslate2

    return CTRANSLATE2 in files and not any(n in files for n in WEIGHTS) and is_ctranslate2(files[CTRANSLATE2])


def _config_beside(files: Files) -> dict[str, Any]:
    """The configuration that the tensors of a CTranslate2 file tell, with the settings that lie beside it.

    Raises:
        UnknownNameError: a kind of model that nyala does not know.
    """
    from ..core.checkpoint import read_ctranslate2

    head = read_ctranslate2(files[CTRANSLATE2])
    if head.spec not in _SPECIFICATIONS:
        known = ", ".join(_SPECIFICATIONS)
        raise UnknownNameError(
            f"nyala reads no CTranslate2 files of the kind {head.spec!r}", why=f"it reads {known}", fix="load it as safetensors"
        )
    module: Any = registry.get(_SPECIFICATIONS[head.spec])
    settings = files.read_json("config.json") if "config.json" in files else {}
    return dict(module.config_from_ctranslate2(head, settings))


def published_classes(config: Mapping[str, Any]) -> int:
    """How many classes the head has that was published with this ``config.json``; 0 for a model without a classifier.

    Keys that are absent mean the layout's defaults: 1000 classes in timm, 2 labels in a transformers' classifier.

    Example:
        >>> published_classes({"model_type": "bert", "architectures": ["BertModel"]})
        0
        >>> published_classes({"model_type": "bert", "architectures": ["BertForSequenceClassification"]})
        2
    """
    if "model_type" not in config:
        stated = config.get("num_classes")
        return 1000 if stated is None else int(stated)
    classifying = [
        ending for ending, task in _TASKS.items() if task not in ("text-generation", "fill-mask", "question-answering")
    ]
    if not any(name.endswith(tuple(classifying)) for name in config.get("architectures") or []):
        return 0
    if _spells(config):  # its classes are letters
        return int(config.get("vocab_size") or 32)
    return int(config.get("num_labels") or len(config.get("id2label") or ()) or 2)


def _spells(config: Mapping[str, Any]) -> bool:
    """Whether it is a speech encoder with a head of letters."""
    return any(name.endswith("ForCTC") for name in config.get("architectures") or [])


_HEADLESS = ("voice-activity-detection", "pitch", "text-to-speech", "audio-codec", "sound-embedding")


def _new_classes(module: Any, wanted: int | None, published: int) -> int | None:
    """How many classes the new head has; None where there is no new one.

    Raises:
        ArgumentError: an architecture that no classifier is made for.
    """
    if wanted is None or wanted == published:
        return None
    if getattr(module, "TASK", None) in _HEADLESS:
        raise ArgumentError(
            f"a model for {module.TASK} with a new head for {wanted} classes",
            why="no classifier is made for it, and it cannot be fine-tuned here",
            fix="choose a model that classifies: nyala list --task audio-classification",
        )
    return wanted


def _head_override(config: Mapping[str, Any], classes: int | None) -> dict[str, int]:
    """The new head's size, under the name it has in this layout."""
    if classes is None:
        return {}
    return {"num_labels" if "model_type" in config else "num_classes": classes}


def _in_domain(task: str | None, architecture: str) -> str | None:
    """A task by the name that it has for this kind of input: pictures and sounds have zero-shot classifications of their own."""
    return _IN_DOMAINS.get(registry.domain_of(architecture), {}).get(task or "", task)


# texts are embedded by a tower of models that compare them with something else
_IN_DOMAINS = {
    "vision": dict.fromkeys(("zero-shot-classification", "sentence-embedding"), "zero-shot-image-classification"),
    "audio": dict.fromkeys(("zero-shot-classification", "sentence-embedding"), "zero-shot-audio-classification"),
}


def _with_head_for(
    task: str | None, config: dict[str, Any], module: registry.Architecture, new: bool
) -> tuple[dict[str, Any], int]:
    """The configuration with the head that serves a task, and how many classes the published weights have in it.

    Raises:
        ArgumentError: a head that was trained for something else, and is not to be ``new``.
    """
    wanted = getattr(module, "HEADS", {}).get(task)
    if wanted is None or config.get("architectures") == [wanted]:
        return config, published_classes(config)
    if not new:
        _check_head(next(iter(config.get("architectures") or []), ""), wanted)
    return {**config, "architectures": [wanted]}, 0


_ALIKE_HEADS = ("ForSequenceClassification", "ForTokenClassification")  # their weights have the same names


def _check_head(trained: str, wanted: str) -> None:
    """A classifier of texts is none of words, though its weights would fit.

    Raises:
        ArgumentError: one is to be used as the other.
    """
    ends = [next((end for end in _ALIKE_HEADS if name.endswith(end)), "") for name in (trained, wanted)]
    if all(ends) and ends[0] != ends[1]:
        raise ArgumentError(
            f"this model is for {_TASKS[ends[0]]}, not for {_TASKS[ends[1]]}",
            why=f"its head was trained as that of a {trained}",
            fix="leave task= out, choose another model, or make the head new with num_classes=, and train it",
        )


def _vectors_of(config: Mapping[str, Any], files: Files) -> str | None:
    """The task of a model that was published for the vectors of its texts: its file names the head that it was trained from."""
    trained_from = ("ForCausalLM", "ForMaskedLM", "ForPreTraining")
    has_head = any(name.endswith(trained_from) for name in config.get("architectures") or [])
    return "sentence-embedding" if has_head and "modules.json" in files else None


def _fresh_names(model: Any, classes: int | None, patterns: list[str]) -> set[str]:
    """Parameters that keep their fresh values: the declared new head."""
    names = list(model.state_dict())
    fresh = set(model.head_names()) if classes is not None else set()
    for pattern in patterns:
        found = set(model.head_names()) if pattern == HEAD else {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            raise ArgumentError(
                f"new_head: no parameter fits {pattern!r}", why=f"the last ones are {', '.join(names[-4:])}", fix="correct it"
            )
        fresh |= found
    return fresh


def read_weights(model: Module, architecture: registry.Architecture, files: Files, fresh: Iterable[str] = ()) -> None:
    """Put published weights into ``model``, strictly.

    Args:
        model: built by ``architecture`` from ``config``.
        architecture: the module that built it and knows the published names.
        files: where the weights are.
        fresh: our names of parameters that keep the values they have, in the file or not.

    Raises:
        CheckpointError: a malformed file, or tensors that are missing, unexpected or of another shape.
        UnsafeFileError: a PyTorch file that holds anything but a state dict.
    """
    name = files.weights()
    published = _read_arrays(files, name)
    # by the model as it is built, not as published: a new head may have made it another class with other names
    ours = architecture.key_map(architecture.export_config(model), list(published)).to_ours(published)
    kept = set(fresh)
    if hasattr(model, "settle"):  # what some published files have, and others of the architecture have not
        kept |= model.settle(ours, kept)
    _check_related(model, published, {*ours, *kept}, f"{files.origin}: {name}")
    state: dict[str, Any] = {n: array for n, array in ours.items() if n not in kept}
    state |= {n: tensor for n, tensor in model.state_dict().items() if n in kept}
    try:
        model.load_state_dict(state)
    except CheckpointError as error:
        raise CheckpointError(
            f"{files.origin}: {name}: {error.what}",
            why=error.why,
            fix="check that config.json and the weights belong together; a head that is meant to be new needs num_classes= or "
            "new_head=",
        ) from error


_ALIKE = 0.1  # of another architecture's names a few may be the same, such as "classifier.weight"


def _check_related(model: Any, published: Mapping[str, Any], there: set[str], where: str) -> None:
    """The weights are of the architecture that the configuration names, and have its head: lists of names would not say so.

    Raises:
        CheckpointError: hardly a name fits, or all of the head is missing.
    """
    wanted = [name for name, _ in model.named_parameters()]
    head = set(model.head_names()) if hasattr(model, "head_names") else set()
    if head and head.isdisjoint(there) and head >= set(model.state_dict()) - there:
        kind = type(model).__name__
        raise CheckpointError(
            f"{where} has no head for {kind}: {', '.join(sorted(head)[:3])}",
            why="the weights were published without it, for another task",
            fix="choose a model that was trained for this task, or train a head: `nyala finetune`; a head that is meant to be "
            "new needs num_classes= or new_head=",
        )
    common = len(there.intersection(wanted))
    if common >= _ALIKE * len(wanted):
        return
    theirs, mine = ", ".join(sorted(published)[:: max(1, len(published) // 3)][:3]), " and ".join(wanted[:2])
    raise CheckpointError(
        f"{where} does not hold a {type(model).__name__}, as its configuration says",
        why=f"{common} of {len(wanted)} parameters are in it: it has names such as {theirs}, the model {mine}",
        fix="take the config.json that belongs to these weights, or the weights that belong to it",
    )


def _read_arrays(files: Files, name: str) -> Arrays:
    from ..core import checkpoint

    path = files[name]
    if name.endswith(".index.json"):
        _require_shards(files, path)
        return checkpoint.load_sharded(path, shards=files)
    if name.endswith(".safetensors"):
        return checkpoint.load_file(path)
    if name.endswith(GGUF):
        return checkpoint.read_gguf(path).load()
    if name.endswith(ONNX):
        return checkpoint.read_onnx(path).load()
    if name == CTRANSLATE2 and checkpoint.is_ctranslate2(path):
        return checkpoint.read_ctranslate2(path).load()
    return checkpoint.load_pth(path)


def _require_shards(files: Files, index: Path | FilePart) -> None:
    from ..core.checkpoint import read_index

    for shard in sorted(set(read_index(index).values())):
        if files.require(shard, "fill the model's parameters").parent != index.parent:
            raise MissingFileError(f"{shard} does not lie beside {index}", fix="put the index and its shards into one folder")


def _relabelled(config: dict[str, Any], card: Card | None, classes: int | None) -> tuple[dict[str, Any], Card | None]:
    """Configuration and card without the old class names, where the head is new."""
    if classes is None:
        return config, card
    config = {key: value for key, value in config.items() if key not in _LABEL_KEYS} | _head_override(config, classes)
    return config, None if card is None else msgspec.structs.replace(card, labels=[])


def task_of(config: Mapping[str, Any], files: Files, card: Card | None, new_classes: int | None = None) -> str:
    """The task of a model: the card's, or what its ``config.json`` and files suggest.

    Args:
        new_classes: size of a new classifier, if the model got one.
    """
    domain = registry.domain_of(registry.architecture_of(config)) if "model_type" in config else "vision"
    is_text, is_sound = domain != "vision", domain == "audio"
    if new_classes:
        if is_sound:
            return "speech-recognition" if _spells(config) else "audio-classification"
        if not is_text:
            return _named_task(config) or "image-classification"
        tags = any(name.endswith("ForTokenClassification") for name in config.get("architectures") or [])
        return "token-classification" if tags else "text-classification"
    if card is not None:
        return card.task
    if not is_text:
        if published_classes(config):
            return _named_task(config) or "image-classification"
        return str(getattr(registry.get(registry.architecture_of(config)), "TASK", "image-embedding"))
    for name in config.get("architectures") or []:
        for ending, task in _TASKS.items():
            if name.endswith(ending):
                if is_sound and task == "text-classification":
                    return "audio-classification"
                one_score = task == "text-classification" and published_classes(config) == 1
                return "reranking" if one_score else task
    if is_sound:
        return str(getattr(registry.get(registry.architecture_of(config)), "TASK", "sound-embedding"))
    return "sentence-embedding" if "modules.json" in files else "feature-extraction"


def _named_task(config: Mapping[str, Any]) -> str | None:
    """The task that the end of a transformers' class tells, if any."""
    names = config.get("architectures") or []
    return next((task for name in names for ending, task in _TASKS.items() if name.endswith(ending)), None)
