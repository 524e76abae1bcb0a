"""Finding objects: preprocessing, matching, losses, the pipeline and its pictures."""

from .criterion import DetectionLoss, SetCriterion
from .matching import HungarianMatcher, linear_sum_assignment
from .preprocess import DetectionPreprocess

__all__ = ["DetectionLoss", "DetectionPreprocess", "HungarianMatcher", "SetCriterion", "linear_sum_assignment"]
