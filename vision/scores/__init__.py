"""How good a model of pictures is: detections, masks, panoptic segments, classes; each with intervals."""

from .detection import DetectionScores, MeanAveragePrecision

__all__ = ["DetectionScores", "MeanAveragePrecision"]
