"""Objects in COCO's format (Lin et al., arXiv:1405.0312): COCO itself, and one's own data written like it.

COCO's annotations: CC BY 4.0; its photos come from Flickr under the terms of those who took them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.atomic import storage_errors
from ...core.errors import DataError
from ...hub.archives import place
from ...hub.download import Download
from ..masks import decode_rle, fill_polygons
from ..transforms import Sample
from .arrays import check_split
from .pictures import Corrupt, Pictures, Transform

Array = np.ndarray[Any, Any]
_SHOWN = 5


@dataclass(frozen=True)
class Picture:
    """A picture and the objects in it, as the file states them.

    Attributes:
        path: the file.
        image_id: its number in the annotations.
        size: height and width in pixels, where they are stated.
        objects: the annotations.
    """

    path: Path
    image_id: int
    size: tuple[int, int] | None
    objects: tuple[Mapping[str, Any], ...]


class CocoDetection(Pictures):
    """Pictures with boxes, and on demand with masks and keypoints, from a file in COCO's format.

    ``dataset[i]`` is a :class:`~nyala.vision.transforms.Sample`: ``boxes`` (left, top, right, bottom), ``labels``, ``masks``
    (N, H, W) bool, ``keypoints`` (N, K, 3), and in ``other`` ``iscrowd`` and ``area``.

    Args:
        images: the folder that the file's names count from.
        annotations: the JSON file.
        masks: fill the outlines, as pycocotools does.
        keypoints: read them, where every object has some.
        crowds: keep the objects that stand for many; their masks cover a whole crowd, and detectors are not trained on them.
        transform, corrupt, threads: as for :class:`~nyala.vision.datasets.pictures.Pictures`.

    Attributes:
        classes: names of the categories; category_ids: their numbers in the file, by label.

    Raises:
        DataError: no such file, or what is wrong in it, the first mistakes by their ids.

    Example:
        >>> import tempfile
        >>> root = tempfile.TemporaryDirectory()
        >>> content = {"images": [{"id": 7, "file_name": "a.png"}], "categories": [{"id": 3, "name": "cup"}]}
        >>> content["annotations"] = [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]}]
        >>> _ = Path(root.name, "x.json").write_text(json.dumps(content))
        >>> data = CocoDetection(root.name, Path(root.name, "x.json"))
        >>> data.classes, data.target(0)["boxes"].tolist()
        (('cup',), [[1.0, 2.0, 11.0, 22.0]])
    """

    samples: list[Picture]

    def __init__(
        self,
        images: str | Path,
        annotations: str | Path,
        *,
        masks: bool = False,
        keypoints: bool = False,
        crowds: bool = True,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        path = Path(annotations).expanduser()
        content = _content(path)
        categories = sorted(content["categories"], key=lambda one: one["id"])
        self.category_ids = tuple(int(one["id"]) for one in categories)
        self.masks, self.keypoints = masks, keypoints
        self._label = {number: i for i, number in enumerate(self.category_ids)}
        samples = _pictures(content, Path(images).expanduser(), path, crowds)
        super().__init__(samples, [str(one["name"]) for one in categories], transform=transform, corrupt=corrupt, threads=threads)

    def read(self, index: int) -> Sample:
        one = self.samples[index]
        sample = Sample.read(one.path)
        if one.size is not None and one.size != (sample.height, sample.width):
            raise DataError(
                f"{one.path} is {sample.width} x {sample.height}, its annotations are for {one.size[1]} x {one.size[0]}",
                fix="get the picture they were made for",
            )
        target = self.target(index)
        known: dict[str, Any] = {"boxes": target["boxes"], "labels": target["labels"]}
        if self.masks:
            known["masks"] = self.masks_of(index, sample.height, sample.width)
        if self.keypoints:
            known["keypoints"] = _keypoints(one)
        return sample.replace(**known, other={"iscrowd": target["iscrowd"], "area": target["area"]})

    def target(self, index: int, box_format: str = "xyxy") -> dict[str, Array]:
        """What :class:`~nyala.vision.scores.MeanAveragePrecision` compares with; the picture is not read.

        Args:
            index: the sample.
            box_format: "xyxy", or "xywh" as the file has them, in which scores are those of pycocotools to the last bit.

        Returns:
            ``boxes`` (N, 4) float64, ``labels`` (N,) int64, ``iscrowd`` (N,) bool, ``area`` (N,) float64.
        """
        objects = self.samples[index].objects
        boxes = np.array([o["bbox"] for o in objects], np.float64).reshape(-1, 4)
        sizes = boxes[:, 2] * boxes[:, 3]
        areas = [float(size if o.get("area") is None else o["area"]) for o, size in zip(objects, sizes, strict=True)]
        if box_format == "xyxy":
            boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        return {
            "boxes": boxes,
            "labels": np.array([self._label[o["category_id"]] for o in objects], np.int64),
            "iscrowd": np.array([bool(o.get("iscrowd", 0)) for o in objects], bool),
            "area": np.array(areas, np.float64),
        }

    def masks_of(self, index: int, height: int, width: int) -> Array:
        """The objects' masks, (N, height, width) bool.

        Raises:
            DataError: an outline that is none; its id is named.
        """
        found = np.zeros((len(self.samples[index].objects), height, width), bool)
        for i, one in enumerate(self.samples[index].objects):
            outline = one.get("segmentation") or []
            try:
                mask = decode_rle(outline) if isinstance(outline, Mapping) else fill_polygons(outline, height, width)
            except DataError as error:
                error.what = f"annotation {one.get('id')}: {error.what}"
                raise
            if mask.shape != (height, width):
                raise DataError(
                    f"the mask of annotation {one.get('id')} is {mask.shape}, its picture {(height, width)}", fix="correct it"
                )
            found[i] = mask
        return found

    def results(self, index: int, boxes: Any, scores: Any, labels: Any) -> list[dict[str, Any]]:
        """Detections in a sample, as COCO's file of results lists them.

        Args:
            index: the sample.
            boxes: (D, 4) left, top, right, bottom, in pixels of the picture.
            scores, labels: (D,).
        """
        corners = np.asarray(boxes, np.float64).reshape(-1, 4)
        sized = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
        image = self.samples[index].image_id
        return [
            {"image_id": image, "category_id": self.category_ids[int(label)], "bbox": box, "score": float(score)}
            for box, score, label in zip(sized, np.asarray(scores), np.asarray(labels), strict=True)
        ]


class COCO(CocoDetection):
    """COCO's own pictures: 80 kinds of things.

    Args:
        split: "train" or "val".
        year: 2017 or 2014.
        folder: with ``annotations`` and ``train2017`` and so on, or with their archives; left out, they are fetched once: the
            pictures of 2017 are 19 GB for training and 0.8 GB for validation.
        masks, keypoints, crowds, transform, corrupt, threads: as for :class:`CocoDetection`.

    Raises:
        ArgumentError: another split or year.
        DataError: files that are not those of the dataset, or none.
        NetworkError, IntegrityError, UnsafeFileError: it cannot be fetched, other bytes came, or they are dangerous.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    # sha256 of the archives, as TensorFlow Datasets publishes them
    hashes: ClassVar[dict[str, str]] = {
        "annotations_trainval2014.zip": "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
        "annotations_trainval2017.zip": "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        "train2014.zip": "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
        "val2014.zip": "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
        "train2017.zip": "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        "val2017.zip": "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    }

    def __init__(
        self,
        split: str,
        year: int = 2017,
        *,
        folder: str | Path | None = None,
        masks: bool = False,
        keypoints: bool = False,
        crowds: bool = True,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        check_split("COCO", split, self.splits)
        check_split("COCO", str(year), ("2014", "2017"))
        file = f"annotations/{'person_keypoints' if keypoints else 'instances'}_{split}{year}.json"
        annotations = place(self.download("annotations", f"annotations_trainval{year}.zip"), file, folder) / file
        images = place(self.download("zips", f"{split}{year}.zip"), f"{split}{year}", folder) / f"{split}{year}"
        options: dict[str, Any] = {"transform": transform, "corrupt": corrupt, "threads": threads}
        super().__init__(images, annotations, masks=masks, keypoints=keypoints, crowds=crowds, **options)

    @classmethod
    def download(cls, place: str, name: str) -> Download:
        """One of the archives, and where to get it."""
        urls = (
            f"http://images.cocodataset.org/{place}/{name}",
            f"https://s3.amazonaws.com/images.cocodataset.org/{place}/{name}",
        )
        return Download(name, urls, folder="datasets/coco", max_bytes=20 << 30, sha256=cls.hashes[name], verified=False)


def _content(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The three lists of the file.

    Raises:
        DataError: no such file, no JSON, or a list that is missing.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}", fix="check the path")
    try:
        with storage_errors(path, "read"):
            content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON file: {error}", fix="get it again") from None
    for name, keys in (
        ("images", ("id", "file_name")),
        ("annotations", ("image_id", "category_id")),
        ("categories", ("id", "name")),
    ):
        rows = content.get(name) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise DataError(
                f"{path} has no list {name!r}", why="COCO's format has images, annotations and categories", fix="add it"
            )
        bad = next((i for i, row in enumerate(rows) if not isinstance(row, dict) or not all(key in row for key in keys)), None)
        if bad is not None:
            raise DataError(f"{path}: {name}[{bad}] has not {' and '.join(keys)}", fix="correct or remove it")
    return content


def _pictures(content: Mapping[str, Any], images: Path, path: Path, crowds: bool) -> list[Picture]:
    """The pictures in the order of the file, each with its objects.

    Raises:
        DataError: an object without a picture, a category or a box, or ids that stand there twice.
    """
    known = {one["id"] for one in content["categories"]}
    by_image: dict[Any, list[Mapping[str, Any]]] = {one["id"]: [] for one in content["images"]}
    for name, count in (("images", len(by_image)), ("categories", len(known))):
        if count != len(content[name]):
            raise DataError(f"{path}: an id stands twice in {name}", fix="number them anew")
    wrong = []
    for i, one in enumerate(content["annotations"]):
        fault = _fault(one, known, by_image)
        if fault:
            wrong.append(f"annotation {one.get('id', i)} {fault}")
        elif crowds or not one.get("iscrowd"):
            by_image[one["image_id"]].append(one)
    if wrong:
        more = f"\n  and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError(f"{path}:\n  " + "\n  ".join(wrong[:_SHOWN]) + more, fix="correct or remove them")
    return [
        Picture(images / str(one["file_name"]), one["id"], _size(one), tuple(by_image[one["id"]])) for one in content["images"]
    ]


def _fault(one: Mapping[str, Any], categories: set[Any], images: Mapping[Any, Any]) -> str:
    """What is wrong with an annotation; empty where nothing is."""
    if one["image_id"] not in images:
        return f"is in picture {one['image_id']}, which there is not"
    if one["category_id"] not in categories:
        return f"is of category {one['category_id']}, which there is not"
    box = one.get("bbox")
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) and math.isfinite(v) for v in box)
    if not isinstance(box, list) or not numbers or box[2] < 0 or box[3] < 0:
        return f"has the box {box!r}, not x, y, width and height"
    return ""


def _size(one: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = one.get("height"), one.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _keypoints(one: Picture) -> Array:
    """(N, K, 3): x, y and 0 (not labelled), 1 (hidden) or 2 (visible)."""
    given = [o.get("keypoints") for o in one.objects]
    lengths = {len(points) if isinstance(points, list) else -1 for points in given}
    if len(lengths) > 1 or any(n <= 0 or n % 3 for n in lengths):
        raise DataError(f"the objects in {one.path.name} have not equally many keypoints", fix="leave keypoints out")
    return np.array(given, np.float32).reshape(len(given), -1, 3) if given else np.zeros((0, 1, 3), np.float32)
