"""Learnt numbers for distances, as in T5."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core.nn.relative import relative_buckets
from nyala.errors import ArgumentError

PLACES = [-5000, -128, -127, -91, -64, -16, -8, -7, -1, 0, 1, 7, 8, 11, 16, 32, 64, 127, 128, 4999]
# of transformers' T5Attention._relative_position_bucket: buckets of PLACES, and the sum of i * bucket over -5000 + i for all i
FROZEN = {
    (32, 128, True): ([15, 15, 15, 15, 14, 10, 8, 7, 1, 0, 17, 23, 24, 24, 26, 28, 30, 31, 31, 31], 1346680000),
    (32, 128, False): ([31, 31, 31, 29, 26, 16, 8, 7, 1, *[0] * 11], 382940157),
    (8, 20, True): ([3, 3, 3, 3, 3, 3, 3, 3, 1, 0, 5, *[7] * 9], 299870000),
    (8, 20, False): ([7, 7, 7, 7, 7, 7, 5, 5, 1, *[0] * 11], 87322652),
    (320, 800, True): (
        [159, 96, 96, 84, 64, 16, 8, 7, 1, 0, 161, 167, 168, 171, 176, 192, 224, 256, 256, 319],
        13670230000,
    ),
    (64, 128, True): ([31, 31, 31, 29, 26, 16, 8, 7, 1, 0, 33, 39, 40, 43, 48, 53, 58, 63, 63, 63], 2740430000),
}


@pytest.mark.parametrize("numbers", FROZEN)
def test_buckets_equal_the_reference(numbers: tuple[int, int, bool]) -> None:
    some, total = FROZEN[numbers]
    assert relative_buckets(np.array(PLACES), *numbers).tolist() == some
    assert int((relative_buckets(np.arange(-5000, 5000), *numbers) * np.arange(10000)).sum()) == total


def test_a_step_behind_a_cache_gets_its_row_of_the_whole() -> None:
    bias = nn.RelativePositionBias(8, 3, 20, bidirectional=False)
    whole = bias(6, 6).detach()
    assert whole.shape == (1, 3, 6, 6)
    for start in range(6):
        np.testing.assert_array_equal(
            bias(1, start + 1, start).detach().numpy(), whole[:, :, start : start + 1, : start + 1].numpy()
        )
    np.testing.assert_array_equal(whole[0, :, 5, 3].numpy(), bias.weight.detach().numpy()[2])


def test_gradients_reach_the_buckets_that_were_used() -> None:
    bias = nn.RelativePositionBias(8, 1, 20)
    bias(2, 2).sum().backward()
    np.testing.assert_array_equal(np.asarray(bias.weight.grad)[:, 0], [2, 1, 0, 0, 0, 1, 0, 0])


def test_numbers_that_make_no_buckets_are_refused() -> None:
    for given in ((2, 1, 128), (32, 1, 8)):
        with pytest.raises(ArgumentError, match="buckets for distances"):
            nn.RelativePositionBias(*given)


def test_both_caches_of_a_decoder_are_counted_and_cropped() -> None:
    cache = nn.EncoderDecoderCache(2)
    assert cache.length == 0
    for own, context in zip(cache.own, cache.context, strict=True):
        own.update(nyala.ones(1, 2, 3, 4), nyala.ones(1, 2, 3, 4))
        context.update(nyala.ones(1, 2, 5, 4), nyala.ones(1, 2, 5, 4))
    assert cache.length == 3
    cache.crop(1)
    assert cache.length == 1 and cache.context[0].length == 5


@pytest.mark.parametrize("bidirectional", [False, True])
def test_places_may_lie_in_a_tensor(bidirectional: bool) -> None:
    bias = nn.RelativePositionBias(8, 2, 20, bidirectional)
    for start in (0, 3, 27):
        found = bias(3, 30, nyala.arange(start, start + 3))
        np.testing.assert_array_equal(found.detach().numpy(), bias(3, 30, start).detach().numpy())
