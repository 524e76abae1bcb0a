"""From the vectors of a text's tokens to one vector, as sentence-transformers publishes it beside the weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.create import arange
from ..core.errors import DataError
from ..core.nn import functional as F
from ..core.tensor import Tensor

if TYPE_CHECKING:
    from ..hub.files import Files

_MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}


# What sentence-transformers may put behind a model; the last ones change what comes out, and are not built here.
_LAYERS = ("Transformer", "Pooling", "Normalize", "Dense", "WeightedLayerPooling", "CNN", "LSTM", "LayerNorm")


@dataclass(frozen=True)
class Pooling:
    """How to make one vector of many.

    Attributes:
        mode: "mean" of all tokens but padding, the first ("cls"), their "max", or the "last".
        normalize: whether the result is scaled to length 1.
    """

    mode: str = "mean"
    normalize: bool = False

    @staticmethod
    def from_files(files: Files) -> Pooling:
        """From ``1_Pooling/config.json`` and ``modules.json``; the mean where they are absent.

        Raises:
            DataError: a pooling that is not one of the four, or further layers.
        """
        text = files["modules.json"].read_text(encoding="utf-8") if "modules.json" in files else ""
        kinds = {kind for kind in _LAYERS if f'.{kind}"' in text}
        if strange := sorted(kinds - {"Transformer", "Pooling", "Normalize"}):
            raise DataError(
                f"{files['modules.json']} asks for {', '.join(strange)}",
                why="nyala makes vectors of a model's own and pools them",
                fix="choose other weights, or take the model's vectors: task='feature-extraction'",
            )
        if "1_Pooling/config.json" not in files:
            return Pooling()
        config = files.read_json("1_Pooling/config.json")
        chosen = [mode for key, mode in _MODES.items() if config.get(key)]
        if len(chosen) != 1:
            raise DataError(
                f"{files['1_Pooling/config.json']} asks for {chosen or 'no pooling known here'}",
                fix="choose one of " + ", ".join(_MODES),
            )
        return Pooling(chosen[0], "Normalize" in kinds)

    def files(self, width: int) -> dict[str, str]:
        """What is published beside the weights, by file name, as sentence-transformers reads it.

        Args:
            width: of the vectors.
        """
        chosen = {key: mode == self.mode for key, mode in _MODES.items()}
        parts = ["Transformer", "Pooling", *(["Normalize"] if self.normalize else [])]
        modules = [
            {"idx": i, "name": str(i), "path": "" if i == 0 else f"{i}_{part}", "type": f"sentence_transformers.models.{part}"}
            for i, part in enumerate(parts)
        ]
        content = {"modules.json": modules, "1_Pooling/config.json": {"word_embedding_dimension": width, **chosen}}
        return {name: json.dumps(value, indent=2) + "\n" for name, value in content.items()}

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
        mask = attention_mask.to(hidden.dtype).unsqueeze(-1)
        if self.mode == "cls":
            pooled = hidden[:, 0]
        elif self.mode == "max":
            pooled = hidden.masked_fill(mask == 0, -1e9).amax(dim=1)
        elif self.mode == "last":
            pooled = last_vectors(hidden, attention_mask)
        else:
            pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)
        return F.normalize(pooled, dim=1) if self.normalize else pooled


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
