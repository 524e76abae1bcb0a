"""From the vectors of a text's tokens to one vector, as sentence-transformers publishes it beside the weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...core.create import arange
from ...core.errors import DataError
from ...core.nn import functional as F
from ...core.ops.shape import cat
from ...core.tensor import Tensor

if TYPE_CHECKING:
    from ...hub.files import Files

_MODES = {  # in the order in which several are put behind each other
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}


# What sentence-transformers may put behind a model; the last ones change what comes out, and are not built here.
_BUILT = ("Transformer", "Pooling", "Dense", "Normalize")
_LAYERS = (*_BUILT, "WeightedLayerPooling", "CNN", "LSTM", "LayerNorm")
_ENDS = ("", "_token", "_tokens")
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Identity": lambda x: x,
    "Tanh": F.tanh,
    "ReLU": F.relu,
    "GELU": F.gelu,
    "Sigmoid": F.sigmoid,
}


@dataclass(frozen=True, eq=False)
class Dense:
    """A layer behind the pooling: ``act(weight x + bias)``, as LaBSE and the multilingual DistilUSE have one.

    Attributes:
        weight: (out, in).
        bias: (out,), or None.
        act: its activation's class in torch: "Tanh", "Identity", "ReLU", "GELU" or "Sigmoid".
    """

    weight: Tensor
    bias: Tensor | None
    act: str = "Tanh"

    @staticmethod
    def from_files(files: Files, folder: str) -> Dense:
        """From ``FOLDER/config.json`` and the weights beside it.

        Raises:
            MissingFileError: one of them is not there.
            DataError: an activation that is not known, or weights of another shape than the configuration says.
        """
        from ...core import checkpoint

        config = files.read_json(f"{folder}/config.json", "shape the layer behind the pooling")
        act = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
        if act not in _ACTIVATIONS:
            raise DataError(f"{folder}: activation_function {act!r}", fix="choose one of " + ", ".join(_ACTIVATIONS))
        old = f"{folder}/pytorch_model.bin"
        if old in files:
            arrays = checkpoint.load_pth(files[old])
        else:
            arrays = checkpoint.load_file(files.require(f"{folder}/model.safetensors", "fill the layer behind the pooling"))
        wanted: dict[str, tuple[Any, ...]] = {"linear.weight": (config.get("out_features"), config.get("in_features"))}
        wanted |= {"linear.bias": (config.get("out_features"),)} if config.get("bias", True) else {}
        found = {name: array.shape for name, array in arrays.items()}
        if found != wanted:
            raise DataError(f"{folder} has {found}", why=f"its config.json says {wanted}", fix="get both from where they came")
        weight, bias = (
            None if n not in arrays else Tensor(arrays[n].astype("float32")) for n in ("linear.weight", "linear.bias")
        )
        return Dense(cast(Tensor, weight), bias, act)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        weight, bias = (None if t is None else t.to(x.device, x.dtype) for t in (self.weight, self.bias))
        return _ACTIVATIONS[self.act](F.linear(x, cast(Tensor, weight), bias))


@dataclass(frozen=True)
class Pooling:
    """How to make one vector of many.

    Attributes:
        mode: "mean" of all tokens but padding, the first ("cls"), their "max", or the "last"; "mean_sqrt_len" is their sum over
            the root of their number, "weightedmean" a mean in which the n-th counts n times. Several, as "cls+mean", are put
            behind each other.
        normalize: whether the result is scaled to length 1.
        layers: what comes between the two.
        include_prompt: whether the tokens of a prompt count among the others.
    """

    mode: str = "mean"
    normalize: bool = False
    layers: tuple[Dense, ...] = ()
    include_prompt: bool = True

    @staticmethod
    def from_files(files: Files) -> Pooling:
        """From ``modules.json`` and what it names, ``1_Pooling/config.json`` mostly; the mean where they are absent.

        Raises:
            DataError: a pooling that is not one of them, or further layers.
        """
        parts = _parts(files)
        kinds = [kind for kind, _ in parts]
        if strange := sorted({k for k in kinds if k in _LAYERS} - set(_BUILT)):
            raise DataError(
                f"{files['modules.json']} asks for {', '.join(strange)}",
                why="nyala makes vectors of a model's own and pools them",
                fix="choose other weights, or take the model's vectors: task='feature-extraction'",
            )
        if "Normalize" in kinds and "Dense" in kinds[kinds.index("Normalize") :]:
            raise DataError(f"{files['modules.json']} has a layer behind Normalize", fix="choose other weights")
        layers = tuple(Dense.from_files(files, path) for kind, path in parts if kind == "Dense")
        folder = next((path for kind, path in parts if kind == "Pooling" and path), "1_Pooling")
        name = f"{folder}/config.json"
        if name not in files:
            return Pooling(layers=layers, normalize="Normalize" in kinds)
        config = files.read_json(name)
        chosen = [mode for key, mode in _MODES.items() if config.get(key)]
        if not chosen and isinstance(config.get("pooling_mode"), str):  # in newer files one word
            chosen = [mode for key, mode in _MODES.items() if key in (f"pooling_mode_{config['pooling_mode']}{e}" for e in _ENDS)]
        if not chosen:
            raise DataError(
                f"{files[name]} asks for {chosen or 'no pooling known here'}",
                fix="choose one of " + ", ".join(_MODES),
            )
        return Pooling("+".join(chosen), "Normalize" in kinds, layers, config.get("include_prompt") is not False)

    def files(self, width: int) -> dict[str, str]:
        """What is published beside the weights, by file name, as sentence-transformers reads it.

        Args:
            width: of the vectors.
        """
        chosen = {key: mode in self.mode.split("+") for key, mode in _MODES.items()}
        chosen |= {} if self.include_prompt else {"include_prompt": False}
        parts = ["Transformer", "Pooling", *["Dense"] * len(self.layers), *(["Normalize"] if self.normalize else [])]
        modules = [
            {"idx": i, "name": str(i), "path": "" if i == 0 else f"{i}_{part}", "type": f"sentence_transformers.models.{part}"}
            for i, part in enumerate(parts)
        ]
        content: dict[str, Any] = {
            "modules.json": modules,
            "1_Pooling/config.json": {"word_embedding_dimension": width, **chosen},
        }
        for i, layer in enumerate(self.layers, start=2):
            kind = "linear" if layer.act == "Identity" else "activation"
            content[f"{i}_Dense/config.json"] = {
                "in_features": layer.weight.shape[1], "out_features": layer.weight.shape[0], "bias": layer.bias is not None,
                "activation_function": f"torch.nn.modules.{kind}.{layer.act}",
            }  # fmt: skip
        return {name: json.dumps(value, indent=2) + "\n" for name, value in content.items()}

    def arrays(self) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        """The weights that are published beside those files, by file name and tensor's name."""
        return {
            f"{i}_Dense/model.safetensors": {
                f"linear.{name}": t.numpy() for name, t in (("weight", layer.weight), ("bias", layer.bias)) if t is not None
            }
            for i, layer in enumerate(self.layers, start=2)
        }

    @staticmethod
    def max_length(files: Files) -> int | None:
        """The longest input in tokens that the publishers used, where they say it."""
        if "sentence_bert_config.json" not in files:
            return None
        length = files.read_json("sentence_bert_config.json").get("max_seq_length")
        return int(length) if length else None

    def __call__(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(N, T, D) vectors and (N, T) mask, 1 for tokens -> (N, D).

        Example:
            >>> import nyala
            >>> hidden = nyala.tensor([[[1.0], [3.0], [100.0]]])
            >>> Pooling("mean")(hidden, nyala.tensor([[1, 1, 0]]))
            tensor([[2.]])
        """
        found = [_pooled(mode, hidden, attention_mask) for mode in self.mode.split("+")]
        pooled = found[0] if len(found) == 1 else cat(found, 1)
        for layer in self.layers:
            pooled = layer(pooled)
        return F.normalize(pooled, dim=1) if self.normalize else pooled


def _pooled(mode: str, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    mask = attention_mask.to(hidden.dtype).unsqueeze(-1)
    if mode == "cls":
        return hidden[:, 0]
    if mode == "max":
        return hidden.masked_fill(mask == 0, -1e9).amax(dim=1)
    if mode == "last":
        return last_vectors(hidden, attention_mask)
    if mode == "weightedmean":
        mask = mask * arange(1, hidden.shape[1] + 1, device=hidden.device).to(hidden.dtype).reshape(1, -1, 1)
    count = mask.sum(dim=1).clamp(min=1e-9)
    return (hidden * mask).sum(dim=1) / (count.sqrt() if mode == "mean_sqrt_len" else count)


def _parts(files: Files) -> list[tuple[str, str]]:
    """The kinds and the folders of what ``modules.json`` names, in order."""
    if "modules.json" not in files:
        return []
    path = files["modules.json"]
    try:
        named = json.loads(path.read_text(encoding="utf-8"))
        return [(str(part["type"]).rpartition(".")[2], str(part.get("path", ""))) for part in named]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is no list of modules", fix="get it again from where it came") from error


def last_vectors(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """(N, T, D) vectors and (N, T) mask, 0 at padding on either side -> (N, D), of the last token of each row.

    Example:
        >>> import nyala
        >>> last_vectors(nyala.tensor([[[1.0], [3.0], [100.0]]]), nyala.tensor([[1, 1, 0]]))
        tensor([[3.]])
    """
    count = hidden.shape[1]
    places = ((attention_mask != 0) * arange(1, count + 1, device=hidden.device)).argmax(dim=1)
    return hidden.gather(1, places.reshape(-1, 1, 1).expand(hidden.shape[0], 1, hidden.shape[2])).squeeze(1)
