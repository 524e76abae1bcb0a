"""Goldens of SAM and of its processor, by transformers.

``tests/goldens/vision/sam/`` holds a tiny random model as transformers writes it (``config.json``, ``model.safetensors``,
``preprocessor_config.json``) and ``goldens.safetensors``:

    input                pictures
    points, labels       three prompts a picture, two points each
    boxes, masks         a box for each of these prompts, and a mask for each picture
    embeddings           what the encoder of pictures makes of input
    CASE.masks, CASE.iou eval mode, for the cases points, boxes, both, masks, single (of points)
    grad.PARAMETER       gradients of sum(masks[i] * cos(0.7 * i + 0.3)) + sum(iou[i] * cos(0.7 * i + 1.3)) of the case "all":
                         points, boxes and masks, under the names of the file

and ``processor.safetensors``: for each case ``CASE.picture`` (H, W, 3) uint8, ``CASE.prepared``, ``CASE.points``, of the points
(3, 4) and (H / 2, 7), and ``CASE.final``, bool masks of the picture's size made of ``low``; and ``NAME.masks``, ``NAME.scores``
of everything that is found in ``wide.picture`` with the settings of ``EVERYTHING``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before what imports torchvision
import transformers
from golden_recorder import cotangent, narrow
from make_goldens_vits import VISION, picture, randomise, save
from PIL import Image

FOLDER = VISION / "sam"
_VISION = {
    "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 80,
    "patch_size": 16, "window_size": 2, "global_attn_indexes": [1], "num_pos_feats": 8,
}  # fmt: skip
_PROMPT = {"hidden_size": 16, "image_size": 80, "patch_size": 16, "mask_input_channels": 32}
# (stability, overlap, least score)
EVERYTHING = {"good": (0.1, 1.0, 1.5), "apart": (0.1, 0.95, -100.0), "steady": (0.3, 1.0, -100.0)}
_DECODER = {"hidden_size": 16, "mlp_dim": 24, "num_attention_heads": 2, "iou_head_hidden_dim": 12}


def write_model() -> None:
    config = transformers.SamConfig(vision_config=_VISION, prompt_encoder_config=_PROMPT, mask_decoder_config=_DECODER)
    model = transformers.SamModel(config).eval()
    randomise(model)
    model.save_pretrained(FOLDER)
    for path in FOLDER.iterdir():
        path.chmod(0o644)
    model = model.double()
    x = picture(2, 3, 80, 80, seed=1)
    points = (picture(2, 3, 2, 2, seed=3).abs() * 30).round()
    labels = torch.tensor([[[1, 0], [1, 1], [0, -10]], [[1, -1], [0, 1], [1, 1]]])
    corners = (picture(2, 3, 2, 2, seed=4).abs() * 20).round()
    boxes = torch.stack([corners[:, :, 0], corners[:, :, 0] + corners[:, :, 1] + 4], 2).reshape(2, 3, 4)
    masks = picture(2, 1, 20, 20, seed=5)
    given = {"input_points": points.double(), "input_labels": labels}
    boxed, masked = {"input_boxes": boxes.double()}, {"input_masks": masks.double()}
    cases = {
        "points": given, "boxes": boxed, "both": {**given, **boxed}, "masks": masked,
        "single": {**given, "multimask_output": False}, "all": {**given, **boxed, **masked},
    }  # fmt: skip
    kept = {"input": x, "points": points, "labels": labels, "boxes": boxes, "masks": masks}
    for name, prompts in cases.items():
        out = model(pixel_values=x.double(), **prompts)
        kept |= {f"{name}.masks": narrow(out.pred_masks), f"{name}.iou": narrow(out.iou_scores)}
        if name == "all":
            goal = (out.pred_masks * cotangent(out.pred_masks.shape)).sum()
            goal = goal + (out.iou_scores * cotangent(out.iou_scores.shape, 1)).sum()
            named = dict(model.named_parameters())
            found = torch.autograd.grad(goal, list(named.values()), allow_unused=True)
            kept |= {f"grad.{n}": narrow(g) for n, g in zip(named, found, strict=True) if g is not None}
            print("no gradient:", [n for n, g in zip(named, found, strict=True) if g is None])
    with torch.no_grad():
        kept["embeddings"] = narrow(model.get_image_embeddings(x.double()))
    save(kept, FOLDER / "goldens.safetensors")


def write_processor() -> None:
    prepare = transformers.SamImageProcessorPil(
        size={"longest_edge": 80}, pad_size={"height": 80, "width": 80}, mask_size={"longest_edge": 20},
        mask_pad_size={"height": 20, "width": 20},
    )  # fmt: skip
    prepare.save_pretrained(FOLDER)
    (FOLDER / "preprocessor_config.json").chmod(0o644)
    processor = transformers.SamProcessor(prepare)
    kept = {"low": picture(1, 2, 20, 20, seed=6)}
    for name, (height, width) in {"wide": (40, 97), "high": (111, 50), "small": (35, 35)}.items():
        image = (picture(height, width, 3, seed=height) * 60 + 128).clip(0, 255).to(torch.uint8)
        made = processor(image.numpy(), input_points=[[[3.0, 4.0], [height / 2, 7.0]]], return_tensors="pt")
        final = prepare.post_process_masks([kept["low"]], made["original_sizes"], made["reshaped_input_sizes"])[0][0]
        kept |= {f"{name}.picture": image, f"{name}.prepared": made["pixel_values"][0].float()}
        kept |= {f"{name}.points": made["input_points"].reshape(2, 2).float(), f"{name}.final": final}
    save({**kept, **everything(prepare, kept["wide.picture"])}, FOLDER / "processor.safetensors")


def everything(prepare: Any, image: torch.Tensor) -> dict[str, torch.Tensor]:
    import torchvision

    torchvision.ops.boxes.nms = nms  # whose compiled one is not there
    pipe = transformers.pipeline("mask-generation", model=transformers.SamModel.from_pretrained(FOLDER), image_processor=prepare)
    kept = {}
    for name, (stability, overlap, score) in EVERYTHING.items():
        found = pipe(
            Image.fromarray(image.numpy()), points_per_batch=5, points_per_crop=4, stability_score_offset=0.1,
            stability_score_thresh=stability, crops_nms_thresh=overlap, pred_iou_thresh=score,
        )  # fmt: skip
        kept |= {f"{name}.masks": torch.tensor(np.stack(found["masks"])), f"{name}.scores": found["scores"]}
    return kept


def nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    from torchvision.ops import box_iou

    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if all(box_iou(boxes[i][None], boxes[j][None]).item() <= threshold for j in kept):
            kept.append(i)
    return torch.tensor(kept)


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    write_model()
    write_processor()
