"""Random numbers: the published Philox bits, keys and their independence, distributions, the ambient stream."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import random
from nyala.core import kernels
from nyala.core.kernels.reference.random import philox as reference
from nyala.core.random import _block
from nyala.errors import ArgumentError

KEY = random.key(0, "test")


class TestBits:
    def test_published_answers(self) -> None:
        """Known-answer vectors of Random123 1.14 for philox4x32-10."""
        assert reference(np, (0, 0), 4).tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
        ones = 0xFFFFFFFF
        assert _block(ones, ones, ones, ones, ones, ones) == (0x408F276D, 0x41C83B0E)
        assert _block(0xA4093822, 0x299F31D0, 0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344) == (0xD16CFE09, 0x94FDCCEB)

    @pytest.mark.parametrize("count", [0, 1, 4, 5, 1000, 300_001])
    def test_every_backend_draws_the_same_bits(self, count: int) -> None:
        own = kernels.of(np.empty(0)).philox(np, (123, 456), count)
        assert own.dtype == np.uint32 and np.array_equal(own, reference(np, (123, 456), count))

    def test_element_i_does_not_depend_on_how_many_are_drawn(self) -> None:
        assert np.array_equal(KEY.bits(1000)[:7], KEY.bits(7))
        assert np.array_equal(KEY.uniform(1000)[:7], KEY.uniform(7))

    def test_golden_numbers(self) -> None:
        """Frozen: a change of these changes every recorded run."""
        assert KEY.bits(5).tolist() == [3630296330, 1640609674, 3074992622, 2947789599, 3120493035]
        assert KEY.uniform(3).tolist() == [0.8452442288398743, 0.3819841742515564, 0.715952455997467]
        assert KEY.uniform(2, dtype=np.float64).tolist() == [0.8452442312571182, 0.7159525115709602]
        assert KEY.integers(0, 100, 6).tolist() == [84, 38, 71, 68, 72, 60]
        assert KEY.integers(0, 1 << 40, 2).tolist() == [44590282634, 1025150006047]
        assert KEY.permutation(6).tolist() == [3, 5, 4, 1, 2, 0]
        assert KEY.choice(5, 3).tolist() == [3, 4, 1]
        assert KEY.choice(4, 3, p=[0.1, 0.2, 0.3, 0.4]).tolist() == [3, 2, 1]
        assert KEY.normal(2, dtype=np.float64).tolist() == pytest.approx([-0.42762929602968014, 0.39165355831131143], rel=1e-14)
        assert KEY.normal(3).tolist() == pytest.approx([-0.12310749, -0.54027945, -0.56666029], rel=1e-6)
        assert repr(KEY.fold(1, 2)) == "Key(6d5fefc789195845)" and repr(KEY.fold("a")) == "Key(06071a4a2a8f79cf)"


class TestKeys:
    def test_the_same_key_gives_the_same_numbers(self) -> None:
        assert np.array_equal(random.key(7, "order", 3).permutation(50), random.key(7, "order", 3).permutation(50))
        assert KEY.fold(1, 2).words == KEY.fold(1).fold(2).words

    def test_seed_purpose_and_counters_tell_streams_apart(self) -> None:
        counters: list[Any] = [(), (0,), (1,), (0, 0), ("0",)]
        keys = [random.key(s, p, *c) for s in (0, 1, 1 << 40, -1) for p in ("init", "dropout") for c in counters]
        assert len({k.words for k in keys}) == len(keys)
        heads = {tuple(k.bits(4).tolist()) for k in keys}
        assert len(heads) == len(keys)

    def test_streams_are_independent(self) -> None:
        """Correlations of 200 streams with their neighbours stay within what chance allows (5 sigma)."""
        n = 20_000
        neighbours = (KEY.fold, lambda i: KEY.fold(i + 1))
        purposes = (lambda i: random.key(i, "a"), lambda i: random.key(i, "b"))
        for one, other in (neighbours, purposes):
            first = np.concatenate([one(i).normal(n // 200, dtype=np.float64) for i in range(200)])
            second = np.concatenate([other(i).normal(n // 200, dtype=np.float64) for i in range(200)])
            assert abs(float((first * second).mean())) < 5 / math.sqrt(n)

    def test_a_parent_does_not_share_numbers_with_its_children(self) -> None:
        mine = set(KEY.bits(4000).tolist())
        theirs = {int(v) for i in range(20) for v in KEY.fold(i).bits(200)}
        assert len(mine & theirs) < 5  # 4000 * 4000 / 2**32 shared by chance: 0.004


class TestDistributions:
    def test_uniform(self) -> None:
        for dtype in (np.float32, np.float64):
            u = KEY.uniform(100_000, dtype=dtype)
            assert u.dtype == dtype and u.min() >= 0 and u.max() < 1
            assert abs(u.mean() - 0.5) < 5 * math.sqrt(1 / 12 / 1e5) and abs(u.var() - 1 / 12) < 1e-3
            counts = np.bincount((u * 20).astype(int), minlength=20)
            assert ((counts - 5000) ** 2 / 5000).sum() < 50  # chi-squared with 19 degrees of freedom
        assert KEY.uniform((2, 3)).shape == (2, 3) and KEY.uniform().shape == () and KEY.uniform(0).shape == (0,)

    def test_uniform_never_reaches_its_upper_end(self) -> None:
        for low, high in ((5.0, 5.000001), (-1.0, 1.0), (0.0, 3.0)):
            u = KEY.uniform(50_000, low, high)
            assert u.min() >= np.float32(low) and u.max() < np.float32(high)

    def test_normal(self) -> None:
        for dtype in (np.float32, np.float64):
            x = KEY.normal((500, 201), dtype=dtype).astype(np.float64).reshape(-1)
            n = x.size
            assert abs(x.mean()) < 5 / math.sqrt(n) and abs(x.var() - 1) < 5 * math.sqrt(2 / n)
            assert abs((x**3).mean()) < 5 * math.sqrt(15 / n) and abs((x**4).mean() - 3) < 5 * math.sqrt(96 / n)
            assert abs((np.abs(x) < 1).mean() - 0.682689) < 5 * math.sqrt(0.22 / n)
            assert np.isfinite(x).all() and np.abs(x).max() > 3.5

    def test_integers(self) -> None:
        x = KEY.integers(-3, 4, 70_000)
        assert x.dtype == np.int64 and set(x.tolist()) == set(range(-3, 4))
        counts = np.bincount(x + 3)
        assert ((counts - 10_000) ** 2 / 10_000).sum() < 35
        wide = KEY.integers(-(1 << 40), 1 << 40, 1000)
        assert wide.min() < -(1 << 38) and wide.max() > 1 << 38
        for low, high in ((3, 3), (4, 3), (0, 1 << 63)):
            with pytest.raises(ArgumentError, match="empty or too wide"):
                KEY.integers(low, high)

    def test_permutation(self) -> None:
        assert sorted(KEY.permutation(1000).tolist()) == list(range(1000))
        assert KEY.permutation(0).tolist() == [] and KEY.permutation(1).tolist() == [0]
        first = np.bincount([KEY.fold(i).permutation(4)[0] for i in range(4000)])
        assert ((first - 1000) ** 2 / 1000).sum() < 25

    def test_bernoulli(self) -> None:
        x = KEY.bernoulli(0.3, 100_000)
        assert x.dtype == np.bool_ and abs(x.mean() - 0.3) < 5 * math.sqrt(0.21 / 1e5)
        assert KEY.bernoulli(1.0, 100).all() and not KEY.bernoulli(0.0, 100).any()

    def test_choice(self) -> None:
        assert len(set(KEY.choice(10, 10).tolist())) == 10
        assert KEY.choice(3, 100, replace=True).max() == 2
        weights = [0.0, 1.0, 3.0]
        drawn = np.bincount(KEY.choice(3, 40_000, replace=True, p=weights), minlength=3)
        assert drawn[0] == 0 and abs(drawn[2] / 40_000 - 0.75) < 0.015
        first = np.bincount([KEY.fold(i).choice(3, 2, p=weights)[0] for i in range(4000)], minlength=3)
        assert first[0] == 0 and abs(first[2] / 4000 - 0.75) < 0.04
        some_bad: list[Any] = [
            (2, 3),
            (3, 3, False, weights),
            (3, 1, True, [0, 0, 0]),
            (3, 1, True, [1, -1, 1]),
            (3, 1, True, [1, 1]),
        ]
        for bad in some_bad:
            with pytest.raises(ArgumentError, match=r"of .* numbers"):
                KEY.choice(*bad)


class TestAmbient:
    def test_manual_seed_starts_anew(self) -> None:
        nyala.manual_seed(1)
        first = [nyala.rand(3).tolist(), nyala.randn(2).tolist(), nyala.randint(0, 10, (4,)).tolist(), nyala.randperm(5).tolist()]
        nyala.manual_seed(1)
        again = [nyala.rand(3).tolist(), nyala.randn(2).tolist(), nyala.randint(0, 10, (4,)).tolist(), nyala.randperm(5).tolist()]
        assert first == again
        assert first[0] == [0.25099289417266846, 0.6687015295028687, 0.3263612389564514]
        assert first[2:] == [[8, 5, 3, 9], [0, 3, 2, 4, 1]]
        assert nyala.rand(3).tolist() != nyala.rand(3).tolist() and random.initial_seed() == 1

    def test_scopes_put_the_stream_back(self) -> None:
        nyala.manual_seed(2)
        nyala.rand(1)
        state = random.ambient_state()
        expected = nyala.rand(2).tolist()
        with pytest.raises(KeyError), random.ambient_scope(state):
            assert nyala.rand(2).tolist() == expected
            raise KeyError
        assert random.ambient_state() == (2, 0, 2)
        with random.ambient_scope(state):
            assert nyala.rand(2).tolist() == expected

    def test_a_step_draws_the_same_whatever_was_drawn_before(self) -> None:
        def draw() -> Any:
            with random.step_scope(5, 17):
                return nyala.rand(3).tolist()

        first = draw()
        nyala.manual_seed(99)
        nyala.rand(10)
        assert draw() == first
        with random.step_scope(5, 18):
            assert nyala.rand(3).tolist() != first

    def test_threads_do_not_disturb_each_other(self) -> None:
        nyala.manual_seed(3)
        before = random.ambient_state()
        seen = []

        def other() -> None:
            nyala.manual_seed(4)
            seen.append(nyala.rand(2).tolist())

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert random.ambient_state() == before
        nyala.manual_seed(4)
        assert nyala.rand(2).tolist() == seen[0]

    def test_shapes_and_dtypes(self) -> None:
        assert nyala.rand(2, 3).shape == nyala.randn((2, 3)).shape == (2, 3)
        assert nyala.rand(2, dtype="float64").dtype == nyala.float64 and nyala.randn(2, dtype="float16").dtype == nyala.float16
        assert nyala.randn(2, requires_grad=True).requires_grad
        x = nyala.ones(2, dtype="float64")
        assert nyala.rand_like(x).dtype == nyala.randn_like(x).dtype == nyala.float64
        assert nyala.randint(5, size=(3,)).dtype == nyala.int64 and nyala.randint(1, 3, (3,), dtype="int32").dtype == nyala.int32

    def test_bernoulli_and_multinomial(self) -> None:
        assert nyala.bernoulli(nyala.tensor([0.0, 1.0])).tolist() == [0, 1]
        drawn = nyala.multinomial(nyala.tensor([[0.0, 1.0], [1.0, 0.0]]), 5, replacement=True)
        assert drawn.tolist() == [[1] * 5, [0] * 5]
        with pytest.raises(ArgumentError):
            nyala.multinomial(nyala.tensor([0.0, 1.0]), 2)
