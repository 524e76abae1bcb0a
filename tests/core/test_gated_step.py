"""One new token a text through a block in one kernel: the bits of the long way, and when it is taken."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core.kernels import CPU, reference
from nyala.core.nn import blocks, gated_step

KINDS = [None, "bfloat16", "int8", "int4", "bfloat16 both", "int8 both"]


def block_of(kind: str | None, kv_heads: int = 2, bias: bool = False, group_size: int | None = None, **rotary: Any) -> Any:
    nyala.manual_seed(3)
    made = nn.TransformerBlock(
        96,
        4,
        160,
        norm=lambda dim: nn.RMSNorm(dim, 1e-5),
        attention={"num_kv_heads": kv_heads, "position": nn.Rotary(24, **rotary), "is_causal": True, "bias": bias},
        mlp={"act": "silu", "gated": True, "bias": bias},
    ).eval()
    if kind is None:
        return made
    dtype, _, both = kind.partition(" ")
    return nn.quantize(made, dtype, group_size, activations=dtype if both else "float32")


def steps(block: Any, count: int = 5, batch: int = 2, before: int = 61) -> tuple[Any, Any, Any]:
    """What each of ``count`` steps behind a prompt gives, and the cache in the end."""
    key = nyala.random.key(5, "steps")
    x = nyala.from_numpy(key.normal((batch, before + count, 96)).astype(np.float32))
    cache = nn.KVCache()
    with nyala.inference_mode():
        block(x[:, :before], cache=cache)
        found = [block(x[:, i : i + 1], cache=cache).numpy() for i in range(before, before + count)]
    return np.concatenate(found, 1), cache.keys.numpy(), cache.values.numpy()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each call of the short way whether it was taken."""
    seen: list[bool] = []

    def watched(*given: Any) -> Any:
        found = gated_step.take_step(*given)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(blocks, "take_step", watched)
    return seen


def long_way(monkeypatch: pytest.MonkeyPatch, block: Any, **given: Any) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "take_step", lambda *_: None)
        return steps(block, **given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"kv_heads": 4, "bias": True}, {"kv_heads": 1, "interleaved": True}], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_has_the_bits_of_the_long_way(
    kind: Any, settings: dict[str, Any], batch: int, taken: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    block = block_of(kind, **settings)
    found = steps(block, batch=batch)
    assert taken == [True] * 5  # past 64 steps, so the room has grown
    for a, b in zip(found, long_way(monkeypatch, block, batch=batch), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["int4", "int8", "int8 both"])
def test_scales_of_groups(kind: str, taken: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_of(kind, group_size=32)
    found = steps(block)[0]
    assert all(taken)
    np.testing.assert_array_equal(found, long_way(monkeypatch, block)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_reference_and_kernel_agree(kind: Any, taken: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_of(kind, bias=True)
    found = steps(block)
    monkeypatch.setattr(CPU, "gated_step", reference.KERNELS["gated_step"])
    for a, b in zip(found, steps(block), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
    assert all(taken)


@pytest.mark.parametrize(("kind", "lies"), [(None, np.asfortranarray), ("int8", np.ascontiguousarray)], ids=str)
def test_weights_that_lie_otherwise_and_many_texts_go_the_long_way(kind: Any, lies: Any, taken: list[bool]) -> None:
    block = block_of(kind)
    steps(block, batch=9)
    assert not any(taken)
    steps(block)
    assert taken[-1]
    layer = block.get_submodule("attn.v")
    layer.weight.array = lies(layer.weight.array)
    steps(block)
    assert not taken[-1]


class TestSeesWhatChanges:
    def test_a_weight_written_in_place_and_one_put_in_its_place(self, taken: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
        block = block_of(None)
        before = steps(block)[0]
        with nyala.no_grad():
            block.get_parameter("mlp.fc2.weight").mul_(0.5)
        written = steps(block)[0]
        block.get_submodule("mlp.fc1").weight = nn.Parameter(nyala.ones(160, 96))
        put = steps(block)[0]
        assert all(taken)
        assert not np.array_equal(before, written)
        assert not np.array_equal(written, put)
        np.testing.assert_array_equal(put, long_way(monkeypatch, block)[0])

    def test_a_layer_that_is_replaced_hooked_or_trained(self, taken: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
        block = block_of(None)
        steps(block)
        assert all(taken)
        calls: list[Any] = []
        with block.get_submodule("attn.v").register_forward_hook(lambda *given: calls.append(given)):
            steps(block, count=1)
        assert not taken[-1]
        assert len(calls) == 2  # of the prompt and of the step
        block.get_submodule("mlp.drop").train()
        steps(block, count=1)
        assert not taken[-1]
        block.eval().set_submodule("mlp.gate", nn.Sequential(block.get_submodule("mlp.gate")))
        found = steps(block, count=1)[0]
        assert not taken[-1]
        np.testing.assert_array_equal(found, long_way(monkeypatch, block, count=1)[0])

    def test_a_copy_computes_with_its_own_weights(self, taken: list[bool]) -> None:
        block = block_of(None)
        before = steps(block)[0]
        other = copy.deepcopy(block)
        with nyala.no_grad():
            block.get_parameter("mlp.fc2.weight").zero_()
        np.testing.assert_array_equal(steps(other)[0], before)
        assert all(taken)

    def test_settings_of_layers(self, taken: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
        block = block_of(None)
        before = steps(block)[0]
        block.get_submodule("norm1").eps = 0.5
        after = steps(block)[0]
        assert not np.array_equal(before, after)
        np.testing.assert_array_equal(after, long_way(monkeypatch, block)[0])
        assert all(taken)

    def test_other_dtypes_windows_and_gradients_go_the_long_way(self, taken: list[bool]) -> None:
        block, x = block_of(None), nyala.ones(1, 1, 96)
        cache = nn.KVCache()
        block(x, cache=cache)
        block(x, cache=cache)
        assert taken == [False, False]
        with nyala.inference_mode():
            sliding = nn.SlidingKVCache(8)
            block(x, cache=sliding)
            block(x, cache=sliding)
            block.double()
            cache = nn.KVCache()
            block(x.double(), cache=cache)
            block(x.double(), cache=cache)
        assert not any(taken)


def test_a_batch_that_is_not_the_caches_is_named() -> None:
    block, cache = block_of(None), nn.KVCache()
    with nyala.inference_mode():
        block(nyala.ones(2, 3, 96), cache=cache)
        with pytest.raises(nyala.errors.ShapeError, match="behind"):
            block(nyala.ones(1, 1, 96), cache=cache)
