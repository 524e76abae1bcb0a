"""Goldens of the scores of vision: COCO's twelve numbers and its masks, from pycocotools.

``detection.json`` holds random pictures in COCO's own format, with ties, crowds, empty pictures and classes without an
object, and for boxes and masks the twelve numbers, the average precision of each class, and each outline's mask as pycocotools
fills it.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

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


def main() -> None:
    truth, results = pictures(np.random.default_rng(7))
    rles = [as_rle(a["segmentation"][0])["counts"] for a in truth["annotations"]]
    runs = [scored(truth, results, kind, most) for kind in ("bbox", "segm") for most in ([1, 10, 100], [1, 2, 3])]
    OUT.mkdir(parents=True, exist_ok=True)
    content = {"size": SIZE, "truth": truth, "results": results, "masks": rles, "runs": runs}
    (OUT / "detection.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")


main()
