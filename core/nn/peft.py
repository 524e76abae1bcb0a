"""Adapters on the disk, in the layout of the PEFT library: ``adapter_config.json`` and ``adapter_model.safetensors``.

Tensors are called ``base_model.model.PATH.lora_A.weight``, ``.lora_B.weight``, ``.lora_embedding_A``, ``.lora_embedding_B``,
``.lora_magnitude_vector``, and ``base_model.model.PATH.weight`` for what is trained whole. PATH is the published name, which
``names`` translates where a model of ours calls a layer otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_write, storage_errors
from ..errors import CheckpointError, MissingFileError
from . import lora_layers
from .fused import Parts, divided, joined
from .module import Module

if TYPE_CHECKING:
    from .lora import Adapter

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PART = re.compile(r"(.+)\.(lora_(?:A|B|embedding_A|embedding_B|magnitude_vector))(?:\.weight)?")
# What PEFT can do and this reader cannot: each of them changes what the numbers mean.
_UNKNOWN = (
    "use_qalora",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
)
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "eva_residual")


# ---- writing ------------------------------------------------------------------------------------------------------


def configuration(
    adapter: Adapter, *, base: str = "", task_type: str | None = None, names: Mapping[str, str] | None = None,
    parts: Parts | None = None,
) -> Any:  # fmt: skip
    """The content of ``adapter_config.json``; see ``save`` for the arguments."""
    paths = {path: _several(path, names, parts) for path in adapter.layers}
    first = next(iter(adapter.layers.values()))
    rank, alpha = first.lora_rank, first.lora_alpha
    return {
        "peft_type": "LORA",
        "task_type": task_type,
        "base_model_name_or_path": base or None,
        "revision": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": _target_modules(adapter.model, paths, names),
        "modules_to_save": _outermost(adapter, names) or None,
        "use_dora": adapter.dora,
        "use_rslora": first.lora_rslora,
        "rank_pattern": {n: m.lora_rank for p, m in adapter.layers.items() for n in paths[p] if m.lora_rank != rank},
        "alpha_pattern": {n: m.lora_alpha for p, m in adapter.layers.items() for n in paths[p] if m.lora_alpha != alpha},
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
    }


def save(
    adapter: Adapter, folder: str | Path, *, base: str = "", task_type: str | None = None, names: Mapping[str, str] | None = None,
    parts: Parts | None = None,
) -> None:  # fmt: skip
    """Write the adapter into ``folder``, as ``PeftModel.save_pretrained`` does.

    Args:
        adapter: from ``attach`` or ``load``.
        folder: made where it is not there.
        base: name or path of the model it belongs to.
        task_type: PEFT's word for the task, e.g. ``"SEQ_CLS"``; None for others.
        names: our module path -> published module path, where they differ.
        parts: the layers that are published as several; see :mod:`.fused`.

    Raises:
        StorageError: the folder cannot be written.
    """
    from ..checkpoint import save_file

    where = Path(folder)
    with storage_errors(where, "create"):
        where.mkdir(parents=True, exist_ok=True)
    state = {name: t.numpy() for name, t in adapter.state_dict().items()}
    several = {path: own for path, own in (parts or {}).items() if path in adapter.layers}
    tensors = {_written(name, names): array for name, array in state.items() if _layer(name) not in several}
    for path, own in several.items():
        tensors |= {f"{_PREFIX}{name}": array for name, array in divided(state, path, own).items()}
    config = configuration(adapter, base=base, task_type=task_type, names=names, parts=parts)
    save_file(tensors, where / WEIGHTS, metadata={"format": "pt"})
    atomic_write(where / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")


def _outermost(adapter: Adapter, names: Mapping[str, str] | None) -> list[str]:
    """What is trained whole, by the outermost modules that hold nothing else: PEFT takes a head of several layers as one."""
    inside = {id(p) for module in adapter.trained.values() for p in module.parameters()}
    found: dict[str, None] = {}
    for path in adapter.trained:
        top, above = path, path.rpartition(".")[0]
        while above and all(id(p) in inside for p in adapter.model.get_submodule(above).parameters()):
            top, above = above, above.rpartition(".")[0]
        found[_published(path, names).removesuffix(path[len(top) :])] = None
    return list(found)


def _layer(name: str) -> str:
    """The path of the layer whose adapter a tensor is of; empty where it is of none."""
    found = _PART.fullmatch(name)
    return found[1] if found else ""


def _several(path: str, names: Mapping[str, str] | None, parts: Parts | None) -> list[str]:
    return [name for name, _ in parts[path]] if parts and path in parts else [_published(path, names)]


def _published(path: str, names: Mapping[str, str] | None) -> str:
    if names is None:
        return path
    if path not in names:
        raise CheckpointError(
            f"{path} has no single name in the published layout",
            why="its weight is stored there in another shape, so an adapter of it would fit nothing",
            fix="leave it out of the targets",
        )
    return names[path]


def _written(name: str, names: Mapping[str, str] | None) -> str:
    found = _PART.fullmatch(name)
    path = found[1] if found else name.rpartition(".")[0]
    # what lies inside a module that is trained whole keeps its own name where no table says otherwise
    published = _published(path, names)
    return f"{_PREFIX}{published}{name[len(path) :]}"


def _target_modules(model: Module, paths: Mapping[str, list[str]], names: Mapping[str, str] | None) -> list[str] | str:
    """A list of names, or one regular expression where a name is the end of another layer's that has no adapter."""
    wanted = sorted(name for several in paths.values() for name in several)
    others = [(names or {}).get(n, n) for n in (n for n, _ in model.named_modules()) if n and n not in paths]
    if any(other.endswith(f".{name}") for name in wanted for other in others):
        return "|".join(re.escape(name) for name in wanted)
    return wanted


