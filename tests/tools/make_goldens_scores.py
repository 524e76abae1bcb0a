"""Goldens of the scores of vision.

``detection.json`` holds random pictures in COCO's own format, with ties, crowds, empty pictures and classes without an
object, and for boxes and masks the twelve numbers, the average precision of each class, and each outline's mask as pycocotools
fills it. ``maps.json``: maps of classes with the scores of scikit-learn and MONAI. ``panoptic.json``: segments, with crowds and
void, with the counts of panopticapi. ``classes.json``: logits with the scores of scikit-learn and torchmetrics.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - before what imports torchvision
from monai.metrics import DiceMetric
from panopticapi.evaluation import pq_compute_single_core
from panopticapi.utils import id2rgb
from PIL import Image
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, jaccard_score, log_loss, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_calibration_error

OUT = Path(__file__).parents[1] / "goldens" / "vision" / "scores"
SIZE, PICTURES, CLASSES = 200, 24, 5


def outline(rng: np.random.Generator, box: list[float]) -> list[float]:
    """A star inside a box, with corners between the pixels."""
    turns = np.linspace(0, 2 * np.pi, rng.integers(5, 9), endpoint=False)
    reach = rng.uniform(0.6, 1.0, len(turns))
    x = box[0] + box[2] / 2 * (1 + reach * np.cos(turns))
    y = box[1] + box[3] / 2 * (1 + reach * np.sin(turns))
    return [round(float(v), 2) for pair in zip(x, y, strict=True) for v in pair]


def moved(rng: np.random.Generator, box: list[float]) -> list[float]:
    """A box beside another one; often so near that it counts as the same."""
    shift = rng.normal(0, rng.choice([0.01, 0.05, 0.3]), 4) * np.array([box[2], box[3], box[2], box[3]])
    x, y, w, h = np.array(box) + shift
    return [round(float(v), 2) for v in (x, y, max(w, 2.0), max(h, 2.0))]


def pictures(rng: np.random.Generator) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO's truth and results."""
    annotations, results = [], []
    for picture in range(1, PICTURES + 1):
        for _ in range(rng.integers(0, 9)):
            side = rng.choice([12.0, 25.0, 60.0, 130.0])
            w, h = rng.uniform(0.6, 1.4, 2) * side
            box = [round(float(v), 2) for v in (rng.uniform(0, SIZE - 20), rng.uniform(0, SIZE - 20), w, h)]
            label, crowd = int(rng.integers(1, CLASSES)), int(rng.random() < 0.12)
            area = round(float(w * h * rng.uniform(0.5, 0.9)), 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture,
                    "category_id": label,
                    "bbox": box,
                    "area": area,
                    "iscrowd": crowd,
                    "segmentation": [outline(rng, box)],
                }
            )
            for _ in range(rng.integers(0, 4)):
                again = box if rng.random() < 0.2 else moved(rng, box)
                guess = label if rng.random() < 0.85 else int(rng.integers(1, CLASSES + 1))
                score = round(float(rng.random()), 1)
                results.append({"image_id": picture, "category_id": guess, "bbox": again, "score": score})
    for one in results:
        one["outline"] = outline(rng, one["bbox"])
    images = [{"id": i, "height": SIZE, "width": SIZE} for i in range(1, PICTURES + 1)]
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def as_rle(polygon: list[float]) -> dict[str, Any]:
    rle = masks.merge(masks.frPyObjects([polygon], SIZE, SIZE))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def scored(truth: dict[str, Any], results: list[dict[str, Any]], kind: str, most: list[int]) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(truth))
        for annotation in coco.dataset["annotations"]:  # pycocotools takes crowds as run lengths alone
            annotation["segmentation"] = as_rle(annotation["segmentation"][0])
        coco.createIndex()
        shape = {"bbox": "bbox", "segm": "segmentation"}[kind]
        given = [{**r, "segmentation": as_rle(r["outline"])} for r in results]
        given = [{k: r[k] for k in ("image_id", "category_id", "score", shape)} for r in given]
        run = COCOeval(coco, coco.loadRes(given), kind)
        run.params.maxDets = most
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][:, :, :, 0, 2]
    each = {i + 1: float(p[p > -1].mean()) for i in range(CLASSES) if ((p := precision[:, :, i]) > -1).any()}
    stats = [float(v) for v in run.stats]
    stats[0] = float(precision[precision > -1].mean())  # the summary alone states it for 100 detections only
    return {"kind": kind, "most": most, "stats": stats, "classes": each}


