"""Loading data: datasets, samplers, collation, and a loader whose order depends on (seed, epoch, index) alone."""

from .collate import PadCollate, default_collate
from .dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from .loader import DataLoader
from .prefetch import pinned, prefetched, to_device
from .samplers import (
    BatchSampler,
    LengthBucketSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "LengthBucketSampler",
    "PadCollate",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "pinned",
    "prefetched",
    "random_split",
    "to_device",
]