# ---- reading ------------------------------------------------------------------------------------------------------


def read_config(folder: str | Path) -> dict[str, Any]:
    """``adapter_config.json`` of a folder.

    Raises:
        MissingFileError: there is none.
        CheckpointError: it is no table, or of an adapter that is no LoRA.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise MissingFileError(f"{folder} has no {CONFIG}", why="it is no adapter in PEFT's layout", fix="give another folder")
    with storage_errors(path, "read"):
        content = path.read_text(encoding="utf-8")
    try:
        config = json.loads(content)
        kind = config.get("peft_type")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged", why=str(error), fix="fetch it again") from error
    if kind != "LORA":
        raise CheckpointError(f"{path} is of the kind {kind}", why="only LoRA and DoRA are read", fix="use an adapter of these")
    _refuse_unknown(config, path)
    return config


def _refuse_unknown(config: Mapping[str, Any], path: Path) -> None:
    found = [key for key in _UNKNOWN if config.get(key)]
    if config.get("bias") not in (None, "none"):
        found.append("bias")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        found.append(f"init_lora_weights = {start!r}")
    if found:
        raise CheckpointError(
            f"{path} uses {', '.join(found)}",
            why="the adapter's numbers would mean something else here",
            fix="merge it with PEFT (merge_and_unload) and load the merged weights",
        )


def load(model: Module, folder: str | Path, *, names: Mapping[str, str] | None = None, parts: Parts | None = None) -> Adapter:
    """Attach the adapter in ``folder`` to ``model``, with its numbers.

    Args:
        model: the base model, with a head of the size that the adapter's has.
        folder: as PEFT or ``Adapter.save`` writes it.
        names: our module path -> published module path, where they differ.
        parts: the layers that are published as several; see :mod:`.fused`.

    Raises:
        MissingFileError: a file is not there.
        CheckpointError: the adapter is of another kind, or does not fit the model: lists what does not.

    Example:
        >>> import tempfile
        >>> import nyala
        >>> from nyala import nn
        >>> model = nn.Sequential(nn.Linear(4, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nn.lora.attach(model, rank=2, targets=["0"]).save(folder)
        ...     nn.lora.load(nn.Sequential(nn.Linear(4, 4)), folder)
        <LoRA of rank 2 on 1 layers, 16 parameters>
    """
    from ..checkpoint import load_file
    from .lora import adapt

    config = read_config(folder)
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise MissingFileError(
            f"{folder} has no {WEIGHTS}", why="PyTorch's own files are not read here", fix="save it as safetensors"
        )
    ours = {published: own for own, published in names.items()} if names is not None else None
    state, base = _sorted_out(load_file(path), ours, model, str(path))
    layers = _layers(state, config, ours)
    state, layers = joined(state, layers, parts or {}, bool(config.get("use_rslora")), str(path))
    _check_targets(model, layers, str(path))
    whole = _whole(model, [n for n in state if not _PART.fullmatch(n)], str(path))
    magnitudes = {m[1] for n in state if (m := _PART.fullmatch(n)) and m[2] == "lora_magnitude_vector"}
    if any(layer.rpartition(".")[0] and layer in whole for layer in layers):
        raise CheckpointError(f"{path}: a layer has an adapter and is trained whole", fix="use another adapter")
    adapter = adapt(
        model, layers, float(config.get("lora_dropout") or 0.0), dora=magnitudes.__contains__,
        rslora=bool(config.get("use_rslora")), whole=whole, seed=0,
    )  # fmt: skip
    try:
        adapter.load_state_dict(state)
    except CheckpointError:
        adapter.detach()
        raise
    for name, array in base.items():
        model.get_parameter(name).array[...] = array
    return adapter


def _sorted_out(
    arrays: Mapping[str, Any], ours: Mapping[str, str] | None, model: Module, where: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The adapter's arrays by our names, and whole base weights (of tables that were made longer)."""
    state: dict[str, Any] = {}
    base: dict[str, Any] = {}
    for name, array in arrays.items():
        bare = name.removeprefix(_PREFIX)
        found = _PART.fullmatch(bare)
        path = found[1] if found else bare.rpartition(".")[0]
        own = path if ours is None else ours.get(path, path)
        if found:
            suffix = "" if found[2] in ("lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector") else ".weight"
            state[f"{own}.{found[2]}{suffix}"] = array
        elif path.endswith(".base_layer"):
            own = own.removesuffix(".base_layer") if ours is None else ours.get(path.removesuffix(".base_layer"), path)
            base[f"{own.removesuffix('.base_layer')}.{bare.rpartition('.')[2]}"] = array
        else:
            state[f"{own}.{bare.rpartition('.')[2]}"] = array
    shapes = {name: p.shape for name, p in model.named_parameters(remove_duplicate=False)}
    wrong = [n for n, array in base.items() if shapes.get(n) != tuple(array.shape)]
    if wrong:
        raise CheckpointError(f"{where} replaces {', '.join(wrong)} by another shape", fix="use the model it was trained on")
    return state, base


def _layers(state: Mapping[str, Any], config: Mapping[str, Any], ours: Mapping[str, str] | None) -> dict[str, tuple[int, float]]:
    """Path -> rank and alpha of the layers that the file has adapters of."""
    published = {own: name for name, own in (ours or {}).items()}
    alphas = config.get("alpha_pattern") or {}
    found: dict[str, tuple[int, float]] = {}
    for name, array in state.items():
        part = _PART.fullmatch(name)
        if part and part[2] in ("lora_A", "lora_embedding_A"):
            theirs = published.get(part[1], part[1])
            alpha = next((a for key, a in alphas.items() if re.match(rf"(.*\.)?({key})$", theirs)), config.get("lora_alpha", 8))
            found[part[1]] = int(array.shape[0]), float(alpha)
    return found


def _check_targets(model: Module, layers: Mapping[str, Any], where: str) -> None:
    from .lora import candidates, shortened

    if not layers:
        raise CheckpointError(f"{where} holds no adapter", fix="use the folder that PEFT's save_pretrained wrote")
    modules = dict(model.named_modules(remove_duplicate=False))
    strange = [path for path in layers if path not in modules]
    if strange:
        raise CheckpointError(
            f"{where}: {len(strange)} of its {len(layers)} layers are not in {type(model).__name__}: {shortened(strange)}",
            why=f"the model has {shortened(candidates(model))}",
            fix="load the model that the adapter was trained on",
        )
    for path in layers:
        why = lora_layers.refusal(modules[path])
        if why:
            raise CheckpointError(f"{where}: {path} can have no adapter", why=why, fix="use an adapter of other layers")


def _whole(model: Module, names: list[str], where: str) -> list[str]:
    """The modules that the file has whole, found by their parameters' names."""
    modules = dict(model.named_modules(remove_duplicate=False))
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    strange = [path for path in paths if path not in modules]
    if strange:
        raise CheckpointError(
            f"{where} has weights for {', '.join(strange[:5])}, which {type(model).__name__} does not have",
            fix="load the model that the adapter was trained on, with a head of its size",
        )
    return paths
