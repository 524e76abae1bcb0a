"""Operations on boxes, and layers that only models of pictures have, by torchvision's names."""

from .boxes import (
    batched_nms,
    box_area,
    box_convert,
    box_iou,
    clip_boxes_to_image,
    generalized_box_iou,
    generalized_box_iou_loss,
    nms,
    remove_small_boxes,
)
from .norm import FrozenBatchNorm2d, freeze_batch_norms

__all__ = [
    "FrozenBatchNorm2d",
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "clip_boxes_to_image",
    "freeze_batch_norms",
    "generalized_box_iou",
    "generalized_box_iou_loss",
    "nms",
    "remove_small_boxes",
]
