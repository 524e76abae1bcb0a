"""Oxford Pets, Flowers-102, Food-101, ImageNet, VOC and ADE20K: read from folders laid out as they are published."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import ArgumentError, DataError, NetworkError
from nyala.vision.datasets import ADE20K, Flowers102, Food101, ImageNet, OxfordPets, VOCDetection, VOCSegmentation, flowers, voc
from nyala.vision.datasets.maps import read_map
from PIL import Image


def photo(path: Path, value: int = 0, size: tuple[int, int] = (4, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path, quality=100)


def numbers(path: Path, array: list[list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(array, np.uint8)).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    rows = {"Abyssinian_1": "1 1 1", "Abyssinian_2": "1 1 1", "american_bulldog_10": "2 2 1"}
    text(tmp_path / "annotations" / "test.txt", "#Image CLASS-ID SPECIES\n" + "".join(f"{n} {v}\n" for n, v in rows.items()))
    for i, name in enumerate(rows):
        photo(tmp_path / "images" / f"{name}.jpg", 50 * i)
        numbers(tmp_path / "annotations" / "trimaps" / f"{name}.png", [[1, 1, 2, 2, 3, 3]] * 4)
    return tmp_path


def test_oxford_pets(pets: Path) -> None:
    data = OxfordPets("test", folder=pets)
    assert data.classes == ("Abyssinian", "american bulldog") and data.labels.tolist() == [0, 0, 1]
    picture, label = data[1]
    assert picture.shape == (4, 6, 3) and abs(int(picture[0, 0, 0]) - 50) < 3 and label == 0
    species = OxfordPets("test", target="species", folder=pets)
    assert species.classes == ("cat", "dog") and species.labels.tolist() == [0, 0, 1]
    sample = OxfordPets("test", target="segmentation", folder=pets)[2]
    assert sample.masks.tolist()[0] == [1, 1, 2, 2, 3, 3] and sample.class_map and sample.labels.tolist() == [1]
    with pytest.raises(ArgumentError, match="target='breed'"):
        OxfordPets("test", target="breed", folder=pets)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"holds neither annotations/trainval\.txt nor annotations\.tar\.gz"):
        OxfordPets("trainval", folder=pets)
    text(pets / "annotations" / "test.txt", "Abyssinian_1 one 1 1\n")
    with pytest.raises(DataError, match=r"test\.txt:1: 'Abyssinian_1 one 1 1' is no picture with its breed"):
        OxfordPets("test", folder=pets)


def test_damaged_maps_are_left_out_too(pets: Path) -> None:
    (pets / "annotations" / "trimaps" / "Abyssinian_2.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 of 3 pictures cannot be read and is left out: .*Abyssinian_2\.png"):
        data = OxfordPets("test", target="segmentation", folder=pets, corrupt="skip")
    assert [path.stem for path, _ in data.samples] == ["Abyssinian_1", "american_bulldog_10"]


def test_flowers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"labels": np.array([[3, 102, 1]]), "trnid": np.array([[2, 3]]), "valid": np.array([[1]]), "tstid": np.array([[9]])}
    tables = {"imagelabels.mat": ["labels"], "setid.mat": ["trnid", "valid", "tstid"]}
    monkeypatch.setattr(flowers, "read_mat", lambda path: {name: found[name] for name in tables[path.name]})
    for i in (1, 2, 3):
        photo(tmp_path / "jpg" / f"image_{i:05d}.jpg", i)
    data = Flowers102("train", folder=tmp_path)
    assert [(p.name, data.classes[label]) for p, label in data.samples] == [
        ("image_00002.jpg", "blackberry lily"),
        ("image_00003.jpg", "pink primrose"),
    ]
    assert data[1][0].shape == (4, 6, 3) and len(Flowers102("val", folder=tmp_path)) == 1
    with pytest.raises(DataError, match="do not fit together"):
        Flowers102("test", folder=tmp_path)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"there is no file .*imagelabels\.mat"):
        Flowers102("train", folder=tmp_path)


def test_food(tmp_path: Path) -> None:
    text(tmp_path / "food-101" / "meta" / "classes.txt", "apple_pie\nramen\n")
    text(tmp_path / "food-101" / "meta" / "test.txt", "ramen/7\napple_pie/3\n")
    photo(tmp_path / "food-101" / "images" / "ramen" / "7.jpg", 9)
    data = Food101("test", folder=tmp_path)
    assert data.classes == ("apple pie", "ramen") and data.labels.tolist() == [1, 0]
    assert data[0][1] == 1
    with pytest.raises(DataError, match=r"there is no file .*3\.jpg"):
        data[1]
    text(tmp_path / "food-101" / "meta" / "test.txt", "pizza/7\n")
    with pytest.raises(DataError, match="names 'pizza/7', which is in no class"):
        Food101("test", folder=tmp_path)


def test_imagenet_in_folders_and_from_kaggle(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for wnid in ("n01440764", "n01443537"):
            photo(tmp_path / "plain" / part / wnid / "x.JPEG")
    data = ImageNet(tmp_path / "plain", "val")
    assert data.wnids == data.classes == ("n01440764", "n01443537") and data.labels.tolist() == [0, 1]
    photo(tmp_path / "plain" / "val" / "n999" / "x.JPEG")
    with pytest.raises(DataError, match="has the class n999, which the training part has not"):
        ImageNet(tmp_path / "plain", "val")
    inside = tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC"
    photo(inside / "train" / "n01443537" / "n01443537_1.JPEG")
    rows = ["ImageId,PredictionString", "ILSVRC2012_val_00000002,n01443537 1 2 3 4 ", "ILSVRC2012_val_00000001,n01440764 0 0 5 5"]
    text(tmp_path / "kaggle" / "LOC_val_solution.csv", "\n".join(rows))
    for i in (1, 2):
        photo(inside / "val" / f"ILSVRC2012_val_0000000{i}.JPEG")
    data = ImageNet(tmp_path / "kaggle", "val")
    assert [(p.stem[-1], label) for p, label in data.samples] == [("2", 0)], "only the classes that are there"
    photo(inside / "val" / "other.JPEG")
    with pytest.raises(DataError, match=r"has no class of other\.JPEG"):
        ImageNet(tmp_path / "kaggle", "val")


def test_the_thousand_classes_have_their_names() -> None:
    from nyala.vision.datasets import imagenet

    wnids = ("n01440764", *(f"n02{i:06d}" for i in range(998)), "n15075141")
    assert imagenet._names(wnids)[:2] == ("tench, Tinca tinca", "goldfish, Carassius auratus")
    assert imagenet._names(wnids[:5]) == wnids[:5]


OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
<bndbox><xmax>5</xmax><xmin>1</xmin><ymin>2</ymin><ymax>4.0</ymax></bndbox></object>"""


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2007"
    text(root / "ImageSets" / "Main" / "test.txt", "000001\n000002\n")
    text(root / "ImageSets" / "Segmentation" / "val.txt", "000001\n")
    for name in ("000001", "000002"):
        photo(root / "JPEGImages" / f"{name}.jpg")
    objects = OBJECT.format(name="dog", difficult=0) + OBJECT.format(name="tvmonitor", difficult=1)
    text(root / "Annotations" / "000001.xml", f"<annotation><size/>{objects}</annotation>")
    text(root / "Annotations" / "000002.xml", "<annotation></annotation>")
    numbers(root / "SegmentationClass" / "000001.png", [[0, 1, 20, 255, 0, 0]] * 4)
    return root


