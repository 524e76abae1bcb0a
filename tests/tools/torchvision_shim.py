"""Import before torchvision where torch is built for the CPU alone and torchvision is the CUDA build.

Its compiled half cannot load there, so the two operators that torchvision's Python half looks up at import are missing.
Declaring them is enough for models and transforms; neither is called here.
"""

from __future__ import annotations

import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")  # the declarations live as long as this object
for schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    if not hasattr(torch.ops.torchvision, schema.split("(")[0]):
        LIBRARY.define(schema)
