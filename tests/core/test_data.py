"""Datasets, samplers, collation, and a loader that gives the same batches however it is run."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import data
from nyala.errors import ArgumentError, DataError, IndexRangeError, ShapeError
from nyala.random import Key


class Noisy(data.Dataset):
    """Samples with chance in them, loaded in an order that the clock decides."""

    def __init__(self, count: int = 23) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("get() is what the loader must call")

    def get(self, index: int, key: Key) -> tuple[int, np.ndarray]:
        time.sleep(0.002 * ((index * 7) % 3))
        return index, key.uniform(3)


def content(loader: data.DataLoader) -> list[list[Any]]:
    return [[i.tolist(), x.tolist()] for i, x in loader]


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_threads_change_nothing(workers: int) -> None:
    expected = content(data.DataLoader(Noisy(), 4, shuffle=True, seed=3))
    assert content(data.DataLoader(Noisy(), 4, shuffle=True, seed=3, num_workers=workers)) == expected
    assert sorted(i for ids, _ in expected for i in ids) == list(range(23))


def test_epochs_differ_and_repeat() -> None:
    loader = data.DataLoader(Noisy(), 4, shuffle=True, seed=3)
    first, second = content(loader), content(loader)
    assert first != second and loader.epoch == 2
    loader.set_epoch(0)
    assert content(loader) == first
    assert content(data.DataLoader(Noisy(), 4, shuffle=True, seed=4)) != first


def test_a_samples_chance_depends_on_its_number_alone() -> None:
    by_number = {i: x for ids, xs in content(data.DataLoader(Noisy(), 4, seed=3)) for i, x in zip(ids, xs, strict=True)}
    shuffled = content(data.DataLoader(Noisy(), 6, shuffle=True, seed=3, num_workers=2))
    assert {i: x for ids, xs in shuffled for i, x in zip(ids, xs, strict=True)} == by_number


@pytest.mark.parametrize("taken", [0, 1, 3, 5, 6])
def test_going_on_in_the_middle_equals_never_stopping(taken: int) -> None:
    whole = data.DataLoader(Noisy(), 4, shuffle=True, seed=1)
    expected = content(whole) + content(whole)
    first = data.DataLoader(Noisy(), 4, shuffle=True, seed=1, num_workers=2)
    iterator = iter(first)
    begun = [[i.tolist(), x.tolist()] for i, x in (next(iterator) for _ in range(taken))]
    state = first.state_dict()
    del iterator
    second = data.DataLoader(Noisy(), 4, shuffle=True, seed=1, num_workers=3)
    second.load_state_dict(state)
    assert begun + content(second) + content(second) == expected


def test_a_state_of_another_seed_is_refused() -> None:
    with pytest.raises(ArgumentError, match="the state has seed 1, this loader 2"):
        data.DataLoader(Noisy(), seed=2).load_state_dict(data.DataLoader(Noisy(), seed=1).state_dict())


class Broken(data.Dataset):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> int:
        if index == 5:
            raise self.error
        return index


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("error", [ValueError("bad bytes"), DataError("bad bytes"), OSError("bad bytes")])
def test_an_error_names_the_sample(error: Exception, workers: int) -> None:
    loader = data.DataLoader(Broken(error), 2, num_workers=workers)
    got = []
    with pytest.raises(DataError, match=r"sample 5.*bad bytes"):
        got.extend(b.tolist() for b in loader)
    assert got == [[0, 1], [2, 3]]


def loader_threads() -> int:
    return sum(t.name.startswith("nyala-loader") for t in threading.enumerate())


def test_leaving_early_stops_the_threads() -> None:
    loader = data.DataLoader(Noisy(200), 2, num_workers=3)
    for _ in loader:
        assert loader_threads() > 0
        break
    gc.collect()
    assert loader_threads() == 0
    iterator = iter(loader)
    next(iterator)
    del iterator
    gc.collect()
    assert loader_threads() == 0


def test_only_so_much_is_prepared_ahead() -> None:
    asked: list[int] = []

    class Counting(data.Dataset):
        def __len__(self) -> int:
            return 100

        def __getitem__(self, index: int) -> int:
            asked.append(index)
            return index

    iterator = iter(data.DataLoader(Counting(), 1, num_workers=2, prefetch=3))
    next(iterator)
    time.sleep(0.1)
    assert len(asked) <= 6
    del iterator


def test_lengths_and_the_last_batch() -> None:
    assert [b.shape[0] for b in data.DataLoader(range(7), 3)] == [3, 3, 1]
    assert [b.shape[0] for b in data.DataLoader(range(7), 3, drop_last=True)] == [3, 3]
    assert len(data.DataLoader(range(7), 3)) == 3 and len(data.DataLoader(range(7), 3, drop_last=True)) == 2
    assert list(data.DataLoader([], 3)) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"shuffle": True, "sampler": [0]}, "exclude each other"),
        ({"batch_size": None}, "batch_size=None"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        data.DataLoader(range(3), **options)


def test_collating_keeps_the_structure() -> None:
    batch = data.default_collate([{"x": np.ones(2, np.float32), "y": (1, "a")}, {"x": np.zeros(2, np.float32), "y": (2, "b")}])
    assert batch["x"].shape == (2, 2) and batch["x"].dtype == nyala.float32
    assert batch["y"][0].tolist() == [1, 2] and batch["y"][0].dtype == nyala.int64 and batch["y"][1] == ["a", "b"]
    assert data.default_collate([1, 2.5]).tolist() == [1.0, 2.5]
    assert data.default_collate([True, False]).dtype == nyala.bool
    assert data.default_collate([np.float64(1)]).dtype == nyala.float64
    assert data.default_collate([nyala.ones(2), nyala.zeros(2)]).shape == (2, 2)


@pytest.mark.parametrize(
    ("samples", "kind", "text"),
    [
        ([np.zeros(2), np.zeros(3)], ShapeError, r"sample 0 of the batch has shape \(2,\), sample 1 has \(3,\)"),
        ([{"a": 1}, {"b": 1}], DataError, "keys"),
        ([(1, 2), (1,)], DataError, "lengths"),
        ([object()], DataError, "samples of type object cannot be stacked"),
    ],
)
def test_what_cannot_be_collated(samples: list[Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        data.default_collate(samples)


def test_padding_to_the_longest() -> None:
    collate = data.PadCollate({"ids": 9}, to_multiple_of=4)
    batch = collate([{"ids": [1, 2, 3, 4, 5], "label": 1}, {"ids": [6], "label": 0}])
    assert batch["ids"].tolist() == [[1, 2, 3, 4, 5, 9, 9, 9], [6, 9, 9, 9, 9, 9, 9, 9]]
    assert batch["label"].tolist() == [1, 0]
    square = data.PadCollate(0)([np.ones((1, 2)), np.ones((2, 1))])
    assert square.tolist() == [[[1, 1], [0, 0]], [[1, 0], [1, 0]]]
    with pytest.raises(DataError, match="numbers of dimensions"):
        data.PadCollate()([np.ones(1), np.ones((1, 1))])


def test_datasets_in_parts() -> None:
    joined = data.ConcatDataset([range(3), range(10, 12)])
    assert list(joined) == [0, 1, 2, 10, 11] and joined[-1] == 11
    with pytest.raises(IndexRangeError, match="sample 5 of 5"):
        joined[5]
    assert list(data.Subset(joined, [4, 0])) == [11, 0]
    tensors = data.TensorDataset(nyala.arange(3), nyala.ones(3, 2))
    assert tensors[2][0].item() == 2 and tensors[2][1].shape == (2,)
    with pytest.raises(ShapeError, match="make their lengths equal"):
        data.TensorDataset(nyala.ones(2), nyala.ones(3))


def test_chance_reaches_through_parts() -> None:
    key = nyala.random.key(0, "augment", 0, 0)
    nested = data.Subset(data.ConcatDataset([Noisy(2), Noisy(3)]), [4])
    assert nested.get(0, key)[1].tolist() == Noisy().get(2, key)[1].tolist()


def test_random_split_by_length_and_fraction() -> None:
    a, b = data.random_split(range(10), [7, 3], seed=1)
    assert sorted([*a, *b]) == list(range(10)) and len(a) == 7
    assert [list(p) for p in data.random_split(range(10), [7, 3], seed=1)] == [list(a), list(b)]
    assert [len(p) for p in data.random_split(range(11), [0.5, 0.25, 0.25])] == [6, 3, 2]
    for lengths, text in (([5, 4], "add up to 9"), ([0.5, 0.4], "add up to 0.9")):
        with pytest.raises(ArgumentError, match=text):
            data.random_split(range(10), lengths)


def test_weighted_sampler_follows_its_weights() -> None:
    drawn = list(data.WeightedRandomSampler([0.0, 1.0, 3.0], 4000, seed=2))
    counts = np.bincount(drawn, minlength=3)
    assert counts[0] == 0 and counts[2] / counts[1] == pytest.approx(3, rel=0.15)
    assert sorted(data.WeightedRandomSampler([1.0, 2.0, 3.0], 3, replacement=False)) == [0, 1, 2]
    with pytest.raises(ArgumentError, match="not all zero"):
        data.WeightedRandomSampler([0.0], 1)


def test_length_buckets_waste_little_and_miss_nothing() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    sampler = data.LengthBucketSampler(lengths, 10, window=20, seed=5)
    batches = list(sampler)
    assert sorted(i for b in batches for i in b) == list(range(1000)) and len(batches) == len(sampler) == 100
    padded = sum(len(b) * lengths[b].max() for b in batches)
    assert padded < 1.15 * lengths.sum()
    assert batches == list(sampler)
    sampler.set_epoch(1)
    assert batches != list(sampler)
    plain = list(data.LengthBucketSampler(lengths, 10, shuffle=False))
    assert [int(lengths[b].max()) for b in plain] == sorted(int(lengths[b].max()) for b in plain)
