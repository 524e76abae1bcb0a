"""Rotary positions and the cache of keys and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core.kernels import CPU, reference
from nyala.core.ops.positions import rotate
from nyala.errors import ArgumentError, ShapeError


def normal(*shape: int) -> Any:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def angles(steps: int, pairs: int) -> tuple[Any, Any]:
    a = normal(steps, pairs)
    return np.cos(a), np.sin(a)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 3, 5, 8), (1, 9, 130, 64), (3, 2, 7, 11), (0, 2, 3, 4), (2, 2, 0, 4)])
def test_the_kernel_equals_the_reference(shape: tuple[int, ...], interleaved: bool) -> None:
    x = normal(*shape)
    for pairs in (shape[3] // 2, 1):
        cos, sin = angles(shape[2], pairs)
        expected = reference.KERNELS["rotate"](x.astype(np.float64), cos.astype(np.float64), sin.astype(np.float64), interleaved)
        for same in (x, np.asfortranarray(x), np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)):
            got = CPU.rotate(same, cos, sin, interleaved)
            assert got.dtype == np.float32 and got.transpose(0, 2, 1, 3).flags.c_contiguous
            np.testing.assert_allclose(got, expected, atol=1e-6)


def test_half_precision_is_turned_in_float32() -> None:
    x = normal(1, 2, 3, 4)
    cos, sin = (t.astype(np.float16) for t in angles(3, 2))
    got = CPU.rotate(x.astype(np.float16), cos, sin, False)
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, CPU.rotate(x, *(t.astype(np.float32) for t in (cos, sin)), False), atol=4e-3)


@pytest.mark.parametrize("interleaved", [False, True])
def test_the_gradient_of_turning(interleaved: bool) -> None:
    cos, sin = (t.astype(np.float64) for t in angles(3, 2))
    x = nyala.randn(2, 2, 3, 5, dtype="float64", requires_grad=True)
    assert nyala.testing.gradcheck(lambda t: rotate(t, cos, sin, interleaved), x)


def test_tables_grow_and_stay_the_same() -> None:
    turn, long = nn.Rotary(8), nn.Rotary(8)
    x = nyala.from_numpy(normal(1, 1, 1, 8))
    long(x, x, 5000)
    for start in (0, 1, 63, 64, 200, 3000):
        np.testing.assert_array_equal(turn(x, x, start)[0].numpy(), long(x, x, start)[0].numpy())
    assert turn(x.double(), x, 3)[0].dtype == np.float64


def test_rotary_names_heads_that_are_too_narrow() -> None:
    with pytest.raises(ShapeError, match=r"Rotary\(8\) of \(1, 1, 1, 6\).*width of the heads"):
        nn.Rotary(8)(nyala.ones(1, 1, 1, 6), nyala.ones(1, 1, 1, 6), 0)


def filled(cache: nn.KVCache, parts: list[Any]) -> tuple[Any, Any]:
    for part in parts:
        found = cache.update(nyala.from_numpy(part), nyala.from_numpy(-part))
    return found


@pytest.mark.parametrize("room", [0, 10, 500])
def test_a_cache_holds_what_it_was_given(room: int) -> None:
    parts = [normal(2, 3, steps, 4) for steps in (5, 1, 1, 70, 1, 90, 1)]
    cache = nn.KVCache(room)
    keys, values = filled(cache, parts)
    whole = np.concatenate(parts, 2)
    np.testing.assert_array_equal(keys.numpy(), whole)
    np.testing.assert_array_equal(values.numpy(), -whole)
    assert cache.length == whole.shape[2] == keys.shape[2] and cache.keys is keys


def test_new_steps_do_not_move_the_old_ones() -> None:
    cache = nn.KVCache(100)
    first = filled(cache, [normal(1, 2, 10, 4)])[0].numpy()
    before = first.copy()
    last = filled(cache, [normal(1, 2, 1, 4)] * 80)[0].numpy()
    assert np.shares_memory(first, last)
    np.testing.assert_array_equal(first, before)


def test_a_cache_passes_gradients_on() -> None:
    cache = nn.KVCache()
    with nyala.no_grad():
        filled(cache, [normal(1, 1, 2, 4)])
    x = nyala.from_numpy(normal(1, 1, 3, 4)).requires_grad_()
    keys, values = cache.update(x, x * 2)
    (keys.sum() + values.sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), 3)
    with nyala.no_grad():
        keys, _ = filled(cache, [normal(1, 1, 1, 4)])
    assert keys.shape == (1, 1, 6, 4) and cache.length == 6
    np.testing.assert_array_equal(keys.numpy()[:, :, 2:5], x.detach().numpy())


@pytest.mark.parametrize("recorded", [False, True])
def test_steps_are_taken_back(recorded: bool) -> None:
    parts = [normal(1, 2, steps, 4) for steps in (6, 3, 2)]
    cache = nn.KVCache()
    with nyala.enable_grad() if recorded else nyala.no_grad():
        x = nyala.from_numpy(np.concatenate(parts[:2], 2)).requires_grad_(recorded)
        cache.update(x, -x)
        cache.crop(6)
        assert cache.length == 6 == cache.keys.shape[2]
        cache.crop(60)
        keys, values = filled(cache, parts[2:])
    np.testing.assert_array_equal(keys.detach().numpy(), np.concatenate([parts[0], parts[2]], 2))
    np.testing.assert_array_equal(values.detach().numpy(), -np.concatenate([parts[0], parts[2]], 2))
    with pytest.raises(ArgumentError, match=r"crop\(-1\)"):
        cache.crop(-1)


def test_a_cache_names_what_does_not_fit() -> None:
    with pytest.raises(ArgumentError, match="max_length=-1"):
        nn.KVCache(-1)
    cache = nn.KVCache()
    filled(cache, [normal(1, 2, 3, 4)])
    for wrong in (normal(2, 2, 1, 4), normal(1, 3, 1, 4), normal(1, 2, 1, 5), normal(1, 2, 1, 4).astype(np.float64)):
        with pytest.raises(ShapeError, match="start a new KVCache"):
            filled(cache, [wrong])


@pytest.mark.parametrize("recorded", [False, True])
def test_texts_of_a_batch_are_chosen(recorded: bool) -> None:
    first, last = normal(3, 2, 5, 4), normal(4, 2, 2, 4)
    cache = nn.KVCache(9)
    with nyala.enable_grad() if recorded else nyala.no_grad():
        x = nyala.from_numpy(first).requires_grad_(recorded)
        cache.update(x, -x)
        cache.select([0, 1, 2])
        assert cache.keys.shape[0] == 3
        cache.select([2, 0, 0, 1])
        keys, values = filled(cache, [last])
    whole = np.concatenate([first[[2, 0, 0, 1]], last], 2)
    np.testing.assert_array_equal(keys.detach().numpy(), whole)
    np.testing.assert_array_equal(values.detach().numpy(), -whole)


def test_a_sliding_cache_keeps_what_is_seen_and_counts_all() -> None:
    parts = [normal(2, 1, steps, 4) for steps in (3, 1, 1, 9, *[1] * 40, 6, 1)]
    cache, whole = nn.SlidingKVCache(4), np.zeros((2, 1, 0, 4), np.float32)
    held = 0
    for part in parts:
        keys, values = filled(cache, [part])
        whole = np.concatenate([whole, part], 2)
        seen = whole[:, :, -(3 + part.shape[2]) :]
        np.testing.assert_array_equal(keys.numpy(), seen)
        np.testing.assert_array_equal(values.numpy(), -seen)
        assert cache.length == whole.shape[2]
        held = max(held, cache._near.length)
    assert held < 30 < cache.length


def test_a_sliding_cache_takes_steps_back_while_it_can() -> None:
    parts = [normal(2, 1, 1, 4) for _ in range(30)]
    cache = nn.SlidingKVCache(4)
    filled(cache, parts)
    cache.crop(27)
    cache.select([1, 0])
    keys, _ = filled(cache, [parts[0][[1, 0]]])
    assert cache.length == 28
    np.testing.assert_array_equal(keys.numpy(), np.concatenate([*parts[24:27], parts[0]], 2)[[1, 0]])
    with pytest.raises(ArgumentError, match=r"crop\(3\) of 28 steps.*start a new cache"):
        cache.crop(3)
    with pytest.raises(ArgumentError, match="window=0"):
        nn.SlidingKVCache(0)


def test_both_caches_of_a_decoder_are_chosen_from() -> None:
    cache = nn.EncoderDecoderCache(1)
    filled(cache.own[0], [normal(2, 1, 3, 4)])
    filled(cache.context[0], [normal(2, 1, 5, 4)])
    cache.select([1])
    assert cache.own[0].keys.shape == (1, 1, 3, 4) and cache.context[0].keys.shape == (1, 1, 5, 4)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_on_a_gpu_turning_and_keeping_is_one_kernel_with_the_same_bits(
    cuda: str, kv_heads: int, interleaved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nyala.manual_seed(4)
    position = nn.Rotary(4, interleaved=interleaved)
    layer = nn.Attention(32, 4, num_kv_heads=kv_heads, is_causal=True, position=position).to(cuda)
    parts = [nyala.from_numpy(normal(2, steps, 32)).to(cuda) for steps in (5, 1, 1, 70, 1)]
    fused, apart, called = nn.KVCache(), nn.KVCache(), []
    turn_into = nn.KVCache.turn_into
    monkeypatch.setattr(nn.KVCache, "turn_into", lambda *args: called.append(1) or turn_into(*args))
    for part in parts:
        with nyala.no_grad():
            found = layer(part, cache=fused)
        expected = layer(part, cache=apart).detach()
        np.testing.assert_array_equal(found.cpu().numpy(), expected.cpu().numpy())
        np.testing.assert_array_equal(fused.keys.cpu().numpy(), apart.keys.detach().cpu().numpy())
        np.testing.assert_array_equal(fused.values.cpu().numpy(), apart.values.detach().cpu().numpy())
    assert len(called) == len(parts) and fused.length == apart.length == 78
