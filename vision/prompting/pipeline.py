"""The pipeline that finds what points and boxes show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ArgumentError, DataError
from ...core.nn import functional as F
from ...core.tensor import Tensor
from ...hub.pipeline import Pipeline, as_is, no_grad
from ..io import load_image
from .masks import MaskedPictures, Masks
from .preprocess import PromptedPreprocess
from .prompts import Array, Prompts

if TYPE_CHECKING:
    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files


@dataclass(frozen=True, eq=False)
class Embedded:
    """A picture that went through the encoder, to be asked as often as you like.

    Attributes:
        source: the picture, as it was given.
        features: (1, C, h, w), what the encoder made of it.
        size: height and width of the picture, in pixels.
    """

    source: Any
    features: Tensor
    size: tuple[int, int]

    def __repr__(self) -> str:
        return f"Embedded({self.size[1]} x {self.size[0]} pixels, features {tuple(self.features.shape)})"


@dataclass(frozen=True, eq=False, repr=False)
class PromptedMasks(Pipeline):
    """Pictures and points or boxes -> masks. Call it on one picture (:class:`.Masks`) or a list (:class:`.MaskedPictures`).

    Without points and boxes it looks for everything, as :mod:`.everything` does. To ask a picture again, call :meth:`embed` once.

    Attributes:
        batch_size: prompts that are answered at once.

    Example:
        >>> import nyala
        >>> pipe = nyala.load("facebook/sam-vit-base")  # doctest: +SKIP
        >>> picture = pipe.embed("truck.jpg")  # doctest: +SKIP
        >>> pipe(picture, points=[(500, 375)]).masks.shape  # doctest: +SKIP
        (1, 1200, 1800)
        >>> pipe(picture, boxes=[(425, 600, 700, 875)]).save("truck.png")  # doctest: +SKIP
    """

    preprocess: PromptedPreprocess
    batch_size: int = 16

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> PromptedMasks:
        """Preprocessing from ``preprocessor_config.json``, or as the published models'.

        Raises:
            ArgumentError: a model that takes no prompts.
        """
        if not hasattr(model, "prompt_encoder"):
            raise ArgumentError(f"{type(model).__name__} takes no points and boxes", fix="choose a SAM")
        side = model.config.vision_config.image_size
        usual = {"size": {"longest_edge": side}, "pad_size": {"height": side, "width": side}}
        said = files.read_json("preprocessor_config.json") if "preprocessor_config.json" in files else usual
        return cls(model, PromptedPreprocess.from_processor(said), as_is, card, files, config)

    def __call__(
        self, inputs: Any, points: Any = None, labels: Any = None, boxes: Any = None, *, multimask: bool | None = None
    ) -> Any:
        """One picture -> :class:`Masks`; a list -> :class:`MaskedPictures`, each asked the same.

        Args:
            inputs: paths, bytes, PIL images, uint8 arrays, or what :meth:`embed` gave.
            points: (x, y) in pixels of one or more points that show one thing, or a list of such lists, one a thing.
            labels: in the same order, 1 for a point on the thing and 0 for one beside it; None where all are on it.
            boxes: left, top, right, bottom in pixels around a thing, or a list of these.
            multimask: whether several masks are offered for each prompt; None: where it is one point alone.

        Raises:
            ArgumentError: points or boxes outside the picture, or that do not fit each other.
            DataError: a picture that cannot be read.
        """
        several = isinstance(inputs, (list, tuple))
        sources = list(inputs) if several else [inputs]
        if not sources:
            raise DataError("no picture to work on", fix="pass at least one")
        found = [self._asked(source, points, labels, boxes, multimask) for source in sources]
        return MaskedPictures(found) if several else found[0]

    def embed(self, source: Any) -> Embedded:
        """Send one picture through the encoder, which takes far longer than a prompt."""
        image = load_image(source)
        with no_grad():
            features = self.model.forward_features(self.preprocess(image).to(self._first()))
        return Embedded(source, features, (image.height, image.width))

    def _asked(self, source: Any, points: Any, labels: Any, boxes: Any, multimask: bool | None) -> Masks:
        picture = source if isinstance(source, Embedded) else None
        size = picture.size if picture else load_image(source).size[::-1]
        if points is None and boxes is None:
            from .everything import everything

            if labels is not None or multimask is not None:
                raise ArgumentError("labels or multimask without points and boxes", fix="give points, or leave them out")
            return everything(self, picture or self.embed(source))
        prompts = Prompts.read(points, labels, boxes, *size)
        picture = picture or self.embed(source)
        several = prompts.lone_points() if multimask is None else multimask
        parts = [self.answer(picture, part, several) for part in _parts(prompts, self.batch_size)]
        offers = np.stack([found > 0 for masks, _ in parts for found in self.full_size(picture, masks)])
        return Masks(offers, np.concatenate([scores for _, scores in parts]), picture.source, prompts)

    def answer(self, picture: Embedded, prompts: Prompts, multimask: bool) -> tuple[Tensor, Array]:
        """The model's masks (K, M, h, w), positive inside, at its own size, and their scores (K, M) float32."""
        given: dict[str, Any] = {"multimask_output": multimask}
        if prompts.points is not None:
            given |= {"input_points": self._placed(prompts.points, picture), "input_labels": self._tensor(prompts.labels)}
        if prompts.boxes is not None:
            given["input_boxes"] = self._placed(prompts.boxes.reshape(-1, 2, 2), picture).reshape(1, -1, 4)
        with no_grad():
            out = self.model(image_embeddings=picture.features, **given)
        return out.pred_masks[0], out.iou_scores[0].float().cpu().numpy()

    def full_size(self, picture: Embedded, masks: Tensor) -> Iterator[Array]:
        """Masks (K, M, h, w) of the model's size -> those of each prompt, (M, H, W) float32 of the picture's."""
        height, width = self.preprocess.sides(*picture.size)
        for mask in masks.float():
            with no_grad():
                whole = F.interpolate(mask.unsqueeze(0), self.preprocess.size, mode="bilinear", align_corners=False)
                part = F.interpolate(whole[..., :height, :width], picture.size, mode="bilinear", align_corners=False)
            yield part[0].cpu().numpy()

    def _placed(self, pixels: Array, picture: Embedded) -> Tensor:
        return self._tensor(self.preprocess.places(pixels, *picture.size))

    def _tensor(self, values: Any) -> Tensor:
        """With a leading dimension for the picture, on the model's device."""
        return Tensor(np.asarray(values)[None]).to(self._first().device)

    def _first(self) -> Tensor:
        return next(self.model.parameters())


def _parts(prompts: Prompts, size: int) -> list[Prompts]:
    """The prompts in groups of at most ``size``."""
    starts = range(0, len(prompts), size)
    cut = [[None if v is None else v[i : i + size] for v in (prompts.points, prompts.labels, prompts.boxes)] for i in starts]
    return [Prompts(*part) for part in cut]