def blobs(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """A map of numbers 0 to ``count`` in blocks."""
    coarse = rng.integers(0, count + 1, (size // 4, size // 4))
    return np.kron(coarse, np.ones((4, 4), np.int64))


def maps(rng: np.random.Generator) -> dict[str, Any]:
    """Maps of six classes, of which the last occurs nowhere, and the third in predictions alone."""
    truths, founds = [], []
    for _ in range(6):
        truth = blobs(rng, 24, 4)
        truth[truth == 2] = 1
        found = np.where(rng.random(truth.shape) < 0.3, rng.integers(0, 5, truth.shape), truth)
        truth[rng.random(truth.shape) < 0.1] = 255
        truths.append(truth)
        founds.append(found)
    t, f = np.stack(truths), np.stack(founds)
    flat, guess = t[t != 255], f[t != 255]
    seen = list(range(5))
    one_hot = [torch.tensor(np.stack([(m == k) & (t != 255) for k in range(6)], axis=1)) for m in (f, t)]
    dice = {}
    for background in (True, False):
        metric = DiceMetric(include_background=background, reduction="mean")
        metric(one_hot[0].float(), one_hot[1].float())
        dice[background] = float(metric.aggregate())
    return {
        "truth": t.tolist(),
        "found": f.tolist(),
        "iou": jaccard_score(flat, guess, labels=seen, average=None).tolist(),
        "dice": f1_score(flat, guess, labels=seen, average=None).tolist(),
        "accuracy": accuracy_score(flat, guess),
        "mean_accuracy": balanced_accuracy_score(flat, guess),
        "picture_dice": dice[True],
        "picture_dice_without_background": dice[False],
    }


def segments(rng: np.random.Generator, size: int, crowds: bool) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """A map of segments with numbers from 10 on, 0 for nothing."""
    numbers = blobs(rng, size, 6)
    numbers[numbers > 0] += 10
    listed = []
    for number in np.unique(numbers[numbers > 0]).tolist():
        label = int(rng.integers(1, 5))
        crowd = int(crowds and label < 3 and rng.random() < 0.3)
        listed.append({"id": number, "category_id": label, "iscrowd": crowd, "area": int((numbers == number).sum())})
    return numbers, listed


def panoptic(rng: np.random.Generator) -> dict[str, Any]:
    """Segments of four classes, the first two of which are things."""
    categories = {k: {"id": k, "isthing": int(k < 3)} for k in range(1, 6)}
    content: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        annotations = []
        for i in range(12):
            truth, listed = segments(rng, 24, crowds=True)
            found = np.where(rng.random(truth.shape) < 0.15, 0, truth)
            found = np.where(rng.random(truth.shape) < 0.1, 30, found)
            told = [{**one, "category_id": one["category_id"] if rng.random() < 0.8 else 1} for one in listed]
            told = [one for one in told if (found == one["id"]).any()]
            told.append({"id": 30, "category_id": int(rng.integers(1, 5))})
            for name, numbers in (("t", truth), ("p", found)):
                Image.fromarray(id2rgb(numbers).astype(np.uint8)).save(Path(folder, f"{name}{i}.png"))
            pair = [
                {"image_id": i, "file_name": f"{name}{i}.png", "segments_info": s} for name, s in (("t", listed), ("p", told))
            ]
            annotations.append(pair)
            stated = [[{k: one[k] for k in ("id", "category_id", "iscrowd") if k in one} for one in s] for s in (listed, told)]
            content.append({"truth": truth.tolist(), "found": found.tolist(), "listed": stated[0], "told": stated[1]})
        stat = pq_compute_single_core(0, annotations, folder, folder, categories)
    groups = {
        name: stat.pq_average(categories, isthing=kind)[0] for name, kind in (("", None), ("_things", True), ("_stuffs", False))
    }
    flat = {f"{q}{name}": float(values[q]) for name, values in groups.items() for q in ("pq", "sq", "rq")}
    each = {k: float(v["pq"]) for k, v in stat.pq_average(categories, isthing=None)[1].items()}
    return {"pictures": content, "scores": flat, "classes": each}


def classes(rng: np.random.Generator) -> dict[str, Any]:
    """Logits of seven classes."""
    labels = rng.integers(0, 7, 200)
    logits = rng.normal(0, 2, (200, 7))
    logits[np.arange(200), labels] += 1.5
    logits = logits.round(3)
    chance = torch.tensor(logits).softmax(1)
    truth = torch.tensor(labels)
    error = {norm: float(multiclass_calibration_error(chance, truth, 7, n_bins=15, norm=norm)) for norm in ("l1", "max")}
    return {
        "logits": logits.tolist(),
        "labels": labels.tolist(),
        "top": {k: float(top_k_accuracy_score(labels, logits, k=k)) for k in (1, 3, 5)},
        "log_loss": float(log_loss(labels, chance.numpy())),
        "brier": float(((chance.numpy() - np.eye(7)[labels]) ** 2).sum(1).mean()),
        "ece": error["l1"],
        "mce": error["max"],
    }


def write(name: str, content: dict[str, Any]) -> None:
    (OUT / name).write_text(json.dumps(content, separators=(",", ":")) + "\n")


def main() -> None:
    truth, results = pictures(np.random.default_rng(7))
    rles = [as_rle(a["segmentation"][0])["counts"] for a in truth["annotations"]]
    runs = [scored(truth, results, kind, most) for kind in ("bbox", "segm") for most in ([1, 10, 100], [1, 2, 3])]
    OUT.mkdir(parents=True, exist_ok=True)
    content = {"size": SIZE, "truth": truth, "results": results, "masks": rles, "runs": runs}
    write("detection.json", content)
    write("maps.json", maps(np.random.default_rng(11)))
    write("panoptic.json", panoptic(np.random.default_rng(12)))
    write("classes.json", classes(np.random.default_rng(13)))


main()