def test_voc_boxes(devkit: Path) -> None:
    for folder in (devkit.parents[1], devkit.parent):
        data = VOCDetection("test", 2007, folder=folder)
        sample, empty = data[0], data[1]
    assert sample.boxes.tolist() == [[0, 1, 5, 4]] * 2 and [data.classes[i] for i in sample.labels] == ["dog", "tvmonitor"]
    assert sample.other["difficult"].tolist() == [False, True] and sample.other["truncated"].tolist() == [False, False]
    assert len(empty) == 0 and empty.boxes.shape == (0, 4)
    with pytest.raises(ArgumentError, match="VOC 2012 has no split 'test'"):
        VOCDetection("test", 2012)
    with pytest.raises(ArgumentError, match="VOC 2010"):
        VOCDetection("train", 2010)


def test_voc_maps(devkit: Path) -> None:
    data = VOCSegmentation("val", 2007, folder=devkit.parents[1])
    sample = data[0]
    assert sample.masks[0].tolist() == [0, 1, 20, 255, 0, 0] and data.classes[20] == "tvmonitor" and len(data.classes) == 21
    numbers(devkit / "SegmentationClass" / "000001.png", [[0, 1]])
    with pytest.raises(DataError, match=r"the masks of a Sample"):
        data[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><object><name>unicorn</name></object></annotation>", "an object of class 'unicorn'"),
        ("<annotation><object><name>dog</name></object></annotation>", "a dog has no bndbox"),
        ("<annotation><object><name>dog</name><bndbox><xmin>x</xmin></bndbox></object></annotation>", "is damaged"),
        ("<annotation>", "is damaged"),
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation>&b;</annotation>', "is no description of a picture"),
    ],
)
def test_bad_descriptions_of_objects_are_named(content: str, message: str, tmp_path: Path) -> None:
    text(tmp_path / "x.xml", content)
    with pytest.raises(DataError, match=rf"x\.xml .*{message}"):
        voc.read_objects(tmp_path / "x.xml")


