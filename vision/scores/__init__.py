"""How good a model of pictures is: classes, detections, maps of classes, panoptic segments; each with intervals."""

from .classes import Classification, ClassificationScores
from .detection import DetectionScores, MeanAveragePrecision
from .panoptic import PanopticQuality, PanopticScores
from .segmentation import Segmentation, SegmentationScores

__all__ = [
    "Classification",
    "ClassificationScores",
    "DetectionScores",
    "MeanAveragePrecision",
    "PanopticQuality",
    "PanopticScores",
    "Segmentation",
    "SegmentationScores",
]