def test_ade20k(tmp_path: Path) -> None:
    root = tmp_path / "ADEChallengeData2016"
    rows = ["Idx\tRatio\tTrain\tVal\tStuff\tName"] + [f"{i}\t0.1\t1\t1\t1\tthing {i}, thing" for i in range(1, 151)]
    text(root / "objectInfo150.txt", "\n".join(rows))
    photo(root / "images" / "validation" / "ADE_val_00000001.jpg")
    label = root / "annotations" / "validation" / "ADE_val_00000001.png"
    numbers(label, [[0, 1, 2, 150, 0, 0]] * 4)
    data = ADE20K("val", folder=tmp_path)
    assert data[0].masks[0].tolist() == [255, 0, 1, 149, 255, 255] and data.classes[149] == "thing 150, thing"
    assert ADE20K("val", folder=root, reduce_labels=False)[0].masks[0].tolist() == [0, 1, 2, 150, 0, 0]
    numbers(label, [[0, 1, 2, 151, 0, 0]] * 4)
    with pytest.raises(DataError, match="has class 151: there are 150"):
        data[0]


def test_maps_in_colours_or_damaged_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "rgb.png")
    (tmp_path / "empty.png").write_bytes(b"")
    numbers(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (60, 60)).tolist())
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:1500])
    mistakes = {"rgb": "has colours", "empty": "no picture of class numbers", "cut": "damaged", "no": "there is no mask"}
    for name, message in mistakes.items():
        with pytest.raises(DataError, match=message):
            read_map(tmp_path / f"{name}.png")
    Image.fromarray(np.array([[0, 300]], np.uint16)).save(tmp_path / "deep.png")
    assert read_map(tmp_path / "deep.png").tolist() == [[0, 300]]


def test_every_archive_is_pinned_or_says_that_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    archives = [
        OxfordPets.images,
        OxfordPets.annotations,
        Food101.archive,
        voc.download(2007, "test"),
        voc.download(2012, "train"),
    ]
    archives += [flowers.download(name) for name in ("102flowers.tgz", "setid.mat")]
    assert all(re.fullmatch(r"[0-9a-f]{64}", one.sha256) and not one.verified for one in archives)
    assert not ADE20K.archive.pinned and not ADE20K.archive.verified
    for kind, split in ((OxfordPets, "test"), (Flowers102, "val"), (Food101, "test"), (VOCDetection, "val"), (ADE20K, "val")):
        with pytest.raises(NetworkError, match="is not in the cache"):
            kind(split)
